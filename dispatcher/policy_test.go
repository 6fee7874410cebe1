package dispatcher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// kindsHouse is a house whose kinds k, skip and halt are declared.
func kindsHouse(t *testing.T, rdb *redis.Client, more ...dispatcher.Kind) *house {
	t.Helper()
	kinds := append([]dispatcher.Kind{
		{Name: "k", Owner: "test"}, {Name: "k2", Owner: "test"},
		{Name: "skip", Owner: "test", OnFailure: dispatcher.Skip, MaxAttempts: 3},
		{Name: "halt", Owner: "test", OnFailure: dispatcher.Halt, MaxAttempts: 2},
	}, more...)
	return newHouse(t, rdb, dispatcher.Config{Kinds: kinds})
}

func (h *house) enqueuedKind(kind, lane string, ids ...string) {
	h.t.Helper()
	for _, id := range ids {
		h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: kind, ID: id})
	}
}

// run works on all that is ready, and on what falls due, until nothing does any more, and
// returns the order of starts. Jobs in fails fail as often as it says.
func (h *house) run(kinds []string, fails map[string]int) string {
	h.t.Helper()
	var order []string
	for range 100 {
		claims := h.claimedKinds("w", 1, kinds...)
		if len(claims) == 0 {
			r := h.reaped()
			if r.Next < 0 && r.Resumed+r.Placed == 0 {
				return strings.Join(order, " ")
			}
			h.advance(max(r.Next, 0))
			continue
		}
		for _, c := range claims {
			order = append(order, c.ID)
			if fails[c.ID] > 0 {
				fails[c.ID]--
				_, err := h.Retry(bg, c, time.Second, "boom")
				h.ok(err)
			} else {
				h.ok(h.Finish(bg, c))
			}
		}
	}
	h.t.Fatalf("no end: %v", order)
	return ""
}

// C4: the exact order of starts under each policy.
func TestC4_FailingHead(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, c := range []struct {
			kind  string
			fails map[string]int
			order string
			dead  int
			state inspect.State // of the lane then, if it is still there
		}{
			{"k", map[string]int{"k1": 2}, "k1 k1 k1 k2 k3", 0, ""},
			{"k", map[string]int{"k1": 99}, strings.Repeat("k1 ", 25) + "k2 k3", 1, ""},
			{"skip", map[string]int{"skip1": 2}, "skip1 skip2 skip3 skip1 skip1", 0, ""},
			{"skip", map[string]int{"skip1": 9}, "skip1 skip2 skip3 skip1 skip1", 1, ""},
			{"halt", map[string]int{"halt1": 1}, "halt1 halt1 halt2 halt3", 0, ""},
			{"halt", map[string]int{"halt1": 9}, "halt1 halt1", 0, inspect.Suspended},
		} {
			h := kindsHouse(t, rdb)
			h.enqueuedKind(c.kind, "a", c.kind+"1", c.kind+"2", c.kind+"3")
			if order := h.run([]string{c.kind}, c.fails); order != c.order {
				t.Errorf("%s with %v: ran %s, want %s", c.kind, c.fails, order, c.order)
			}
			letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
			h.ok(err)
			if len(letters) != c.dead {
				t.Errorf("%s: %d dead letters, want %d", c.kind, len(letters), c.dead)
			}
			lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
			if lane.State != c.state {
				t.Errorf("%s: the lane is %q (%v), want %q", c.kind, lane.State, err, c.state)
			}
			h.clean()
		}
	})
}

// C4: a halted lane that an operator suspends, with a reason or without, stays halted: its head has no
// attempts left until the lane is resumed, and then all of them.
func TestC4_HaltedLaneThatIsSuspended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, why := range []string{"", "disk full"} {
			h := kindsHouse(t, rdb)
			h.enqueuedKind("halt", "a", "h1")
			fail := func(attempt int) {
				t.Helper()
				c := h.claimedKinds("w", 1, "halt")["a"]
				if c.ID != "h1" || c.Attempt != attempt {
					t.Fatalf("claimed %s attempt %d, want h1 attempt %d", c.ID, c.Attempt, attempt)
				}
				_, err := h.Retry(bg, c, 0, "boom")
				h.ok(err)
			}
			fail(1)
			fail(2)
			_, err := h.Suspend(bg, key("a"), why)
			h.ok(err)
			lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
			h.ok(err)
			want := "halted: attempts exhausted"
			if why != "" {
				want += "; suspended: " + why
			}
			if !lane.Halted || lane.Why != want {
				t.Errorf("suspended with %q it is %+v, want halted still", why, lane)
			}
			h.clean()
			h.ok(h.Resume(bg, key("a")))
			fail(1)
			fail(2)
			h.ok(h.Skip(bg, key("a")))
			h.clean()
		}
	})
}

