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

// lostTicket puts the ticket of a section at the end of a lane, of which nobody has been heard for long.
func (h *house) lostTicket(lane string) {
	h.t.Helper()
	entry, canonical := "\x05\x01idead~1", key(lane).Canonical()
	keys := h.Namespace().Keys(h.Namespace().Partition(key(lane)))
	if first, err := h.rdb.HSetNX(bg, keys.Heads(), canonical, entry).Result(); err != nil {
		h.t.Fatal(err)
	} else if !first {
		h.ok(h.rdb.RPush(bg, keys.Tail(canonical), entry).Err())
	}
	h.ok(h.rdb.ZAdd(bg, keys.Expiring(), redis.Z{Score: float64(h.ms.Load() - 1), Member: "t4 \x01s" + lane + entry}).Err())
}

// What a call of a section frees on its way, a dead section or dead tickets, goes to whoever is next when
// that is not the caller. Where it was not listed, its lane stood still for good.
func TestPairs_WhatASectionFrees(t *testing.T) {
	t.Parallel()
	never := func(context.Context) error { return errors.New("it ran before its turn") }
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		dead := func(h *house) {
			_, err := h.Leases().Acquire(bg, key("aa"), "dead", 10*time.Second)
			h.ok(err)
		}
		stop := func(h *house) { _, err := h.Suspend(bg, key("aa"), "why"); h.ok(err) }
		for name, c := range map[string]struct {
			before  func(h *house)
			stopped bool
		}{
			"a dead section": {func(h *house) { dead(h); h.enqueued("aa", "j1", "j2"); h.advance(11 * time.Second) }, false},
			"dead tickets":   {func(h *house) { h.lostTicket("aa"); h.enqueued("aa", "j1", "j2") }, false},
			"both":           {func(h *house) { dead(h); h.lostTicket("aa"); h.enqueued("aa", "j1", "j2"); h.advance(11 * time.Second) }, false},
			"a dead section of a lane that is to be suspended": {func(h *house) {
				dead(h)
				h.enqueued("aa", "j1", "j2")
				stop(h)
				h.advance(11 * time.Second)
			}, true},
			"dead tickets before a suspended job": {func(h *house) {
				h.lostTicket("aa")
				h.enqueued("aa", "j1", "j2")
				h.ok(h.SuspendJob(bg, ref("j1")))
			}, true},
		} {
			for how, call := range map[string]func(h *house) error{
				"who does not wait": func(h *house) error { return h.Do(bg, key("aa"), 0, never) },
				"who waits":         func(h *house) error { return h.Do(bg, key("aa"), aWhile, never) },
			} {
				t.Run(name+", "+how, func(t *testing.T) {
					t.Parallel()
					h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
					h.t = t
					c.before(h)
					h.ok(h.rdb.Del(bg, h.Namespace().Keys(0).Wake("k")).Err())
					if err := call(h); !errors.Is(err, dispatcher.ErrBusy) {
						t.Fatalf("the section: %v, want busy", err)
					}
					h.clean()
					if c.stopped {
						h.none("w")
						h.ok(h.Resume(bg, key("aa")))
					}
					if n := h.rdb.Exists(bg, h.Namespace().Keys(0).Wake("k")).Val(); n != 1 {
						t.Error("no worker is told")
					}
					for _, id := range []string{"j1", "j2"} {
						h.ok(h.Finish(bg, h.head("w", id, 1)))
					}
					h.empty()
				})
			}
		}
	})
}

// A lane that is to be suspended when a section ends is so also when that dies, whoever finds it: it was
// taken by the next section, and the suspension was forgotten.
func TestPairs_DeadSectionOfALaneToBeSuspended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, find := range map[string]func(h *house) error{
			"acquire": func(h *house) error { _, err := h.Leases().Acquire(bg, key("a"), "x", time.Minute); return err },
			"section": func(h *house) error { return h.Do(bg, key("a"), 0, nothing) },
			"reap":    func(h *house) error { h.reaped(); return h.Do(bg, key("a"), 0, nothing) },
			"enqueue": func(h *house) error { h.enqueued("a", "j"); return h.Do(bg, key("a"), 0, nothing) },
		} {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			_, err := h.Leases().Acquire(bg, key("a"), "dead", 10*time.Second)
			h.ok(err)
			holder, err := h.Suspend(bg, key("a"), "why")
			h.ok(err)
			if holder != "dead" {
				t.Errorf("%s: it waits for %q", name, holder)
			}
			h.advance(11 * time.Second)
			if err := find(h); !errors.Is(err, lease.ErrHeld) && !errors.Is(err, dispatcher.ErrBusy) {
				t.Errorf("%s: got it, %v", name, err)
			}
			h.reaped()
			if name != "enqueue" {
				h.enqueued("a", "j")
			}
			h.none("w")
			lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
			h.ok(err)
			if lane.State != inspect.Suspended || lane.Why != "why" {
				t.Errorf("%s: the lane is %+v", name, lane)
			}
			h.clean()
			h.ok(h.Resume(bg, key("a")))
			h.ok(h.Finish(bg, h.head("w", "j", 1)))
			h.empty()
		}
	})
}

