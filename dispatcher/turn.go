package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

//go:embed turn.lua
var turnLua string

var turnScript = verb("turn", turnLua)

// Turn is what a worker says and asks about one partition in one round trip:
// the ends of attempts, then whether to reap, then how many lanes it can take.
type Turn struct {
	Partition int
	Ends      []End
	Reap      bool
	Claim     bool // ask for lanes; with Want 0 only pass a wake-up on
	Want      int  // at most MaxClaim are given
	Refuse    bool // give up what limits may have offered: there is no room for it

	claimsNext bool // the caller claims with its next call, and needs no wake-up for its kinds
}

// Turned is the answer to a [Turn].
type Turned struct {
	Ended  []Ended // of each of the turn's Ends
	Reaped Reaped  // when the turn reaped
	Claims []Claim
	Ready  int           // lanes of the worker's kinds that were left, as far as was looked
	Short  bool          // lanes were left that a limit was in the way of
	Later  time.Duration // how long until it may give more; 0 when nobody knows
	Err    error         // of reaping or claiming
}

// turns sends all turns together and returns an answer for each.
func (d *Dispatcher) turns(ctx context.Context, who *Claimant, turns []Turn) []Turned {
	var calls []*script.Call
	plans := make([]plan, len(turns))
	for i := range turns {
		plans[i] = d.plan(&turns[i], who)
		calls = plans[i].appendTo(calls)
	}
	sent := time.Now()
	d.run.Run(ctx, calls...)
	answers := make([]Turned, len(turns))
	for i := range turns {
		answers[i] = plans[i].settle(turns[i].Ends, who, sent)
		if turns[i].Claim {
			who.ranks.served(answers[i].Claims, turns[i].Want, who.Kinds, sent)
		}
	}
	return answers
}

// plan is the calls of one turn, in the order in which they are made.
type plan struct {
	ends []endCall
	reap *script.Call
	last *endCall // finishes and claims
}

// plan makes the calls of a turn. Finishing and claiming share a script, so that the
// next job of a lane is given out by the call that finished the one before. Finishes
// go first all the same when something else is to be done in between: a job that
// failed may have come after one of its lane that is done (see [Claim.Along]), and a
// lease that has just run out, but whose job is done, should not be reaped.
func (d *Dispatcher) plan(t *Turn, who *Claimant) plan {
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
	var p plan
	var with []int // finishes that go with the claim
	parts := pick(t.Ends, (*End).plain)
	others := d.endCalls(t.Partition, t.Ends, own)
	if n := len(parts); n > 0 && len(others) == 0 && !t.Reap {
		with, parts = parts[n-1], parts[:n-1]
	}
	for _, members := range parts {
		p.ends = append(p.ends, d.turnCall(t.Partition, who, -1, t.Ends, members))
	}
	p.ends = append(p.ends, others...)
	if t.Reap {
		p.reap = d.reapCall(t.Partition, own)
	}
	if t.Claim || with != nil {
		last := d.turnCall(t.Partition, who, want, t.Ends, with)
		p.last = &last
	}
	return p
}

func (p *plan) appendTo(calls []*script.Call) []*script.Call {
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

func (p *plan) settle(ends []End, who *Claimant, sent time.Time) Turned {
	a := Turned{Ended: make([]Ended, len(ends)), Reaped: Reaped{Next: -1}}
	for _, c := range p.ends {
		_, _ = c.settle(ends, a.Ended) // each end has its own error
	}
	if p.reap != nil {
		a.Reaped, a.Err = reaped(p.reap)
	}
	if p.last != nil {
		words, err := p.last.settle(ends, a.Ended)
		if err == nil {
			err = a.readClaims(words, len(p.last.members), who, sent)
		}
		if err != nil {
			a.Err = err
		}
	}
	return a
}

// turnCall makes a call of the turn script, which finishes the ends that are members.
func (d *Dispatcher) turnCall(partition int, who *Claimant, want int, ends []End, members []int) endCall {
	keys := d.keys[partition]
	tails := make([]string, len(members))
	args := make([]any, 0, 4+2*len(who.Kinds)+3*len(members))
	args = append(args, who.Holder, who.TTL.Milliseconds(), min(want, MaxClaim), len(who.Kinds))
	for _, kind := range d.inTurn(who) {
		along := strconv.Itoa(max(1, who.LaneBatch[kind]))
		if n, ok := who.budget[kind]; ok {
			along += "/" + strconv.Itoa(n)
		}
		args = append(args, kind, along)
	}
	for k, i := range members {
		claim := ends[i].Claim
		canonical, stored := claim.keys()
		token := claim.Lease.Token.String()
		if ends[i].GoesOn {
			token = "+" + token
		}
		tails[k] = keys.Tail(canonical)
		args = append(args, canonical, stored, token)
	}
	return endCall{Call: d.run.Once(partition, turnScript, tails, args...), members: members, finish: true}
}

// inTurn returns the kinds of a claimant in the order in which they are served: they take
// turns at being first, unless their priorities differ.
func (d *Dispatcher) inTurn(who *Claimant) []string {
	if len(who.Kinds) < 2 {
		return who.Kinds
	}
	first := int(d.claims.Add(1)) % len(who.Kinds)
	kinds := slices.Concat(who.Kinds[first:], who.Kinds[:first])
	who.ranks.order(kinds, time.Now())
	return kinds
}

// turnHead is how many words a reply of the turn script starts with.
const turnHead = 4

// readClaims reads what a call of the turn script, which finished some jobs too, has
// claimed. The error may be that of a job that can't be decoded: its lease runs out,
// so it comes back until its attempts are used up and it is a dead letter.
func (a *Turned) readClaims(words []string, finished int, who *Claimant, sent time.Time) (err error) {
	ready, limited := strings.CutSuffix(words[1], "+")
	a.Short = limited
	if a.Ready, err = strconv.Atoi(ready); err != nil {
		return fmt.Errorf("turn: reply %q: %w", words[1], err)
	}
	token, err := lease.ParseToken(words[2])
	if err != nil {
		return fmt.Errorf("turn: reply %q: %w", words[2], err)
	}
	rows := words[turnHead+finished:]
	attempts := make([]int, len(rows)/3) // that have ended, of each job
	said := strings.Fields(words[3])
	if len(said) > len(attempts) {
		return fmt.Errorf("turn: reply %q: says attempts of %d jobs, and has %d", words[3], len(said), len(attempts))
	}
	for i, word := range said {
		if attempts[i], err = strconv.Atoi(word); err != nil {
			return fmt.Errorf("turn: reply %q: %w", words[3], err)
		}
	}
	a.Claims = make([]Claim, 0, len(rows)/3)
	subject, more := "", false // lane of the last row, and whether it takes more jobs along
	for ; len(rows) >= 3; rows, attempts = rows[3:], attempts[1:] {
		first := rows[0] != subject
		subject = rows[0]
		if !first && !more {
			continue
		}
		claim, e := decodeClaim(rows[0], rows[1], rows[2], attempts[0])
		if more = e == nil; !more {
			err = fmt.Errorf("claim: %w", e)
			continue
		}
		if first {
			claim.Lease = lease.Lease{Subject: claim.Subject, Token: token, Holder: who.Holder, Proven: sent, TTL: who.TTL}
			a.Claims = append(a.Claims, claim)
		} else {
			head := &a.Claims[len(a.Claims)-1]
			head.Along = append(head.Along, claim.Job)
		}
	}
	return err
}
