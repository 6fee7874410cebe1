package dispatcher_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

var errBoom = errors.New("boom")

// waiting starts a section that waits, and returns once its ticket stands in the lane.
func (h *house) waiting(lane string, ctx context.Context, fn func(context.Context) error) chan error {
	h.t.Helper()
	depth := func() int {
		l, _, _, _ := h.Lane(bg, key(lane), inspect.Page{})
		return l.Depth
	}
	before := depth()
	done := make(chan error, 1)
	go func() { done <- h.Do(ctx, key(lane), time.Minute, fn) }()
	redistest.Until(h.t, "the ticket is there", func() bool { return depth() > before })
	return done
}

// G6: a section takes its turn in the lane, after the jobs before it and before those after
// it; nothing of the lane runs beside it; and tokens rise over jobs and sections.
func TestG6_InlineSectionTakesItsTurn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2")
		c1 := h.head("w", "j1", 1)
		inside, goOn := make(chan lease.Token), make(chan struct{})
		done := h.waiting("a", bg, func(ctx context.Context) error {
			l, _ := dispatcher.LeaseFrom(ctx)
			inside <- l.Token
			<-goOn
			return nil
		})
		h.enqueued("a", "j3")
		h.clean()
		h.ok(h.Finish(bg, c1))
		c2 := h.head("w", "j2", 1)
		h.none("w")
		h.ok(h.Finish(bg, c2))
		token := <-inside
		if token <= c2.Lease.Token {
			t.Errorf("the section has token %s after %s", token, c2.Lease.Token)
		}
		h.none("w")
		h.clean()
		close(goOn)
		h.ok(<-done)
		c3 := h.head("w", "j3", 1)
		if c3.Lease.Token <= token {
			t.Errorf("j3 has token %s after %s", c3.Lease.Token, token)
		}
		h.ok(h.Finish(bg, c3))
		h.empty()
	})
}

// G6: with no time to wait the answer is ErrBusy, at once; and a wait that ends, in whatever
// way, leaves nothing behind.
func TestG6_BusyAndGivenUp(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		never := func(context.Context) error { t.Error("it ran"); return nil }
		h.enqueued("a", "j1", "j2")
		before := dump(t, rdb, h.cfg.Namespace)
		same := func(what string) {
			t.Helper()
			if after := dump(t, rdb, h.cfg.Namespace); after != before {
				t.Errorf("%s left something behind:\n%s\nbefore:\n%s", what, after, before)
			}
		}
		if err := h.Do(bg, key("a"), 0, never); !errors.Is(err, dispatcher.ErrBusy) {
			t.Errorf("behind a job that waits: %v", err)
		}
		same("no wait")
		if err := h.Do(bg, key("a"), aWhile, never); !errors.Is(err, dispatcher.ErrBusy) {
			t.Errorf("after a wait that was too short: %v", err)
		}
		same("a short wait")
		ctx, cancel := context.WithCancel(bg)
		done := h.waiting("a", ctx, never)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		same("a cancelled wait")
		c := h.head("w", "j1", 1)
		if err := h.Do(bg, key("a"), 0, never); !errors.Is(err, dispatcher.ErrBusy) || !errors.Is(err, lease.ErrHeld) {
			t.Errorf("held by a job: %v", err)
		}
		// Given up as the head of its lane, it lets the next go on.
		h.ok(h.Finish(bg, c))
		c = h.head("w", "j2", 1)
		ctx, cancel = context.WithCancel(bg)
		done = h.waiting("a", ctx, never)
		h.enqueued("a", "j3")
		cancel()
		<-done
		h.ok(h.Finish(bg, c))
		h.ok(h.Finish(bg, h.head("w", "j3", 1)))
		h.empty()
	})
}

