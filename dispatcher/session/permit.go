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

// permitted makes the turns of a session whose claims are under limits, in steps: what has ended is reported,
// and the ready lanes of limited kinds are counted; then the slots of what has ended go back, and starts are
// asked for as many lanes as there are, in turn with all others who are short (I15); then lanes are claimed for
// them; and what was not used goes back. Starts come before lanes, because a lane that was claimed and may not
// start would be kept from everybody (I13).
//
// Each step is one round trip for all turns together. The step that asks is two where there are limits of kinds
// and of a pool, and the last one is left out when all starts were used.
type permitted struct {
	s      *Session
	who    *Claimant
	limits []limit
	turns  []Turn
	ready  []map[string]int // by turn and limited kind, lanes
	got    []granted        // by limit
	failed []error          // by turn: a limit did not answer, so nothing that it limits starts
}

// permitted makes a trip in these steps. A limit whose home does not answer lets nothing start, and keeps no
// end from being reported.
func (s *Session) permitted(ctx context.Context, who *Claimant, limits []limit, turns []Turn) []TurnReply {
	s.recoverLostBeside(ctx)
	p := &permitted{s: s, who: who, limits: limits, turns: turns, failed: make([]error, len(turns))}
	answers := p.report(ctx)
	p.ask(ctx)
	p.claim(ctx, answers)
	p.giveRest(ctx)
	return answers
}

// report reports what has ended, and counts what is ready then: the ends may have freed lanes. The turns say
// that their caller claims next, so nobody else is woken for these lanes. Lanes are counted for turns that
// claim; the others have no ready lanes here, and ask for no starts.
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
		plans[i] = s.plan(&Turn{Partition: t.Partition, Ends: t.Ends, Reap: t.Reap, claimsNext: t.Claim, PutBack: t.PutBack}, p.who)
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

// ask asks for starts: of the limits of kinds first, and of that of the pool, which is last, for what may start
// by those. So nobody takes of the pool's what a kind's limit would keep from starting. The slots of what has
// ended go back in the same trip as the first question, and before it: so they can be given out again by it.
func (p *permitted) ask(ctx context.Context) {
	p.got = make([]granted, len(p.limits))
	pool := len(p.limits)
	if pool > 0 && lanes.IsPoolLimit(p.limits[pool-1].name) {
		pool--
	}
	p.take(ctx, 0, pool, p.slotsOfEnds())
	p.take(ctx, pool, len(p.limits), nil)
}

// claim claims lanes for the starts that were got, one script call a partition, and gives each claim its slots.
// A turn that may start nothing makes no call, and its answer says until when. A limit that gave no answer is
// the error of each turn that asked it. Lanes are counted and claimed at two moments: what became ready in
// between, and was not counted, shows as one more ready lane, so the pool asks again.
func (p *permitted) claim(ctx context.Context, answers []TurnReply) {
	s := p.s
	var calls []*script.Call
	plans, whos, wants := make([]*plan, len(p.turns)), make([]Claimant, len(p.turns)), make([]int, len(p.turns))
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
		plans[i], whos[i], wants[i] = &made, who, want
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
		// The ends of this turn were reported in the first step: there are none to settle here.
		got := plans[i].settle(nil, &whos[i], sent)
		whos[i].ranks.served(got.Claims, wants[i], p.who.Kinds, now)
		for k := range got.Claims {
			p.hand(i, &got.Claims[k])
		}
		answers[i].Claims, answers[i].Ready = got.Claims, got.Ready
		if got.held {
			s.metHold(ctx, p.turns[i].Partition)
		}
		if got.Short && !answers[i].Short { // it became ready after the count
			answers[i].Ready++
		}
		answers[i].Err = cmp.Or(answers[i].Err, got.Err)
	}
}

// budget makes a claimant ask for no more than the limits let start, and returns how many lanes that is at
// most. who.budget has, for each kind that a limit is in the way of, how many lanes of it may be given out; a
// kind that is not in it has no such bound. Kinds that share a limit, those of a pool, are bounded together by
// `want`.
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

// tellShort notes whether lanes are left that a limit is in the way of, and until when: the soonest of these
// limits counts, and 0 means that nobody knows. Then an offer will tell ([Session.Slots]).
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

// hand gives a claim what it needs of the limits: one start of each that its kind is under, with the slot that
// came with it. A limit that is a rate only gives starts without slots. A claim of a kind under two limits, its
// own and its pool's, has two slots.
func (p *permitted) hand(turn int, c *Claim) {
	for i := range p.got {
		g := &p.got[i]
		if !slices.Contains(g.kinds, c.Kind) || g.starts[turn] == 0 {
			continue
		}
		g.starts[turn]--
		if slots := g.slots[turn]; len(slots) > 0 {
			c.Slots = append(c.Slots, slots[0])
			g.slots[turn] = slots[1:]
		}
	}
}
