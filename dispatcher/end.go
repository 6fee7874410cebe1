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
	Claim   *Claim
	Outcome Outcome
	Wait    time.Duration // Retry: until the next attempt
	Reason  string        // DeadLettered: in a word or two
	Error   string        // Retry and DeadLettered: what went wrong

	// GoesOn says that the claimant goes on with [Claim.Next] under the same lease.
	// Only for Finished.
	GoesOn bool
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
const maxEnds = 125

// maxError is how much is kept of an error text.
const maxError = 4096

// endVerbs has, by outcome, the script and the arguments that follow subject, entry
// and token. Finishing is part of a turn.
var endVerbs = [...]struct {
	script *script.Script
	args   func(End) []any
}{
	Retry: {retryScript, func(e End) []any {
		return []any{max(0, e.Wait.Milliseconds()), clip(e.Error)}
	}},
	DeadLettered: {deadletterScript, func(e End) []any {
		return []any{strings.ReplaceAll(clip(e.Reason), "\n", " "), clip(e.Error)}
	}},
	HandedBack: {handbackScript, func(End) []any { return nil }},
}

// endCalls makes the calls for those ends of one partition that are not finishes.
// `own` are the kinds that the caller claims in the same round trip, so that nobody
// is woken for them.
func (d *Dispatcher) endCalls(partition int, ends []End, own []string) []endCall {
	var calls []endCall
	for _, outcome := range []Outcome{Retry, DeadLettered, HandedBack} {
		for _, members := range pick(ends, outcome) {
			calls = append(calls, d.endCall(partition, outcome, ends, members, own))
		}
	}
	return calls
}

// pick returns the indexes of the ends with an outcome, as many together as one
// call takes.
func pick(ends []End, outcome Outcome) [][]int {
	var parts [][]int
	for i := range ends {
		if ends[i].Outcome != outcome {
			continue
		}
		if n := len(parts); n == 0 || len(parts[n-1]) == maxEnds {
			parts = append(parts, make([]int, 0, min(maxEnds, len(ends)-i)))
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], i)
	}
	return parts
}

// endCall is a call and the indexes of the ends that it carries. Its reply has a word
// for each of them, from the word `at` on.
type endCall struct {
	*script.Call
	members []int
	at      int
}

func (d *Dispatcher) endCall(partition int, o Outcome, ends []End, members []int, own []string) endCall {
	keys := d.keys[partition]
	tails := make([]string, len(members))
	args := make([]any, 1, 1+5*len(members))
	args[0] = spaced(own)
	for k, i := range members {
		claim := ends[i].Claim
		canonical, stored := claim.keys()
		tails[k] = keys.Tail(canonical)
		args = append(args, canonical, stored, claim.Lease.Token.String())
		args = append(args, endVerbs[o].args(ends[i])...)
	}
	return endCall{d.run.Once(partition, endVerbs[o].script, tails, args...), members, 0}
}

// settle writes the call's answers into ended, which is indexed like the ends, and
// returns the whole reply.
func (c endCall) settle(ends []End, ended []Ended) ([]string, error) {
	words, callErr := c.Words()
	for k, i := range c.members {
		word, err := "", callErr
		if err == nil {
			word = words[c.at+k]
		}
		if word == "lost" {
			err = lease.ErrLost
		}
		if err != nil {
			err = fmt.Errorf("%s %s of %s: %w", ends[i].Outcome, ends[i].Claim.ID, ends[i].Claim.Subject, err)
		}
		ended[i] = Ended{Err: err, Dead: word == "dead"}
	}
	return words, callErr
}

// end reports one end on its own.
func (d *Dispatcher) end(ctx context.Context, e End) (Ended, error) {
	p := d.ns.Partition(e.Claim.Subject)
	answer := d.turns(ctx, &Claimant{}, []Turn{{Partition: p, Ends: []End{e}}})[0]
	return answer.Ended[0], answer.Ended[0].Err
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
