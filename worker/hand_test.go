package worker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// How many jobs a place has in hand follows from how long trips and handlers take: what ends within two trips, and one more.
func TestHowMuchIsInHand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trip, took time.Duration
		other      bool // of a kind that does not roll
		fixed      int
		want       int
	}{
		"nothing is known":        {want: 1},
		"no trip is known":        {took: time.Millisecond, want: 1},
		"no handler is known":     {trip: time.Millisecond, want: 1},
		"a handler is a trip":     {trip: time.Millisecond, took: time.Millisecond, want: 4},
		"half a trip":             {trip: time.Millisecond, took: 500 * time.Microsecond, want: 8},
		"two trips":               {trip: time.Millisecond, took: 2 * time.Millisecond, want: 2},
		"many trips":              {trip: time.Millisecond, took: 19 * time.Millisecond, want: 2},
		"so many that it is none": {trip: time.Millisecond, took: 20 * time.Millisecond, want: 1},
		"hardly any time":         {trip: time.Millisecond, took: time.Microsecond, want: 64},
		"a slow link":             {trip: 100 * time.Millisecond, took: 5 * time.Millisecond, want: 16},
		"of another kind":         {trip: time.Millisecond, took: time.Microsecond, other: true, want: 1},
		"fixed":                   {fixed: 8, want: 8},
		"fixed, of another kind":  {fixed: 8, other: true, want: 1},
	} {
		h := newHands([]string{"k"}, 2)
		h.fixed = c.fixed
		kind := "k"
		if c.other {
			kind = "other"
		}
		if c.trip > 0 {
			h.travelled(c.trip)
		}
		if c.took > 0 {
			h.handled(kind, c.took)
		}
		if got := h.want(kind); got != c.want {
			t.Errorf("%s: %d in hand, want %d", name, got, c.want)
		}
		if said := max(1, h.forTurns()[kind]); said != c.want {
			t.Errorf("%s: turns ask for %d, want %d", name, said, c.want)
		}
	}
}

// What turns ask for follows the last handlers, slowly; what a turn has been given stays as it is.
func TestHandsFollow(t *testing.T) {
	t.Parallel()
	h := newHands([]string{"k"}, 2)
	h.travelled(time.Millisecond)
	h.handled("k", time.Millisecond)
	before := h.forTurns()
	h.handled("k", 17*time.Millisecond)
	if h.took["k"] != 2*time.Millisecond || before["k"] != 4 {
		t.Errorf("the mean is %s, and turns asked for %d", h.took["k"], before["k"])
	}
	if after := h.forTurns(); after["k"] != 2 || before["k"] != 4 {
		t.Errorf("turns ask for %d, and the one before is changed to %d", after["k"], before["k"])
	}
}

// A lane that rolls runs on without a break, in its order, as long as its hand is filled; each end says what is in hand behind the next.
func TestLaneRolls(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.slow = 5 * time.Millisecond
	var s seen
	_, err := pooled(t, Config{Concurrency: 2}, f, func(p *Pool) {
		p.fixedHand = 16 // of jobs of 1ms, two trips of 5ms and one more need as many
		p.Handle("k", s.handler(func(context.Context, string) error { time.Sleep(time.Millisecond); return nil }))
	}, func(p *Pool) {
		begin := time.Now()
		f.addRolling(16, jobs(90)...)
		for p.Counts().Finished < 90 && time.Since(begin) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begin); took > 110*time.Millisecond {
			t.Errorf("90 jobs of 1ms took %s", took)
		}
	})
	var want []string
	for i := range 90 {
		want = append(want, fmt.Sprint("j", i))
	}
	if err != nil || !slices.Equal(s.ids, want) || !slices.Equal(f.order, want) || f.races > 0 {
		t.Errorf("%v; ran %v, reported %v; %d trips might overtake", err, s.ids, f.order, f.races)
	}
	for i, id := range want {
		e := f.ends[id]
		if inHand := len(e.Claim.Along) + e.More - 1; e.GoesOn != (i < 89) || e.GoesOn && (inHand < 0 || inHand > 15) {
			t.Errorf("end of %s: goes on %t, with %d in hand", id, e.GoesOn, inHand)
		}
	}
}

