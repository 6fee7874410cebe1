package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

// Turn is what a worker says and asks about one partition in one trip: the ends of attempts, then whether to
// reap, then how many lanes it can take.
//
// A turn with Claim and Want 0 claims nothing, but wakes another worker when lanes of the claimant's kinds are
// left: a pool says so that took a hint and has no room for it.
type Turn struct {
	Partition int
	Ends      []End
	Reap      bool
	Claim     bool // ask for lanes; with Want 0 only pass a wake-up on
	Want      int  // at most MaxClaim are given
	Refuse    bool // give up what limits may have offered: there is no room for it

	// InHand is, by kind, how many jobs of one lane the caller would have at once, the one that runs among them: see
	// [EndReply.More]. It counts only where ends travel with a claim: not under limits, where claims come later.
	InHand map[string]int

	// PutBack are claims whose holder keeps only the job that it is at: what it has in hand behind that goes back.
	PutBack []*Claim

	claimsNext bool // the caller claims with its next call, and needs no wake-up for its kinds
}

// TurnReply is the answer to a [Turn]. Ready and Short are for the next trip's plan, and true for a moment
// only: Ready leaves out lanes that a limit is known to be in the way of; Short tells of those.
type TurnReply struct {
	Ended  []EndReply // of each of the turn's Ends
	Reaped ReapReply  // when the turn reaped
	Claims []Claim
	Ready  int           // lanes of the worker's kinds that were left, as far as was looked
	Short  bool          // lanes were left that a limit was in the way of
	Later  time.Duration // how long until it may give more; 0 when nobody knows
	Err    error         // of reaping or claiming

	held bool // the claim met a hold that the session did not know
}

// turns sends all turns together and returns an answer for each. The leases of what is claimed count from
// `sent`, the local time before the trip: so a holder stops earlier than Redis's clock says, and never later.
func (s *Session) turns(ctx context.Context, who *Claimant, turns []Turn) []TurnReply {
	var calls []*script.Call
	plans := make([]plan, len(turns))
	for i := range turns {
		plans[i] = s.plan(&turns[i], who)
		calls = plans[i].appendTo(calls)
	}
	sent, now := time.Now(), s.lanes.Clock()
	s.lanes.Scripts.Run(ctx, calls...)
	answers := make([]TurnReply, len(turns))
	for i := range turns {
		answers[i] = plans[i].settle(turns[i].Ends, who, sent)
		if answers[i].held {
			s.metHold(ctx, turns[i].Partition)
		}
		if turns[i].Claim {
			who.ranks.served(answers[i].Claims, turns[i].Want, who.Kinds, now)
		}
	}
	return answers
}

// plan is the calls of one turn, in the order in which they are made: back, of what goes back; ends, those finishes and other
// ends that have calls of their own; then reap; then last, which claims, and finishes too where nothing has to come in
// between. All but ends may be nil.
type plan struct {
	back *script.Call
	ends []endCall
	reap *script.Call
	last *endCall // finishes and claims
}

// plan makes the calls of a turn. Finishing and claiming share a script, so that the next job of a lane is
// given out by the call that finished the one before. Finishes go first all the same when something else is to
// be done in between: a job that failed may have come after one of its lane that is done (see [Claim.Along]),
// and a lease that has just expired, but whose job is done, should not be reaped.
//
// A turn that does not claim sends no kinds, and so wakes others for every lane that it frees. One whose caller
// claims next (claimsNext) sends them with -1: it keeps the lanes for that claim and wakes nobody.
func (s *Session) plan(t *Turn, who *Claimant) plan {
	var own []string
	want := t.Want
	switch {
	case t.Claim:
		own = who.Kinds
	case t.claimsNext:
		own, want = who.Kinds, -1
	default:
		who = &Claimant{}
	}
	p := plan{back: s.putBack(t)}
	var with []int // finishes that go with the claim
	parts := pick(t.Ends, (*End).plain)
	others := s.endCalls(t.Partition, t.Ends, own)
	if n := len(parts); n > 0 && len(others) == 0 && !t.Reap {
		with, parts = parts[n-1], parts[:n-1]
	}
	for _, members := range parts {
		p.ends = append(p.ends, s.turnCall(t, who, -1, members))
	}
	p.ends = append(p.ends, others...)
	if t.Reap {
		p.reap = reapCall(s.lanes, t.Partition, own)
	}
	if t.Claim || with != nil {
		last := s.turnCall(t, who, want, with)
		p.last = &last
	}
	return p
}

// appendTo adds the plan's calls to those of a trip. Redis runs them in this order, and the runner, when it has
// to send some again, sends all that come after them again too.
func (p *plan) appendTo(calls []*script.Call) []*script.Call {
	if p.back != nil {
		calls = append(calls, p.back)
	}
	for _, c := range p.ends {
		calls = append(calls, c.Call)
	}
	if p.reap != nil {
		calls = append(calls, p.reap)
	}
	if p.last != nil {
		calls = append(calls, p.last.Call)
	}
	return calls
}

