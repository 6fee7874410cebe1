package lanekeepertest

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// network is what lies between the kit's client and the server. It does what it is told at connections, and so also to
// those that pools open for themselves.
type network struct {
	mu      sync.Mutex
	away    bool
	full    bool
	slow    time.Duration
	changed chan struct{} // closed when one of them changes
	conns   map[*conn]bool
}

func newNetwork() *network {
	return &network{changed: make(chan struct{}), conns: make(map[*conn]bool)}
}

// set changes what the network does.
func (n *network) set(change func(*network)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
	close(n.changed)
	n.changed = make(chan struct{})
	if n.away {
		for c := range n.conns {
			_ = c.Conn.Close()
		}
	}
}

// client returns a client like rdb whose connections go through the network.
func (n *network) client(rdb redis.UniversalClient) redis.UniversalClient {
	own := connect.Dialling(rdb, n.dials)
	own.AddHook(n)
	return own
}

// dials puts the network between a dialer and those who dial.
func (n *network) dials(dial connect.Dialer) connect.Dialer {
	refused := func(network string) error {
		return &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		n.mu.Lock()
		away := n.away
		n.mu.Unlock()
		if away {
			return nil, refused(network)
		}
		opened, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: opened, network: n, closed: make(chan struct{})}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.away { // since it was asked
			_ = opened.Close()
			return nil, refused(network)
		}
		n.conns[c] = true
		if raw, ok := opened.(syscall.Conn); ok {
			return looked{c, raw}, nil
		}
		return c, nil
	}
}

// looked is a connection that go-redis can look at before it uses it again, as it does with a plain one: those that broke in an
// outage would each cost a call one of its attempts.
type looked struct {
	*conn
	syscall.Conn
}

// conn is a connection whose answers may be late.
type conn struct {
	net.Conn
	network *network
	once    sync.Once
	closed  chan struct{}

	mu       sync.Mutex
	deadline time.Time // of reads
}

// Read passes an answer on when it is its time. One that comes after the deadline of the read never does.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil {
		err = c.wait(time.Now())
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// wait waits until an answer that has come is to be passed on: as late as the network is slow, also when that changes.
func (c *conn) wait(came time.Time) error {
	c.mu.Lock()
	deadline := c.deadline
	c.mu.Unlock()
	for {
		c.network.mu.Lock()
		at, changed, away := came.Add(c.network.slow), c.network.changed, c.network.away
		c.network.mu.Unlock()
		now, over := time.Now(), false
		switch {
		case away:
			return net.ErrClosed
		case !now.Before(at):
			return nil
		case !deadline.IsZero() && !now.Before(deadline):
			return os.ErrDeadlineExceeded
		case !deadline.IsZero() && deadline.Before(at):
			at = deadline
		}
		timer := time.NewTimer(at.Sub(now))
		select {
		case <-timer.C:
		case <-changed:
		case <-c.closed:
			over = true
		}
		timer.Stop()
		if over {
			return net.ErrClosed
		}
	}
}

func (c *conn) SetDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) note(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.network.mu.Lock()
		delete(c.network.conns, c)
		c.network.mu.Unlock()
	})
	if err := c.Conn.Close(); !errors.Is(err, net.ErrClosed) { // as it is after an outage, which is no fault of who closes it
		return err
	}
	return nil
}
