package dispatcher

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

// Outcome is how an attempt ended.
type Outcome int

// The four ways out of a claim.
const (
	Finished     Outcome = iota // done; the job is gone
	Retry                       // failed; the job stays head and its lane waits
	DeadLettered                // failed for good; set aside with a reason
	HandedBack                  // given up unused; the attempt is refunded
)

func (o Outcome) String() string {
	return [...]string{"finish", "retry", "dead-letter", "hand back"}[o]
}

// End is the report of one attempt's outcome.
type End struct {
	Claim   Claim
	Outcome Outcome
	Wait    time.Duration // Retry: until the next attempt
	Reason  string        // DeadLettered: in a word or two
	Error   string        // Retry and DeadLettered: what went wrong
}

// Ended is the answer to an [End].
type Ended struct {
	// Err is nil, lease.ErrLost when the claim's token is no longer current, or
	// that the answer is not known.
	Err error
	// Dead says that a retry became a dead letter, its attempts being used up.
	Dead bool
}

// maxEnds bounds the ends that one script call takes.
const maxEnds = 250

// maxError is how much is kept of an error text.
const maxError = 4096

// endVerbs has, by outcome, the script and the arguments that follow subject, id
// and token.
var endVerbs = [...]struct {
	script *script.Script
	tails  bool
	args   func(End) []any
}{
	Finished: {finishScript, true, func(End) []any { return nil }},
	Retry: {retryScript, true, func(e End) []any {
		return []any{max(0, e.Wait.Milliseconds()), clip(e.Error)}
	}},
	DeadLettered: {deadletterScript, true, func(e End) []any {
		return []any{strings.ReplaceAll(clip(e.Reason), "\n", " "), clip(e.Error)}
	}},
	HandedBack: {handbackScript, false, func(End) []any { return nil }},
}

// endCalls makes the calls for ends of one partition. `own` are the kinds that
// the caller claims in the same round trip, so that nobody is woken for them.
func (d *Dispatcher) endCalls(partition int, ends []End, own []string) []endCall {
	var calls []endCall
	for outcome := range endVerbs {
		var members []int
		for i := range ends {
			if int(ends[i].Outcome) == outcome {
				members = append(members, i)
			}
		}
		for len(members) > 0 {
			n := min(len(members), maxEnds)
			calls = append(calls, d.endCall(partition, Outcome(outcome), ends, members[:n], own))
			members = members[n:]
		}
	}
	return calls
}

// endCall is a call and the indexes of the ends that it carries.
type endCall struct {
	*script.Call
	outcome Outcome
	members []int
}

func (d *Dispatcher) endCall(partition int, o Outcome, ends []End, members []int, own []string) endCall {
	verb := endVerbs[o]
	keys := d.ns.Keys(partition)
	var tails []string
	args := make([]any, 1, 1+3*len(members))
	args[0] = spaced(own)
	for _, i := range members {
		claim := &ends[i].Claim
		canonical := claim.Subject.Canonical()
		if verb.tails {
			tails = append(tails, keys.Tail(canonical))
		}
		args = append(args, canonical, packID(claim.ID), claim.Lease.Token.String())
		args = append(args, verb.args(ends[i])...)
	}
	return endCall{d.run.Once(partition, verb.script, tails, args...), o, members}
}

// settle writes the call's answers into ended, which is indexed like the ends.
func (c endCall) settle(ends []End, ended []Ended) {
	words, err := c.Words()
	for at, i := range c.members {
		word, err := "", err
		if err == nil {
			word = words[at]
		}
		if word == "lost" {
			err = lease.ErrLost
		}
		if err != nil {
			err = fmt.Errorf("%s %s of %s: %w", c.outcome, ends[i].Claim.ID, ends[i].Claim.Subject, err)
		}
		ended[i] = Ended{Err: err, Dead: word == "dead"}
	}
}

// end reports one end on its own.
func (d *Dispatcher) end(ctx context.Context, e End) (Ended, error) {
	ends, ended := []End{e}, make([]Ended, 1)
	call := d.endCalls(d.ns.Partition(e.Claim.Subject), ends, nil)[0]
	d.run.Run(ctx, call.Call)
	call.settle(ends, ended)
	return ended[0], ended[0].Err
}

// spaced puts each kind between spaces, the form in which scripts look one up.
func spaced(kinds []string) string {
	if len(kinds) == 0 {
		return ""
	}
	return " " + strings.Join(kinds, " ") + " "
}

// clip keeps the end of a text that is too long, where the cause tends to be.
func clip(s string) string {
	if len(s) > maxError {
		s = "… " + s[len(s)-maxError:]
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}
