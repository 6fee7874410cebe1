package redistest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Proxy stands between clients and a server and misbehaves on demand.
type Proxy struct {
	listener net.Listener
	target   string
	conns    sync.WaitGroup

	drop atomic.Int32 // replies still to be lost
	Lost atomic.Int64 // replies that were
	hole atomic.Bool
	slow atomic.Int64 // ns by which each reply is late
	ends atomic.Bool  // once what is left has passed
	left atomic.Int64 // requests that still pass

	mu   sync.Mutex
	open map[net.Conn]bool
}

// NewProxy starts a proxy in front of a server and returns a client that goes
// through it, with go-redis's usual retries.
func NewProxy(t testing.TB, s *Server) (*Proxy, *redis.Client) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: s.Addr, open: make(map[net.Conn]bool)}
	p.conns.Go(p.accept)
	rdb := connect.New(&redis.Options{Addr: l.Addr().String()})
	t.Cleanup(func() {
		_ = rdb.Close()
		_ = l.Close()
		p.BlackHole(false)
		p.Cut()
		p.conns.Wait()
	})
	return p, rdb
}

// URL is the proxy's address for --redis.
func (p *Proxy) URL() string { return "redis://" + p.listener.Addr().String() }

// LoseReplies makes the proxy swallow the next n replies: the server has run the
// command, and the client's connection breaks.
func (p *Proxy) LoseReplies(n int) { p.drop.Store(int32(n)) }

// BlackHole makes the proxy pass nothing on, and close nothing.
func (p *Proxy) BlackHole(on bool) { p.hole.Store(on) }

// Slow makes each reply late.
func (p *Proxy) Slow(d time.Duration) { p.slow.Store(int64(d)) }

// EndAfter lets n more requests through, pipelines counting as one. After that the server is away: all
// connections break, and each new one does.
func (p *Proxy) EndAfter(n int) {
	p.left.Store(int64(n))
	p.ends.Store(true)
}

// request decides whether a request gets through.
func (p *Proxy) request() bool {
	if p.ends.Load() && p.left.Add(-1) < 0 {
		p.Cut()
		return false
	}
	return true
}

// Cut breaks all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

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
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		p.mu.Unlock()
		p.conns.Go(func() { p.pass(client, server, p.request) })
		p.conns.Go(func() { p.pass(server, client, p.reply) })
	}
}

// reply decides whether a reply gets through, and when.
func (p *Proxy) reply() bool {
	if p.drop.Load() > 0 && p.drop.Add(-1) >= 0 {
		p.Lost.Add(1)
		return false
	}
	time.Sleep(time.Duration(p.slow.Load()))
	return true
}

func (p *Proxy) pass(from, to net.Conn, may func() bool) {
	defer func() {
		_, _ = from.Close(), to.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, from)
		delete(p.open, to)
	}()
	buf := make([]byte, 1<<20)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		for p.hole.Load() {
			time.Sleep(5 * time.Millisecond)
		}
		if !may() {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
