package dispatcher_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// Hints are looked at themselves: a test that waits would be served by the next look too, and see
// nothing of a hint that was lost.

// hintHouse is a house of one partition with a kind of each sort.
func hintHouse(t *testing.T, rdb *redis.Client) *house {
	return newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{
		{Name: "k", Owner: "o"}, {Name: "other", Owner: "o"}, {Name: "kept", Owner: "o", Keep: time.Hour},
		{Name: "skip", Owner: "o", OnFailure: dispatcher.Skip}, {Name: "halt", Owner: "o", OnFailure: dispatcher.Halt, Keep: time.Hour},
	}})
}

// hints takes the hints that are there, "kind:hint" each.
func (h *house) hints() string {
	h.t.Helper()
	var found []string
	for _, kind := range []string{"k", "kept", "other", "skip", "halt"} {
		wake := h.Namespace().Keys(0).Wake(kind)
		hints, err := h.rdb.ZRange(bg, wake, 0, -1).Result()
		h.ok(err)
		slices.Sort(hints)
		for _, hint := range hints {
			found = append(found, kind+":"+hint)
		}
		h.ok(h.rdb.Del(bg, wake).Err())
	}
	return strings.Join(found, " ")
}

// of1 enqueues a job of a kind in lane a.
func (h *house) of1(kind string, ids ...string) {
	h.t.Helper()
	h.enqueuedKind(kind, "a", ids...)
}

// ends reports the end of a claim, and claims with it when it is to.
func (h *house) ends(c session.Claim, end session.End, claims bool) {
	h.t.Helper()
	end.Claim = &c
	who, n := session.Claimant{}, 0
	if claims {
		who, n = worker, 5
	}
	_, err := h.turn(who, n, []session.End{end})
	h.ok(err)
}

func (h *house) first() session.Claim {
	h.t.Helper()
	c := one(h.claimedKinds("w", 1, "k", "kept", "other", "skip", "halt", "stops"))
	if c.ID == "" {
		h.t.Fatal("nothing is ready")
	}
	return c
}