// G6: a section whose process died goes, as a ticket and as a holder, and the lane goes on.
func TestG6_DeadSection(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1")
		c := h.head("w", "j1", 1)
		ctx, cancel := context.WithCancel(bg)
		defer cancel()
		done := h.waiting("a", ctx, func(context.Context) error { return nil })
		h.enqueued("a", "j2")
		h.advance(time.Minute) // nobody renews in a minute that passes in an instant
		h.ok(h.Finish(bg, c))
		select {
		case err := <-done: // it was its turn before the ticket was missed
			h.ok(err)
		case <-time.After(50 * time.Millisecond):
			h.reaped()
		}
		cancel()
		redistest.Until(t, "j2 is free", func() bool { return len(h.claimed("w", 1)) == 1 })

		l, err := h.Leases().Acquire(bg, key("b"), "dead", 10*time.Second)
		h.ok(err)
		h.enqueued("b", "j3")
		h.advance(11 * time.Second)
		h.reaped()
		h.clean()
		if got := h.claimed("w", 2); got["b"].ID != "j3" || got["b"].Attempt != 1 {
			t.Errorf("after a dead section: %+v", got)
		}
		if err := h.Leases().Release(bg, l); !errors.Is(err, lease.ErrLost) {
			t.Errorf("release by the dead: %v", err)
		}
	})
}

// A page of a lane whose head is a section's ticket has no more entries than were asked for.
func TestPageOfALaneWithATicket(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "first")
		c := h.head("w", "first", 1)
		ctx, cancel := context.WithCancel(bg)
		done := h.waiting("a", ctx, func(context.Context) error { return nil })
		h.enqueued("a", "j1", "j2", "j3")
		_, err := h.Suspend(bg, key("a"), "so that the ticket is head, and waits")
		h.ok(err)
		h.ok(h.Finish(bg, c))
		var kinds []string
		for page := (inspect.Page{Limit: 2}); ; {
			_, jobs, next, err := h.Lane(bg, key("a"), page)
			h.ok(err)
			if len(jobs) > 2 {
				t.Errorf("a page of two has %d", len(jobs))
			}
			for _, j := range jobs {
				kinds = append(kinds, j.Kind+j.ID)
			}
			if page.Cursor = next; next == "" {
				break
			}
		}
		if want := []string{inspect.SectionKind, "kj1", "kj2", "kj3"}; !slices.Equal(kinds, want) {
			t.Errorf("the pages hold %v, want %v", kinds, want)
		}
		cancel()
		<-done
	})
}

// G6: where no worker is there to reap, sections take over from dead ones by themselves.
func TestG6_NobodyToReap(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		_, err := h.Leases().Acquire(bg, key("a"), "dead", 10*time.Second)
		h.ok(err)
		first := h.waiting("a", bg, func(context.Context) error { return nil })
		h.enqueued("a", "j1")
		h.advance(11 * time.Second)
		h.ok(<-first)
		h.ok(h.Finish(bg, h.waitHead("j1")))
		h.empty()

		// A ticket whose owner is gone does not stop those behind it.
		entry := "\x02\x01ix~1"
		keys := h.Namespace().Keys(h.Namespace().Partition(key("b")))
		_, err = h.Leases().Acquire(bg, key("b"), "dead", 10*time.Second)
		h.ok(err)
		rdb.HSet(bg, keys.Heads(), key("b").Canonical(), entry)
		rdb.ZAdd(bg, keys.Expiring(), redis.Z{Score: float64(h.ms.Load() + 1000), Member: "t3 \x01sb" + entry})
		h.advance(11 * time.Second)
		h.ok(h.Do(bg, key("b"), time.Minute, func(context.Context) error { return nil }))
		h.empty()
	})
}

// waitHead claims a job as soon as it is free.
func (h *house) waitHead(id string) session.Claim {
	h.t.Helper()
	var c session.Claim
	redistest.Until(h.t, id+" is free", func() bool {
		for _, c = range h.claimed("w", 1) {
			return true
		}
		return false
	})
	if c.ID != id {
		h.t.Fatalf("claimed %s, want %s", c.ID, id)
	}
	return c
}

