package dispatcher

import (
	"context"
	"fmt"
	"sync"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Connect opens the default namespace on the server at an address, and registers the given kinds in
// it, as [Open] does. The address is the text that the command lanekeeper takes for --redis:
//
//	redis://[user:password@]host:port[/db]      one server; rediss:// with TLS, unix://path by its socket
//	redis+cluster://host:port,host:port         a Redis Cluster, by any of its nodes
//	redis+sentinel://host:port,host:port/master the server that Sentinels watch under the name master
//
// Parameters set the client's timeouts and sizes: ?read_timeout=1s&pool_size=20. An empty address
// stands for redis://127.0.0.1:6379; Connect does not read the environment. A program that wants
// another namespace, or any other field of [Config], makes a client and calls Open.
//
// The first kind that anybody declares closes the namespace to all that are not declared, and this
// one is shared by everybody who names no other: from then on an enqueue of any other kind returns
// [ErrUndeclared], also in a program that gives no kinds here. Such a program passes its kinds, with
// an Owner each; of a [TypedKind] that is the field Kind, as in Connect(ctx, address, expire.Kind).
// Experiments open a namespace of their own, [Config].Namespace, with Open.
//
// The context bounds the opening alone. Connect returns the errors of Open, and one that wraps
// [ErrInvalid] for an address that can't be read; none of them shows a password that the address
// holds. The client is closed when Connect returns an error; else the caller closes it, with
// [Dispatcher.Close].
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
// redis.ErrClosed. Close waits for nobody, so pools and sessions of d have to end first. It returns
// the client's error, and the same one when it is called again. On a Dispatcher of [Open] it does
// nothing and returns nil: there the caller made the client, and closes it.
func (d *Dispatcher) Close() error {
	if d.disconnect == nil {
		return nil
	}
	return d.disconnect()
}
