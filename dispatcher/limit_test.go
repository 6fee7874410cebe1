package dispatcher_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// crew is one session and what it has claimed.
type member struct {
	h *house
	s *session.Session
}

func (h *house) member(name, pool string, kinds ...string) *member {
	h.t.Helper()
	s, err := h.Join(bg, session.Claimant{Holder: name, Kinds: kinds, TTL: 10 * time.Second, Pool: pool}, 10)
	h.ok(err)
	h.t.Cleanup(func() { _ = s.Close(bg) })
	return &member{h, s}
}

// turn asks every partition for up to n lanes, after it has reported ends.
func (m *member) turn(n int, ends ...session.End) (claims []session.Claim, later time.Duration) {
	m.h.t.Helper()
	for p := range m.s.Partitions() {
		t := session.Turn{Partition: p, Claim: n > 0, Want: n - len(claims), Reap: true}
		for _, e := range ends {
			if m.h.Namespace().Partition(e.Claim.Subject) == p {
				t.Ends = append(t.Ends, e)
			}
		}
		a := m.s.Turns(bg, []session.Turn{t})[0]
		m.h.ok(a.Err)
		for _, e := range a.Ended {
			m.h.ok(e.Err)
		}
		claims, later = append(claims, a.Claims...), max(later, a.Later)
	}
	return claims, later
}

func done(c session.Claim) session.End {
	return session.End{Claim: &c, Outcome: session.Finished}
}

func (h *house) lanes(kind string, n int) {
	h.t.Helper()
	for i := range n {
		h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(kind, i)), Kind: kind, ID: fmt.Sprint(kind, i)})
	}
}

// G12: never more than the limit at once, over partitions and sessions; a slot that comes
// back is for the next; and a dead holder's slots come back with its leases.
func TestG12_KindLimit(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb, dispatcher.Kind{Name: "slow", Owner: "test", Limit: 3})
		h.lanes("slow", 20)
		h.lanes("k", 2)
		a, b := h.member("a", "", "slow", "k"), h.member("b", "", "slow")
		first, _ := a.turn(10)
		second, later := b.turn(10)
		slow := 0
		for _, c := range append(first, second...) {
			if c.Kind == "slow" {
				slow++
			}
		}
		if slow != 3 || len(first) != 5 || len(second) != 0 {
			t.Fatalf("%d slow jobs run, %d and %d claimed; want 3 slow ones and both others", slow, len(first), len(second))
		}
		if later != 0 {
			t.Errorf("b, who is not first in line, is to come again after %s", later)
		}
		if _, later := a.turn(10); later <= 0 || later > 10*time.Second {
			t.Errorf("a, who is first in line, is to come again after %s", later)
		}
		h.clean()
		// One ends: its slot is offered to a, who was short first, and to b when a lets it pass.
		var ended session.Claim
		for _, c := range first {
			if c.Kind == "slow" {
				ended = c
			}
		}
		if len(ended.Slots) != 1 {
			t.Fatalf("a limited claim has %d slots", len(ended.Slots))
		}
		a.turn(0, done(ended))
		if second, _ = b.turn(10); len(second) != 0 {
			t.Errorf("b got %d that were offered to a", len(second))
		}
		h.advance(100 * time.Millisecond)
		if second, _ = b.turn(10); len(second) != 1 {
			t.Fatalf("b got %d that a has let pass, want 1", len(second))
		}
		// Slots are kept alive like lanes.
		h.advance(9 * time.Second)
		for i, err := range h.Leases().Renew(bg, 10*time.Second, second[0].Slots[0], second[0].Lease) {
			if err != nil {
				t.Errorf("renewal %d: %v", i, err)
			}
		}
		h.advance(9 * time.Second) // a is dead now, with two
		if c, _ := b.turn(10); len(c) != 2 {
			t.Errorf("b got %d of the dead one's slots, want 2", len(c))
		}
		h.clean()
	})
}

// C6: a pool's limit is for all its kinds together, and not for those of another pool.
func TestC6_PoolLimit(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{
			Kinds: []dispatcher.Kind{
				{Name: "g1", Owner: "o", Pool: "git"}, {Name: "g2", Owner: "o", Pool: "git", Limit: 1}, {Name: "k", Owner: "o"},
			},
			PoolLimits: map[string]int{"git": 2},
		})
		h.lanes("g1", 5)
		h.lanes("g2", 5)
		h.lanes("k", 5)
		git, other := h.member("a", "git", "g1", "g2"), h.member("b", "default", "k")
		claims, _ := git.turn(10)
		kinds := map[string]int{}
		for _, c := range claims {
			kinds[c.Kind]++
		}
		if len(claims) != 2 || kinds["g2"] > 1 {
			t.Errorf("the pool runs %v, want two and one g2 at most", kinds)
		}
		if c, _ := other.turn(10); len(c) != 5 {
			t.Errorf("the other pool runs %d, want 5", len(c))
		}
		var ends []session.End
		for _, c := range claims {
			ends = append(ends, done(c))
		}
		git.turn(0, ends...)
		for range 8 {
			next, _ := git.turn(1)
			for range 3 { // what one partition passes on is offered to another one, which was asked before
				if len(next) == 0 {
					next, _ = git.turn(1)
				}
			}
			if len(next) != 1 {
				t.Fatalf("stuck with slots free: %d", len(next))
			}
			git.turn(0, done(next[0]))
		}
	})
}

