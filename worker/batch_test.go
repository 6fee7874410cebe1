package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
)

// log of which jobs a handler saw, in order.
type seen struct {
	mu  sync.Mutex
	ids []string
}

func (s *seen) handler(do func(ctx context.Context, id string) error) Handler {
	return func(ctx context.Context, _ []byte) error {
		claim, _ := FromContext(ctx)
		s.mu.Lock()
		s.ids = append(s.ids, claim.ID)
		s.mu.Unlock()
		return do(ctx, claim.ID)
	}
}

// Jobs that were claimed together run one after the other, and their ends are
// reported in that order, all but the last saying that the lane is gone on with.
func TestBatchRunsInOrder(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.slow = 5 * time.Millisecond // several ends gather while a trip is under way
	var s seen
	_, err := pooled(t, Config{Concurrency: 4}, f, func(p *Pool) {
		p.Handle("k", s.handler(func(context.Context, string) error { time.Sleep(time.Millisecond); return nil }))
	}, func(p *Pool) {
		f.addLane(jobs(50)...)
		time.Sleep(time.Minute)
		if c := p.Counts(); c.Started != 50 || c.Finished != 50 {
			t.Errorf("counts %+v", c)
		}
	})
	want := make([]string, 50)
	for i := range want {
		want[i] = fmt.Sprint("j", i)
	}
	if err != nil || !slices.Equal(s.ids, want) || !slices.Equal(f.order, want) {
		t.Errorf("%v; ran %v, reported %v", err, s.ids, f.order)
	}
	if f.races > 0 {
		t.Errorf("%d trips could overtake another with ends of the same lane", f.races)
	}
	for i, id := range want {
		if e := f.ends[id]; e.GoesOn != (i < 49) || e.Outcome != session.Finished {
			t.Errorf("end of %s: %v, goes on %t", id, e.Outcome, e.GoesOn)
		}
	}
}

// A job that fails ends the batch: the lane waits, and what follows is not started.
func TestBatchEndsWithAFailure(t *testing.T) {
	t.Parallel()
	f := newFake()
	var s seen
	_, _ = pooled(t, Config{}, f, func(p *Pool) {
		p.Handle("k", s.handler(func(_ context.Context, id string) error {
			if id == "j1" {
				return errBoom
			}
			return nil
		}))
	}, func(*Pool) {
		f.addLane(jobs(3)...)
		time.Sleep(time.Minute)
	})
	if !slices.Equal(s.ids, []string{"j0", "j1"}) || f.ends["j1"].Outcome != session.Retry || !f.ends["j0"].GoesOn {
		t.Errorf("ran %v, ends %+v", s.ids, f.ends)
	}
}

// A lease that is found lost while the batch runs stops it between two jobs, and
// cancels the job that runs.
func TestBatchEndsWithItsLease(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.lost = map[string]bool{"j0": true}
	var s seen
	var cause error
	_, _ = pooled(t, Config{Concurrency: 1}, f, func(p *Pool) {
		p.Handle("k", s.handler(func(ctx context.Context, id string) error {
			if id == "j1" {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return nil
			}
			return nil
		}))
	}, func(*Pool) {
		f.addLane(jobs(3)...)
		time.Sleep(time.Second)
	})
	if !slices.Equal(s.ids, []string{"j0", "j1"}) || !errors.Is(cause, lease.ErrLost) {
		t.Errorf("ran %v, the second was cancelled with %v", s.ids, cause)
	}
}

// A pool that is told to stop begins no further job of a batch.
func TestStopBetweenTwoJobsOfABatch(t *testing.T) {
	t.Parallel()
	f := newFake()
	var s seen
	_, err := pooled(t, Config{StopTimeout: time.Hour, LaneBatch: map[string]int{"k": 3}}, f, func(p *Pool) {
		p.Handle("k", s.handler(func(context.Context, string) error { time.Sleep(time.Minute); return nil }))
	}, func(*Pool) {
		f.addLane(jobs(3)...)
		time.Sleep(90 * time.Second) // in the middle of the second
	})
	if err != nil || !slices.Equal(s.ids, []string{"j0", "j1"}) || f.ends["j1"].GoesOn || f.ends["j1"].Outcome != session.Finished {
		t.Errorf("%v; ran %v, ends %+v", err, s.ids, f.ends)
	}
}

// Fast handlers are fed with lanes claimed ahead; when a handler turns out slow, what
// waits for it is handed back in time, and no more is claimed ahead.
func TestClaimsAhead(t *testing.T) {
	t.Parallel()
	f := newFake()
	block := make(chan struct{})
	_, _ = pooled(t, Config{Concurrency: 2}, f, func(p *Pool) {
		block = make(chan struct{})
		p.Handle("k", func(_ context.Context, payload []byte) error {
			if string(payload) == "slow" {
				<-block
			}
			return nil
		})
	}, func(p *Pool) {
		fast := jobs(3000)
		f.add(fast...)
		time.Sleep(10 * time.Second)
		f.set(func() {
			if f.most <= 2 {
				t.Errorf("asked for %d lanes at most with 2 fast handlers, want more", f.most)
			}
		})
		if c := p.Counts(); c.Finished != 3000 {
			t.Fatalf("counts %+v", c)
		}
		slow := jobs(20)
		for i := range slow {
			slow[i].ID, slow[i].Payload = fmt.Sprint("slow", i), []byte("slow")
		}
		f.set(func() { f.most = 0 })
		f.add(slow...)
		time.Sleep(time.Second)
		c := p.Counts()
		if c.Started != 3002 || c.HandedBack != 18 {
			t.Errorf("counts %+v, want 2 running and 18 handed back", c)
		}
		f.set(func() { f.most = 0; f.queue = nil })
		close(block)
		f.add(dispatcher.Job{ID: "next"})
		time.Sleep(time.Second)
		f.set(func() {
			if f.most > 2 {
				t.Errorf("asked for %d lanes at once after handlers were slow", f.most)
			}
		})
	})
}

// How far a pool claims ahead is judged by the time that whole lanes take: many short
// jobs of one lane hold a handler as long as one long job does.
func TestBatchesAreNotClaimedAheadLikeShortJobs(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, _ = pooled(t, Config{Concurrency: 4}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { time.Sleep(50 * time.Microsecond); return nil })
	}, func(p *Pool) {
		for range 200 { // of 500 µs each
			f.addLane(jobs(10)...)
			time.Sleep(time.Millisecond)
		}
		for range 40 { // of 50 ms each
			f.addLane(jobs(1000)...)
		}
		time.Sleep(time.Minute)
		// The first long lanes are claimed ahead like the short ones before them: for each of four
		// places as many as fit into aheadFor.
		most := int64(4 * aheadFor / (500 * time.Microsecond))
		if c := p.Counts(); c.HandedBack > most || c.Lost > 0 {
			t.Errorf("counts %+v, want %d lanes handed back at most, of 40", c, most)
		}
	})
}

func TestLaneBatchNeedsAHandler(t *testing.T) {
	t.Parallel()
	p, err := newPool(Config{LaneBatch: map[string]int{"typo": 5}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Handle("k", func(context.Context, []byte) error { return nil })
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), `"typo"`) {
		t.Errorf("ran with %v, want an error that names the kind", err)
	}
}
