package dispatcher

import (
	"cmp"
	_ "embed"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/internal/record"
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
	Reason                  string // of a dead letter, or why the lane stands still

	Each []Ended // of Several
}

// maxEnds bounds the ends that one script call takes.
const maxEnds = 125

// maxError is how much is kept of an error text.
const maxError = 4096

//go:embed end.lua
var endLua string

var endScript = verb("end", endLua)

// jobs are the ends of all jobs that an end is about, of its claim's own first.
func (e *End) jobs() iter.Seq[*End] {
	return func(yield func(*End) bool) {
		if e.Outcome != Several {
			yield(e)
			return
		}
		for i := range e.Each {
			if !yield(&e.Each[i]) {
				return
			}
		}
	}
}

// size is how many jobs an end is about.
func (e *End) size() int {
	if e.Outcome == Several {
		return len(e.Each)
	}
	return 1
}

// args are what the script wants to know of one job's end.
func (e *End) args() []any {
	_, stored := e.Claim.keys()
	keep, text := e.Claim.Keep.Milliseconds(), any(clip(e.Error))
	switch e.Outcome {
	case Finished:
		return []any{stored, "done", 0, keep, e.Result, ""}
	case Retry:
		return []any{stored, "failed", max(0, e.Wait.Milliseconds()), keep, text, ""}
	case DeadLettered:
		return []any{stored, "fatal", 0, keep, text, strings.ReplaceAll(clip(e.Reason), "\n", " ")}
	}
	return []any{stored, "back", 0, keep, "", ""}
}

// endCalls makes the calls for those ends of one partition that are no plain finishes.
// `own` are the kinds that the caller claims in the same round trip, so that nobody
// is woken for them.
func (d *Dispatcher) endCalls(partition int, ends []End, own []string) (calls []endCall) {
	for _, members := range pick(ends, func(e *End) bool { return !e.plain() }) {
		calls = append(calls, d.endCall(partition, ends, members, own))
	}
	return calls
}

// plain reports whether an end is a finish that a turn makes: one that leaves nothing.
func (e *End) plain() bool { return e.Outcome == Finished && e.Claim.Keep == 0 }

// weight is how many bytes a script has to move for an end: what it brings, and what is stored of
// the job where the script reads that.
func (e *End) weight() (bytes int) {
	for job := range e.jobs() {
		bytes += 4*len(job.Result) + len(job.Error) // a result may have to make room for itself
		if job.Outcome == Retry && job.Claim.entry().Skips() {
			bytes += len(job.Claim.Payload)
		}
	}
	return bytes
}

// pick returns the indexes of the ends that are wanted, as many together as one
// call takes: maxEnds jobs, with MaxBatchBytes together, and one end in any case.
func pick(ends []End, wanted func(*End) bool) [][]int {
	var parts [][]int
	jobs, weight := 0, 0
	for i := range ends {
		if !wanted(&ends[i]) {
			continue
		}
		n, bytes := ends[i].size(), ends[i].weight()
		jobs, weight = jobs+n, weight+bytes
		if len(parts) == 0 || jobs > maxEnds || weight > MaxBatchBytes {
			parts = append(parts, make([]int, 0, min(maxEnds, len(ends)-i)))
			jobs, weight = n, bytes
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], i)
	}
	return parts
}

// endCall is a call and the indexes of the ends that it carries.
type endCall struct {
	*script.Call
	members []int
	finish  bool // by a turn, whose reply has one word for each of them, behind its head
}

func (d *Dispatcher) endCall(partition int, ends []End, members []int, own []string) endCall {
	keys := d.keys[partition]
	tails := make([]string, len(members))
	args := []any{spaced(own), len(members)}
	var rows []any
	for k, i := range members {
		claim, workers := ends[i].Claim, 0
		for job := range ends[i].jobs() {
			workers = max(workers, job.Workers)
			rows = append(rows, job.args()...)
		}
		canonical := claim.Subject.Canonical()
		tails[k] = keys.Tail(canonical)
		args = append(args, canonical, claim.Lease.Token.String(), workers, ends[i].size())
	}
	return endCall{Call: d.run.Once(partition, endScript, tails, append(args, rows...)...), members: members}
}

// settle writes the call's answers into ended, which is indexed like the ends, and
// returns the whole reply.
func (c endCall) settle(ends []End, ended []Ended) ([]string, error) {
	words, callErr := c.Words()
	rest := words
	if c.finish && callErr == nil {
		rest = words[turnHead:]
	}
	width := 2 // words a job: its fate, and the code of why
	if c.finish {
		width = 1
	}
	for _, i := range c.members {
		end, answer := &ends[i], Ended{Err: callErr}
		for job := range end.jobs() {
			if callErr != nil {
				break
			}
			one := job.settle(rest[:width])
			rest = rest[width:]
			if end.Outcome == Several {
				answer.Each = append(answer.Each, one)
				answer.Err = cmp.Or(answer.Err, one.Err)
			} else {
				answer = one
			}
		}
		if answer.Err != nil {
			answer = Ended{Err: fmt.Errorf("%s: %w", end, answer.Err)}
		}
		ended[i] = answer
	}
	return words, callErr
}

// settle reads what became of one job: its fate, and the code of why where there is one.
func (e *End) settle(words []string) (ended Ended) {
	switch words[0] {
	case "lost":
		ended.Err = lease.ErrLost
	case "cancelled":
		ended.Cancelled = true
	case "dead", "halted":
		ended.Halted, ended.Dead = words[0] == "halted", words[0] == "dead" && e.Outcome == Retry
		ended.Reason = cmp.Or(record.ReasonFor(words[1]), e.Reason)
	}
	return ended
}

// String is for errors: what was to be done.
func (e *End) String() string {
	if e.Outcome == Several {
		return fmt.Sprintf("end batch of %d jobs of %s", len(e.Each), e.Claim.Subject)
	}
	return fmt.Sprintf("%s %s of %s", e.Outcome, e.Claim.ID, e.Claim.Subject)
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
