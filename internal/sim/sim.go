// Package sim is a world in which the real code meets faults that can be repeated: a
// miniredis and the network to it, inside a testing/synctest bubble, where hours of
// virtual time pass in seconds. Everything that goes wrong is decided by a hash of
// the seed, who makes the request, and which of its requests it is; so a seed meets
// the same faults again, however goroutines are scheduled.
package sim

import (
	"context"
	"fmt"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Fault is what can happen to one request.
type Fault string

// The faults of single requests.
const (
	LostRequest Fault = "request lost" // the connection breaks before the server reads it
	LostReply   Fault = "reply lost"   // the server has run it
	SlowReply   Fault = "reply slow"
	NoScript    Fault = "NOSCRIPT" // the script cache was flushed before
	Stalled     Fault = "stalled"  // nothing goes out or comes in, for longer than a lease lasts
)

// Faults are how many of a thousand requests meet each fault.
type Faults map[Fault]int

// World is one server and the network to it.
type World struct {
	Seed   uint64
	Faults Faults

	mini    *miniredis.Miniredis
	lua     *interpreter
	control *redis.Client // meets no faults

	mu     sync.Mutex
	worse  map[string]Faults // of clients that have their own
	seen   map[Fault]int
	conns  map[*conn]bool
	dead   map[string]bool
	skew   time.Duration // how far the server's clock is off
	down   time.Time     // till then the server says LOADING
	full   time.Time     // till then it refuses enqueues for want of memory
	calm   atomic.Bool
	Served atomic.Int64 // scripts and waits
}

// New makes a world. It must be called inside a bubble, and closed there.
func New(seed uint64, faults Faults) (*World, error) {
	w := &World{
		Seed: seed, Faults: faults, mini: miniredis.NewMiniRedis(),
		worse: make(map[string]Faults), seen: make(map[Fault]int), conns: make(map[*conn]bool), dead: make(map[string]bool),
	}
	first, err := w.mini.Dial() // the first call makes the server, without a port
	if err != nil {
		return nil, err
	}
	_ = first.Close()
	w.control = w.Client("")
	w.lua = newInterpreter(w)
	w.mini.Server().SetPreHook(func(c *server.Peer, cmd string, _ ...string) bool {
		if cmd == "ECHO" {
			w.lua.inner = c.Ctx
		}
		return false
	})
	if err := w.control.Eval(context.Background(), "return redis.call('ECHO', '')", nil).Err(); err != nil {
		return nil, err
	}
	w.mini.Server().SetPreHook(w.hook)
	return w, nil
}

// Close ends the world. All its clients must be closed before.
func (w *World) Close() {
	_ = w.control.Close()
	w.mini.Close()
	w.lua.state.Close()
}

// Worsen gives a client a network of its own.
func (w *World) Worsen(client string, faults Faults) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.worse[client] = faults
}

// Calm ends all faults: what is broken heals.
func (w *World) Calm() {
	w.calm.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down, w.full = time.Time{}, time.Time{}
}

// Saw notes that something happened; Seen says how often.
func (w *World) Saw(f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[f]++
}

// Seen returns how often each fault has happened.
func (w *World) Seen() map[Fault]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.seen)
}

// Skew sets the server's clock off by d from now on.
func (w *World) Skew(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skew = d
}

// Loading makes the server refuse everything for a while, as one that restarts does.
func (w *World) Loading(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = time.Now().Add(d)
}

// Full makes the server refuse scripts that would take memory for a while.
func (w *World) Full(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = time.Now().Add(d)
}

// hook runs before each command of the server, those that scripts call among them: to
// refuse one of these would be half a fault.
func (w *World) hook(c *server.Peer, cmd string, args ...string) bool {
	switch {
	case c == w.lua.peer:
		return false
	case cmd == "MULTI" || cmd == "EXEC" || cmd == "DISCARD" || cmd == "SCRIPT":
		return w.lua.serve(c, cmd, args)
	case cmd != "EVALSHA" && cmd != "EVAL" && cmd != "BZPOPMIN":
		return false
	}
	w.Served.Add(1)
	w.mu.Lock()
	now := time.Now()
	down, full := now.Before(w.down), now.Before(w.full) && isEnqueue(cmd, args)
	switch {
	case down:
		w.seen["LOADING"]++
	case full:
		w.seen["OOM"]++
	}
	w.mu.Unlock()
	switch {
	case down:
		c.WriteError("LOADING Redis is loading the dataset in memory")
	case full:
		c.WriteError("OOM command not allowed when used memory > 'maxmemory'.")
	}
	return down || full || w.lua.serve(c, cmd, args)
}

// setClock tells the server what time it is, when that is not the world's.
func (w *World) setClock() {
	w.mu.Lock()
	skew := w.skew
	w.mu.Unlock()
	at := time.Time{} // the world's
	if skew != 0 {
		at = time.Now().Add(skew)
	}
	w.mini.SetTime(at)
}

// isEnqueue knows the enqueue script by its first own argument: only it starts with
// a write that a full memory refuses.
func isEnqueue(cmd string, args []string) bool {
	var keys int
	if cmd != "EVALSHA" && cmd != "EVAL" || len(args) < 2 {
		return false
	}
	_, _ = fmt.Sscan(args[1], &keys)
	at := 2 + keys + 5
	return at < len(args) && (args[at] == "each" || args[at] == "all")
}

// Client returns a client whose requests meet faults under the given name; with an
// empty name it meets none.
func (w *World) Client(name string) *redis.Client {
	var requests atomic.Uint64
	return connect.New(&redis.Options{
		Addr: "127.0.0.1:1", // an IP address: looking up a name would leave the bubble
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.dead[name] {
				return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("%s is dead", name)}
			}
			client, serverEnd := pair()
			w.mini.Server().ServeConn(serverEnd)
			c := &conn{end: client, world: w, name: name, requests: &requests}
			w.conns[c] = true
			return c, nil
		},
	})
}
