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

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/check"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// endsOf says how each job of an end has ended.
func endsOf(end session.End) string {
	var said []string
	for _, e := range end.Each {
		said = append(said, fmt.Sprint(e.Claim.ID, " ", e.Outcome))
	}
	return strings.Join(said, ", ")
}

// A batch handler that returns too few errors, or too many, has failed, and so has the whole batch; it
// took the process with it.
func TestPairs_BatchHandlerThatMiscounts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 4} {
		f := newFake()
		_, err := pooled(t, Config{}, f, func(p *Pool) {
			p.HandleBatch("k", 3, func(context.Context, []dispatcher.Job) []error { return make([]error, n) })
		}, func(*Pool) {
			f.addLane(jobs(3)...)
			time.Sleep(time.Minute)
		})
		end := f.ends["j0"]
		if got := endsOf(end); err != nil || got != "j0 retry, j1 retry, j2 retry" {
			t.Errorf("%d errors for 3 jobs: %q, %v", n, got, err)
		} else if text := end.Each[2].Error; !strings.Contains(text, fmt.Sprintf("%d errors for 3 jobs", n)) {
			t.Errorf("%d errors for 3 jobs: the error is %q", n, text)
		}
	}
}

// A batch that ends while the pool stops, or after an operator has cancelled its head, has ended as it says: what is
// done is done, and does not run again; what failed was interrupted.
func TestPairs_BatchThatIsInterrupted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		errs func(ctx context.Context) []error
		want string
	}{
		"all are done": {func(context.Context) []error { return nil }, "j0 finish, j1 finish, j2 finish"},
		"one is done":  {func(ctx context.Context) []error { return []error{ctx.Err(), nil, ctx.Err()} }, "j0 hand back, j1 finish, j2 hand back"},
		"none is done": {func(ctx context.Context) []error { return []error{ctx.Err(), ctx.Err(), ctx.Err()} }, "j0 hand back, j1 hand back, j2 hand back"},
	} {
		for _, why := range []error{ErrStopped, lease.ErrCancelled} {
			f := newFake()
			var cause error
			_, err := pooled(t, Config{StopTimeout: time.Second}, f, func(p *Pool) {
				p.HandleBatch("k", 3, func(ctx context.Context, _ []dispatcher.Job) []error {
					<-ctx.Done()
					cause = context.Cause(ctx)
					return c.errs(ctx)
				})
			}, func(*Pool) {
				f.addLane(jobs(3)...)
				time.Sleep(time.Second)
				if why == lease.ErrCancelled {
					f.set(func() { f.renew = lease.ErrCancelled })
					time.Sleep(time.Minute)
				}
			})
			if got := endsOf(f.ends["j0"]); got != c.want || !errors.Is(cause, why) {
				t.Errorf("%s, %v: %q, want %q; its cause was %v", name, why, got, c.want, cause)
			}
			if stop := (*StopError)(nil); errors.As(err, &stop) != (why == ErrStopped && strings.Contains(c.want, "back")) {
				t.Errorf("%s, %v: the pool says %v", name, why, err)
			}
		}
	}
}

// A job whose outcome is kept ends the lease of its lane: the rest of a lane batch is not started under it. There were
// two holders at once.
func TestPairs_KeptJobEndsALaneBatch(t *testing.T) {
	t.Parallel()
	f := newFake()
	var s seen
	_, _ = pooled(t, Config{}, f, func(p *Pool) {
		p.Handle("k", s.handler(func(context.Context, string) error { return nil }))
	}, func(*Pool) {
		batch := jobs(4)
		batch[1].Keep = time.Hour
		f.addLane(batch...)
		time.Sleep(time.Minute)
	})
	if !slices.Equal(s.ids, []string{"j0", "j1"}) || !f.ends["j0"].GoesOn || f.ends["j1"].GoesOn {
		t.Errorf("ran %v, ends %+v", s.ids, f.ends)
	}
}

// Lane batches, by job or by batch handler, beside kept outcomes, limits of kinds and pools, and unique keys, in two pools:
// one at a time for each subject, in order, once each, under the limit, and nothing is left.
func TestPairs_LaneBatchesInPools(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, c := range map[string]struct {
			kind  dispatcher.Kind
			pools map[string]int
			most  int64
		}{
			"plain":            {dispatcher.Kind{}, nil, 3},
			"kept":             {dispatcher.Kind{Keep: time.Hour}, nil, 3},
			"limit":            {dispatcher.Kind{Limit: 1}, nil, 1},
			"limit of a pool":  {dispatcher.Kind{}, map[string]int{"default": 1}, 1},
			"kept under limit": {dispatcher.Kind{Limit: 2, Keep: time.Hour}, nil, 2},
			"set aside":        {dispatcher.Kind{Limit: 2, OnFailure: dispatcher.Skip}, nil, 2},
		} {
			for _, together := range []bool{false, true} {
				t.Run(fmt.Sprint(name, ", together ", together), func(t *testing.T) {
					t.Parallel()
					kind := c.kind
					kind.Name, kind.Owner = "k", "o"
					s := declare(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{kind}, PoolLimits: c.pools})
					const lanes, deep = 3, 12
					for lane := range lanes {
						s.put(fmt.Sprint("lane", lane), "k", deep)
					}
					var g gauge
					work := s.work(0)
					one := func(ctx context.Context, payload []byte) error {
						return errors.Join(g.handler(time.Millisecond)(ctx, payload), work(ctx, payload))
					}
					for range 2 {
						s.batchPool(t, together, one)
					}
					runs := s.ran(lanes * deep)
					redistest.Until(t, "all are gone", func() bool { st, _ := s.Stats(t.Context()); return st.Jobs+st.Leased == 0 })
					if r := check.Check(runs); r.OutOfOrder+r.Overlaps > 0 || g.most.Load() > c.most {
						t.Errorf("%+v; %d ran at once, want %d at most", r, g.most.Load(), c.most)
					}
					for id, n := range s.attempts {
						if n != 1 {
							t.Errorf("%s ran %d times", id, n)
						}
					}
				})
			}
		}
	})
}

