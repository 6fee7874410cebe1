package dispatcher_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// halted makes a lane with a job h1 that has halted it.
func (h *house) halted(lane string) {
	h.t.Helper()
	h.enqueuedKind("halt", lane, "h1")
	for range 2 {
		for _, c := range h.claimedKinds("w", 1, "halt") {
			_, err := h.Retry(bg, c, 0, "boom")
			h.ok(err)
		}
	}
}

// I4: a suspended job that becomes head of a lane that stands still anyhow is one reason more.
func TestI4_SuspendedJobHeadsASuspendedLane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, heads := range map[string]func(h *house){
			"behind one that is cancelled": func(h *house) {
				h.enqueued("a", "j0", "j1")
				h.ok(h.SuspendJob(bg, ref("j1")))
				_, err := h.Suspend(bg, key("a"), "why")
				h.ok(err)
				h.cancels("j0")
			},
			"behind a section that is over": func(h *house) {
				_, err := h.Leases().Acquire(bg, key("a"), "section", 10*time.Second)
				h.ok(err)
				h.enqueued("a", "j1")
				h.ok(h.SuspendJob(bg, ref("j1")))
				_, err = h.Suspend(bg, key("a"), "why")
				h.ok(err)
				h.advance(11 * time.Second)
				if err := h.Do(bg, key("a"), 0, nothing); err == nil {
					h.t.Error("a section runs in a suspended lane")
				}
			},
		} {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			heads(h)
			if found := h.findings(); len(found) > 0 {
				t.Errorf("%s: the doctor says %+v", name, found)
			}
			h.ok(h.ResumeJob(bg, ref("j1")))
			h.none("w")
			h.ok(h.Resume(bg, key("a")))
			h.ok(h.Finish(bg, h.head("w", "j1", 1)))
			h.clean()
		}
	})
}

// L10: a job that is suspended while a section has its subject says so.
func TestL10_SuspendedUnderASection(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	_, err := h.Leases().Acquire(bg, key("a"), "section", 10*time.Second)
	h.ok(err)
	h.enqueued("a", "j1")
	h.ok(h.SuspendJob(bg, ref("j1")))
	if info, err := h.Job(bg, ref("j1")); err != nil || info.State != inspect.Suspended {
		t.Errorf("it is %s, %v", info.State, err)
	}
	if _, jobs, _, err := h.Lane(bg, key("a"), inspect.Page{}); err != nil || len(jobs) != 1 || jobs[0].State != inspect.Suspended {
		t.Errorf("the lane shows %+v, %v", jobs, err)
	}
}

// A repair that can't read why a lane stands still leaves it so: to start what somebody has stopped is worse.
func TestRepairKeepsWhatIsStopped(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(h *house, k subject.Keys) error{
		"the reason of a halt is lost": func(h *house, k subject.Keys) error {
			h.halted("a")
			return h.rdb.HDel(bg, k.ParkReasons(), canonical("a")).Err()
		},
		"the reason of a halt can't be read": func(h *house, k subject.Keys) error {
			h.halted("a")
			return h.rdb.HSet(bg, k.ParkReasons(), canonical("a"), "halted x attempts exhausted\n").Err()
		},
		"a suspension can't be read": func(h *house, k subject.Keys) error {
			h.enqueuedKind("halt", "a", "h1")
			_, err := h.Suspend(bg, key("a"), "why")
			return errors.Join(err, h.rdb.HSet(bg, k.ParkReasons(), canonical("a"), "suspended 99999999999999999999 why\n").Err())
		},
		"the lease is lost at whose end it was to be suspended": func(h *house, k subject.Keys) error {
			h.enqueuedKind("halt", "a", "h1")
			h.claimedKinds("w", 1, "halt")
			_, err := h.Suspend(bg, key("a"), "why")
			return errors.Join(err, h.rdb.HDel(bg, k.Leases(), canonical("a")).Err())
		},
		"what is asked of the holder is garbage": func(h *house, k subject.Keys) error {
			h.enqueuedKind("halt", "a", "h1")
			c := h.claimedKinds("w", 1, "halt")["a"]
			_, err := h.Suspend(bg, key("a"), "why")
			err = errors.Join(err, h.rdb.HSet(bg, k.Asks(), canonical("a"), "suspend x why\ngarbage").Err())
			_, repaired := h.Repair(bg, nil)
			_, retried := h.Retry(bg, c, 0, "boom")
			return errors.Join(err, repaired, retried)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := kindsHouse(t, rdb)
				h.ok(breaks(h, h.Namespace().Keys(h.Namespace().Partition(key("a")))))
				_, err := h.Repair(bg, nil)
				h.ok(err)
				h.clean()
				if got := h.claimedKinds("x", 1, "halt"); len(got) > 0 {
					t.Fatalf("a repair has started %v", got)
				}
				h.ok(h.Resume(bg, key("a")))
				h.clean()
			})
		})
	}
}

