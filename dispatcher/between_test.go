package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// What one feature does to another: each of these was broken once, found by a review.

// I4: a dead letter that is replayed in front of a suspended job lets its lane go on.
func TestI4_ReplayBeforeASuspendedHead(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	h.enqueued("a", "d", "j")
	h.ok(h.DeadLetter(bg, h.head("w", "d", 1), "x", ""))
	h.ok(h.SuspendJob(bg, ref("j")))
	_, err := h.Replay(bg, ref("d"), true)
	h.ok(err)
	h.clean()
	h.ok(h.Finish(bg, h.head("w", "d", 1)))
	h.none("w")
	h.ok(h.ResumeJob(bg, ref("j")))
	h.head("w", "j", 1)
	h.clean()
}

// I6: a replay in front of a halted lane does not give its head more attempts than it may have.
func TestI6_ReplayIntoAHaltedLane(t *testing.T) {
	t.Parallel()
	h := kindsHouse(t, redistest.Client(t))
	h.enqueuedKind("halt", "a", "d", "j")
	h.ok(h.DeadLetter(bg, h.claimedKinds("w", 1, "halt")["a"], "x", ""))
	h.ok(h.Skip(bg, key("a")))
	for range 2 {
		_, err := h.Retry(bg, h.claimedKinds("w", 1, "halt")["a"], 0, "e")
		h.ok(err)
	}
	_, err := h.Replay(bg, ref("d"), true)
	h.ok(err)
	h.ok(h.Resume(bg, key("a")))
	if c := h.claimedKinds("w", 1, "halt")["a"]; c.ID != "j" || c.Attempt != 1 {
		t.Errorf("resumed with %s attempt %d, want j with all its attempts again", c.ID, c.Attempt)
	}
	h.clean()
}

// Whose ticket an operator skips takes another one, and nothing is buried.
func TestG6_SkippedTicket(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	h.enqueued("a", "j1")
	c := h.head("w", "j1", 1)
	done := h.waiting("a", bg, func(context.Context) error { return nil })
	h.enqueued("a", "j2")
	_, err := h.Suspend(bg, key("a"), "")
	h.ok(err)
	h.ok(h.Finish(bg, c))
	h.ok(h.Skip(bg, key("a")))
	skipped := time.Now()
	h.clean()
	h.ok(h.Finish(bg, h.waitHead("j2")))
	h.ok(<-done)
	if took := time.Since(skipped); took > 7*time.Second { // it looks by itself after ten
		t.Errorf("its owner was not told: %s", took)
	}
	h.empty()
}

// A window is over when its time is, also where nobody reaps.
func TestL2_WindowWithoutAReaper(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	u := dispatcher.Unique{Key: "x", Scope: dispatcher.ForWindow, Window: time.Second}
	h.enqueue(unique("a", "j1", u))
	h.ok(h.Finish(bg, h.head("w", "j1", 1)))
	h.advance(time.Hour)
	if done := h.enqueue(unique("a", "j2", u)); !done.Created {
		t.Errorf("an hour after a window of a second: %+v", done)
	}
	h.clean()
}

// A replaced payload brings no other rules with it than the entry in the lane has.
func TestL1_ReplaceKeepsTheRules(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	job := unique("a", "j1", dispatcher.Unique{Key: "x", OnConflict: dispatcher.Replace})
	h.enqueued("a", "j0")
	h.enqueue(job)
	job.ID, job.MaxAttempts = "j2", 7
	if _, err := h.Enqueue(bg, job); err == nil {
		t.Error("a payload with other rules replaced the one that waits")
	}
	_, err := h.Cancel(bg, ref("j1"))
	h.ok(err)
	h.clean()
}

// L10: a suspended job of the schedule keeps its time.
func TestL10_ScheduleOutlivesSuspension(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", Delay: 100 * time.Hour})
	h.ok(h.SuspendJob(bg, ref("j1")))
	h.ok(h.ResumeJob(bg, ref("j1")))
	h.reaped()
	h.none("w")
	h.advance(100 * time.Hour)
	h.reaped()
	h.head("w", "j1", 1)
}

