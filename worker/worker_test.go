package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func TestPoolRunsAllWithinItsConcurrency(t *testing.T) {
	t.Parallel()
	f := newFake()
	var running, most atomic.Int32
	_, err := pooled(t, Config{Concurrency: 7}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			running.Add(-1)
			return nil
		})
	}, func(p *Pool) {
		f.add(jobs(100)...)
		time.Sleep(time.Minute)
		if got := p.Counts(); got.Finished != 100 || got.Started != 100 {
			t.Errorf("counts %+v, want 100 started and finished", got)
		}
	})
	if err != nil || most.Load() != 7 {
		t.Errorf("%v; %d ran at once, want 7", err, most.Load())
	}
}

// What a handler returns, or how it fails to return, decides the job's fate [C3].
func TestOutcomes(t *testing.T) {
	t.Parallel()
	var nilMap map[string]int
	for name, c := range map[string]struct {
		handler Handler
		want    session.End
		error   string
	}{
		"finish": {func(context.Context, []byte) error { return nil }, session.End{Outcome: session.Finished}, ""},
		"error":  {func(context.Context, []byte) error { return errBoom }, session.End{Outcome: session.Retry}, "boom"},
		"permanent": {func(context.Context, []byte) error { return fmt.Errorf("wrapped: %w", Permanent(errBoom)) },
			session.End{Outcome: session.DeadLettered, Reason: "permanent error"}, "wrapped: boom"},
		"retry after": {func(context.Context, []byte) error { return RetryAfter(time.Hour, errBoom) },
			session.End{Outcome: session.Retry, Wait: time.Hour}, "boom"},
		"panic": {func(context.Context, []byte) error { panic("ouch") }, session.End{Outcome: session.Retry}, "worker_test.go"},
		"nil map": {func(context.Context, []byte) error { nilMap["x"] = 1; return nil },
			session.End{Outcome: session.Retry}, "assignment to entry in nil map"},
		"goexit": {func(context.Context, []byte) error { runtime.Goexit(); return nil },
			session.End{Outcome: session.Retry}, "Goexit"},
		"timeout": {func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() },
			session.End{Outcome: session.Retry}, "timed out after 5s"},
		"bad JSON": {JSON(func(context.Context, int) error { return nil }),
			session.End{Outcome: session.DeadLettered, Reason: "permanent error"}, "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			_, err := pooled(t, Config{Concurrency: 1, Timeout: 5 * time.Second}, f, func(p *Pool) {
				p.Handle("k", c.handler)
			}, func(*Pool) {
				f.add(dispatcher.Job{ID: "j", Payload: []byte("{")}, dispatcher.Job{ID: "after", Payload: []byte("{")})
				time.Sleep(20 * time.Second)
				got, ok := f.end("j")
				if !ok || got.Outcome != c.want.Outcome || got.Reason != c.want.Reason || !strings.Contains(got.Error, c.error) {
					t.Errorf("end is %v %q: %q, want %v: %q", got.Outcome, got.Reason, got.Error, c.want.Outcome, c.error)
				}
				if got.Outcome == session.Retry && (c.want.Wait != 0 && got.Wait != c.want.Wait || got.Wait <= 0) {
					t.Errorf("waits for %s, want %s", got.Wait, c.want.Wait)
				}
				if _, ok := f.end("after"); !ok {
					t.Error("the pool did not go on with the next job")
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A handler that ignores its context is given up after the grace, with its stack,
// so that its lane goes on; what it returns later counts for nothing.
func TestHandlerThatDoesNotReturnIsGivenUp(t *testing.T) {
	t.Parallel()
	f := newFake()
	block := make(chan struct{})
	_, _ = pooled(t, Config{Concurrency: 1, Timeout: time.Second, CancelGrace: 2 * time.Second}, f, func(p *Pool) {
		block = make(chan struct{})
		p.Handle("k", func(context.Context, []byte) error { <-block; return nil })
	}, func(p *Pool) {
		f.add(dispatcher.Job{ID: "j"})
		time.Sleep(2900 * time.Millisecond)
		if _, ok := f.end("j"); ok {
			t.Error("given up before its grace was over")
		}
		time.Sleep(200 * time.Millisecond)
		got, _ := f.end("j")
		if got.Outcome != session.Retry || !strings.Contains(got.Error, "TestHandlerThatDoesNotReturnIsGivenUp") {
			t.Errorf("end is %v: %s; want a retry with the handler's stack", got.Outcome, got.Error)
		}
		close(block)
		synctest.Wait()
		if c := p.Counts(); c.Abandoned != 1 || c.Finished != 0 {
			t.Errorf("counts %+v", c)
		}
	})
}

// The lease is lost while the handler runs: its context ends with that cause.
func TestHandlerIsCancelledWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	f := newFake()
	var cause error
	_, _ = pooled(t, Config{Concurrency: 1}, f, func(p *Pool) {
		p.Handle("k", func(ctx context.Context, _ []byte) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		})
	}, func(*Pool) {
		f.set(func() { f.renew = lease.ErrLost })
		f.add(dispatcher.Job{ID: "j"})
		time.Sleep(testTTL/3 + time.Second)
	})
	if !errors.Is(cause, lease.ErrLost) {
		t.Errorf("the handler's context ended with %v, want ErrLost", cause)
	}
}

// C5: time passes between claim and start; the handler is not called any more.
func TestLastLookBeforeTheHandler(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.slow = testTTL // the reply of the claim takes as long as the lease lasts
	called := false
	_, _ = pooled(t, Config{Concurrency: 1}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { called = true; return nil })
	}, func(p *Pool) {
		f.add(dispatcher.Job{ID: "j"})
		time.Sleep(3 * testTTL)
		if c := p.Counts(); called || c.Started != 0 || c.Lost != 1 {
			t.Errorf("handler called: %t, counts %+v", called, c)
		}
	})
}

