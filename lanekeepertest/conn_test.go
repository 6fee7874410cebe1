package lanekeepertest

import (
	"net"
	"syscall"
	"testing"
)

// A connection that an outage has broken is closed like any other, and go-redis can see that it is broken.
func TestBrokenConnectionsCloseQuietly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := newNetwork()
	c, err := n.dials((&net.Dialer{}).DialContext)(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := c.(syscall.Conn)
	if !ok {
		t.Fatal("nobody can look at it")
	}
	if _, err := raw.SyscallConn(); err != nil {
		t.Error(err)
	}
	n.set(func(n *network) { n.away = true })
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
