package worker

import (
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// The decisions of a planner by themselves: facts go in, errands come out, and time is an argument.

// noon is when the tables happen.
var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// quietPlanner is a planner of partitions of which nothing is to be done for an hour.
func quietPlanner(partitions int, apart bool) planner {
	p := newPlanner(Config{LeaseTTL: 30 * time.Second}, partitions, apart)
	p.next = 0
	for i := range p.partitions {
		p.partitions[i] = partition{reapAt: noon.Add(time.Hour), reaped: noon}
	}
	return p
}

func attempts(n int) []*attempt {
	all := make([]*attempt, n)
	for i := range all {
		all[i] = new(attempt)
	}
	return all
}

// goingOn are ends of attempts whose places go on with their lanes.
func goingOn(n int) []*attempt {
	all := attempts(n)
	for _, a := range all {
		a.end.GoesOn = true
	}
	return all
}

// What a turn asks for follows from what is known of the partition, and from the room that the crew has.
func TestPlanOfATurn(t *testing.T) {
	t.Parallel()
	roomy := facts{room: 10}
	for name, c := range map[string]struct {
		knows partition // in which times are kept from the quiet one when they are zero
		facts facts
		want  session.Turn
		ends  int
		no    bool // nothing is planned
	}{
		"nothing is ready":              {facts: roomy, no: true},
		"unknown, so it asks":           {knows: partition{ready: unknown}, facts: roomy, want: session.Turn{Claim: true, Want: 5}},
		"as many as are ready":          {knows: partition{ready: 2}, facts: roomy, want: session.Turn{Claim: true, Want: 2}},
		"more are ready than half":      {knows: partition{ready: 9}, facts: roomy, want: session.Turn{Claim: true, Want: 5}},
		"half of an odd room":           {knows: partition{ready: 9}, facts: facts{room: 9}, want: session.Turn{Claim: true, Want: 5}},
		"one place":                     {knows: partition{ready: 9}, facts: facts{room: 1}, want: session.Turn{Claim: true, Want: 1}},
		"what is left of the room":      {knows: partition{ready: 9}, facts: facts{room: 10, busy: 7}, want: session.Turn{Claim: true, Want: 3}},
		"no room":                       {knows: partition{ready: 9}, facts: facts{room: 10, busy: 10}, no: true},
		"less than no room":             {knows: partition{ready: 9}, facts: facts{room: 10, busy: 12}, no: true},
		"one call gives so many":        {knows: partition{ready: 9999}, facts: facts{room: 9999}, want: session.Turn{Claim: true, Want: session.MaxClaim}},
		"ends may free as many":         {knows: partition{ends: attempts(3)}, facts: roomy, ends: 3, want: session.Turn{Claim: true, Want: 3}},
		"more ends than ready":          {knows: partition{ends: attempts(3), ready: 1}, facts: roomy, ends: 3, want: session.Turn{Claim: true, Want: 3}},
		"ends that go on free nothing":  {knows: partition{ends: goingOn(3)}, facts: roomy, ends: 3},
		"ends that roll":                {knows: partition{ends: goingOn(3), rolls: true}, facts: roomy, ends: 3, want: session.Turn{Claim: true}},
		"ends that roll, at a stop":     {knows: partition{ends: goingOn(3), rolls: true}, facts: facts{room: 10, stopping: true}, ends: 3},
		"ends of who is full":           {knows: partition{ends: attempts(3)}, facts: facts{room: 2, busy: 2}, ends: 3},
		"a hint, and no room":           {knows: partition{ready: unknown, passOn: true}, facts: facts{room: 2, busy: 2}, want: session.Turn{Claim: true}},
		"an offer, and no room":         {knows: partition{ready: unknown, refuse: true}, facts: facts{room: 2, busy: 2}, want: session.Turn{Claim: true, Refuse: true}},
		"an offer, and room again":      {knows: partition{ready: unknown, refuse: true}, facts: roomy, want: session.Turn{Claim: true, Want: 5}},
		"due":                           {knows: partition{reapAt: noon}, facts: roomy, want: session.Turn{Reap: true, Claim: true, Want: 5}},
		"due in a moment":               {knows: partition{reapAt: noon.Add(1)}, facts: roomy, no: true},
		"at work, looked 1s ago":        {knows: partition{reaped: noon.Add(-time.Second)}, facts: facts{room: 10, working: true}, want: session.Turn{Reap: true, Claim: true, Want: 5}},
		"at work, looked less ago":      {knows: partition{reaped: noon.Add(1 - time.Second)}, facts: facts{room: 10, working: true}, no: true},
		"idle, looked 1s ago":           {knows: partition{reaped: noon.Add(-time.Second)}, facts: roomy, no: true},
		"short of slots, looked 1s ago": {knows: partition{short: true, reaped: noon.Add(-time.Second)}, facts: roomy, want: session.Turn{Reap: true, Claim: true, Want: 5}},
		"it rests":                      {knows: partition{ready: unknown, ends: attempts(1), restTill: noon.Add(1)}, facts: roomy, no: true},
		"it has rested":                 {knows: partition{ready: unknown, ends: attempts(1), restTill: noon}, facts: roomy, ends: 1, want: session.Turn{Claim: true, Want: 5}},
		"its trip is under way":         {knows: partition{ready: unknown, ends: attempts(1), away: true}, facts: roomy, no: true},
		"a stop claims and reaps none":  {knows: partition{ready: unknown, reapAt: noon.Add(-1)}, facts: facts{room: 10, stopping: true}, no: true},
		"a stop reports":                {knows: partition{ready: unknown, ends: attempts(2)}, facts: facts{room: 10, stopping: true}, ends: 2},
	} {
		p := quietPlanner(1, false)
		if c.knows.reapAt.IsZero() {
			c.knows.reapAt = p.partitions[0].reapAt
		}
		if c.knows.reaped.IsZero() {
			c.knows.reaped = noon
		}
		p.partitions[0] = c.knows
		errands, _ := p.plan(noon, c.facts)
		if c.no != (len(errands) == 0) || c.no != (p.trips == 0) {
			t.Errorf("%s: it plans %+v", name, errands)
			continue
		}
		if c.no {
			continue
		}
		got := errands[0]
		if turn := got.Turn; turn.Want != c.want.Want || turn.Claim != c.want.Claim || turn.Reap != c.want.Reap || turn.Refuse != c.want.Refuse || len(got.attempts) != c.ends {
			t.Errorf("%s: it plans %+v with %d ends, want %+v with %d", name, turn, len(got.attempts), c.want, c.ends)
		}
		if after := p.partitions[0]; after.passOn || after.refuse || len(after.ends) > 0 || p.load != c.ends {
			t.Errorf("%s: it would be said twice: %+v, with a load of %d", name, after, p.load)
		}
	}
}

// What an answer says counts, unless a hint came after the question.
func TestPlanLearns(t *testing.T) {
	t.Parallel()
	later := func(after partition) time.Duration { return after.reapAt.Sub(noon) }
	reaps := session.Turn{Reap: true, Claim: true, Want: 5}
	found := session.TurnReply{Ready: 3, Short: true, Reaped: session.ReapReply{Next: -1}}
	retry := session.End{Outcome: session.Retry, Wait: 3 * time.Second}
	for name, c := range map[string]struct {
		turn   session.Turn
		answer session.TurnReply
		hints  int  // that came while the trip was under way
		again  bool // an end of it was not answered
		busy   int
		ready  int
		short  bool
		reapIn time.Duration // at least, and at most by the 5 ms that waits are spread
		rests  bool
	}{
		"what is ready":               {turn: reaps, answer: found, ready: 3, short: true, reapIn: 10 * time.Second},
		"of who works":                {turn: reaps, answer: found, busy: 1, ready: 3, short: true, reapIn: time.Second},
		"a hint is newer":             {turn: reaps, answer: found, hints: 1, ready: unknown, reapIn: time.Hour},
		"it did not ask":              {turn: session.Turn{}, answer: found, ready: unknown, reapIn: time.Hour},
		"it asked, and did not reap":  {turn: session.Turn{Claim: true}, answer: found, ready: 3, short: true, reapIn: time.Hour},
		"due before it looks again":   {turn: reaps, answer: session.TurnReply{Reaped: session.ReapReply{Next: 4 * time.Second}}, reapIn: 4 * time.Second},
		"due after it looks again":    {turn: reaps, answer: session.TurnReply{Reaped: session.ReapReply{Next: time.Minute}}, reapIn: 10 * time.Second},
		"due now":                     {turn: reaps, answer: session.TurnReply{}, reapIn: 0},
		"a limit gives more":          {turn: reaps, answer: session.TurnReply{Later: 2 * time.Second, Reaped: session.ReapReply{Next: -1}}, reapIn: 2 * time.Second},
		"its own retry":               {turn: session.Turn{Reap: true, Claim: true, Ends: []session.End{retry}}, answer: found, ready: 3, short: true, reapIn: 3 * time.Second},
		"a retry in a batch":          {turn: session.Turn{Reap: true, Claim: true, Ends: []session.End{{Outcome: session.Several, Each: []session.End{{}, retry}}}}, answer: found, ready: 3, short: true, reapIn: 3 * time.Second},
		"not served":                  {turn: session.Turn{Claim: true}, answer: session.TurnReply{Err: errBoom}, ready: unknown, reapIn: time.Hour, rests: true},
		"an end that is not answered": {turn: session.Turn{Claim: true}, answer: found, again: true, ready: 3, short: true, reapIn: time.Hour, rests: true},
	} {
		p := quietPlanner(1, false)
		part := &p.partitions[0]
		part.ready, part.failures, part.restTill = unknown, 2, noon.Add(time.Minute) // since the trip set out
		e := errand{Turn: c.turn}
		part.news += c.hints
		p.learn(noon, e, c.answer, !c.again, facts{busy: c.busy})
		if part.ready != c.ready || part.short != c.short {
			t.Errorf("%s: %d lanes are ready, short of slots %t; want %d, %t", name, part.ready, part.short, c.ready, c.short)
		}
		if in := later(*part); in < c.reapIn || in > c.reapIn+5*time.Millisecond {
			t.Errorf("%s: it reaps after %s, want %s", name, in, c.reapIn)
		}
		rests := noon.Before(part.restTill)
		if rests != c.rests || rests && part.failures != 3 || !rests && part.failures != 0 || part.restTill.After(noon.Add(time.Second)) {
			t.Errorf("%s: it rests until %s after %d failures, want rest %t", name, part.restTill, part.failures, c.rests)
		}
	}
}

// A partition that is not served rests ever longer. One server that is away counts once for all of its partitions.
func TestPlanRests(t *testing.T) {
	t.Parallel()
	p, now := quietPlanner(2, false), noon
	for i, rest := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		for range 2 { // trips that were under way together
			p.learn(now, errand{Turn: session.Turn{Partition: 1}, away: true}, session.TurnReply{Err: errBoom}, true, facts{})
		}
		for _, part := range p.partitions {
			if in, most := part.restTill.Sub(now), rest*time.Millisecond; part.failures != i+1 || in > most || in < most*3/4 {
				t.Errorf("after %d failures, counted as %d, it rests for %s, want up to %s", i+1, part.failures, in, most)
			}
		}
		if errands, wait := p.plan(now, facts{room: 2}); len(errands) > 0 || wait != p.partitions[0].restTill.Sub(now) {
			t.Errorf("while it rests it plans %+v, and waits %s", errands, wait)
		}
		now = p.partitions[0].restTill
	}
}