// G6: exactly one of running and enqueueing.
func TestG6_DoOrEnqueue(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		job := dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1"}
		runs := 0
		fn := func(context.Context) error { runs++; return errBoom }
		ran, _, err := h.DoOrEnqueue(bg, job, fn)
		if !ran || runs != 1 || !errors.Is(err, errBoom) {
			t.Errorf("on a free subject: ran %t, %d runs, %v", ran, runs, err)
		}
		h.none("w")
		h.enqueued("a", "j0")
		ran, done, err := h.DoOrEnqueue(bg, job, fn)
		h.ok(err)
		if ran || runs != 1 || !done.Created || done.Seq == 0 {
			t.Errorf("behind a job: ran %t, %d runs, %+v", ran, runs, done)
		}
		h.ok(h.Finish(bg, h.head("w", "j0", 1)))
		h.ok(h.Finish(bg, h.head("w", "j1", 1)))
		job.Kind = "no good"
		if ran, _, err := h.DoOrEnqueue(bg, job, fn); ran || !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("a job that breaks a rule: ran %t, %v", ran, err)
		}
		h.empty()
	})
}

// G7: who would wait for itself is told at once, also over others.
func TestG7_WouldDeadlock(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		never := func(context.Context) error { t.Error("it ran"); return nil }
		for _, lane := range []string{"a", "b", "c"} {
			h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: "k", ID: lane + "1", Keep: time.Minute})
			h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: "k", ID: lane + "2", Keep: time.Minute})
		}
		claims := h.claimed("w", 3)
		in := func(lane string) context.Context { c := claims[lane]; return session.WithClaim(t.Context(), &c) }

		if err := h.Do(in("a"), key("a"), time.Minute, never); !errors.Is(err, dispatcher.ErrWouldDeadlock) {
			t.Errorf("Do on the own subject: %v", err)
		}
		if _, err := h.WaitFor(in("a"), ref("a2")); !errors.Is(err, dispatcher.ErrWouldDeadlock) {
			t.Errorf("waiting for a job of the own subject: %v", err)
		}
		// a waits for a job behind b, b waits for a section on c; so c must not wait for a.
		ctx, cancel := context.WithCancel(bg)
		var waits sync.WaitGroup
		waiter := func(lane string, wait func(ctx context.Context) error) {
			waits.Go(func() {
				c := claims[lane]
				if err := wait(session.WithClaim(ctx, &c)); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", lane, err)
				}
			})
		}
		waiter("a", func(ctx context.Context) error { _, err := h.WaitFor(ctx, ref("b2")); return err })
		waiter("b", func(ctx context.Context) error { return h.Do(ctx, key("c"), time.Minute, never) })
		redistest.Until(t, "both wait", func() bool { return rdb.HLen(bg, h.Namespace().Waits()).Val() == 2 })
		if err := h.Do(in("c"), key("a"), time.Minute, never); !errors.Is(err, dispatcher.ErrWouldDeadlock) {
			t.Errorf("a circle of three: %v", err)
		}
		if _, err := h.WaitFor(in("c"), ref("a2")); !errors.Is(err, dispatcher.ErrWouldDeadlock) {
			t.Errorf("a circle of three, by a job: %v", err)
		}
		// Who holds nothing may wait for anything; it only takes time.
		if err := h.Do(bg, key("a"), aWhile, never); !errors.Is(err, dispatcher.ErrBusy) {
			t.Errorf("from outside: %v", err)
		}
		cancel()
		waits.Wait()
		if n := rdb.HLen(bg, h.Namespace().Waits()).Val(); n != 0 {
			t.Errorf("%d notes are left", n)
		}
	})
}

// G5, G6: the section's context ends with its lease, and its end says so.
func TestG6_LeaseLost(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{SectionTTL: 300 * time.Millisecond})
	err := h.Do(bg, key("a"), 0, func(ctx context.Context) error {
		rdb.HSet(bg, h.Namespace().Keys(h.Namespace().Partition(key("a"))).Leases(), key("a").Canonical(), "9999999999999999 section other")
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), lease.ErrLost) {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		return nil
	})
	if !errors.Is(err, lease.ErrLost) {
		t.Errorf("a lost section returned %v", err)
	}
}