// G12: starts of a rated kind are apart by what it declares, across sessions; a start that
// found no job does not count.
func TestG12_Rate(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb, dispatcher.Kind{Name: "rated", Owner: "test", Every: time.Second})
		a, b := h.member("a", "", "rated"), h.member("b", "", "rated")
		if c, _ := a.turn(1); len(c) != 0 {
			t.Fatal("claimed out of nothing")
		}
		h.lanes("rated", 5)
		started := 0
		for range 10 { // 2.5 s
			for _, m := range []*member{a, b} {
				c, _ := m.turn(5)
				started += len(c)
			}
			h.advance(250 * time.Millisecond)
		}
		if started != 3 {
			t.Errorf("%d started within 2.25 s, want 3", started)
		}
		_, first := a.turn(1)
		_, second := b.turn(1)
		if later := max(first, second); later <= 0 || later > time.Second {
			t.Errorf("the first in line is to come again after %s", later)
		}
		h.clean()
	})
}

// A limit that is gone lets nothing start: policy fails closed.
func TestG12_LimitGone(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := kindsHouse(t, rdb, dispatcher.Kind{Name: "slow", Owner: "test", Limit: 3})
	h.lanes("slow", 1)
	m := h.member("a", "", "slow")
	for p := range h.Namespace().Partitions {
		rdb.Del(bg, h.Namespace().Keys(p).Limits())
	}
	var told error
	for p := range h.Namespace().Partitions {
		a := m.s.Turns(bg, []session.Turn{{Partition: p, Claim: true, Want: 1}})[0]
		if len(a.Claims) != 0 {
			t.Errorf("claimed %d", len(a.Claims))
		}
		told = errors.Join(told, a.Err)
	}
	if !errors.Is(told, dispatcher.ErrMismatch) {
		t.Errorf("the partition of the ready lane says %v, want ErrMismatch", told)
	}
}

// What could not be read of limits when a session began is no limit once it can be read.
func TestLimitsThatCouldNotBeReadAtFirst(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	rdb := redistest.ClientOf(t, server)
	h := kindsHouse(t, rdb)
	h.lanes("k", 1)
	for p := range h.Namespace().Partitions { // so reading fails, and nothing else does
		h.ok(rdb.Set(bg, h.Namespace().Keys(p).Limits(), "x", 0).Err())
	}
	m := h.member("a", "default", "k")
	for p := range h.Namespace().Partitions {
		h.ok(rdb.Del(bg, h.Namespace().Keys(p).Limits()).Err())
	}
	h.ok(m.s.Beat(bg))
	if c, _ := m.turn(1); len(c) != 1 {
		t.Errorf("claimed %d once limits could be read, want 1", len(c))
	}
}

// A slot goes back at the end of its job though its limit was taken back meanwhile.
func TestSlotsOfALimitThatIsNoMore(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		limited := dispatcher.Kind{Name: "slow", Owner: "test", Limit: 1}
		h := kindsHouse(t, rdb, limited)
		h.lanes("slow", 2)
		m := h.member("a", "", "slow")
		claims, _ := m.turn(1)
		h.ok(h.Undeclare(bg, "slow"))
		h.ok(m.s.Beat(bg)) // which sees it, were the hint lost
		m.turn(0, done(claims[0]))
		_, err := dispatcher.Open(bg, dispatcher.Config{
			Redis: rdb, Namespace: h.cfg.Namespace, Now: h.cfg.Now, Kinds: []dispatcher.Kind{limited},
		})
		h.ok(err)
		h.ok(m.s.Beat(bg))
		if next, _ := m.turn(1); len(next) != 1 {
			t.Errorf("claimed %d under the limit that is back, want 1: its slot is free", len(next))
		}
	})
}

// C11: lanes of a higher priority go first, and those of a lower one are not starved, also where a limit is asked first.
func TestC11_PriorityAndAging(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	for _, limit := range []int{0, 100} {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{
			{Name: "low", Owner: "o", Limit: limit}, {Name: "high", Owner: "o", Limit: limit, Priority: 1},
		}})
		h.lanes("low", 3)
		h.lanes("high", 100)
		m := h.member("a", "", "low", "high")
		for i := range 10 {
			if c, _ := m.turn(1); c[0].Kind != "high" {
				t.Fatalf("limit %d: claim %d is %s", limit, i, c[0].Kind)
			}
		}
		h.advance(session.Aging + time.Second)
		low := 0
		for range 4 {
			c, _ := m.turn(1)
			if c[0].Kind == "low" {
				low++
			}
		}
		if low != 1 {
			t.Errorf("limit %d: %d low ones after an aging, want 1 and then the high ones again", limit, low)
		}
	}
}

// C11: kinds age too when a limit lets fewer start than the pool has room for.
func TestC11_AgingWhereALimitIsInTheWay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1, PoolLimits: map[string]int{"p": 1}, Kinds: []dispatcher.Kind{
		{Name: "low", Owner: "o", Pool: "p"}, {Name: "high", Owner: "o", Pool: "p", Priority: 1},
	}})
	h.lanes("low", 3)
	h.lanes("high", 30)
	m := h.member("a", "p", "low", "high")
	low := 0
	for range 16 { // more than two agings
		claims, _ := m.turn(5)
		for _, c := range claims {
			if c.Kind == "low" {
				low++
			}
			m.turn(0, done(c))
		}
		h.advance(2 * time.Second)
	}
	if low == 0 || low > 3 {
		t.Errorf("%d low ones started in 32 s, want one for each time that it has aged", low)
	}
}