// settle reads the answers of the plan's calls. Each end has its own error in Ended; Err is that of the last
// call, or else of the reap. Reaped.Next is -1 where the turn did not reap: nothing is known.
func (p *plan) settle(ends []End, who *Claimant, sent time.Time) TurnReply {
	a := TurnReply{Ended: make([]EndReply, len(ends)), Reaped: ReapReply{Next: -1}}
	for _, c := range p.ends {
		_, _ = c.settle(ends, a.Ended) // each end has its own error
	}
	if p.reap != nil {
		a.Reaped, a.Err = reaped(p.reap)
	}
	if p.last != nil {
		turned, err := p.last.settle(ends, a.Ended)
		if err == nil {
			err = a.readClaims(turned, who, sent)
		}
		if err != nil {
			a.Err = err
		}
	}
	if p.back != nil && a.Err == nil {
		a.Err = lanes.ReadPutBack(p.back) // what did not go back, the leases end; but that Redis is away is to be known
	}
	return a
}

// putBack makes the call that puts back what is in hand behind claims, or none.
func (s *Session) putBack(t *Turn) *script.Call {
	if len(t.PutBack) == 0 {
		return nil
	}
	at := make([]lanes.Finishing, len(t.PutBack))
	for i, c := range t.PutBack {
		at[i] = finishing(c)
	}
	return s.lanes.PutBack(t.Partition, at)
}

// turnCall makes a call of the turn script, which finishes the turn's ends that are members, and claims up to `want`
// lanes of the claimant's kinds: see [lanes.Claiming] for 0 and less. A kind that is in the claimant's budget
// is capped by it.
func (s *Session) turnCall(t *Turn, who *Claimant, want int, members []int) endCall {
	claiming := lanes.Claiming{Holder: who.Holder, TTL: who.TTL, Want: want, Kinds: make([]lanes.Wanted, 0, len(who.Kinds))}
	if who.Pool != dispatcher.DefaultPool {
		claiming.Pool = who.Pool
	}
	for _, kind := range s.inTurn(who) {
		most, capped := who.budget[kind]
		claiming.Kinds = append(claiming.Kinds, lanes.Wanted{
			Kind: kind, Along: who.LaneBatch[kind], InHand: t.InHand[kind], Capped: capped, Most: most,
		})
	}
	call := s.lanes.Turn(t.Partition, &claiming, len(members), func(k int) lanes.Finishing {
		end := &t.Ends[members[k]]
		f := finishing(end.Claim)
		f.GoesOn, f.InHand = end.GoesOn, max(0, len(end.Claim.Along)+end.More-1)
		return f
	})
	return endCall{Call: call, members: members, finish: true}
}

// inTurn returns the kinds of a claimant in the order in which they are served: they take turns at being first,
// unless their priorities differ. The script takes all that it wants from the first kind's list before it looks
// at the next one, so a fixed order would starve the others. The count goes on over all sessions of the
// namespace in this process.
func (s *Session) inTurn(who *Claimant) []string {
	if len(who.Kinds) < 2 {
		return who.Kinds
	}
	first := int(s.lanes.Claims.Add(1)) % len(who.Kinds)
	kinds := slices.Concat(who.Kinds[first:], who.Kinds[:first])
	who.ranks.order(kinds, s.lanes.Clock())
	return kinds
}

// readClaims reads what a call of the turn script, which finished some jobs too, has claimed: rows of one lane
// follow each other, its head first, and become one [Claim] with the others along.
//
// The error may be that of a job that can't be decoded: its lease expires, and so it comes back until its
// attempts are used up and it is a dead letter. The jobs behind it in the same lane are not given out either:
// they may not run before it (I5).
func (a *TurnReply) readClaims(t *lanes.TurnReply, who *Claimant, sent time.Time) (err error) {
	a.Ready, a.Short, a.held = t.Ready, t.Short, t.Held
	a.Claims = make([]Claim, 0, t.Jobs())
	subject, more := "", false // lane of the last row, and whether it takes more jobs along
	for i := range t.Jobs() {
		job := t.Job(i)
		first := job.Subject != subject
		subject = job.Subject
		// Behind a job that can't be decoded nothing of its lane is given out.
		if !first && !more {
			continue
		}
		claim, e := decodeClaim(&job)
		if more = e == nil; !more {
			err = fmt.Errorf("claim: %w", e)
			continue
		}
		if first {
			claim.Lease = lease.Lease{Subject: claim.Subject, Token: t.Token, Holder: who.Holder, Proven: sent, TTL: who.TTL}
			a.Claims = append(a.Claims, claim)
		} else {
			head := &a.Claims[len(a.Claims)-1]
			head.Along = append(head.Along, claim.Job)
		}
	}
	return err
}
