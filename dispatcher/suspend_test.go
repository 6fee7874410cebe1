package dispatcher_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// L10: a suspended lane is given to nobody, whatever happens to it, until it is resumed.
func TestL10_SuspendLane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		before := map[string]func(h *house){
			"empty": func(*house) {},
			"ready": func(h *house) { h.enqueued("a", "j1", "j2") },
			"delayed": func(h *house) {
				h.enqueued("a", "j1", "j2")
				_, err := h.Retry(bg, h.head("w", "j1", 1), time.Hour, "")
				h.ok(err)
			},
			"suspended": func(h *house) { h.enqueued("a", "j1", "j2"); _, err := h.Suspend(bg, key("a"), "first"); h.ok(err) },
		}
		for name, do := range before {
			t.Run(name, func(t *testing.T) {
				h := newHouse(t, rdb, dispatcher.Config{})
				do(h)
				holder, err := h.Suspend(bg, key("a"), "because\nof this")
				h.ok(err)
				if holder != "" {
					t.Errorf("it waits for %s, whom nobody knows", holder)
				}
				h.enqueued("a", "j3")
				h.advance(2 * time.Hour)
				h.reaped()
				h.none("w")
				if err := h.Do(bg, key("a"), 0, nil); !errors.Is(err, dispatcher.ErrBusy) {
					t.Errorf("a section on a suspended lane: %v", err)
				}
				lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
				h.ok(err)
				if lane.State != inspect.Suspended || lane.Why != "because of this" || lane.Holder != "" {
					t.Errorf("the lane is %+v", lane)
				}
				lanes, _, err := h.Lanes(bg, inspect.LaneFilter{State: inspect.Suspended}, inspect.Page{})
				h.ok(err)
				stats, err := h.Stats(bg)
				h.ok(err)
				if len(lanes) != 1 || stats.Suspended != 1 || stats.Leased != 0 {
					t.Errorf("%d lanes are listed as suspended; stats %+v", len(lanes), stats)
				}
				h.clean()
				h.ok(h.Resume(bg, key("a")))
				claims := h.claimed("w", 1)
				if len(claims) != 1 {
					t.Fatal("the lane did not go on")
				}
				h.clean()
			})
		}
	})
}

// L10: a lane that is leased is suspended when its lease ends, in whatever way.
func TestL10_SuspendLeasedLane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		ends := map[string]func(h *house, c session.Claim){
			"finish":      func(h *house, c session.Claim) { h.ok(h.Finish(bg, c)) },
			"retry":       func(h *house, c session.Claim) { _, err := h.Retry(bg, c, 0, ""); h.ok(err) },
			"retry later": func(h *house, c session.Claim) { _, err := h.Retry(bg, c, time.Hour, ""); h.ok(err) },
			"dead":        func(h *house, c session.Claim) { h.ok(h.DeadLetter(bg, c, "x", "")) },
			"hand back":   func(h *house, c session.Claim) { h.ok(h.HandBack(bg, c)) },
			"crash":       func(h *house, _ session.Claim) { h.advance(time.Minute); h.reaped() },
		}
		for name, end := range ends {
			t.Run(name, func(t *testing.T) {
				h := newHouse(t, rdb, dispatcher.Config{})
				h.enqueued("a", "j1", "j2", "j3")
				c := h.head("w", "j1", 1)
				holder, err := h.Suspend(bg, key("a"), "later")
				h.ok(err)
				if holder != "w" {
					t.Errorf("it waits for %q, want w", holder)
				}
				h.ok(h.Leases().Renew(bg, time.Minute, c.Lease)[0]) // nothing is taken from the holder
				h.clean()
				end(h, c)
				h.none("w2")
				h.advance(2 * time.Hour)
				h.reaped()
				h.none("w2")
				if err := h.Finish(bg, c); !errors.Is(err, lease.ErrLost) {
					t.Errorf("an end after the end: %v", err)
				}
				h.clean()
				h.ok(h.Resume(bg, key("a")))
				if len(h.claimed("w2", 1)) != 1 {
					t.Error("the lane did not go on")
				}
				h.clean()
			})
		}
		// Taken back before the lease ends, nothing has happened.
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2")
		c := h.head("w", "j1", 1)
		_, err := h.Suspend(bg, key("a"), "")
		h.ok(err)
		h.ok(h.Resume(bg, key("a")))
		h.ok(h.Finish(bg, c))
		h.head("w", "j2", 1)
		h.clean()
	})
}

