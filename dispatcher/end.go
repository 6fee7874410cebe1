package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

// Outcome is how an attempt ended.
type Outcome int

// The ways out of a claim.
const (
	Finished     Outcome = iota // done; the job is gone
	Retry                       // failed; what then, is declared of its kind: see [Policy]
	DeadLettered                // failed for good; set aside with a reason
	HandedBack                  // given up unused; the attempt is refunded, unless an operator cancelled the job
	Several                     // the batch has ended, each job as [End.Each] says
)

func (o Outcome) String() string {
	return [...]string{"finish", "retry", "dead-letter", "hand back", "end batch"}[o]
}

// End is the report of one attempt's outcome.
type End struct {
	Claim   *Claim
	Outcome Outcome
	Wait    time.Duration // Retry: until the next attempt
	Reason  string        // DeadLettered: in a word or two
	Error   string        // Retry and DeadLettered: what went wrong
	Workers int           // Retry: on how many different workers the job may fail; 0 is any number
	Result  []byte        // Finished: kept for as long as the job's Keep says, 64 KiB at most

	// Each is, of Several, how the jobs have ended: the claim's own and those [Claim.Along].
	Each []End

	// GoesOn says that the claimant goes on with [Claim.Next] under the same lease.
	// Only for Finished.
	GoesOn bool
}

// Ended is the answer to an [End].
type Ended struct {
	// Err is nil, lease.ErrLost when the claim's token is no longer current, or
	// that the answer is not known.
	Err error
	// Dead says that a retry became a dead letter, its attempts being used up; Halted,
	// that the job failed for good and its lane stands still; Cancelled, that an
	// operator had cancelled the job meanwhile, and it is gone.
	Dead, Halted, Cancelled bool

	Each []Ended // of Several
}

// maxEnds bounds the ends that one script call takes.
const maxEnds = 125

// maxError is how much is kept of an error text.
const maxError = 4096

//go:embed conclude.lua
var concludeLua string

var concludeScript = verb("conclude", concludeLua)

// endVerbs has, by outcome, the script and the arguments that follow subject, entry
// and token. Finishing is part of a turn, unless the outcome is to be kept.
var endVerbs = [...]struct {
	script *script.Script
	args   func(End) []any
}{
	Finished: {concludeScript, func(e End) []any { return []any{e.Result, e.Claim.Keep.Milliseconds()} }},
	Retry: {retryScript, func(e End) []any {
		return []any{max(0, e.Wait.Milliseconds()), clip(e.Error), e.Workers}
	}},
	DeadLettered: {deadletterScript, func(e End) []any {
		return []any{strings.ReplaceAll(clip(e.Reason), "\n", " "), clip(e.Error)}
	}},
	HandedBack: {handbackScript, func(e End) []any { return []any{e.Claim.Keep.Milliseconds()} }},
}

// endCalls makes the calls for those ends of one partition that are not finishes.
// `own` are the kinds that the caller claims in the same round trip, so that nobody
// is woken for them.
func (d *Dispatcher) endCalls(partition int, ends []End, own []string) []endCall {
	var calls []endCall
	for _, outcome := range []Outcome{Finished, Retry, DeadLettered, HandedBack} {
		for _, members := range pick(ends, func(e *End) bool { return e.Outcome == outcome && !e.plain() }) {
			calls = append(calls, d.endCall(partition, outcome, ends, members, own))
		}
	}
	for i := range ends {
		if ends[i].Outcome == Several {
			calls = append(calls, d.severalCall(partition, ends, i, own))
		}
	}
	return calls
}

// plain reports whether an end is a finish that a turn makes: one that leaves nothing.
func (e *End) plain() bool { return e.Outcome == Finished && e.Claim.Keep == 0 }

// weight is how many bytes a script has to move for an end: what it brings, and what is stored of
// the job where the script reads that.
func (e *End) weight() int {
	bytes := 4*len(e.Result) + len(e.Error) // a result may have to make room for itself
	if e.Outcome == Retry && e.Claim.entry().Skips() {
		bytes += len(e.Claim.Payload)
	}
	return bytes
}

// pick returns the indexes of the ends that are wanted, as many together as one
// call takes: maxEnds, with MaxBatchBytes together.
func pick(ends []End, wanted func(*End) bool) [][]int {
	var parts [][]int
	weight := 0
	for i := range ends {
		if !wanted(&ends[i]) {
			continue
		}
		weight += ends[i].weight()
		if n := len(parts); n == 0 || len(parts[n-1]) == maxEnds || weight > MaxBatchBytes {
			parts = append(parts, make([]int, 0, min(maxEnds, len(ends)-i)))
			weight = ends[i].weight()
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
	each    bool // of one batch
}

func (d *Dispatcher) endCall(partition int, o Outcome, ends []End, members []int, own []string) endCall {
	keys := d.keys[partition]
	tails := make([]string, len(members))
	args := make([]any, 1, 1+6*len(members))
	args[0] = spaced(own)
	for k, i := range members {
		claim := ends[i].Claim
		canonical, stored := claim.keys()
		tails[k] = keys.Tail(canonical)
		args = append(args, canonical, stored, claim.Lease.Token.String())
		args = append(args, endVerbs[o].args(ends[i])...)
	}
	return endCall{Call: d.run.Once(partition, endVerbs[o].script, tails, args...), members: members}
}

// settle writes the call's answers into ended, which is indexed like the ends, and
// returns the whole reply.
func (c endCall) settle(ends []End, ended []Ended) ([]string, error) {
	words, callErr := c.Words()
	if c.each {
		ended[c.members[0]] = settleEach(&ends[c.members[0]], words, callErr)
		return words, callErr
	}
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
		ended[i] = Ended{Err: err, Dead: word == "dead", Halted: word == "halted", Cancelled: word == "cancelled"}
	}
	return words, callErr
}

// end reports one end on its own.
func (d *Dispatcher) end(ctx context.Context, e End) (Ended, error) {
	ctx, cancel := connect.Bounded(ctx)
	defer cancel()
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