// What makes a lane ready, or lets something fall due before what sleepers know of, leaves a hint for the kind of
// its head, and nothing else does; nor does what its caller takes itself. Without the hint of
// an enqueue for an earlier time a job waited for the next look.
func TestEachHintIsLeft(t *testing.T) {
	t.Parallel()
	retry := func(wait time.Duration) session.End {
		return session.End{Outcome: session.Retry, Wait: wait}
	}
	dead, back := session.End{Outcome: session.DeadLettered}, session.End{Outcome: session.HandedBack}
	for name, c := range map[string]struct {
		before, act func(h *house)
		want        string
	}{
		"the first of a lane":       {nil, func(h *house) { h.of1("k", "j1") }, "k:ready"},
		"behind another":            {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.of1("other", "j2") }, ""},
		"behind a lease":            {func(h *house) { h.of1("k", "j1"); h.first() }, func(h *house) { h.of1("k", "j2") }, ""},
		"the first that falls due":  {nil, func(h *house) { h.later("a", "k", "j1", time.Hour) }, "k:due"},
		"due later":                 {func(h *house) { h.later("a", "k", "j1", time.Hour) }, func(h *house) { h.later("b", "k", "j2", 2*time.Hour) }, ""},
		"due at the same time":      {func(h *house) { h.later("a", "k", "j1", time.Hour) }, func(h *house) { h.later("b", "k", "j2", time.Hour) }, ""},
		"due earlier":               {func(h *house) { h.later("a", "k", "j1", time.Hour) }, func(h *house) { h.later("b", "k", "j2", time.Minute) }, "k:due"},
		"due earlier, another kind": {func(h *house) { h.later("a", "k", "j1", time.Hour) }, func(h *house) { h.later("b", "other", "j2", time.Minute) }, "other:due"},
		"several, the last one first": {nil, func(h *house) {
			_, err := h.EnqueueMany(bg, []dispatcher.NewJob{
				{Subject: key("a"), Kind: "k", Delay: 2 * time.Hour}, {Subject: key("a"), Kind: "other", Delay: time.Hour},
			})
			h.ok(err)
		}, "k:due other:due"},
		"an enqueue that places what is due": {
			func(h *house) { h.later("a", "k", "j1", time.Second); h.hints(); h.advance(2 * time.Second) },
			func(h *house) { h.enqueuedKind("other", "b", "j2") }, "k:ready other:ready",
		},
		"an enqueue behind more than it places": {func(h *house) {
			h.batches(101, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a"), Delay: time.Second} })
			h.advance(2 * time.Second)
			h.hints()
		}, func(h *house) { h.enqueuedKind("other", "b", "x") }, "k:ready other:due"},

		"finish":                    {func(h *house) { h.of1("k", "j1"); h.of1("other", "j2") }, func(h *house) { h.ends(h.first(), session.End{}, false) }, "other:ready"},
		"finish of the last":        {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.ends(h.first(), session.End{}, false) }, ""},
		"finish, next for oneself":  {func(h *house) { h.of1("k", "j1", "j2") }, func(h *house) { h.ends(h.first(), session.End{}, true) }, ""},
		"finish, next for others":   {func(h *house) { h.of1("k", "j1"); h.of1("other", "j2") }, func(h *house) { h.ends(h.first(), session.End{}, true) }, "other:ready"},
		"finish of what is kept":    {func(h *house) { h.of1("kept", "j1"); h.of1("other", "j2") }, func(h *house) { h.ends(h.first(), session.End{}, false) }, "other:ready"},
		"retry at once":             {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.ends(h.first(), retry(0), false) }, "k:ready"},
		"retry later":               {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.ends(h.first(), retry(time.Second), false) }, "k:due"},
		"retry later, by oneself":   {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.ends(h.first(), retry(time.Second), true) }, ""},
		"set aside":                 {func(h *house) { h.of1("skip", "j1"); h.of1("other", "j2") }, func(h *house) { h.ends(h.first(), retry(time.Second), false) }, "other:ready skip:due"},
		"dead letter":               {func(h *house) { h.of1("k", "j1"); h.of1("other", "j2") }, func(h *house) { h.ends(h.first(), dead, false) }, "other:ready"},
		"hand back":                 {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.ends(h.first(), back, false) }, "k:ready"},
		"hand back, and take again": {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.ends(h.first(), back, true) }, ""},
		"hand back of a cancelled one": {
			func(h *house) { h.of1("k", "j1"); h.of1("other", "j2") },
			func(h *house) { c := h.first(); _, err := h.Cancel(bg, ref("j1")); h.ok(err); h.ends(c, back, false) }, "other:ready",
		},
		"a batch fails":                       {func(h *house) { h.of1("k", "j1", "j2") }, func(h *house) { h.batchFails(time.Second) }, "k:due"},
		"a batch fails, and is tried at once": {func(h *house) { h.of1("k", "j1", "j2") }, func(h *house) { h.batchFails(0) }, "k:ready"},

		"claim of all":        {func(h *house) { h.batches(2, eachItsLane) }, func(h *house) { h.claimed("w", 2) }, ""},
		"claim of some":       {func(h *house) { h.batches(2, eachItsLane) }, func(h *house) { h.claimed("w", 1) }, "k:ready"},
		"a hint passed on":    {func(h *house) { h.batches(2, eachItsLane) }, func(h *house) { h.passesOn() }, "k:ready"},
		"no hint to pass on":  {nil, func(h *house) { h.passesOn() }, ""},
		"bytes for one claim": {func(h *house) { h.heavy(3) }, func(h *house) { h.claimed("w", 5) }, "k:ready"},

		"reap of a crash":   {func(h *house) { h.of1("k", "j1"); h.first(); h.advance(time.Minute) }, func(h *house) { h.reaped() }, "k:ready"},
		"reap, for oneself": {func(h *house) { h.of1("k", "j1"); h.first(); h.advance(time.Minute) }, func(h *house) { h.reapAndClaim() }, ""},
		"reap of a wait": {func(h *house) {
			h.of1("k", "j1")
			h.ends(h.first(), retry(time.Second), false)
			h.hints()
			h.advance(time.Minute)
		}, func(h *house) { h.reaped() }, "k:ready"},
		"reap of what is due": {func(h *house) { h.later("a", "k", "j1", time.Second); h.hints(); h.advance(time.Minute) }, func(h *house) { h.reaped() }, "k:ready"},

		"resume": {func(h *house) { h.of1("k", "j1"); _, err := h.Suspend(bg, key("a"), ""); h.ok(err) }, func(h *house) { h.ok(h.Resume(bg, key("a"))) }, "k:ready"},
		"retry now": {
			func(h *house) { h.of1("k", "j1"); h.ends(h.first(), retry(time.Hour), false) },
			func(h *house) { h.ok(h.RetryNow(bg, key("a"))) }, "k:ready",
		},
		"skip of a head": {func(h *house) {
			h.of1("k", "j1")
			h.of1("other", "j2")
			_, err := h.Suspend(bg, key("a"), "")
			h.ok(err)
		},
			func(h *house) { h.ok(h.Skip(bg, key("a"))) }, "other:ready"},
		"resume of a head":             {func(h *house) { h.of1("k", "j1"); h.ok(h.SuspendJob(bg, ref("j1"))) }, func(h *house) { h.ok(h.ResumeJob(bg, ref("j1"))) }, "k:ready"},
		"a suspended one steps aside":  {func(h *house) { h.of1("skip", "j1"); h.of1("other", "j2") }, func(h *house) { h.ok(h.SuspendJob(bg, ref("j1"))) }, "other:ready"},
		"resume of one that was aside": {func(h *house) { h.of1("skip", "j1"); h.ok(h.SuspendJob(bg, ref("j1"))) }, func(h *house) { h.ok(h.ResumeJob(bg, ref("j1"))) }, "skip:due"},
		"cancel of a head":             {func(h *house) { h.of1("k", "j1"); h.of1("other", "j2") }, func(h *house) { _, err := h.Cancel(bg, ref("j1")); h.ok(err) }, "other:ready"},
		"cancel of another":            {func(h *house) { h.of1("k", "j1"); h.of1("other", "j2") }, func(h *house) { _, err := h.Cancel(bg, ref("j2")); h.ok(err) }, ""},
		"replay":                       {func(h *house) { h.of1("k", "j1"); h.ends(h.first(), dead, false) }, func(h *house) { h.replays("j1", false) }, "k:ready"},
		"replay to the front":          {func(h *house) { h.of1("k", "j1"); h.of1("other", "j2"); h.ends(h.first(), dead, false) }, func(h *house) { h.replays("j1", true) }, "k:ready"},
		"replay behind another":        {func(h *house) { h.of1("k", "j1"); h.of1("other", "j2"); h.ends(h.first(), dead, false) }, func(h *house) { h.replays("j1", false) }, ""},
		"replay behind what it can't place": {func(h *house) {
			h.of1("other", "x")
			h.ends(h.first(), dead, false)
			h.batches(101, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a"), Delay: time.Second} })
			h.advance(2 * time.Second)
		}, func(h *house) { h.replays("x", false) }, "k:ready other:due"},
		"the end of a section": {func(h *house) {}, func(h *house) {
			l, err := h.Leases().Acquire(bg, key("a"), "somebody", time.Minute)
			h.ok(err)
			h.of1("k", "j1")
			if hints := h.hints(); hints != "" {
				h.t.Errorf("a job behind a section leaves %s", hints)
			}
			h.ok(h.Leases().Release(bg, l))
		}, "k:ready"},
		"a repair": {func(h *house) { h.of1("k", "j1"); h.ok(h.rdb.Del(bg, h.Namespace().Keys(0).Ready("k")).Err()) },
			func(h *house) { _, err := h.Repair(bg, nil); h.ok(err) }, "k:ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := hintHouse(t, rdb)
				if c.before != nil {
					c.before(h)
					h.hints()
				}
				c.act(h)
				if got := h.hints(); got != c.want {
					t.Errorf("hints left: %q, want %q", got, c.want)
				}
			})
		})
	}
}

