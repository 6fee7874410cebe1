// Command artifact shows the race of two background jobs on one artifact: one moves it to
// other storage, one expires it. Without lanes they overlap, and expired artifacts are still
// stored. With lanes they don't; but a move that hangs, is given up and tried again, comes back
// to life and writes late, unless the store checks the fencing token.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

const (
	artifacts = 100
	hanging   = 5 // of the moves, those that hang in the middle and hear of no timeout
	timeout   = 250 * time.Millisecond
)

// storage has copies of artifacts, and remembers the largest token that each was written with.
type storage struct {
	lanes  bool // else tokens are of different subjects, and say nothing
	checks bool // refuse writes with a smaller token

	mu     sync.Mutex
	copies map[string]bool
	tokens map[string]lease.Token
	late   int // writes with a smaller token than one before

	expired map[string]chan struct{} // closed when an artifact was expired
	hung    sync.WaitGroup           // moves that hang
}

var errLate = errors.New("storage: written with a larger token before")

// write stores or removes the copy of an artifact.
func (s *storage) write(id string, token lease.Token, stored bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lanes && token < s.tokens[id] {
		if s.checks {
			return errLate
		}
		s.late++
	}
	s.tokens[id] = max(token, s.tokens[id])
	s.copies[id] = stored
	select {
	case <-s.expired[id]: // an attempt before
	default:
		if !stored {
			close(s.expired[id])
		}
	}
	return nil
}

// result is what a run has left: copies of artifacts that were expired after their move, and
// writes that came too late.
type result struct{ Leaked, Late int }

// run enqueues a move and then an expiry of every artifact, and lets a pool run them: in one
// lane each, or each in a lane of its own.
func run(ctx context.Context, lanes, checks bool) (result, error) {
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		return result{}, err
	}
	defer server.Close()
	rdb := server.Client()
	defer rdb.Close()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb})
	if err != nil {
		return result{}, err
	}
	s := &storage{lanes: lanes, checks: checks, copies: make(map[string]bool), tokens: make(map[string]lease.Token), expired: make(map[string]chan struct{})}
	pool, err := worker.New(d, worker.Config{
		Concurrency: 20, LeaseTTL: 5 * time.Second, CancelGrace: timeout, Timeout: timeout,
		Backoff: dispatcher.Backoff{Base: timeout, Cap: timeout}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return result{}, err
	}
	var moved atomic.Int64
	pool.Handle("move", func(ctx context.Context, payload []byte) error {
		claim, _ := worker.FromContext(ctx)
		time.Sleep(2 * time.Millisecond) // it reads the artifact
		if lanes && claim.Attempt == 1 && moved.Add(1) <= hanging {
			s.hung.Add(1)
			defer s.hung.Done()
			<-s.expired[string(payload)] // on a network mount, say, that comes back when all is over: no context reaches it
		}
		return s.write(string(payload), claim.Lease.Token, true)
	})
	pool.Handle("expire", func(ctx context.Context, payload []byte) error {
		claim, _ := worker.FromContext(ctx)
		return s.write(string(payload), claim.Lease.Token, false)
	})
	for i := range artifacts {
		id := fmt.Sprint(i)
		s.expired[id] = make(chan struct{})
		for _, kind := range []string{"move", "expire"} {
			key := subject.Key{Kind: "artifact", ID: id}
			if !lanes {
				key = subject.Key{Kind: kind, ID: id}
			}
			if _, err := d.Enqueue(ctx, dispatcher.NewJob{Subject: key, Kind: kind, Payload: []byte(id)}); err != nil {
				return result{}, err
			}
		}
	}
	return s.after(ctx, d, pool)
}

// after runs the pool until nothing is left, and counts.
func (s *storage) after(ctx context.Context, d *dispatcher.Dispatcher, pool *worker.Pool) (result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- pool.Run(ctx) }()
	for {
		stats, err := inspect.New(d).Stats(ctx)
		if err != nil {
			return result{}, err
		}
		if stats.Jobs == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.hung.Wait() // those that hang come back
	stop()
	if err := <-ended; err != nil && !errors.As(err, new(*worker.StopError)) {
		return result{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := result{Late: s.late}
	for _, stored := range s.copies {
		if stored {
			r.Leaked++
		}
	}
	return r, nil
}

func main() {
	worst := 0
	for _, c := range []struct {
		name          string
		lanes, checks bool
	}{
		{"without lanes", false, false},
		{"with lanes, the store checks no token", true, false},
		{"with lanes, the store checks the token", true, true},
	} {
		r, err := run(context.Background(), c.lanes, c.checks)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%-40s %3d of %d expired artifacts are still stored, %d late writes\n", c.name, r.Leaked, artifacts, r.Late)
		worst = r.Leaked + r.Late
	}
	if worst > 0 {
		os.Exit(4)
	}
}