// Where there are other partitions a lane goes behind others when it had its time, whatever is in its hand; and one that was given
// out as a batch does not.
func TestLaneRollsForSoLong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg        Config
		partitions int
		want       int
	}{
		"rolls":                   {Config{Concurrency: 1}, 2, int(rollsFor / (10 * time.Millisecond))},
		"rolls in one partition":  {Config{Concurrency: 1}, 1, 30},
		"is given out as a batch": {Config{Concurrency: 1, LaneBatch: map[string]int{"k": 40}}, 2, 30},
	} {
		f := newFake()
		f.partitions = c.partitions
		var s seen
		_, _ = pooled(t, c.cfg, f, func(p *Pool) {
			p.Handle("k", s.handler(func(context.Context, string) error { time.Sleep(10 * time.Millisecond); return nil }))
		}, func(*Pool) {
			f.addLane(jobs(30)...)
			time.Sleep(time.Minute)
		})
		if len(s.ids) != c.want || f.ends[s.ids[c.want-1]].GoesOn {
			t.Errorf("%s: %d jobs ran in one go, want %d", name, len(s.ids), c.want)
		}
	}
}

// What has been in a hand for too long, because the job before it is slow, goes back, and nothing comes after that job.
func TestHandGoesBack(t *testing.T) {
	t.Parallel()
	f := newFake()
	var s seen
	_, _ = pooled(t, Config{Concurrency: 2}, f, func(p *Pool) {
		p.Handle("k", s.handler(func(_ context.Context, id string) error {
			if id == "j1" {
				time.Sleep(time.Second)
			}
			return nil
		}))
	}, func(*Pool) {
		f.addRolling(3, jobs(9)...)
		time.Sleep(maxPatience - 5*time.Millisecond)
		f.set(func() {
			if len(f.back) > 0 {
				t.Errorf("put back behind %v, too early", f.back)
			}
		})
		time.Sleep(10 * time.Millisecond)
		f.set(func() {
			if !slices.Equal(f.back, []string{"j1"}) {
				t.Errorf("put back behind %v, want what is behind j1", f.back)
			}
		})
		time.Sleep(time.Minute)
	})
	if !slices.Equal(s.ids, []string{"j0", "j1"}) || f.ends["j1"].GoesOn || len(f.back) != 1 {
		t.Errorf("ran %v, and put back behind %v", s.ids, f.back)
	}
}

// Which kinds roll: those that end in the calls that claim, and of which nobody said how many are claimed together.
func TestWhichKindsRoll(t *testing.T) {
	t.Parallel()
	declared := map[string]dispatcher.Kind{
		"limit": {Limit: 3}, "every": {Every: time.Second}, "keep": {Keep: time.Minute}, "halt": {OnFailure: dispatcher.Halt},
		"plain": {Timeout: time.Second, Priority: 3}, "skip": {OnFailure: dispatcher.Skip}, "one": {}, "batch": {},
	}
	synctest.Test(t, func(t *testing.T) {
		p, err := newPool(Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), LaneBatch: map[string]int{"one": 1}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.declared = func(kind string) (dispatcher.DeclaredKind, bool) {
			k, ok := declared[kind]
			return dispatcher.DeclaredKind{Kind: k}, ok
		}
		for kind := range declared {
			if kind == "batch" {
				p.HandleBatch(kind, 3, func(context.Context, []dispatcher.Job) []error { return nil })
			} else {
				p.Handle(kind, func(context.Context, []byte) error { return nil })
			}
		}
		p.Handle("undeclared", func(context.Context, []byte) error { return nil })
		if _, err := p.ready(); err != nil {
			t.Fatal(err)
		}
		var rolls []string
		for kind := range p.rolls {
			rolls = append(rolls, kind)
		}
		slices.Sort(rolls)
		if !slices.Equal(rolls, []string{"plain", "skip", "undeclared"}) {
			t.Errorf("%v roll", rolls)
		}
	})
}

// An end that waits while a trip with the end before it is under way says what is in hand when it travels, not when it was
// laid down: the answer may have brought more meanwhile.
func TestEndsSayWhatIsInHandNow(t *testing.T) {
	t.Parallel()
	d := newDesk(Config{Concurrency: 1, LeaseTTL: 30 * time.Second}, 1, false, "k")
	all := jobs(9)
	l := &lane{rolls: true, hand: hand{jobs: all[1:3]}, begun: time.Now()}
	first := &attempt{lane: l, claim: &session.Claim{Job: all[0], Along: all[1:3]}}
	ended := func(a *attempt) *attempt {
		a.end, a.ended = session.End{Claim: a.claim}, time.Now()
		next, _, _ := d.end(a, time.Second, true)
		if next == nil {
			t.Fatalf("nothing comes after %s", a.claim.ID)
		}
		return &attempt{lane: l, claim: next}
	}
	inHand := func(e session.End) int { return len(e.Claim.Along) + e.More - 1 }
	second := ended(first)
	errands, _ := d.plan(time.Now())
	if got := inHand(errands[0].Ends[0]); got != 1 || !errands[0].Claim {
		t.Errorf("the first end says %d in hand, want j2: %+v", got, errands[0])
	}
	third := ended(second)
	if got, _ := d.plan(time.Now()); len(got) > 0 && len(got[0].Ends) > 0 {
		t.Fatal("a second trip with ends of the lane sets out")
	}
	d.take(errands[0], session.TurnReply{Ended: []session.EndReply{{More: all[3:5]}}, Reaped: session.ReapReply{Next: -1}}, nil)
	d.back(time.Millisecond)
	_ = ended(third) // so that two ends of it travel
	errands, _ = d.plan(time.Now())
	if len(errands) != 1 || len(errands[0].Ends) != 2 || inHand(errands[0].Ends[0]) != 2 || inHand(errands[0].Ends[1]) != 1 {
		t.Errorf("the ends are %+v, want 2 and 1 in hand", errands)
	}
}

