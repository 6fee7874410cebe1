package dispatcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Deafen makes waiters hear no news, as if there were no pub/sub.
func (d *Dispatcher) Deafen(deaf bool) { d.news.deaf = deaf }

// Age lets the session's kinds wait for d longer than they did.
func (s *Session) Age(d time.Duration) {
	for kind, since := range s.who.ranks.since {
		if s.who.ranks.priority[kind] == 0 {
			s.who.ranks.since[kind] = since.Add(-d)
		}
	}
}

// Quiet sets how long a subscription may be silent.
func (d *Dispatcher) Quiet(quiet time.Duration) { d.news.quiet = quiet }

// Pace is how long a waiter for a job's news waits until it looks by itself.
func (d *Dispatcher) Pace(ref JobRef, waited time.Duration) time.Duration {
	return d.news.pace(d.keys[d.ns.Partition(ref.Subject)].News(record.PackID(ref.ID)), waited)
}

// LateAsk asks for a lease as a section does, with a request that arrives after the one that gave it up.
func LateAsk(ctx context.Context, d *Dispatcher, key subject.Key) error {
	t := d.ticket(key, record.PackID("late"))
	defer t.caller.Rest()
	canonical, p := key.Canonical(), d.ns.Partition(key)
	late := t.caller.Once(p, sectionScript, []string{d.keys[p].Tail(canonical)}, canonical, t.holder, d.cfg.SectionTTL.Milliseconds(), t.entry())
	t.leave(ctx, false)
	_, err := d.ask(ctx, late)
	return err
}

// SetAside is the step of a repair that renames a key.
func SetAside(ctx context.Context, d *Dispatcher, p int, key, aside, must string) (was string, err error) {
	return d.setAside(ctx, p, key, aside, must)
}

// WriteLimit writes the limit of a kind as a declaration of some version does.
func WriteLimit(ctx context.Context, d *Dispatcher, kind string, most, version int) error {
	return d.registerLimits(ctx, map[string]record.Limit{kindLimit(kind): {Most: most, Version: version}})
}

// bare is a session that says nothing of itself, and listens to nobody: claims and ends go through it as through any.
func (d *Dispatcher) bare(ctx context.Context, who Claimant) *Session {
	s := &Session{d: d, who: who}
	s.who.ranks = newRanks(d, who.Kinds)
	s.permits.asking = make(map[shortOf]bool)
	s.readLimits(ctx)
	return s
}

// ClaimFor takes the heads of up to n ready lanes, from whichever partition.
func ClaimFor(ctx context.Context, d *Dispatcher, who Claimant, n int) (claims []Claim, err error) {
	if err := who.validate(); err != nil {
		return nil, err
	}
	s := d.bare(ctx, who)
	for p := 0; p < d.ns.Partitions && len(claims) < n && err == nil; p++ {
		got := s.Turns(ctx, []Turn{{Partition: p, Claim: true, Want: n - len(claims)}})[0]
		claims, err = append(claims, got.Claims...), got.Err
	}
	return claims, err
}

// EndOne reports one end on its own.
func EndOne(ctx context.Context, d *Dispatcher, e End) (Ended, error) {
	s := d.bare(ctx, Claimant{Holder: e.Claim.Lease.Holder})
	got := s.Turns(ctx, []Turn{{Partition: d.ns.Partition(e.Claim.Subject), Ends: []End{e}}})[0].Ended[0]
	return got, got.Err
}

// FinishWith is Finish of a handler that leaves a result.
func FinishWith(ctx context.Context, d *Dispatcher, c Claim, result []byte) error {
	_, err := EndOne(ctx, d, End{Claim: &c, Outcome: Finished, Result: result})
	return err
}

// LaneLua is what scripts that change lanes share.
var LaneLua = laneLua

// The bounds that scripts keep.
const (
	MostKept = mostKept
	Small    = small
)

// Turns makes turns for a claimant that has no session.
func Turns(ctx context.Context, d *Dispatcher, who *Claimant, turns []Turn) []Turned {
	return d.turns(ctx, who, turns)
}

// AskTwice asks for a lease at once, and after something else with a copy of the same request.
func AskTwice(ctx context.Context, d *Dispatcher, key subject.Key, between func()) (first, again string, err error) {
	t := d.ticket(key, "")
	defer t.caller.Rest()
	canonical, p := key.Canonical(), d.ns.Partition(key)
	call := t.caller.Once(p, sectionScript, []string{d.keys[p].Tail(canonical)}, canonical, t.holder, d.cfg.SectionTTL.Milliseconds(), "")
	words, err := d.ask(ctx, call)
	if err != nil {
		return "", "", err
	}
	first = words[0]
	between()
	words, err = d.ask(ctx, t.caller.Again(call))
	if err != nil {
		return "", "", err
	}
	return first, words[0], nil
}

// OwedLimits are the names of limits that could not be written yet.
func OwedLimits(d *Dispatcher) []string {
	d.owedLimits.mu.Lock()
	defer d.owedLimits.mu.Unlock()
	return slices.Sorted(maps.Keys(d.owedLimits.limits))
}

// SuspendTwice suspends a lane, and after something else with a copy of the same request.
func SuspendTwice(ctx context.Context, d *Dispatcher, key subject.Key, between func()) (first, again string) {
	return d.twice(ctx, d.ns.Partition(key), suspendScript, between, key.Canonical(), "why")
}

// CancelTwice cancels a job, and after something else with a copy of the same request.
func CancelTwice(ctx context.Context, d *Dispatcher, job Job, between func()) (first, again string) {
	return d.twice(ctx, d.ns.Partition(job.Subject), cancelScript, between, job.Subject.Canonical(), job.entry().String(), 0)
}

func (d *Dispatcher) twice(ctx context.Context, p int, s *script.Script, between func(), args ...any) (first, again string) {
	caller := d.run.Caller()
	defer caller.Rest()
	call := caller.Once(p, s, nil, args...)
	words, err := d.ask(ctx, call)
	first = fmt.Sprint(words)
	if err != nil {
		first = err.Error()
	}
	between()
	words, err = d.ask(ctx, caller.Again(call))
	if err != nil {
		return first, err.Error()
	}
	return first, fmt.Sprint(words)
}