// B10: an event between any two steps of a wait is not missed; and without pub/sub all
// is the same, only later.
func TestB10_WaitFor(t *testing.T) {
	t.Parallel()
	for name, deaf := range map[string]bool{"with pub/sub": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			h := newHouse(t, rdb, dispatcher.Config{})
			end := func(id string) {
				for _, c := range h.claimed("w", 1) {
					result := []byte("result of " + id)
					s, err := h.Join(bg, session.Claimant{Holder: "w", TTL: time.Minute}, 1)
					h.ok(err)
					s.Turns(bg, []session.Turn{{Partition: h.Namespace().Partition(c.Subject),
						Ends: []session.End{{Claim: &c, Outcome: session.Finished, Result: result}}}})
					h.ok(s.Close(bg))
				}
			}
			steps := map[string]func(id string) dispatcher.JobOutcome{
				"before": func(id string) dispatcher.JobOutcome { end(id); o, err := h.WaitFor(bg, ref(id)); h.ok(err); return o },
				"while subscribing": func(id string) dispatcher.JobOutcome {
					return h.waitWith(rdb, "subscribe", deaf, id, end)
				},
				"while looking": func(id string) dispatcher.JobOutcome { return h.waitWith(rdb, "hget", deaf, id, end) },
				"while waiting": func(id string) dispatcher.JobOutcome { return h.waitWith(rdb, "", deaf, id, end) },
			}
			for step, wait := range steps {
				id := strings.ReplaceAll(step, " ", "-")
				h.enqueue(dispatcher.NewJob{Subject: key(id), Kind: "k", ID: id, Keep: time.Minute})
				if o := wait(id); o.State != dispatcher.JobFinished || string(o.Result) != "result of "+id || o.Attempts != 1 {
					t.Errorf("%s: %+v", step, o)
				}
			}
			h.advance(2 * time.Minute)
			h.reaped()
			if _, err := h.WaitFor(bg, ref("before")); !errors.Is(err, dispatcher.ErrNotFound) {
				t.Errorf("after its time: %v", err)
			}
			h.empty()
		})
	}
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	h.enqueued("a", "plain")
	if _, err := h.WaitFor(bg, ref("plain")); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("a job that keeps no outcome: %v", err)
	}
	h.enqueue(dispatcher.NewJob{Subject: key("b"), Kind: "k", ID: "doomed", Keep: time.Minute, MaxAttempts: 1})
	for _, c := range h.claimed("w", 2) {
		_, err := h.Retry(bg, c, 0, "boom")
		h.ok(err)
	}
	if o, err := h.WaitFor(bg, ref("doomed")); err != nil || o.State != dispatcher.JobDead || o.Error != "boom" {
		t.Errorf("a dead letter: %+v, %v", o, err)
	}
}

// waitWith waits for a job that ends as soon as the waiter has sent a command, or after all
// of them.
func (h *house) waitWith(rdb *redis.Client, command string, deaf bool, id string, end func(id string)) dispatcher.JobOutcome {
	h.t.Helper()
	waiter := redis.NewClient(rdb.Options())
	defer waiter.Close()
	var once sync.Once
	ended := make(chan struct{})
	go1 := func() { once.Do(func() { end(id); close(ended) }) }
	waiter.AddHook(&meddler{func(names []string) {
		for _, name := range names {
			if command != "" && name == command {
				go1()
			}
		}
	}})
	d, err := dispatcher.Open(bg, dispatcher.Config{Redis: waiter, Namespace: h.cfg.Namespace, Now: h.cfg.Now})
	h.ok(err)
	d.Deafen(deaf)
	if command == "" || command == "subscribe" { // hooks do not see subscriptions
		go func() { time.Sleep(20 * time.Millisecond); go1() }()
	}
	o, err := d.WaitFor(bg, ref(id))
	h.ok(err)
	<-ended
	return o
}

// meddler does something after commands were sent.
type meddler struct{ after func(names []string) }

func (m *meddler) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *meddler) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		m.after([]string{cmd.Name()})
		return err
	}
}

func (m *meddler) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		var names []string
		for _, c := range cmds {
			names = append(names, c.Name())
		}
		m.after(names)
		return err
	}
}
