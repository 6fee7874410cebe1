package session

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// permitted makes the turns of a session whose claims are under limits, in steps: what has ended is
// reported, and the ready lanes of limited kinds are counted; then the slots of what has ended go
// back, and starts are asked for as many lanes as there are, in turn with all others who are short
// (I15); then lanes are claimed for them; and what was not used goes back.
type permitted struct {
	s      *Session
	who    *Claimant
	limits []limit
	turns  []Turn
	ready  []map[string]int // by turn and limited kind, lanes
	got    []granted        // by limit
	failed []error          // by turn: a limit did not answer, so nothing that it limits starts
}

func (s *Session) permitted(ctx context.Context, who *Claimant, limits []limit, turns []Turn) []TurnReply {
	s.recoverLostBeside(ctx)
	p := &permitted{s: s, who: who, limits: limits, turns: turns, failed: make([]error, len(turns))}
	answers := p.report(ctx)
	p.ask(ctx)
	p.claim(ctx, answers)
	p.giveRest(ctx)
	return answers
}

// report reports what has ended, and counts what is ready then.
func (p *permitted) report(ctx context.Context) []TurnReply {
	s := p.s
	var kinds []string
	for _, l := range p.limits {
		for _, kind := range l.kinds {
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	var calls []*script.Call
	plans, counts := make([]plan, len(p.turns)), make([]*lanes.ReadyCall, len(p.turns))
	for i, t := range p.turns {
		plans[i] = s.plan(&Turn{Partition: t.Partition, Ends: t.Ends, Reap: t.Reap, claimsNext: t.Claim}, p.who)
		calls = plans[i].appendTo(calls)
		if len(kinds) > 0 && t.Want > 0 && t.Claim {
			count := s.lanes.Ready(t.Partition, kinds)
			counts[i], calls = &count, append(calls, count.Call)
		}
	}
	sent := time.Now()
	s.lanes.Scripts.Run(ctx, calls...)
	answers := make([]TurnReply, len(p.turns))
	p.ready = make([]map[string]int, len(p.turns))
	for i := range p.turns {
		answers[i] = plans[i].settle(p.turns[i].Ends, p.who, sent)
		if counts[i] == nil {
			continue
		}
		var err error
		p.ready[i], err = counts[i].Lanes()
		answers[i].Err = cmp.Or(answers[i].Err, err)
	}
	return answers
}

// ask asks for starts: of the limits of kinds first, and of that of the pool, which is last, for
// what may start by those. So nobody takes of the pool's what a kind's limit would keep from
// starting.
func (p *permitted) ask(ctx context.Context) {
	p.got = make([]granted, len(p.limits))
	pool := len(p.limits)
	if pool > 0 && lanes.IsPoolLimit(p.limits[pool-1].name) {
		pool--
	}
	p.take(ctx, 0, pool, p.slotsOfEnds())
	p.take(ctx, pool, len(p.limits), nil)
}

// claim claims lanes for the starts that were got.
func (p *permitted) claim(ctx context.Context, answers []TurnReply) {
	s := p.s
	var calls []*script.Call
	plans, whos := make([]*plan, len(p.turns)), make([]Claimant, len(p.turns))
	for i, t := range p.turns {
		answers[i].Err = cmp.Or(answers[i].Err, p.failed[i])
		if !t.Claim {
			continue
		}
		who := *p.who
		want := p.budget(i, &who)
		p.tellShort(i, &answers[i])
		if want == 0 && t.Want > 0 {
			continue // nothing may start, and no hint is to be passed on
		}
		made := s.plan(&Turn{Partition: t.Partition, Claim: true, Want: want}, &who)
		plans[i], whos[i] = &made, who
		calls = made.appendTo(calls)
	}
	if len(calls) == 0 {
		return
	}
	sent, now := time.Now(), s.lanes.Clock()
	s.lanes.Scripts.Run(ctx, calls...)
	for i := range p.turns {
		if plans[i] == nil {
			continue
		}
		got := plans[i].settle(nil, &whos[i], sent)
		whos[i].ranks.served(got.Claims, p.turns[i].Want, p.who.Kinds, now)
		for k := range got.Claims {
			p.hand(i, &got.Claims[k])
		}
		answers[i].Claims, answers[i].Ready = got.Claims, got.Ready
		if got.Short && !answers[i].Short { // it became ready after the count
			answers[i].Ready++
		}
		answers[i].Err = cmp.Or(answers[i].Err, got.Err)
	}
}

// budget makes a claimant ask for no more than the limits let start, and returns how many lanes
// that is at most.
func (p *permitted) budget(turn int, who *Claimant) (want int) {
	who.budget = maps.Clone(who.budget)
	if who.budget == nil {
		who.budget = make(map[string]int)
	}
	want = min(p.turns[turn].Want, MaxClaim)
	limited := 0
	for i := range p.limits {
		l := &p.limits[i]
		if p.got[i].starts[turn] == want {
			continue // it is in nobody's way
		}
		if len(l.kinds) == len(who.Kinds) { // all of them share it
			want = min(want, p.got[i].starts[turn])
		}
		for _, kind := range l.kinds {
			if n, ok := who.budget[kind]; !ok || p.got[i].starts[turn] < n {
				who.budget[kind] = p.got[i].starts[turn]
			}
		}
	}
	for _, n := range who.budget {
		limited += n
	}
	if len(who.budget) == len(who.Kinds) {
		want = min(want, limited)
	}
	return want
}

// tellShort notes whether lanes are left that a limit is in the way of, and until when.
func (p *permitted) tellShort(turn int, a *TurnReply) {
	for i := range p.limits {
		if g := &p.got[i]; g.short[turn] {
			a.Short = true
			if g.later >= 0 && (a.Later == 0 || g.later < a.Later) {
				a.Later = max(g.later, time.Millisecond)
			}
		}
	}
}

// hand gives a claim what it needs of the limits.
func (p *permitted) hand(turn int, c *Claim) {
	for i := range p.got {
		g := &p.got[i]
		if g.limit == nil || !slices.Contains(g.kinds, c.Kind) || g.starts[turn] == 0 {
			continue
		}
		g.starts[turn]--
		if slots := g.slots[turn]; len(slots) > 0 {
			c.Slots = append(c.Slots, slots[0])
			g.slots[turn] = slots[1:]
		}
	}
}
