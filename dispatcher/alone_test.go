package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// H7: a repair that looked before another one had mended a key, and jobs came into it, leaves the key
// alone.
func TestH7_SlowRepair(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.enqueued("a", "head")
		keys := h.Namespace().Keys(0)
		tail := keys.Tail(key("a").Canonical())
		h.ok(rdb.Set(bg, tail, "no list", 0).Err())
		// The slow one has seen a string. The other one repairs; then jobs come.
		_, err := h.Repair(bg, nil)
		h.ok(err)
		h.enqueued("a", "j1", "j2", "j3")
		if was, err := h.Engine().Aside(bg, 0, tail, keys.LostAndFound(tail, time.Now()), "list"); was != "" || err != nil {
			t.Errorf("the slow repair renamed a %s, %v", was, err)
		}
		for _, id := range []string{"head", "j1", "j2", "j3"} {
			h.ok(h.Finish(bg, h.head("w", id, 1)))
		}
		h.clean()
	})
}

// H7: one repair at a time; the second one says who repairs, and one that died keeps nobody away for long.
func TestH7_OneRepairAtATime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 2})
		inside := false
		_, err := h.Repair(bg, func(done int) {
			if done > 1 {
				return
			}
			inside = true
			_, err := h.Repair(bg, nil)
			who, _ := rdb.Get(bg, h.Namespace().Repairing()).Result()
			if !errors.Is(err, dispatcher.ErrBusy) || who == "" || !strings.Contains(err.Error(), who) {
				t.Errorf("a second repair, of %q: %v", who, err)
			}
		})
		h.ok(err)
		if !inside {
			t.Fatal("there was no second repair")
		}
		_, err = h.Repair(bg, nil)
		h.ok(err)
		h.ok(rdb.Set(bg, h.Namespace().Repairing(), "dead", 50*time.Millisecond).Err())
		if mini := rdb.Info(bg, "server").Err() != nil; !mini { // miniredis has no clock of its own
			redistest.Until(t, "the dead one's turn is over", func() bool { _, err := h.Repair(bg, nil); return err == nil })
		}
	})
}

// H8: who was short of a limit and has left is offered nothing: the next one in line gets what comes
// back at once.
func TestH8_SlotsGoToWhoIsThere(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "slow", Owner: "test", Limit: 1}}})
		h.lanes("slow", 3)
		a, gone, next := h.member("a", "", "slow"), h.member("gone", "", "slow"), h.member("next", "", "slow")
		first, _ := a.turn(1)
		if none, _ := gone.turn(1); len(first) != 1 || len(none) != 0 {
			t.Fatalf("%d and %d started", len(first), len(none))
		}
		if none, _ := next.turn(1); len(none) != 0 {
			t.Fatal("the limit let a second one start")
		}
		h.ok(gone.s.Close(bg))
		a.turn(0, done(first[0]))
		if got, _ := next.turn(1); len(got) != 1 {
			t.Error("the slot that came back was not given to the next one in line")
		}
		if dump(t, rdb, h.cfg.Namespace) == "" || strings.Contains(dump(t, rdb, h.cfg.Namespace), "gone") {
			t.Error("who has left still stands somewhere")
		}
	})
}

// H12: a note that a holder waits counts only as long as its lease does: what a dead one has left is no
// deadlock; and a true one is.
func TestH12_NotesEndWithTheirLeases(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for _, how := range []string{"over", "released", "passed on"} {
			l, err := h.Leases().Acquire(bg, key("a"), "dead", time.Second)
			h.ok(err)
			h.noteWait(rdb, l, "b")
			inA := false
			err = h.Do(bg, key("b"), 0, func(ctx context.Context) error {
				if err := h.Do(ctx, key("a"), time.Minute, nothing); !errors.Is(err, dispatcher.ErrWouldDeadlock) {
					t.Errorf("%s: while the holder of a waits for b: %v", how, err)
				}
				switch how {
				case "released":
					h.ok(h.Leases().Release(bg, l))
				case "passed on":
					h.ok(h.Leases().Release(bg, l))
					l, err = h.Leases().Acquire(bg, key("a"), "another", time.Second)
					h.ok(err)
					if err := h.Do(ctx, key("a"), aWhile, nothing); !errors.Is(err, dispatcher.ErrBusy) {
						t.Errorf("passed on to one who waits for nothing: %v", err)
					}
					h.ok(h.Leases().Release(bg, l))
				}
				h.advance(1001 * time.Millisecond)
				return h.Do(ctx, key("a"), time.Minute, func(context.Context) error { inA = true; return nil })
			})
			if err != nil || !inA {
				t.Errorf("%s: %v, ran %t", how, err, inA)
			}
		}
		h.clean()
		h.empty()
	})
}