// L8: an id is a job's within its subject: what is given back to one is not given to another.
func TestL8_RefundIsOfTheJobThatFailed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.enqueued("a", "x")
		c := h.head("bad", "x", 1)
		_, err := h.Retry(bg, c, 0, "boom")
		h.ok(err)
		h.ok(h.Finish(bg, h.head("good", "x", 2)))
		h.enqueued("b", "x")
		_, err = h.Retry(bg, h.head("good", "x", 1), 0, "boom")
		h.ok(err)
		h.ok(refund(bg, h.Dispatcher, "bad", c.Job))
		h.head("good", "x", 2)
	})
}

// A lane that is resumed with the rest of a backoff tells who sleeps when it is over.
func TestResumedBackoffIsTold(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, stops := range map[string][2]func(h *house) error{
			"the lane": {func(h *house) error { _, err := h.Suspend(bg, key("a"), "why"); return err }, func(h *house) error { return h.Resume(bg, key("a")) }},
			"the job":  {func(h *house) error { return h.SuspendJob(bg, ref("j")) }, func(h *house) error { return h.ResumeJob(bg, ref("j")) }},
		} {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			h.enqueued("a", "j")
			_, err := h.Retry(bg, h.head("w", "j", 1), 2*time.Second, "boom")
			h.ok(err)
			h.ok(stops[0](h))
			if r := h.reaped(); r.Next >= 0 {
				t.Errorf("%s: something is in sight after %s", name, r.Next)
			}
			wake := h.Namespace().Keys(0).Wake("k")
			rdb.Del(bg, wake)
			h.ok(stops[1](h))
			if hints := rdb.ZRange(bg, wake, 0, -1).Val(); len(hints) != 1 || hints[0] != "due" {
				t.Errorf("%s: hints %q, want due", name, hints)
			}
			h.advance(2 * time.Second)
			h.reaped()
			h.head("w", "j", 2)
		}
	})
}

// C4: what halted a lane goes with its head: the lane stays stopped, and nobody takes what is behind for what failed.
func TestC4_HaltGoesWithItsHead(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb)
		h.halted("a")
		h.cancels("h1")
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "halt", ID: "h2", Keep: time.Hour})
		if o, err := h.Outcome(bg, ref("h2")); !errors.Is(err, dispatcher.ErrNotEnded) {
			t.Errorf("the outcome of a job that never ran is %+v, %v", o, err)
		}
		lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
		if h.ok(err); lane.State != inspect.Suspended || lane.Halted || lane.Why != "attempts exhausted" {
			t.Errorf("the lane is %+v", lane)
		}
		h.clean()
		h.ok(h.Resume(bg, key("a")))
		h.clean()
	})
}

// I10: what an operator stops, lets go on and repairs is done when memory is full too.
func TestI10_OperatorInFullMemory(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Own(t, "--maxmemory-policy", "noeviction"))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	h.enqueued("a", "j1", "j2")
	for attempt := range 2 {
		_, err := h.Retry(bg, h.head("w", "j1", attempt+1), 0, "boom")
		h.ok(err)
	}
	c := h.head("w", "j1", 3)
	h.enqueued("stopped", "s1")
	_, err := h.Suspend(bg, key("stopped"), "why")
	h.ok(err)
	h.ok(rdb.Del(bg, h.Namespace().Keys(0).Parked()).Err())
	h.ok(rdb.ConfigSet(bg, "maxmemory", "1").Err())

	h.ok(refund(bg, h.Dispatcher, "w", c.Job))
	_, err = h.Repair(bg, nil)
	h.ok(err)
	h.ok(h.SuspendJob(bg, ref("j2")))
	h.ok(h.ResumeJob(bg, ref("j2")))
	_, err = h.Suspend(bg, key("a"), "why")
	h.ok(err)
	_, err = h.Cancel(bg, ref("j1"))
	h.ok(err)
	h.ok(h.Finish(bg, c))
	h.ok(h.SuspendJob(bg, ref("j2")))
	h.ok(h.Resume(bg, key("a")))
	h.ok(h.Resume(bg, key("stopped")))
	h.clean()
}

// I9: a request that was answered is not made again by its late copy, whatever has become of the lane.
func TestI9_LateCopiesOfStops(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.enqueued("a", "j1", "j2")
		first, again := dispatcher.SuspendTwice(bg, h.Dispatcher, key("a"), func() { h.ok(h.Resume(bg, key("a"))) })
		if first != "[ok]" || again != first {
			t.Errorf("suspended at once: %s, then %s", first, again)
		}
		h.ok(h.Finish(bg, h.head("a holder", "j1", 1)))
		c := h.head("a holder", "j2", 1)
		h.enqueued("a", "j3")
		first, again = dispatcher.SuspendTwice(bg, h.Dispatcher, key("a"), func() {
			h.ok(h.Finish(bg, c))
			h.ok(h.Resume(bg, key("a")))
		})
		if first != "[later a holder]" || again != first {
			t.Errorf("suspended later: %s, then %s", first, again)
		}
		c = h.head("a holder", "j3", 1)
		first, again = dispatcher.CancelTwice(bg, h.Dispatcher, c.Job, func() {
			h.ok(h.Finish(bg, c))
			h.enqueued("a", "j3") // another one
		})
		if first != "[asked a holder]" || again != first {
			t.Errorf("cancelled: %s, then %s", first, again)
		}
		h.ok(h.Finish(bg, h.head("w", "j3", 1)))
	})
}