// B10: an outcome is that of the job that is there, and not of an earlier one of its id.
func TestB10_OutcomeOfTheSameID(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	job := dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", Keep: time.Hour}
	h.enqueue(job)
	h.ok(h.Finish(bg, h.head("w", "j1", 1)))
	h.enqueue(job)
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if o, err := h.WaitFor(ctx, ref("j1")); err == nil {
		t.Errorf("the outcome of a job that waits: %+v", o)
	}
}

// I1: a repair does not end the lease of a section.
func TestI1_RepairUnderASection(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	h.ok(h.Do(bg, key("a"), 0, func(context.Context) error {
		h.enqueued("a", "j1")
		h.rdb.Del(bg, h.Namespace().Keys(0).Jobs())
		done, err := h.Repair(bg, nil)
		h.ok(err)
		if len(done) == 0 {
			t.Error("nothing was repaired")
		}
		if err := h.Do(bg, key("a"), 0, func(context.Context) error { return nil }); err == nil {
			t.Error("two sections at once")
		}
		return nil
	}))
}

// I10: limited kinds are claimed, and work is suspended and cancelled, when memory is full.
func TestI10_LimitsAndOperatorsInFullMemory(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Own(t, "--maxmemory-policy", "noeviction"))
	h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "t", Limit: 2}, {Name: "free", Owner: "t"}}})
	h.lanes("k", 3)
	h.lanes("free", 3)
	m := h.member("w", "", "k", "free")
	h.ok(rdb.ConfigSet(bg, "maxmemory", "1").Err())
	claims, _ := m.turn(10)
	if len(claims) != 5 {
		t.Errorf("claimed %d, want two limited ones and three others", len(claims))
	}
	if err := h.Do(bg, claims[0].Subject, 0, nothing); !errors.Is(err, dispatcher.ErrBusy) {
		t.Errorf("a section on a lane that is held: %v, want ErrBusy", err)
	}
	_, err := h.Cancel(bg, ref(claims[0].ID))
	h.ok(err)
	_, err = h.Suspend(bg, claims[1].Subject, "")
	h.ok(err)
	h.ok(h.Resume(bg, claims[1].Subject))
	var ends []session.End
	for _, c := range claims {
		ends = append(ends, done(c))
	}
	m.turn(0, ends...)
	for what, err := range map[string]error{ // of attempts that have ended: refused for that, and for nothing else
		"finish": h.Finish(bg, claims[2]), "hand back": h.HandBack(bg, claims[2]), "dead letter": h.DeadLetter(bg, claims[2], "x", ""),
		"retry": func() error { _, err := h.Retry(bg, claims[2], 0, "x"); return err }(),
		"batch": h.finishes(session.End{Claim: &claims[2], Outcome: session.Several, Each: []session.End{{Claim: &claims[2]}}})[0],
	} {
		if !errors.Is(err, lease.ErrLost) {
			t.Errorf("%s of an attempt that has ended: %v, want ErrLost", what, err)
		}
	}
	h.ok(rdb.ConfigSet(bg, "maxmemory", "0").Err())
	h.clean()
}

// A limit that is not reached is in nobody's way: what a filled turn leaves is told on.
func TestG12_FarBelowTheLimit(t *testing.T) {
	t.Parallel()
	h := kindsHouse(t, redistest.Client(t), dispatcher.Kind{Name: "wide", Owner: "test", Limit: 100}, dispatcher.Kind{Name: "rated", Owner: "test", Every: time.Millisecond})
	for p := range h.Namespace().Partitions {
		for i := range 10 {
			for n := 0; ; n++ { // ten lanes in each partition
				k := key(fmt.Sprint(p, "-", i, "-", n))
				if h.Namespace().Partition(k) == p {
					h.enqueue(dispatcher.NewJob{Subject: k, Kind: "wide"})
					break
				}
			}
		}
	}
	m := h.member("w", "", "wide")
	h.rdb.Del(bg, h.Namespace().Keys(0).Wake("wide"))
	a := m.s.Turns(bg, []session.Turn{{Partition: 0, Claim: true, Want: 5}})[0]
	if len(a.Claims) != 5 || a.Ready != 5 || a.Later != 0 || h.rdb.ZCard(bg, h.Namespace().Keys(0).Wake("wide")).Val() != 1 {
		t.Errorf("%d claims, %d ready, later %s", len(a.Claims), a.Ready, a.Later)
	}
	// And where nothing is ready nobody has to come again for a rate.
	if a := h.member("r", "", "rated").s.Turns(bg, []session.Turn{{Partition: 0, Claim: true, Want: 5}})[0]; a.Later != 0 {
		t.Errorf("nothing is ready, and yet to come again after %s", a.Later)
	}
}