var theKey = &dispatcher.Unique{Key: "x"}

// A ticket takes its turn whatever becomes of the jobs before it, and keeps its turn from those behind it.
func TestPairs_TicketTakesItsTurn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, c := range map[string]struct {
			kind, order string
			first       []string // jobs before the ticket
			along       int      // jobs that are claimed before it comes; 0 is none
			do          func(h *house, c *session.Claim)
		}{
			"batch": {"k", "p2 section n", []string{"p1", "p2"}, 9, func(h *house, c *session.Claim) {
				h.wantAlong(c, "p1", "p2")
				h.ok(h.finishes(session.End{Claim: c, GoesOn: true})[0])
				c, _ = c.Next()
				h.ok(h.HandBack(bg, *c))
			}},
			"batch stops at it": {"k", "p1 section n", []string{"p1"}, 0, func(*house, *session.Claim) {}},
			"batch ends":        {"k", "p2 section n", []string{"p1", "p2"}, 2, func(h *house, c *session.Claim) { h.endsEach(c, session.Finished, session.Retry) }},
			"cancel":            {"k", "section n", []string{"p"}, 0, func(h *house, _ *session.Claim) { _, err := h.Cancel(bg, ref("p")); h.ok(err) }},
			"cancel the running": {"k", "section n", []string{"p"}, 1, func(h *house, c *session.Claim) {
				_, err := h.Cancel(bg, ref("p"))
				h.ok(err)
				h.ok(h.HandBack(bg, *c))
			}},
			"suspend and resume a job": {"k", "p section n", []string{"p"}, 0, func(h *house, _ *session.Claim) {
				h.ok(h.SuspendJob(bg, ref("p")))
				h.none("w")
				h.ok(h.ResumeJob(bg, ref("p")))
			}},
			"cancel a suspended job": {"k", "section n", []string{"p"}, 0, func(h *house, _ *session.Claim) {
				h.ok(h.SuspendJob(bg, ref("p")))
				_, err := h.Cancel(bg, ref("p"))
				h.ok(err)
			}},
			"a suspended job steps aside": {"skip", "section n", []string{"p"}, 0, func(h *house, _ *session.Claim) { h.ok(h.SuspendJob(bg, ref("p"))) }},
			"suspend and resume the lane": {"k", "p section n", []string{"p"}, 0, func(h *house, _ *session.Claim) {
				_, err := h.Suspend(bg, key("a"), "")
				h.ok(err)
				h.ok(h.Resume(bg, key("a")))
			}},
			"suspend the lane, then its holder ends": {"k", "section n", []string{"p"}, 1, func(h *house, c *session.Claim) {
				_, err := h.Suspend(bg, key("a"), "")
				h.ok(err)
				h.ok(h.Finish(bg, *c))
				h.none("w")
				h.ok(h.Resume(bg, key("a")))
			}},
			"halt": {"halt", "section n", []string{"p"}, 1, func(h *house, c *session.Claim) {
				h.ok(h.DeadLetter(bg, *c, "x", ""))
				h.none("w")
				h.ok(h.Skip(bg, key("a")))
			}},
			"set aside":       {"skip", "section n p", []string{"p"}, 1, func(h *house, c *session.Claim) { _, err := h.Retry(bg, *c, time.Second, "x"); h.ok(err) }},
			"crash":           {"k", "p section n", []string{"p"}, 1, func(h *house, _ *session.Claim) { h.advance(11 * time.Second); h.reaped() }},
			"stop":            {"k", "p section n", []string{"p"}, 1, func(h *house, c *session.Claim) { h.ok(h.HandBack(bg, *c)) }},
			"replay in front": {"k", "d p section n", []string{"d", "p"}, -1, func(h *house, _ *session.Claim) { _, err := h.Replay(bg, ref("d"), true); h.ok(err) }},
			"replay behind": {"k", "p section n d", []string{"d", "p"}, -1, func(h *house, _ *session.Claim) {
				h.enqueued("a", "n")
				_, err := h.Replay(bg, ref("d"), false)
				h.ok(err)
			}},
			"what is kept": {"keep", "section n", []string{"p"}, 1, func(h *house, c *session.Claim) { h.ok(h.Finish(bg, *c)) }},
			"a unique job merges": {"unique", "p section n", []string{"p"}, 0, func(h *house, _ *session.Claim) {
				if done := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "unique", ID: "same", Unique: theKey}); done.Created || done.ID != "p" {
					h.t.Errorf("beside one like it: %+v", done)
				}
			}},
			"limit": {"limit", "section n", []string{"p"}, 1, nil},
			"rate":  {"rate", "section n", []string{"p"}, 1, nil},
			"blame": {"k", "p section n", []string{"p"}, 1, func(h *house, c *session.Claim) {
				_, err := h.Retry(bg, *c, 0, "x")
				h.ok(err)
				h.ok(refund(bg, h.Dispatcher, "w", c.Job))
			}},
			"delay": {"k", "p late section n", []string{"p"}, -2, func(h *house, _ *session.Claim) { h.advance(time.Second) }},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := kindsHouse(t, rdb, dispatcher.Kind{Name: "keep", Owner: "o", Keep: time.Hour}, dispatcher.Kind{Name: "limit", Owner: "o", Limit: 1},
					dispatcher.Kind{Name: "unique", Owner: "o"}, dispatcher.Kind{Name: "rate", Owner: "o", Every: time.Second})
				h.t = t
				for _, id := range c.first {
					job := dispatcher.NewJob{Subject: key("a"), Kind: c.kind, ID: id}
					if c.kind == "unique" {
						job.Unique = theKey
					}
					h.enqueue(job)
				}
				switch c.along {
				case -1:
					h.ok(h.DeadLetter(bg, h.head("w", "d", 1), "x", ""))
				case -2:
					h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "late", Delay: time.Second})
					h.advance(time.Second) // it is due, and nobody has placed it when the ticket comes
				}
				var claim *session.Claim
				m := h.joined(session.Claimant{Holder: "w", Kinds: []string{c.kind}, TTL: 10 * time.Second, LaneBatch: map[string]int{c.kind: max(1, c.along)}})
				if c.along > 0 {
					claims, _ := m.turn(1)
					claim = &claims[0]
				}
				var mu sync.Mutex
				var order []string
				ran := func(what string) { mu.Lock(); defer mu.Unlock(); order = append(order, what) }
				section := h.waiting("a", bg, func(context.Context) error { ran("section"); return nil })
				if name != "replay behind" {
					h.enqueuedKind(c.kind, "a", "n")
				}
				if c.do == nil { // its slot, if any, goes back
					m.turn(0, done(*claim))
				} else {
					c.do(h, claim)
				}
				if c.kind == "limit" && h.slotsHeld() != 0 {
					t.Error("a slot is held after the end")
				}
				redistest.Until(t, "all have run", func() bool {
					h.advance(100 * time.Millisecond)
					h.reaped()
					for _, c := range h.claimedKinds("x", 1, "k", "skip", "halt", "keep", "limit", "rate", "unique") {
						ran(c.ID)
						h.ok(h.Finish(bg, c))
					}
					st, err := h.Stats(bg)
					h.ok(err)
					return st.InLanes == 0 && st.Lanes == 0 && (st.Scheduled == 0 || strings.Contains(name, "aside") && name != "set aside")
				})
				h.ok(<-section)
				mu.Lock()
				defer mu.Unlock()
				if want := strings.Fields(c.order); !slices.Equal(order, want) {
					t.Errorf("ran %v, want %v", order, want)
				}
				h.clean()
			})
		}
	})
}

// endsEach ends the jobs of a batch, each in its own way.
func (h *house) endsEach(c *session.Claim, outcomes ...session.Outcome) {
	h.t.Helper()
	end := session.End{Claim: c, Outcome: session.Several}
	for i, one := range c.Each() {
		end.Each = append(end.Each, session.End{Claim: one, Outcome: outcomes[i], Error: "boom", Reason: "x"})
	}
	h.ok(h.finishes(end)[0])
}