// C5: nor is it called when the slot is lost that its job would run in; then its lane is left alone, so that others
// may have it.
func TestLastLookAtASlot(t *testing.T) {
	t.Parallel()
	f := newFake()
	lane := subject.Key{Kind: "s", ID: "a"}
	called := false
	_, _ = pooled(t, Config{Concurrency: 1}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { called = true; return nil })
	}, func(p *Pool) {
		f.set(func() {
			f.queue = append(f.queue, session.Claim{
				Job:   dispatcher.Job{ID: "j", Subject: lane, Kind: "k"},
				Slots: []lease.Lease{{Subject: subject.Slot("kind/k", 1), Token: 1, Proven: time.Now().Add(-2 * testTTL), TTL: testTTL}},
			})
		})
		f.hints <- session.Hint{}
		time.Sleep(3 * testTTL)
		if c := p.Counts(); called || c.Started != 0 || c.Lost != 1 {
			t.Errorf("handler called: %t, counts %+v", called, c)
		}
		f.set(func() {
			if n := f.renewed[lane]; n > 0 {
				t.Errorf("the lease of a lane that nobody works at was renewed %d times", n)
			}
		})
	})
}

// A result travels only where somebody keeps it.
func TestResultsThatNobodyKeeps(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, _ = pooled(t, Config{Concurrency: 1}, f, func(p *Pool) {
		p.Handle("k", func(ctx context.Context, _ []byte) error { return SetResult(ctx, []byte("result")) })
	}, func(*Pool) {
		f.add(dispatcher.Job{ID: "forgotten"}, dispatcher.Job{ID: "kept", Keep: time.Hour})
		time.Sleep(time.Second)
		for id, want := range map[string]string{"forgotten": "", "kept": "result"} {
			if e, ok := f.end(id); !ok || e.Outcome != session.Finished || string(e.Result) != want {
				t.Errorf("%s ended with %+v, want the result %q", id, e, want)
			}
		}
	})
}

func TestHandlerKnowsItsAttempt(t *testing.T) {
	t.Parallel()
	f := newFake()
	var claim session.Claim
	var order []string
	_, _ = pooled(t, Config{Concurrency: 1}, f, func(p *Pool) {
		p.Handle("k", JSON(func(ctx context.Context, n int) error {
			claim, _ = FromContext(ctx)
			order = append(order, fmt.Sprint("handler ", n))
			return nil
		}))
		for _, name := range []string{"outer", "inner"} {
			p.Use(func(next Handler) Handler {
				return func(ctx context.Context, payload []byte) error {
					order = append(order, name)
					return next(ctx, payload)
				}
			})
		}
	}, func(*Pool) {
		f.add(dispatcher.Job{ID: "j", Payload: []byte("42")})
		time.Sleep(time.Second)
	})
	if claim.ID != "j" || claim.Attempt != 1 || claim.Lease.Token != 1 {
		t.Errorf("the handler saw %+v", claim)
	}
	if got := strings.Join(order, ", "); got != "outer, inner, handler 42" {
		t.Errorf("order %s", got)
	}
	if _, ok := FromContext(context.Background()); ok {
		t.Error("a context outside of a handler has a claim")
	}
}