// C4: a halted lane goes on with its head again when it is resumed, and without it when it is
// skipped; a crash and a permanent error halt like failures do.
func TestC4_HaltedLane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, fail := range map[string]func(h *house, c session.Claim){
			"failure":   func(h *house, c session.Claim) { _, err := h.Retry(bg, c, 0, "boom"); h.ok(err) },
			"crash":     func(h *house, _ session.Claim) { h.advance(time.Minute); h.reaped() },
			"permanent": func(h *house, c session.Claim) { h.ok(h.DeadLetter(bg, c, "permanent error", "boom")) },
		} {
			t.Run(name, func(t *testing.T) {
				h := kindsHouse(t, rdb)
				h.enqueuedKind("halt", "a", "h1", "h2")
				for range 2 {
					for _, c := range h.claimedKinds("w", 1, "halt") {
						fail(h, c)
					}
					h.advance(time.Minute)
					h.reaped()
				}
				lane, jobs, _, err := h.Lane(bg, key("a"), inspect.Page{})
				h.ok(err)
				if lane.State != inspect.Suspended || !strings.HasPrefix(lane.Why, "halted: ") || len(jobs) != 2 || lane.HeadID != "h1" {
					t.Fatalf("the lane is %+v with %d jobs", lane, len(jobs))
				}
				h.clean()
				h.ok(h.Resume(bg, key("a")))
				if lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{}); err != nil || lane.Attempt != 0 || lane.Error != "" {
					t.Errorf("resumed the lane is %+v, %v, want one that begins anew", lane, err)
				}
				for _, c := range h.claimedKinds("w", 1, "halt") {
					if c.ID != "h1" || c.Attempt != 1 {
						t.Errorf("resumed with %s attempt %d, want h1 with all its attempts", c.ID, c.Attempt)
					}
					h.ok(h.DeadLetter(bg, c, "again", ""))
				}
				h.ok(h.Skip(bg, key("a")))
				if order := h.run([]string{"halt"}, nil); order != "h2" {
					t.Errorf("after the skip ran %q, want h2", order)
				}
				letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
				h.ok(err)
				if len(letters) != 1 || letters[0].ID != "h1" || letters[0].Reason != "skipped" {
					t.Errorf("dead letters %+v, want h1, skipped", letters)
				}
				if err := h.Resume(bg, key("a")); !errors.Is(err, dispatcher.ErrNotSuspended) {
					t.Errorf("resume of a lane that is not suspended: %v", err)
				}
				h.clean()
			})
		}
	})
}

// A job that was set aside shows where it is, with its attempts; and is not lost by a repair.
func TestC4_SetAsideIsVisible(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb)
		h.enqueuedKind("skip", "a", "s1", "s2")
		for _, c := range h.claimedKinds("w", 1, "skip") {
			_, err := h.Retry(bg, c, time.Hour, "boom")
			h.ok(err)
		}
		done, err := h.Repair(bg, nil)
		h.ok(err)
		if len(done) != 0 {
			t.Errorf("a repair of what is whole did %v", done)
		}
		job, err := h.Job(bg, ref("s1"))
		h.ok(err)
		if job.State != inspect.Scheduled || job.Attempt != 1 || job.Error != "boom" {
			t.Errorf("set aside: %s attempt %d error %q", job.State, job.Attempt, job.Error)
		}
	})
}

// A lane batch whose kind halts its lane by now, when its head fails for good: the lane halts with it, and nothing is lost. On the
// embedded server the script broke in its midst, and the lane stood nowhere: miniredis's Lua mixes up what is assigned together.
func TestBatchHaltsItsLane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb)
		h.enqueuedKind("halt", "a", "head", "along")
		s, err := h.Join(bg, session.Claimant{Holder: "w", Kinds: []string{"halt"}, TTL: time.Minute, LaneBatch: map[string]int{"halt": 2}}, 1)
		h.ok(err)
		defer func() { h.ok(s.Close(bg)) }()
		claims, _ := (&member{h, s}).turn(1)
		if len(claims) != 1 || len(claims[0].Along) != 1 {
			t.Fatalf("claims: %+v", claims)
		}
		end := session.End{Claim: &claims[0], Outcome: session.Several}
		for _, c := range claims[0].Each() {
			end.Each = append(end.Each, session.End{Claim: c, Outcome: session.DeadLettered, Reason: "permanent", Error: "boom"})
		}
		turned := s.Turns(bg, []session.Turn{{Partition: h.Namespace().Partition(key("a")), Ends: []session.End{end}}})[0]
		h.ok(turned.Ended[0].Err)
		if each := turned.Ended[0].Each; !each[0].Halted {
			t.Errorf("ended: %+v", each)
		}
		lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
		h.ok(err)
		if !lane.Halted || lane.HeadID != "head" {
			t.Errorf("the lane: %+v", lane)
		}
		h.clean()
	})
}

// C4: a head that has halted its lane has ended for who waits for it, also when an operator has suspended it by itself since.
func TestHaltedHeadThatIsSuspended(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", OnFailure: dispatcher.Halt}}})
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", MaxAttempts: 1, Keep: time.Hour})
		if _, err := h.Retry(bg, h.head("w", "j", 1), 0, "boom"); err != nil {
			t.Fatal(err)
		}
		h.ok(h.SuspendJob(bg, ref("j")))
		for what, ask := range map[string]func(context.Context, dispatcher.JobRef) (dispatcher.JobOutcome, error){"outcome": h.Outcome, "wait": h.WaitFor} {
			ctx, cancel := context.WithTimeout(bg, 10*time.Second)
			o, err := ask(ctx, ref("j"))
			cancel()
			if err != nil || o.State != dispatcher.JobHalted || o.Attempts != 1 || o.Error != "boom" ||
				o.Reason != "halted: attempts exhausted; suspended: its head is suspended" {
				t.Errorf("%s: %+v, %v", what, o, err)
			}
		}
	})
}
