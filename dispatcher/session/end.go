package session

import (
	"cmp"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

// Outcome is how an attempt ended, as a worker says it. Which fate its job has is decided by one function in
// Redis from the job's entry, its note and what was asked of the holder (fate_of in parts/ending.lua), and
// comes back as [EndReply].
type Outcome int

// The ways out of a claim.
const (
	Finished     Outcome = iota // done; the job is gone
	Retry                       // failed; what then, is declared of its kind: see [dispatcher.Policy]
	DeadLettered                // failed for good; set aside with a reason
	HandedBack                  // given up unused; the attempt is refunded, unless an operator cancelled the job
	Several                     // the batch has ended, each job as [End.Each] says
)

func (o Outcome) String() string {
	return [...]string{"finish", "retry", "dead-letter", "hand back", "end batch"}[o]
}

// End is the report of one attempt's outcome. Which fields count depends on the outcome, as each says. A report
// may be sent again when its answer did not come: with the token of its lease it has one effect, and once that
// has passed on, none (I3).
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

	// GoesOn says that the claimant goes on with the next job of the lane under the same lease: with
	// [Claim.Next], or with the first of the jobs that answers have brought since the claim was made
	// ([EndReply.More]). More is how many more jobs are in its hand than the claim's Along says, below 0 when
	// some went back. Only for Finished.
	GoesOn bool
	More   int
}

// EndReply is the answer to an [End]. With Err nil and no flag set it went as the outcome says: the job is
// gone, waits to be tried again, is a dead letter, or was handed back.
type EndReply struct {
	// Err is nil, lease.ErrLost when the claim's token is no longer current, or
	// that the answer is not known.
	Err error
	// Dead says that a retry became a dead letter, its attempts being used up; Halted,
	// that the job failed for good and its lane stands still; Cancelled, that an
	// operator had cancelled the job meanwhile, and it is gone.
	Dead, Halted, Cancelled bool
	Reason                  string // of a dead letter, or why the lane stands still

	Each []EndReply // of Several

	// More are jobs of the same lane that come into the claimant's hand, behind those that it has there, under the
	// same lease: as many as [Turn.InHand] asked for, while no lane of its kinds waits. Only where the end
	// goes on. Like those of [Claim.Along] they are first attempts.
	More []dispatcher.Job
}

// maxEnds bounds the ends that one script call takes.
const maxEnds = 125

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

// verdict is what is said of one job's attempt. Errors and reasons are cut to 4 KiB, because they stay in Redis
// as long as the job; a reason is one line, because it stands before the error in one record.
func (e *End) verdict() lanes.Verdict {
	v := lanes.Verdict{Entry: e.Claim.Entry().String(), Verdict: "back", Keep: e.Claim.Keep, Text: ""}
	switch e.Outcome {
	case Finished:
		v.Verdict, v.Text = "done", e.Result
	case Retry:
		v.Verdict, v.Text, v.Wait = "failed", lanes.Clip(e.Error), e.Wait
	case DeadLettered:
		v.Verdict, v.Text, v.Reason = "fatal", lanes.Clip(e.Error), strings.ReplaceAll(lanes.Clip(e.Reason), "\n", " ")
	}
	return v
}

// endCalls makes the calls for those ends of one partition that are no plain finishes. `own` are the kinds that
// the caller claims in the same round trip, so that nobody is woken for them.
func (s *Session) endCalls(partition int, ends []End, own []string) (calls []endCall) {
	for _, members := range pick(ends, func(e *End) bool { return !e.plain() }) {
		calls = append(calls, s.endCall(partition, ends, members, own))
	}
	return calls
}

// plain reports whether an end is a finish that a turn makes: one that leaves nothing. It is the hot path: such
// an end costs no call of its own.
func (e *End) plain() bool { return e.Outcome == Finished && e.Claim.Keep == 0 }

// weight is how many bytes a script has to move for an end: what it brings, and what is stored of the job where
// the script reads that (I16). A job that is rescheduled is read for its order on the schedule.
func (e *End) weight() (bytes int) {
	for job := range e.jobs() {
		bytes += 4*len(job.Result) + len(job.Error) // a result may have to make room for itself
		if job.Outcome == Retry && job.Claim.Entry().Skips() {
			bytes += len(job.Claim.Payload)
		}
	}
	return bytes
}

