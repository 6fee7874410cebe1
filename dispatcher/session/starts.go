package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// granted is what a session got of one limit for one trip. Starts that no claim takes are left in it, and go back:
// slots because their leases would keep others from starting until they expire, and a start of a rate by its
// mark, "-" for none, so that the rate does not count it.
type granted struct {
	*limit
	mark   string
	starts []int           // by turn
	slots  [][]lease.Lease // by turn, not used yet; none where the limit is a rate only
	short  []bool          // by turn
	later  time.Duration   // until more may be had; negative when that is not known
}

// read reads what a limit gave for turns of a trip: turns are the indexes of those that asked, in the order of
// the question. `sent` is the local time before the trip, from which the leases of slots count. A limit that is
// gone is dispatcher.ErrMismatch: nothing starts until some process declares it again.
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

// take asks limits from..to for starts, in one trip with what `first` has to say; what does not come back is
// asked for again: see [lostStarts]. A turn asks a limit when it can use starts of it now, or has a place in
// its line that may have to be given up.
//
// Each request has a caller of its own, because an answer that got lost can be had once more only by the same
// request, and as long as no later one of that caller has overtaken it (I9). In p.failed the first error of
// each turn stays.
func (p *permitted) take(ctx context.Context, from, to int, first []*script.Call) {
	s := p.s
	calls, asked := make([]*script.Call, to), make([][]int, to) // by limit, the turns
	callers := make([]*script.Caller, to)
	for i := from; i < to; i++ {
		l := &p.limits[i]
		p.got[i] = granted{
			limit: l, later: -1, starts: make([]int, len(p.turns)), slots: make([][]lease.Lease, len(p.turns)), short: make([]bool, len(p.turns)),
		}
		var asks []lanes.Ask
		open := s.lostOf(l.name)
		for k, t := range p.turns {
			want := p.wanted(l, k)
			if open { // nothing starts under it until that is settled, and lanes that wait for it are not forgotten
				p.got[i].short[k] = want > 0
				continue
			}
			// A turn that can use no start asks all the same where the session may stand in line: with no lanes
			// ready, or without room (Refuse), it gives the place up.
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
		// Only an answer frees the request's caller: until then the request may still be on its way.
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

// wanted is how many starts of a limit one turn can use now: no more than the pool has room for, nor than one
// call claims.
func (p *permitted) wanted(l *limit, turn int) int {
	return min(p.couldUse(l, turn), p.turns[turn].Want, MaxClaim)
}

// couldUse is how many starts of a limit a partition could use: as many as lanes are ready there that the
// limits asked before let start. It may be more than the pool has room for: the place in line is for all of
// them (I15), so a busy pool does not stand behind others again and again.
func (p *permitted) couldUse(l *limit, turn int) (n int) {
	for _, kind := range l.kinds {
		n += p.lets(kind, turn, l)
	}
	return n
}

// lets is how many ready lanes of a kind the limits let start in one turn, those before a limit: limits of
// kinds stand before that of the pool. In a turn that did not count its lanes it is 0.
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

// returnsSlots reports whether a job ends in a turn that ran under a limit. It goes by the claim and not by the
// limits of now, because a limit may have been taken back meanwhile; its slots are leases all the same.
func (t Turn) returnsSlots() bool {
	return slices.ContainsFunc(t.Ends, func(e End) bool { return len(e.Claim.Slots) > 0 && !e.GoesOn })
}

// slotsOfEnds makes the calls that give back the slots of jobs that have ended, at most MaxClaim slots a call.
// A holder that goes on with the lane keeps its slots for the next job. `next` names the partitions that claim
// in this trip, each between spaces: starts that are due to them are not told to the session, because it asks
// with its next call.
//
// Slots go back also when the answer to the end is not known: the end is said again, and a slot that comes back
// twice is no longer the caller's and changes nothing.
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

// giveRest gives back what no claim has used: lanes that were counted went to others, or could not be read. It
// is one round trip, or none.
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

// begun is how many starts are left over all turns, and allSlots are the slots they have.
func (g *granted) begun() (n int) {
	for _, starts := range g.starts {
		n += starts
	}
	return n
}

func (g *granted) allSlots() []lease.Lease { return slices.Concat(g.slots...) }

// giveBack makes a call that gives slots back; next are the partitions that the session asks for by itself
// next, mark is that of a start that was not used, "-" for none. Nobody waits for what it says: a slot that is
// not given back is free when its lease expires.
func (s *Session) giveBack(name, next, mark string, slots []lease.Lease) *script.Call {
	return s.lanes.GiveBack(name, s.who.Holder, next, mark, slots)
}