// L10: a suspended job lets those before it run, and then its lane waits; or it is passed,
// where its kind says so.
func TestL10_SuspendJob(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, c := range []struct{ kind, id, first, then string }{
			{"k", "1", "", "1 2 3"},
			{"k", "2", "1", "2 3"},
			{"skip", "1", "2 3", "1"},
			{"skip", "2", "1 3", "2"},
		} {
			h := kindsHouse(t, rdb)
			h.enqueuedKind(c.kind, "a", "1", "2", "3")
			h.ok(h.SuspendJob(bg, ref(c.id)))
			h.ok(h.SuspendJob(bg, ref(c.id))) // again does nothing
			h.clean()
			if order := h.run([]string{c.kind}, nil); order != c.first {
				t.Errorf("%s %s suspended: ran %q, want %q", c.kind, c.id, order, c.first)
			}
			job, err := h.Job(bg, ref(c.id))
			h.ok(err)
			if job.State != inspect.Suspended {
				t.Errorf("%s %s is %s", c.kind, c.id, job.State)
			}
			h.clean()
			h.ok(h.ResumeJob(bg, ref(c.id)))
			if err := h.ResumeJob(bg, ref(c.id)); !errors.Is(err, dispatcher.ErrNotSuspended) {
				t.Errorf("resumed twice: %v", err)
			}
			if order := h.run([]string{c.kind}, nil); order != c.then {
				t.Errorf("%s %s resumed: ran %q, want %q", c.kind, c.id, order, c.then)
			}
			h.empty2()
		}
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1")
		h.enqueue(dispatcher.NewJob{Subject: key("b"), Kind: "k", ID: "later", Delay: time.Hour})
		h.head("w", "j1", 1)
		if err := h.SuspendJob(bg, ref("j1")); !errors.Is(err, dispatcher.ErrRunning) {
			t.Errorf("a running job: %v", err)
		}
		h.ok(h.SuspendJob(bg, ref("later")))
		h.advance(2 * time.Hour)
		h.reaped()
		if job, _ := h.Job(bg, ref("later")); job.State != inspect.Suspended {
			t.Errorf("a suspended job of the schedule is %s", job.State)
		}
		h.ok(h.ResumeJob(bg, ref("later")))
		h.reaped()
		if job, _ := h.Job(bg, ref("later")); job.State != inspect.Ready {
			t.Errorf("resumed after its time it is %s", job.State)
		}
		h.clean()
	})
}

// empty2 is clean, and no job is left.
func (h *house) empty2() {
	h.t.Helper()
	h.clean()
	if s, _ := h.Stats(context.Background()); s.Jobs != 0 || s.Suspended != 0 {
		h.t.Errorf("left: %+v", s)
	}
}

// L9: a job that waits goes at once, wherever it waits, and its lane goes on without it.
func TestL9_CancelWaiting(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		cancel := func(id string) {
			t.Helper()
			holder, err := h.Cancel(bg, ref(id))
			h.ok(err)
			if holder != "" {
				t.Errorf("cancel of %s waits for %s", id, holder)
			}
			if _, err := h.Job(bg, ref(id)); !errors.Is(err, dispatcher.ErrNotFound) {
				t.Errorf("%s is still there: %v", id, err)
			}
			h.clean()
		}
		h.enqueued("a", "head", "j2", "mid", "j4")
		h.enqueue(dispatcher.NewJob{Subject: key("b"), Kind: "k", ID: "later", Delay: time.Hour})
		cancel("head")
		cancel("mid")
		cancel("later")
		_, err := h.Retry(bg, h.head("w", "j2", 1), time.Hour, "boom")
		h.ok(err)
		cancel("j2") // delayed, after an attempt
		_, err = h.Suspend(bg, key("a"), "")
		h.ok(err)
		cancel("j4")
		h.ok(h.Resume(bg, key("a")))
		h.none("w")
		h.empty()
		for id, want := range map[string]error{"none": dispatcher.ErrNotFound} {
			if _, err := h.Cancel(bg, ref(id)); !errors.Is(err, want) {
				t.Errorf("cancel of %s: %v", id, err)
			}
		}
		h.enqueued("c", "dead")
		h.ok(h.DeadLetter(bg, h.head("w", "dead", 1), "x", ""))
		if _, err := h.Cancel(bg, ref("dead")); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("cancel of a dead letter: %v", err)
		}
	})
}

// L9: the holder of a running job is asked, the lane stays held until the handler has
// returned or the lease is over, and the job does not run again.
func TestL9_CancelRunning(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, end := range map[string]func(h *house, c session.Claim){
			"handed back": func(h *house, c session.Claim) { h.ok(h.HandBack(bg, c)) },
			"failed":      func(h *house, c session.Claim) { _, err := h.Retry(bg, c, 0, "x"); h.ok(err) },
			"permanent":   func(h *house, c session.Claim) { h.ok(h.DeadLetter(bg, c, "x", "")) },
			"finished":    func(h *house, c session.Claim) { h.ok(h.Finish(bg, c)) },
			"lost":        func(h *house, _ session.Claim) { h.advance(time.Minute); h.reaped() },
		} {
			t.Run(name, func(t *testing.T) {
				h := newHouse(t, rdb, dispatcher.Config{})
				h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", Keep: time.Hour})
				h.enqueued("a", "j2")
				c := h.head("w", "j1", 1)
				for range 2 { // asking again does no harm
					holder, err := h.Cancel(bg, ref("j1"))
					h.ok(err)
					if holder != "w" {
						t.Fatalf("asked %q, want w", holder)
					}
				}
				if err := h.Leases().Renew(bg, 10*time.Second, c.Lease)[0]; !errors.Is(err, lease.ErrCancelled) {
					t.Fatalf("the holder is told %v", err)
				}
				h.none("w2") // still held
				h.clean()
				end(h, c)
				h.head("w2", "j2", 1)
				o, err := h.Outcome(bg, ref("j1"))
				h.ok(err)
				want := dispatcher.JobCancelled
				if name == "finished" {
					want = dispatcher.JobFinished
				}
				if o.State != want {
					t.Errorf("outcome %s, want %s", o.State, want)
				}
				h.clean()
			})
		}
	})
}
