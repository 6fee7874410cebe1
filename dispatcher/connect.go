package dispatcher

import (
	"context"
	"fmt"
	"sync"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Connect opens the default namespace on the server at an address, which it registers the given
// kinds in, as [Open] does. The address is the text that the command lanekeeper takes for --redis:
//
//	redis://[user:password@]host:port[/db]    one server; rediss:// with TLS, unix://path a socket
//	redis+cluster://host:port,host:port       a Redis Cluster, by any of its nodes
//	redis+sentinel://host:port,host:port/name the master that Sentinels watch under a name
//
// Timeouts and sizes of the client follow it as parameters, ?read_timeout=1s&pool_size=20. An empty
// address stands for redis://127.0.0.1:6379; the environment is not asked. Who needs another
// namespace, or any other field of [Config], makes a client and calls [Open].
//
// The context bounds the opening alone. Errors are those of Open, and one that wraps [ErrInvalid]
// for an address that can't be read; none of them shows a password that the address holds. Nothing
// stays open after an error. After none, [Dispatcher.Close] is the caller's to call.
func Connect(ctx context.Context, address string, kinds ...Kind) (*Dispatcher, error) {
	rdb, err := connect.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	d, err := Open(ctx, Config{Redis: rdb, Kinds: kinds})
	if err != nil {
		_ = rdb.Close() // what Open says counts
		return nil, err
	}
	d.disconnect = sync.OnceValue(rdb.Close)
	return d, nil
}

// Close closes the client that [Connect] made: every later call on d returns an error that wraps
// redis.ErrClosed. Pools and sessions of d are to end before, and sections to return: Close waits for
// nobody. It returns what the client does, and the same when it is called again. Of a Dispatcher
// that [Open] returned, Close does nothing and returns nil: its client belongs to the caller, who may
// use it for more.
func (d *Dispatcher) Close() error {
	if d.disconnect == nil {
		return nil
	}
	return d.disconnect()
}
