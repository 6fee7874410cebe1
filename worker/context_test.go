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

type userKey struct{}

// anAttempt is one that runs until a minute from now, under a lease and a slot.
func anAttempt(t *testing.T) *attempt {
	t.Helper()
	p, err := newPool(Config{LeaseTTL: testTTL, Timeout: time.Minute, CancelGrace: time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.keeper, p.life = lease.NewKeeper(newFake(), testTTL, time.Second), context.WithValue(t.Context(), userKey{}, "of who runs the pool")
	of := subject.Key{Kind: "s", ID: "a"}
	a := p.begin(queued{claim: &session.Claim{
		Job: dispatcher.Job{ID: "j", Subject: of, Kind: "k", Payload: []byte(secret), Keep: time.Hour}, Attempt: 2,
		Lease: lease.Lease{Subject: of, Token: 7, Proven: time.Now(), TTL: testTTL},
		Slots: []lease.Lease{{Subject: subject.Slot("l", 1), Token: 8, Proven: time.Now(), TTL: testTTL}},
	}})
	a.start()
	p.watch.end(a) // nobody gives it up
	t.Cleanup(p.watch.stop)
	return a
}

// A handler's context ends like one of package context in every order of events, whoever listens to it and whenever.
func TestContextEndsLikeThoseOfPackageContext(t *testing.T) {
	t.Parallel()
	errLost, errAsked := errors.New("lost"), errors.New("asked")
	type pair struct {
		a      *attempt
		cancel context.CancelCauseFunc // of the other's lane
		end    context.CancelFunc      // and of its attempt
	}
	events := map[string]func(p pair){
		"lost":     func(p pair) { p.a.cancel(errLost); p.cancel(errLost) },
		"asked":    func(p pair) { p.a.cancel(errAsked); p.cancel(errAsked) },
		"timeout":  func(pair) { time.Sleep(time.Minute) },
		"returned": func(p pair) { p.a.finish(); p.end() },
		"listen":   func(p pair) { jobContext{p.a}.Done() },
	}
	var orders func(left []string, before []string)
	orders = func(left, before []string) {
		for i, next := range left {
			rest := append(append([]string{}, left[:i]...), left[i+1:]...)
			order := append(append([]string{}, before...), next)
			orders(rest, order)
			synctest.Test(t, func(t *testing.T) {
				a := anAttempt(t)
				lane, cancel := context.WithCancelCause(context.Background())
				want, end := context.WithDeadline(lane, a.deadline)
				defer end()
				defer cancel(nil)
				got := context.Context(jobContext{a})
				for _, event := range order {
					events[event](pair{a, cancel, end})
					synctest.Wait()
					if got.Err() != want.Err() {
						t.Errorf("%v, at %s: %v, want %v", order, event, got.Err(), want.Err())
					}
				}
				if at, ok := got.Deadline(); !ok || !at.Equal(a.started.Add(time.Minute)) {
					t.Errorf("%v: deadline %s, %t", order, at, ok)
				}
				// Of a context that is over before somebody listens, all hear the same.
				child, stop := context.WithCancel(got)
				defer stop()
				for _, ctx := range []context.Context{got, child} {
					if cause := context.Cause(want); context.Cause(ctx) != cause {
						t.Errorf("%v: cause %v, want %v", order, context.Cause(ctx), cause)
					}
					select {
					case <-ctx.Done():
						if want.Err() == nil {
							t.Errorf("%v: is done", order)
						}
					default:
						if want.Err() != nil {
							t.Errorf("%v: is not done", order)
						}
					}
				}
			})
		}
	}
	orders([]string{"lost", "asked", "timeout", "returned", "listen"}, nil)
}

// The cause that a handler's end is judged by is why its context had ended before it returned, whoever listened.
func TestContextSaysWhyItEnded(t *testing.T) {
	t.Parallel()
	for _, listens := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			for name, c := range map[string]struct {
				happens func(a *attempt)
				want    error
			}{
				"nothing":                   {func(*attempt) {}, nil},
				"timeout":                   {func(*attempt) { time.Sleep(time.Minute) }, context.DeadlineExceeded},
				"cancel":                    {func(a *attempt) { a.cancel(lease.ErrCancelled) }, lease.ErrCancelled},
				"cancel, then a lost lease": {func(a *attempt) { a.cancel(lease.ErrCancelled); a.cancel(lease.ErrLost) }, lease.ErrCancelled},
				"timeout, then a stop":      {func(a *attempt) { time.Sleep(time.Minute); a.cancel(ErrStopped) }, context.DeadlineExceeded},
				"cancel, then the timeout":  {func(a *attempt) { a.cancel(lease.ErrCancelled); time.Sleep(time.Minute) }, lease.ErrCancelled},
				"a lost lease":              {func(a *attempt) { a.lose() }, lease.ErrLost},
				"a lost slot":               {func(a *attempt) { a.held[1].Lose() }, lease.ErrLost},
				"a stop of all":             {func(a *attempt) { a.pool.keeper.Cancel(ErrStopped) }, ErrStopped},
			} {
				a := anAttempt(t)
				if listens {
					jobContext{a}.Done()
				}
				c.happens(a)
				if got := a.finish(); !errors.Is(got, c.want) || (got == nil) != (c.want == nil) {
					t.Errorf("%s, heard %t: %v, want %v", name, listens, got, c.want)
				}
			}
		})
	}
}

