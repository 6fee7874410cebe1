package redistest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Proxy stands between a client and a server and loses replies on demand.
type Proxy struct {
	listener net.Listener
	target   string
	drop     atomic.Int32
	conns    sync.WaitGroup
}

// NewProxy starts a proxy in front of a server and returns a client that goes
// through it, with go-redis's usual retries.
func NewProxy(t testing.TB, s *Server) (*Proxy, *redis.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: s.Addr}
	p.conns.Go(p.accept)
	rdb := connect.New(&redis.Options{Addr: l.Addr().String()})
	t.Cleanup(func() {
		_ = rdb.Close()
		_ = l.Close()
		p.conns.Wait()
	})
	return p, rdb
}

// LoseReplies makes the proxy swallow the next n replies: the server has run the
// command, and the client's connection breaks.
func (p *Proxy) LoseReplies(n int) { p.drop.Store(int32(n)) }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.conns.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
		p.conns.Go(func() { p.replies(client, server) })
	}
}

func (p *Proxy) replies(client, server net.Conn) {
	defer client.Close()
	defer server.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if p.drop.Load() > 0 && p.drop.Add(-1) >= 0 {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}
