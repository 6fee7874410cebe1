package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
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

// shortOf is a place in the order of those who are short of a limit: one for each partition.
type shortOf struct {
	limit     string
	partition int
}

// granted is what a session got of one limit for one trip.
type granted struct {
	*limit
	mark   string
	starts []int           // by turn
	slots  [][]lease.Lease // by turn, not used yet; none where the limit is a rate only
	short  []bool          // by turn
	later  time.Duration   // until more may be had; negative when that is not known
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

// returnsSlots reports whether a job ends in a turn that ran under a limit.
func (t Turn) returnsSlots() bool {
	return slices.ContainsFunc(t.Ends, func(e End) bool { return len(e.Claim.Slots) > 0 && !e.GoesOn })
}

// slotsOfEnds makes the calls that give back the slots of jobs that have ended.
func (p *permitted) slotsOfEnds() (calls []*script.Call) {
	var names []string
	ended, next := make(map[string][]lease.Lease), " "
	for _, t := range p.turns {
		if t.Claim && t.Want > 0 {
			next += strconv.Itoa(t.Partition) + " "
		}
		for _, e := range t.Ends {
			for _, slot := range e.Claim.Slots {
				if name := record.LimitOf(slot.Subject); !e.GoesOn {
					if ended[name] == nil {
						names = append(names, name)
					}
					ended[name] = append(ended[name], slot)
				}
			}
		}
	}
	for _, name := range names {
		for part := range slices.Chunk(ended[name], MaxClaim) {
			calls = append(calls, p.s.giveBack(name, next, "-", part))
		}
	}
	return calls
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
	p.askOf(ctx, 0, pool, p.slotsOfEnds())
	p.askOf(ctx, pool, len(p.limits), nil)
}

func (p *permitted) askOf(ctx context.Context, from, to int, first []*script.Call) {
	s := p.s
	calls, asked := make([]*script.Call, to), make([][]int, to) // by limit, the turns
	callers := make([]*script.Caller, to)
	for i := from; i < to; i++ {
		l := &p.limits[i]
		p.got[i] = granted{
			limit: l, later: -1, starts: make([]int, len(p.turns)), slots: make([][]lease.Lease, len(p.turns)), short: make([]bool, len(p.turns)),
		}
		var asks []lanes.Ask
		for k, t := range p.turns {
			want := p.wanted(l, k)
			if s.lostOf(l.name) {
				continue // and nothing starts under it, until that is settled
			}
			if want > 0 || (p.ready[k] != nil || t.Refuse) && s.asks(shortOf{l.name, t.Partition}) {
				asks = append(asks, lanes.Ask{Partition: t.Partition, Want: want, Ready: p.couldUse(l, k)})
				asked[i] = append(asked[i], k)
			}
		}
		if len(asked[i]) > 0 {
			callers[i] = s.lanes.Scripts.Caller()
			calls[i] = s.lanes.Slot(callers[i], l.name, s.who.Holder, s.who.TTL, asks)
		}
	}
	sent := time.Now()
	if all := append(first, slices.DeleteFunc(slices.Clone(calls), func(c *script.Call) bool { return c == nil })...); len(all) > 0 {
		asking, cancel := connect.Bounded(ctx) // what is given up is asked for again: see lostStarts
		s.lanes.Scripts.Run(asking, all...)
		cancel()
	}
	for i := from; i < to; i++ {
		if calls[i] == nil {
			continue
		}
		err := p.got[i].read(calls[i], asked[i], s.who, sent)
		if err != nil {
			p.got[i].starts = make([]int, len(p.turns))
		}
		if err != nil && lanes.Unanswered(err) {
			s.lose(lostStarts{calls[i], callers[i], p.limits[i].name, len(asked[i])})
		} else {
			callers[i].Rest()
		}
		for _, k := range asked[i] {
			p.failed[k] = cmp.Or(p.failed[k], err)
			want := p.wanted(&p.limits[i], k)
			p.got[i].short[k] = p.got[i].starts[k] < want
			s.nowAsks(shortOf{p.limits[i].name, p.turns[k].Partition}, p.got[i].starts[k] < p.couldUse(&p.limits[i], k))
		}
	}
}

// wanted is how many starts of a limit one turn can use now.
func (p *permitted) wanted(l *limit, turn int) int {
	return min(p.couldUse(l, turn), p.turns[turn].Want, MaxClaim)
}

// couldUse is how many starts of a limit a partition could use: as many as lanes are ready there
// that the limits asked before let start.
func (p *permitted) couldUse(l *limit, turn int) (n int) {
	for _, kind := range l.kinds {
		n += p.lets(kind, turn, l)
	}
	return n
}

// lets is how many ready lanes of a kind the limits let start in one turn, those before a limit.
func (p *permitted) lets(kind string, turn int, before *limit) int {
	n := p.ready[turn][kind]
	for i := range p.limits {
		if &p.limits[i] == before {
			break
		}
		if slices.Contains(p.limits[i].kinds, kind) {
			n = min(n, p.got[i].starts[turn])
		}
	}
	return n
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

// giveRest gives back what no claim has used.
func (p *permitted) giveRest(ctx context.Context) {
	var calls []*script.Call
	for i := range p.got {
		if g, slots := &p.got[i], p.got[i].allSlots(); g.begun() > 0 && (g.mark != "-" || len(slots) > 0) {
			calls = append(calls, p.s.giveBack(g.name, "", g.mark, slots))
		}
	}
	if len(calls) > 0 {
		p.s.lanes.Scripts.Run(ctx, calls...) // what does not arrive ends by itself
	}
}

// begun is how many starts are left, and allSlots are the slots they have.
func (g *granted) begun() (n int) {
	for _, starts := range g.starts {
		n += starts
	}
	return n
}

func (g *granted) allSlots() []lease.Lease { return slices.Concat(g.slots...) }

// giveBack makes a call that gives slots back; next are the partitions that the session asks for by
// itself next.
func (s *Session) giveBack(name, next, mark string, slots []lease.Lease) *script.Call {
	return s.lanes.GiveBack(name, s.who.Holder, next, mark, slots)
}

// asks reports whether the session has, or had, a place in the order of those who are short.
func (s *Session) asks(at shortOf) bool {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	return s.permits.asking[at]
}

func (s *Session) nowAsks(at shortOf, short bool) {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	if short {
		s.permits.asking[at] = true
	} else {
		delete(s.permits.asking, at)
	}
}

// standAside gives up the places in the order of those who are short, but under some limits: the session ends, or
// is blamed for a kind, and claims nothing more under the others. Offers would wait for it.
func (s *Session) standAside(ctx context.Context, but []limit) {
	s.permits.mu.Lock()
	places := slices.Collect(maps.Keys(s.permits.asking))
	s.permits.mu.Unlock()
	var calls []*script.Call
	for _, at := range places {
		if slices.ContainsFunc(but, func(l limit) bool { return l.name == at.limit }) {
			continue // nobody would tell the session any more
		}
		calls = append(calls, s.lanes.Slot(nil, at.limit, s.who.Holder, s.who.TTL, []lanes.Ask{{Partition: at.partition}}))
	}
	if len(calls) > 0 {
		s.lanes.Scripts.Run(ctx, calls...) // or others let them pass
	}
}

// read reads what a limit gave for turns of a trip.
func (g *granted) read(call *script.Call, turns []int, who Claimant, sent time.Time) error {
	starts, err := lanes.ReadStarts(call, g.name, len(turns), who.Holder, who.TTL, sent)
	if errors.Is(err, lanes.ErrNoLimit) {
		return fmt.Errorf("%w: limit %s is gone; start a process that declares it", dispatcher.ErrMismatch, g.name)
	}
	if err != nil {
		return err
	}
	g.later, g.mark = starts.Later, starts.Mark
	for i, k := range turns {
		g.starts[k], g.slots[k] = starts.Given[i], starts.Slots[i]
	}
	return nil
}