// batchPool runs a pool that takes five jobs of a lane at once, and hands them to the handler one after the other.
func (s *site) batchPool(t *testing.T, together bool, one Handler) {
	t.Helper()
	p, err := New(s.Dispatcher, Config{Concurrency: 4, LaneBatch: map[string]int{"k": 5}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if !together {
		p.Handle("k", one)
	} else {
		p.HandleBatch("k", 5, func(ctx context.Context, jobs []dispatcher.Job) (errs []error) {
			head, _ := FromContext(ctx)
			for _, j := range jobs {
				c := head
				c.Job = j
				errs = append(errs, one(session.WithClaim(ctx, &c), j.Payload))
			}
			return errs
		})
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("pool: %v", err)
		}
	})
}

// An operator cancels the job of a lane batch that runs: that one goes, unless it finishes all the same, and none of the
// others does.
func TestPairs_CancelInALaneBatch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, c := range map[string]struct {
			together  bool
			returns   error
			finished  int64
			cancelled int64
		}{
			"lane batch, it gives up":    {false, context.Canceled, 3, 1},
			"lane batch, it finishes":    {false, nil, 4, 0},
			"batch handler, it gives up": {true, context.Canceled, 3, 1},
			"batch handler, it finishes": {true, nil, 4, 0},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, rdb)
				s.put("a", "k", 4)
				var once sync.Once
				one := func(ctx context.Context, _ []byte) (err error) {
					once.Do(func() {
						claim, _ := FromContext(ctx)
						if _, err := s.Cancel(context.WithoutCancel(ctx), dispatcher.JobRef{ID: claim.ID}); err != nil {
							t.Error(err)
						}
						<-ctx.Done()
						err = c.returns
					})
					return err
				}
				p, err := New(s.Dispatcher, Config{Concurrency: 2, LaneBatch: map[string]int{"k": 4}, Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				if !c.together {
					p.Handle("k", one)
				} else {
					p.HandleBatch("k", 4, func(ctx context.Context, jobs []dispatcher.Job) []error {
						errs := make([]error, len(jobs))
						errs[0] = one(ctx, nil)
						return errs
					})
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- p.Run(ctx) }()
				redistest.Until(t, "all are gone", func() bool { st, _ := s.Stats(t.Context()); return st.Jobs+st.Leased == 0 })
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				if n := p.Counts(); n.Finished != c.finished || n.Cancelled != c.cancelled || n.Retried+n.Dead != 0 {
					t.Errorf("counts %+v", n)
				}
			})
		}
	})
}

// A pool that stops in the middle of what features do to a job hands it back as it was: it is not halted, set aside or
// dead for that, keeps its key, and its slot is free.
func TestPairs_StopHandsBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, kind := range map[string]dispatcher.Kind{
			"keep": {Keep: time.Hour}, "skip": {OnFailure: dispatcher.Skip}, "halt": {OnFailure: dispatcher.Halt}, "limit": {Limit: 1}, "rate": {Every: time.Millisecond},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				kind := kind
				kind.Name, kind.Owner, kind.MaxAttempts = "k", "o", 1
				s := declare(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{kind}})
				job := dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: "a"}, Kind: "k", ID: "j", Unique: &dispatcher.Unique{Key: "x", Scope: dispatcher.WhileWaitingOrRunning}}
				if _, err := s.Enqueue(t.Context(), job); err != nil {
					t.Fatal(err)
				}
				p, err := New(s.Dispatcher, Config{StopTimeout: time.Millisecond, Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				started := make(chan bool)
				p.Handle("k", func(ctx context.Context, _ []byte) error { started <- true; <-ctx.Done(); return ctx.Err() })
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- p.Run(ctx) }()
				<-started
				stop()
				if stopped := (*StopError)(nil); !errors.As(<-done, &stopped) || stopped.HandedBack != 1 {
					t.Fatalf("the pool says %+v", stopped)
				}
				info, err := s.Job(t.Context(), dispatcher.JobRef{ID: "j"})
				if err != nil || info.State != inspect.Ready || info.Attempt != 0 {
					t.Errorf("the job is %s after %d attempts, %v", info.State, info.Attempt, err)
				}
				job.ID = "other"
				if again, err := s.Enqueue(t.Context(), job); err != nil || again.Created {
					t.Errorf("a job of the same key: %+v, %v", again, err)
				}
				if st, err := s.Stats(t.Context()); err != nil || st.Leased != 0 {
					t.Errorf("left are %+v, %v", st, err)
				}
				s.pool(Config{}, map[string]Handler{"k": s.work(0)})
				s.ran(1)
			})
		}
	})
}