func (h *house) passesOn() {
	h.t.Helper()
	got := turns(bg, h.Dispatcher, &worker, []session.Turn{{Claim: true}})[0]
	h.ok(got.Err)
}

func (h *house) reapAndClaim() {
	h.t.Helper()
	got := turns(bg, h.Dispatcher, &worker, []session.Turn{{Reap: true, Claim: true, Want: 5}})[0]
	h.ok(got.Err)
	if len(got.Claims) != 1 {
		h.t.Errorf("claimed %d", len(got.Claims))
	}
}

func (h *house) replays(id string, front bool) {
	h.t.Helper()
	_, err := h.Replay(bg, ref(id), front)
	h.ok(err)
}

// heavy enqueues n jobs of a MiB in lanes of their own.
func (h *house) heavy(n int) {
	h.t.Helper()
	for i := range n {
		h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k", Payload: mebi})
	}
}

// batchFails ends a batch of two whose jobs fail.
func (h *house) batchFails(wait time.Duration) {
	h.t.Helper()
	c := h.batch("w", 2)
	end := session.End{Outcome: session.Several}
	for _, job := range c.Each() {
		end.Each = append(end.Each, session.End{Claim: job, Outcome: session.Retry, Wait: wait})
	}
	h.ends(*c, end, false)
}