// L8: a refund is paid however the other worker's claim ends.
func TestL8_RefundIsPaid(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for how, want := range map[string]int{"retry": 2, "hand back": 1, "batch": 2} {
			h := newHouse(t, rdb, dispatcher.Config{})
			h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", MaxAttempts: 5})
			w := h.member("w", "", "k")
			claims, _ := w.turn(1)
			w.fail(claims[0], 0)
			c := h.head("o", "j", 2)
			h.member("stays", "", "k")
			w.blame("k", &claims[0])
			switch how {
			case "retry":
				_, err := h.Retry(bg, c, 0, "e")
				h.ok(err)
			case "hand back":
				h.ok(h.HandBack(bg, c))
			case "batch":
				h.ok(h.finishes(session.End{Claim: &c, Outcome: session.Several, Each: []session.End{{Claim: &c, Outcome: session.Retry, Error: "e"}}})[0])
			}
			if again := h.claimed("x", 1)["a"]; again.Attempt != want {
				t.Errorf("%s: attempt %d, want %d", how, again.Attempt, want)
			}
			h.clean()
		}
	})
}

// L8: a refunded failure does not count among the workers that a job may fail on.
func TestL8_RefundForgetsTheWorker(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", MaxAttempts: 9})
		h.member("stays", "", "k")
		first := h.head("w0", "j", 1)
		h.member("w0", "", "k").fail(first, 0)
		for i, name := range []string{"w1", "w2", "w3"} { // and w0: four, of whom one is to blame
			m := h.member(name, "", "k")
			claims, _ := m.turn(1)
			dead := m.fail(claims[0], 0).Dead
			if dead != (name == "w3") {
				t.Fatalf("failed by %s, the %dth: a dead letter %t", name, i+2, dead)
			}
			if name == "w1" {
				m.blame("k", &claims[0])
			}
		}
	})
}

// C4: a batch's end halts its lane like any other.
func TestC4_BatchHalts(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, c := range []struct {
			end session.End
			why string
		}{
			{session.End{Outcome: session.DeadLettered, Reason: "permanent", Error: "boom\nand more"}, "halted: permanent"},
			{session.End{Outcome: session.Retry, Error: "boom\nand more"}, "halted: attempts exhausted"},
		} {
			h := kindsHouse(t, rdb)
			for _, id := range []string{"j1", "j2"} {
				h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "halt", ID: id, MaxAttempts: 1, Keep: time.Hour})
			}
			claim := h.claimedKinds("w", 1, "halt")["a"]
			c.end.Claim = &claim
			h.ok(h.finishes(session.End{Claim: &claim, Outcome: session.Several, Each: []session.End{c.end}})[0])
			if lane, _, _, _ := h.Lane(bg, key("a"), inspect.Page{}); !lane.Halted || lane.HeadID != "j1" || lane.Why != c.why || lane.Error != c.end.Error {
				t.Errorf("the lane is %+v", lane)
			}
			if o, err := h.Outcome(bg, ref("j1")); err != nil || o.State != dispatcher.JobHalted || o.Reason != c.why || o.Error != c.end.Error {
				t.Errorf("its outcome is %+v, %v", o, err)
			}
			h.clean()
		}
	})
}

// A user without the right to publish loses hints, and nothing else.
func TestNewsIsOnlyAHint(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Own(t))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	h.ok(rdb.Do(bg, "ACL", "SETUSER", "old", "on", ">p", "~*", "+@all", "resetchannels").Err())
	opt := *rdb.Options()
	opt.Username, opt.Password = "old", "p"
	old := redis.NewClient(&opt)
	defer old.Close()
	h2 := newHouseIn(t, old, h.cfg)
	h2.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", Keep: time.Hour})
	h2.enqueued("a", "j2")
	h.ok(h2.Finish(bg, h.head("w", "j1", 1)))
	h.head("w", "j2", 1)
	h.clean()
}