// Graceful stop [C12]: handlers finish to a limit; then they are cancelled and handed
// back; what ignores even that is abandoned to its lease.
func TestStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler Handler
		want    *StopError
		outcome session.Outcome
		within  time.Duration
	}{
		"finishes": {func(context.Context, []byte) error { time.Sleep(5 * time.Second); return nil },
			nil, session.Finished, 5 * time.Second},
		"is cancelled": {func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() },
			&StopError{HandedBack: 1}, session.HandedBack, 11 * time.Second},
		"finishes though cancelled": {func(ctx context.Context, _ []byte) error { <-ctx.Done(); return nil },
			nil, session.Finished, 11 * time.Second},
		"ignores it": {func(context.Context, []byte) error { time.Sleep(time.Minute); return nil },
			&StopError{Abandoned: 1}, -1, 18 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			took, err := pooled(t, Config{Concurrency: 1, StopTimeout: 10 * time.Second}, f, func(p *Pool) {
				p.Handle("k", c.handler)
			}, func(*Pool) {
				f.add(jobs(2)...)
				time.Sleep(time.Millisecond)
			})
			if took > c.within {
				t.Errorf("the stop took %s, want at most %s", took, c.within)
			}
			var got *StopError
			if errors.As(err, &got) != (c.want != nil) || c.want != nil && *got != *c.want {
				t.Errorf("Run returned %v, want %v", err, c.want)
			}
			end, told := f.end("j0")
			if told != (c.outcome >= 0) || told && end.Outcome != c.outcome {
				t.Errorf("end %v %t, want %v", end.Outcome, told, c.outcome)
			}
			if _, started := f.end("j1"); started {
				t.Error("a job was claimed after the stop")
			}
		})
	}
}

// Redis goes away while a handler ends: the end is told when it is back, and the
// pool does not spin meanwhile.
func TestEndsSurviveAnOutage(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, err := pooled(t, Config{Concurrency: 2}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error {
			f.set(func() { f.down = errors.New("connection refused") })
			return nil
		})
	}, func(p *Pool) {
		f.add(dispatcher.Job{ID: "j"})
		time.Sleep(10 * time.Second)
		if _, told := f.end("j"); told || p.Counts().Finished != 0 {
			t.Error("told while Redis was away")
		}
		f.set(func() { f.down = nil })
		time.Sleep(2 * time.Second)
		if end, told := f.end("j"); !told || end.Outcome != session.Finished || p.Counts().Finished != 1 {
			t.Errorf("not told after Redis was back: %+v", p.Counts())
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func TestIdlePoolDoesNotPoll(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, _ = pooled(t, Config{}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(*Pool) {
		time.Sleep(time.Minute)
		before, after := 0, 0
		f.set(func() { before = f.asked })
		time.Sleep(10 * time.Minute)
		f.set(func() { after = f.asked })
		if perMinute := float64(after-before) / 10; perMinute > 6.5 {
			t.Errorf("an idle pool asked %.1f times a minute, want one in ten seconds", perMinute)
		}
	})
}

// What a trip brings that was under way when the pool was told to stop begins no handler, and
// goes back before the pool leaves.
func TestD2_StopHandsBackWhatTripsBring(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, err := pooled(t, Config{}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(*Pool) {
		time.Sleep(time.Minute)
		f.set(func() { f.slow = 2 * time.Second }) // from here on: a trip of before would bring the job sooner
		f.add(jobs(1)...)
		time.Sleep(time.Second)
	})
	if end, ok := f.end("j0"); !ok || end.Outcome != session.HandedBack || err != nil {
		t.Errorf("the job that came late was not handed back: %+v, %t, %v", end, ok, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for says, cfg := range map[string]Config{
		"Concurrency (-1)":   {Concurrency: -1},
		"LeaseTTL (1ms)":     {LeaseTTL: time.Millisecond},
		"CancelGrace (15s)":  {CancelGrace: 15 * time.Second},
		"Timeout (-1s)":      {Timeout: -time.Second},
		"StopTimeout (-1s)":  {StopTimeout: -time.Second},
		"Backoff ({1s 1ms})": {Backoff: dispatcher.Backoff{Base: time.Second, Cap: time.Millisecond}},
	} {
		if _, err := New(nil, cfg); err == nil || !strings.Contains(err.Error(), "Config."+says) {
			t.Errorf("%+v: %v, want one that says %s", cfg, err, says)
		}
	}
	p, _ := New(nil, Config{})
	p.Handle("k", func(context.Context, []byte) error { return nil })
	for name, kind := range map[string]string{"twice": "k", "malformed": "a b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a kind %s did not panic", name)
				}
			}()
			p.Handle(kind, func(context.Context, []byte) error { return nil })
		}()
	}
	if !errors.Is(Permanent(errBoom), errBoom) || !errors.Is(RetryAfter(time.Second, errBoom), errBoom) {
		t.Error("a marked error hides what it marks")
	}
	if Permanent(nil) != nil || RetryAfter(time.Second, nil) != nil {
		t.Error("marking no error makes one")
	}
}
