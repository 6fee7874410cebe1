// Package embedded runs a Redis in the process, for demos and development. It
// keeps everything in memory: nothing survives the process.
package embedded

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Server is an embedded Redis.
type Server struct {
	mini     *miniredis.Miniredis
	password string
	stop     context.CancelFunc
	stopped  chan struct{}
}

// Start starts a server on a loopback address such as "127.0.0.1:0". A random
// password protects it: what is embedded is no sandbox (miniredis's Lua can load
// files). Miniredis could also be dialled without a port, over net.Pipe; but that
// has no buffer, and a pipeline whose replies start before its last request is
// written would wait for itself.
func Start(addr string) (*Server, error) {
	s := &Server{mini: miniredis.NewMiniRedis(), password: rand.Text(), stopped: make(chan struct{})}
	s.mini.RequireAuth(s.password)
	if err := s.mini.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("start the embedded server: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go s.expire(ctx)
	return s, nil
}

// expire lets time pass for keys with a TTL, which miniredis does not do by itself.
func (s *Server) expire(ctx context.Context) {
	defer close(s.stopped)
	tick := time.Tick(time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			s.mini.FastForward(time.Second)
		}
	}
}

// URL returns the server's address, password included.
func (s *Server) URL() string {
	return "redis://:" + s.password + "@" + s.mini.Addr()
}

// Client returns a client of the server.
func (s *Server) Client() *redis.Client {
	return connect.New(&redis.Options{Addr: s.mini.Addr(), Password: s.password})
}

// Close stops the server; all that it held is gone.
func (s *Server) Close() {
	s.stop()
	<-s.stopped
	s.mini.Close()
}