// A pool that is told to stop begins nothing that is in a hand.
func TestPairs_StopLeavesTheHand(t *testing.T) {
	t.Parallel()
	f := newFake()
	var s seen
	_, err := pooled(t, Config{StopTimeout: time.Hour}, f, func(p *Pool) {
		p.fixedHand = 8
		p.Handle("k", s.handler(func(context.Context, string) error { time.Sleep(10 * time.Millisecond); return nil }))
	}, func(*Pool) {
		f.addRolling(4, jobs(9)...)
		time.Sleep(15 * time.Millisecond) // in the middle of the second
	})
	if err != nil || !slices.Equal(s.ids, []string{"j0", "j1"}) || f.ends["j1"].GoesOn || f.ends["j1"].Outcome != session.Finished {
		t.Errorf("%v; ran %v, ends %+v", err, s.ids, f.ends)
	}
}

// A lane that waits in the pool for a place counts like one that waits in Redis: no hand is filled, and the next place that rolls is its.
func TestLanesInThePoolWait(t *testing.T) {
	t.Parallel()
	d := newDesk(Config{Concurrency: 1, LeaseTTL: 30 * time.Second}, 1, false, "k")
	d.hands.fixed = 4
	all := jobs(4)
	l := &lane{rolls: true, hand: hand{jobs: all[1:]}, begun: time.Now()}
	a := &attempt{lane: l, claim: &session.Claim{Job: all[0], Along: all[1:]}, ended: time.Now(), end: session.End{Claim: &session.Claim{Job: all[0], Along: all[1:]}}}
	d.crew.running = 1
	d.crew.claimed([]session.Claim{{Job: dispatcher.Job{ID: "other"}}}, 0, time.Now())
	next, q, ok := d.end(a, time.Second, true)
	if next != nil {
		t.Errorf("it goes on with %s though a lane waits for the place", next.ID)
	}
	if !ok || q.claim.ID != "other" || len(l.hand.jobs) > 0 {
		t.Errorf("the place goes on with %+v, and %v is in hand", q, l.hand.jobs)
	}
	d.crew.claimed([]session.Claim{{Job: dispatcher.Job{ID: "third"}}}, 0, time.Now())
	if errands, _ := d.plan(time.Now()); len(errands) != 1 || errands[0].InHand != nil {
		t.Errorf("it plans %+v, want nothing in hand while a lane waits for a place", errands)
	}
}

// What is in a hand goes back when nothing of its lane travels or is to be said: an end says itself what is there. And who waits for a
// trip's return does not look every ms.
func TestHandGoesBackWhenAllIsSaid(t *testing.T) {
	t.Parallel()
	all := jobs(3)
	for name, c := range map[string]struct {
		away   bool
		unsaid int
		back   bool // it goes back by itself
		left   int
	}{
		"all is said":      {back: true},
		"a trip is away":   {away: true, unsaid: 1, left: 2},
		"an end is to say": {unsaid: 1},
	} {
		d := newDesk(Config{Concurrency: 1, LeaseTTL: 30 * time.Second}, 1, false, "k")
		now := time.Now()
		l := &lane{rolls: true, hand: hand{jobs: all[1:], since: now.Add(-maxPatience)}, running: &session.Claim{Job: all[0]}, away: c.away, unsaid: c.unsaid}
		d.held[l] = struct{}{}
		wait := d.easeLocked(now)
		if back := len(d.planner.partitions[0].eased) > 0; back != c.back || len(l.hand.jobs) != c.left || wait < time.Minute {
			t.Errorf("%s: it goes back: %t, %d are in hand, and it looks again in %s", name, back, len(l.hand.jobs), wait)
		}
	}
	d := newDesk(Config{Concurrency: 1, LeaseTTL: 30 * time.Second}, 1, false, "k")
	l := &lane{hand: hand{jobs: all[1:]}}
	d.vacate(&attempt{lane: l})
	if l.takes(all[:1]); len(l.hand.jobs) > 0 {
		t.Errorf("a place that dropped its lane has %d in hand", len(l.hand.jobs))
	}
}