// What is said on the channels of those who wait: each end whose outcome is read, what is asked of a holder, that a
// ticket's turn has come, that a limit has more, and that one was declared.
func TestEachNewsIsSaid(t *testing.T) {
	t.Parallel()
	cancelled := func(h *house) session.Claim {
		h.of1("kept", "j1")
		c := h.first()
		_, err := h.Cancel(bg, ref("j1"))
		h.ok(err)
		return c
	}
	for name, c := range map[string]struct {
		act  func(h *house, listen func())
		want string
	}{
		"finished":         {func(h *house, _ func()) { h.of1("kept", "j1"); h.ends(h.first(), session.End{}, false) }, "ij1 finished"},
		"nothing is kept":  {func(h *house, _ func()) { h.of1("k", "j1"); h.ends(h.first(), session.End{}, false) }, ""},
		"cancelled, waits": {func(h *house, _ func()) { h.of1("kept", "j1"); _, err := h.Cancel(bg, ref("j1")); h.ok(err) }, "ij1 cancelled"},
		"cancelled, runs":  {func(h *house, _ func()) { cancelled(h) }, "w cancel"},
		"cancelled, has run": {func(h *house, listen func()) {
			c := cancelled(h)
			listen()
			h.ends(c, session.End{Outcome: session.HandedBack}, false)
		}, "ij1 cancelled"},
		"cancelled, lost": {func(h *house, listen func()) {
			cancelled(h)
			listen()
			h.advance(time.Minute)
			h.reaped()
		}, "ij1 cancelled"},
		"dead": {func(h *house, _ func()) {
			h.of1("kept", "j1")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
		}, "ij1 dead"},
		"dead, skipped": {func(h *house, _ func()) {
			h.of1("kept", "j1")
			_, err := h.Suspend(bg, key("a"), "")
			h.ok(err)
			h.ok(h.Skip(bg, key("a")))
		}, "ij1 dead"},
		"halted": {func(h *house, _ func()) {
			h.of1("halt", "j1")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
		}, "ij1 halted"},
		"a ticket's turn": {func(h *house, _ func()) {
			h.of1("k", "j1")
			h.deadTicket("a", 0)
			h.ends(h.first(), session.End{}, false)
		}, "i1000 ready"},
		"a ticket is skipped": {func(h *house, listen func()) {
			h.of1("k", "j1")
			h.deadTicket("a", 0)
			h.ends(h.first(), session.End{}, false)
			_, err := h.Suspend(bg, key("a"), "")
			h.ok(err)
			listen()
			h.ok(h.Skip(bg, key("a")))
		}, "i1000 skipped"},
		"a ticket's time is over": {func(h *house, listen func()) {
			h.of1("k", "j1")
			h.deadTicket("a", 0)
			h.first()
			h.advance(2 * time.Second)
			h.reaped()
		}, "i1000 skipped"},
		"a limit is declared": {func(h *house, _ func()) {
			cfg := h.cfg
			cfg.PoolLimits = map[string]int{"p": 1}
			_, err := dispatcher.Open(bg, cfg)
			h.ok(err)
		}, "limits "},
		"a limit has more": {func(h *house, listen func()) {
			cfg := h.cfg
			cfg.PoolLimits = map[string]int{"p": 1}
			_, err := dispatcher.Open(bg, cfg)
			h.ok(err)
			has, short := h.member("has", "p", "k"), h.member("short", "p", "k")
			h.of1("k", "j1")
			claims, _ := has.turn(1)
			h.enqueuedKind("k", "b", "j2")
			short.turn(1)
			listen()
			has.turn(0, done(claims[0]))
		}, "short/slots 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := hintHouse(t, rdb)
				prefix := h.Namespace().Keys(0).News("")
				sub := rdb.PSubscribe(bg, prefix+"*")
				defer sub.Close()
				_, err := sub.Receive(bg) // that it has begun
				h.ok(err)
				// said is what was said until a mark that comes last.
				said := func() string {
					h.ok(rdb.Publish(bg, prefix+"mark", "").Err())
					var all []string
					for m := range sub.Channel() {
						if m.Channel == prefix+"mark" {
							break
						}
						all = append(all, strings.TrimPrefix(m.Channel, prefix)+" "+m.Payload)
					}
					return strings.Join(all, ", ")
				}
				c.act(h, func() { said() })
				if got := said(); got != c.want {
					t.Errorf("said %q, want %q", got, c.want)
				}
			})
		})
	}
}

// A session is told of each hint where it is and what it says; and of one hint one session.
func TestWaitTellsWhatItHasHeard(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 3})
	m := h.member("w", "", "k", "other")
	for p := range 3 {
		for _, kind := range []string{"k", "other"} {
			for _, what := range []string{"ready", "due"} {
				h.ok(rdb.ZAdd(bg, h.Namespace().Keys(p).Wake(kind), redis.Z{Member: what}).Err())
				hint, ok, err := m.s.Wait(bg, 0)
				if want := (session.Hint{Partition: p, Due: what == "due"}); hint != want || !ok || err != nil {
					t.Errorf("%s of %s in partition %d: %+v, %t, %v", what, kind, p, hint, ok, err)
				}
			}
		}
	}
}