// What was cancelled between its claim and its start begins with a context that has ended, for the first cause, and has the
// grace to return.
func TestContextOfWhatBeginsCancelled(t *testing.T) {
	t.Parallel()
	a := anAttempt(t)
	a.finish()
	a.cancel(lease.ErrCancelled)
	a.cancel(lease.ErrLost)
	next := a.pool.attempt(a.lane, a.claim)
	next.start()
	if due := next.started.Add(a.pool.cfg.CancelGrace); !next.due.Equal(due) {
		t.Errorf("is given up %s after its start", next.due.Sub(next.started))
	}
	if cause := context.Cause(jobContext{next}); cause != lease.ErrCancelled {
		t.Errorf("cause %v", cause)
	}
}

// An attempt is watched before a cancel can be about it, or the cancel would find nothing to hurry.
func TestWatchBeginsBeforeACancelCan(t *testing.T) {
	t.Parallel()
	a := anAttempt(t)
	w := &a.pool.watch
	begun := make(chan struct{})
	a.lane.mu.Lock() // as a cancel that comes at this moment
	go func() { defer close(begun); a.start() }()
	redistest.Until(t, "it is watched", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return a.watched >= 0
	})
	a.lane.mu.Unlock()
	<-begun
	a.cancel(lease.ErrCancelled)
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.due.After(a.started.Add(30 * time.Second)) {
		t.Errorf("is given up %s after its start", a.due.Sub(a.started))
	}
}

// Who listens when a timed-out attempt is over leaves nothing at the pool's context, which lives on.
func TestContextThatIsHeardLateLeavesNothing(t *testing.T) {
	t.Parallel()
	life, end := context.WithCancel(context.Background())
	defer end()
	var gone atomic.Bool
	func() {
		a := anAttempt(t)
		a.pool.life, a.deadline = life, time.Now().Add(-time.Second)
		a.finish()
		if ctx := (jobContext{a}); ctx.Err() != context.DeadlineExceeded || context.Cause(ctx) != context.DeadlineExceeded {
			t.Errorf("%v, %v", ctx.Err(), context.Cause(ctx))
		}
		a.lane.release()
		runtime.AddCleanup(a, func(g *atomic.Bool) { g.Store(true) }, &gone)
	}()
	redistest.Until(t, "it is gone", func() bool { runtime.GC(); return gone.Load() })
}

// The context has all that a handler asks for, through contexts that are made of it too, and shows none of it.
func TestContextHasItsValues(t *testing.T) {
	t.Parallel()
	a := anAttempt(t)
	ctx := context.Context(jobContext{a})
	if _, ok := FromContext(ctx); !ok || ctx.Err() != nil || a.heard != nil {
		t.Error("who asks for the claim alone has to pay for a context")
	}
	type ownKey struct{}
	for _, ctx := range []context.Context{ctx, context.WithValue(ctx, ownKey{}, 1)} {
		if claim, ok := FromContext(ctx); !ok || claim.ID != "j" || claim.Attempt != 2 {
			t.Errorf("claim %v, %t", claim.ID, ok)
		}
		if l, ok := dispatcher.LeaseFrom(ctx); !ok || l.Token != 7 {
			t.Errorf("lease %v, %t", l, ok)
		}
		if end, ok := lease.Until(ctx); !ok || !end.Equal(a.claim.Lease.Proven.Add(testTTL)) {
			t.Errorf("until %s, %t", end, ok)
		}
		if ctx.Value(userKey{}) != "of who runs the pool" {
			t.Error("the values of who runs the pool are missing")
		}
		if err := SetResult(ctx, []byte("r")); err != nil || string(a.result) != "r" {
			t.Errorf("result %q, %v", a.result, err)
		}
		if text := fmt.Sprintf("%v %+v %s", ctx, ctx, ctx); strings.Contains(text, secret) || !strings.Contains(text, `attempt 2 at job "j"`) {
			t.Errorf("printed as %s", text)
		}
	}
}

// Who is due to be given up is, at that time and not before; who has ended is not.
func TestWatchGivesUpWhoIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		var w watch
		begin := time.Now()
		given := func(a *attempt) bool { return a.reported.Load() }
		all := make([]*attempt, 6)
		for i := range all {
			all[i] = anAttempt(t)
			p := all[i].pool
			p.log, p.desk, p.source = newScribe(d.logger(0), "me"), newDesk(p.cfg, 1, false), newFake()
			p.desk.crew.running, p.lanes = 1, make(chan queued)
			close(p.lanes) // who gives up goes on with nothing
			w.begin(all[i], begin.Add(time.Duration(10-i)*time.Minute))
		}
		w.hurry(all[0], begin.Add(time.Minute))
		w.hurry(all[1], begin.Add(time.Hour)) // later than it was: nothing
		w.end(all[2])
		w.end(all[2])
		w.hurry(all[2], begin.Add(time.Second))
		for _, c := range []struct {
			at    time.Duration
			first int // who is given up then
		}{{time.Minute, 0}, {5 * time.Minute, 5}, {6 * time.Minute, 4}, {7 * time.Minute, 3}, {9 * time.Minute, 1}} {
			time.Sleep(time.Until(begin.Add(c.at)) - time.Millisecond)
			synctest.Wait()
			if given(all[c.first]) {
				t.Errorf("%d is given up before %s", c.first, c.at)
			}
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if !given(all[c.first]) {
				t.Errorf("%d is not given up after %s", c.first, c.at)
			}
		}
		time.Sleep(time.Hour)
		if given(all[2]) || len(w.running) != 0 {
			t.Errorf("who ended is given up: %t; %d are watched still", given(all[2]), len(w.running))
		}
	})
}