// noteWait leaves the note of a holder that waits for a subject, as one that was killed does.
func (h *house) noteWait(rdb *redis.Client, l lease.Lease, lane string) {
	h.t.Helper()
	note := fmt.Sprintf("%d %s %s", h.ms.Load()+time.Hour.Milliseconds(), l.Token, key(lane).Canonical())
	h.ok(rdb.HSet(bg, h.Namespace().Waits(), l.Subject.Canonical(), note).Err())
}

// H14: of two processes that declare different limits, the later declaration counts, whichever writes
// last; and the doctor sees when what is enforced is not what is declared.
func TestH14_LimitsFollowTheirDeclaration(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		declare := func(limit int) []dispatcher.Kind {
			return []dispatcher.Kind{{Name: "slow", Owner: "test", Limit: limit}}
		}
		h := newHouse(t, rdb, dispatcher.Config{Kinds: declare(9), Partitions: 1}) // version 1
		newHouseIn(t, rdb, dispatcher.Config{Namespace: h.cfg.Namespace, Kinds: declare(3)})
		h.ok(writeLimit(bg, h.Dispatcher, "slow", 9, 1)) // the first one was slow
		h.lanes("slow", 10)
		if claims, _ := h.member("w", "", "slow").turn(10); len(claims) != 3 {
			t.Errorf("%d run at once, 3 are declared", len(claims))
		}
		h.clean()
		limits := h.Namespace().Keys(0).Limits()
		h.ok(rdb.HSet(bg, limits, "kind/slow", "9 0 1").Err())
		if found := h.findings(); len(found) != 1 || found[0].What != "limit" || !strings.Contains(found[0].Detail, "9 at once") {
			t.Errorf("enforced is another limit: the doctor finds %v", found)
		}
		_, err := h.Repair(bg, nil)
		h.ok(err)
		h.clean()

		// Taken out and declared anew: an older declaration still counts for nothing.
		h.ok(h.Undeclare(bg, "slow"))
		again := newHouseIn(t, rdb, dispatcher.Config{Namespace: h.cfg.Namespace, Kinds: declare(5)})
		h.ok(writeLimit(bg, h.Dispatcher, "slow", 9, 2))
		if record, err := rdb.HGet(bg, limits, "kind/slow").Result(); err != nil || !strings.HasPrefix(record, "5 ") {
			t.Errorf("declared anew with 5, enforced %q, %v", record, err)
		}
		again.clean()
	})
}

// H7: a repair takes a lock that an answer of its own got lost of for its own, and leaves another one's alone.
func TestH7_OnlyItsOwnLock(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	proxy.LoseReplies(1)
	_, err := h.Repair(bg, nil)
	h.ok(err)
	_, err = h.Repair(bg, func(int) { h.ok(rdb.Set(bg, h.Namespace().Repairing(), "another", time.Minute).Err()) })
	h.ok(err)
	if who, err := rdb.Get(bg, h.Namespace().Repairing()).Result(); who != "another" {
		t.Errorf("the lock of another one is %q, %v", who, err)
	}
	h.ok(rdb.Del(bg, h.Namespace().Repairing()).Err())
}

// H14: a kind that was half taken out, and then is not, is limited as it is declared once it is repaired; and
// later declarations count.
func TestH14_RepairOfALaterLimit(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		declare := func(limit int) dispatcher.Config {
			return dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "slow", Owner: "test", Limit: limit}}, Partitions: 1}
		}
		h := newHouse(t, rdb, declare(3))
		h.ok(writeLimit(bg, h.Dispatcher, "slow", 0, 7)) // and there it died
		if done, err := h.Repair(bg, nil); err != nil || len(done) != 1 {
			t.Errorf("repaired %v, %v", done, err)
		}
		h.clean()
		cfg := declare(4)
		cfg.Namespace = h.cfg.Namespace
		newHouseIn(t, rdb, cfg).clean()
	})
}

// A process that declares what is declared starts when memory is full, and repairs go on.
func TestH14_FullMemory(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	rdb := redistest.ClientOf(t, server)
	cfg := dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "test"}, {Name: "slow", Owner: "test", Limit: 3}}, Partitions: 1}
	h := newHouse(t, rdb, cfg)
	h.keep("x", 10)
	clock := h.Namespace().Keys(0).Clock()
	h.ok(rdb.HSet(bg, clock, "kept", 5).Err())
	h.ok(rdb.ConfigSet(bg, "maxmemory", "1mb").Err())
	cfg.Namespace = h.cfg.Namespace
	newHouseIn(t, rdb, cfg)
	if done, err := h.Repair(bg, nil); err != nil || len(done) != 1 {
		t.Errorf("repaired %v, %v", done, err)
	}
	h.ok(rdb.ConfigSet(bg, "maxmemory", "0").Err())
	h.clean()
}