// Where partitions are apart each travels alone, in turn, and not again before it is back; on one server all travel together.
func TestPlanApart(t *testing.T) {
	t.Parallel()
	ready := func(apart bool) planner {
		p := quietPlanner(3, apart)
		for i := range p.partitions {
			p.partitions[i].ready, p.partitions[i].ends = unknown, attempts(1)
		}
		return p
	}
	together := ready(false)
	if errands, _ := together.plan(noon, facts{room: 20}); len(errands) != 3 || errands[0].Want != 10 || together.next != 1 {
		t.Errorf("on one server it plans %+v, and next begins with %d", errands, together.next)
	}
	p := ready(true)
	for i := range 3 {
		errands, _ := p.plan(noon, facts{room: 20, busy: 10 * i})
		if len(errands) != 1 || errands[0].Partition != i || !p.partitions[i].away {
			t.Fatalf("trip %d carries %+v", i, errands)
		}
	}
	p.partitions[1].ends = attempts(1)
	if errands, _ := p.plan(noon, facts{room: 20}); len(errands) > 0 {
		t.Errorf("while all are away it plans %+v", errands)
	}
	p.learn(noon, errand{Turn: session.Turn{Partition: 1}}, nothingDue, true, facts{})
	if errands, _ := p.plan(noon, facts{room: 20}); len(errands) != 1 || errands[0].Partition != 1 {
		t.Errorf("when the second is back it plans %+v", errands)
	}
	if p.partitions[0].ready, p.partitions[1].ready = 0, unknown; !p.nothingReady(0) || p.nothingReady(1) {
		t.Error("a place where hints are waited for knows of lanes that are ready at another server")
	}
}

// A hint for who has no room goes on to the next pool; an offer is refused. Either is newer than what trips under way bring.
func TestPlanHears(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{false, true} {
		p := quietPlanner(3, false)
		p.hear(session.Hint{Partition: 1}, full)
		p.hearOffer([]int{2}, full)
		if got := p.partitions[1]; got.ready != unknown || got.news != 1 || got.passOn != full || got.reapAt.IsZero() {
			t.Errorf("full %t: of a hint it knows %+v", full, got)
		}
		if got := p.partitions[2]; got.ready != unknown || got.news != 1 || got.refuse != full || got.passOn {
			t.Errorf("full %t: of an offer it knows %+v", full, got)
		}
		if got := p.partitions[0]; got.ready != 0 || got.news != 0 {
			t.Errorf("full %t: it was not meant, and knows %+v", full, got)
		}
		if p.hear(session.Hint{Partition: 1, Due: true}, full); !p.partitions[1].reapAt.IsZero() {
			t.Errorf("full %t: what falls due waits until %s", full, p.partitions[1].reapAt)
		}
	}
}