// pick returns the indexes of the ends that are wanted, as many together as one call takes: maxEnds jobs, with
// dispatcher.MaxBatchBytes together, and one end in any case. Their order stays, because one end may be of the
// job behind another one's.
func pick(ends []End, wanted func(*End) bool) [][]int {
	var parts [][]int
	jobs, weight := 0, 0
	for i := range ends {
		if !wanted(&ends[i]) {
			continue
		}
		n, bytes := ends[i].size(), ends[i].weight()
		jobs, weight = jobs+n, weight+bytes
		if len(parts) == 0 || jobs > maxEnds || weight > dispatcher.MaxBatchBytes {
			parts = append(parts, make([]int, 0, min(maxEnds, len(ends)-i)))
			jobs, weight = n, bytes
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], i)
	}
	return parts
}

// endCall is a call and the indexes of the ends that it carries, in the order of its reply.
type endCall struct {
	*script.Call
	members []int
	finish  bool // by a turn, which claims too
}

// endCall makes a call of the end script for the ends that are members, each of which ends one lease with all
// its jobs. A batch has one rule on different workers: the largest number of its jobs' counts for all of them.
func (s *Session) endCall(partition int, ends []End, members []int, own []string) endCall {
	leases := make([]lanes.Ending, len(members))
	for k, i := range members {
		claim := ends[i].Claim
		l := lanes.Ending{Subject: claim.Subject.Canonical(), Token: claim.Lease.Token}
		for job := range ends[i].jobs() {
			l.Workers = max(l.Workers, job.Workers)
			l.Jobs = append(l.Jobs, job.verdict())
		}
		leases[k] = l
	}
	return endCall{Call: s.lanes.End(partition, own, leases), members: members}
}

// settle writes the call's answers into ended, which is indexed like the ends. From one that claims too it
// returns what the turn gave. Finishes that were answered count also when the rest of a turn's reply can't be
// read. The error of a batch is the first of its jobs', and all of a lease are lost or none is.
func (c endCall) settle(ends []End, ended []EndReply) (*lanes.TurnReply, error) {
	var turned lanes.TurnReply
	var fates []lanes.Fate
	var err error
	if c.finish {
		turned, err = lanes.ReadTurn(c.Call, len(c.members))
	} else {
		jobs := 0
		for _, i := range c.members {
			jobs += ends[i].size()
		}
		fates, err = lanes.ReadFates(c.Call, jobs)
	}
	answered := fates != nil || turned.Answered()
	for k, i := range c.members {
		end, answer := &ends[i], EndReply{}
		// Without an answer all ends of the call have the same error, and are to be sent again.
		if !answered {
			answer.Err = err
		}
		for job := range end.jobs() {
			if !answered {
				break
			}
			var fate lanes.Fate
			if c.finish {
				fate = turned.Done(k) // what a turn finishes is one job
			} else {
				fate, fates = fates[0], fates[1:]
			}
			one := job.settle(fate)
			if c.finish && err == nil {
				one.More = inHand(&turned, k, end.Claim)
			}
			if end.Outcome == Several {
				answer.Each = append(answer.Each, one)
				answer.Err = cmp.Or(answer.Err, one.Err)
			} else {
				answer = one
			}
		}
		if answer.Err != nil {
			answer = EndReply{Err: fmt.Errorf("%s: %w", end, answer.Err)}
		}
		ended[i] = answer
	}
	return &turned, err
}

// inHand reads the jobs that came into the hand of who goes on from the kth job that was finished. A job that can't be read
// ends the hand before it: what is wrong with it is said when it is the head.
func inHand(turned *lanes.TurnReply, k int, of *Claim) (jobs []dispatcher.Job) {
	broken := false
	for range turned.More(k) {
		row := turned.NextInHand()
		claim, err := decodeClaim(&row)
		if broken = broken || err != nil || claim.Subject != of.Subject; !broken {
			jobs = append(jobs, claim.Job)
		}
	}
	return jobs
}

// settle reads what became of one job: its fate, and the code of why where there is one. Dead is only said of a
// retry: whoever reports a dead letter knows that it is one.
func (e *End) settle(f lanes.Fate) (ended EndReply) {
	switch f.Fate {
	case "lost":
		ended.Err = lease.ErrLost
	case "cancelled":
		ended.Cancelled = true
	case "dead", "halted":
		ended.Halted, ended.Dead = f.Fate == "halted", f.Fate == "dead" && e.Outcome == Retry
		ended.Reason = cmp.Or(record.ReasonFor(f.Why), e.Reason)
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
