package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

// EnqueueResult says what became of one job.
type EnqueueResult struct {
	ID      string      `json:"id"`
	Subject subject.Key `json:"subject"`
	Seq     int64       `json:"seq"`     // place in the lane's order, counted by partition; 0 for a scheduled job, which has none yet
	Created bool        `json:"created"` // false when a job of this id existed already, or had the unique key

	// Of a job whose unique key was taken: ID and Seq are those of the one that has it. How
	// many were merged into that one so far, or whether it has the new payload now.
	Merged   int  `json:"merged,omitzero"`
	Replaced bool `json:"replaced,omitzero"`

	Acked int   `json:"acked,omitzero"` // replicas that had it in time, when [Config].Durability asks for any
	Err   error `json:"-"`              // what is wrong with it; only from EnqueueMany, whose error wraps it
}

// Enqueue puts a job at the tail of its subject's lane, or on the schedule when
// it has a run-at. When it returns nil the job is in Redis, on as many replicas as
// [Config].Durability asks for. When the error says "not known whether it was stored", which it
// does for [ErrUnavailable] unless it says "not sent",
// the job may be there or not, or may still come, after jobs that are enqueued later; calling again with the same ID is safe
// while the job exists. Calls from many goroutines share round trips; one on its own
// waits for no company.
func (d *Dispatcher) Enqueue(ctx context.Context, job NewJob) (EnqueueResult, error) {
	if err := ctx.Err(); err != nil {
		return EnqueueResult{}, fmt.Errorf("enqueue %s: %w", job.Subject, err)
	}
	p, err := d.prepare(&job)
	if err != nil {
		return EnqueueResult{}, err
	}
	return d.singles.enqueue(ctx, p)
}

// EnqueueMany enqueues up to [MaxBatch] jobs, with [MaxBatchBytes] of payload together, in one
// round trip. Jobs of one partition are taken all or none; the result at index i says
// what became of jobs[i]. Jobs of one subject keep their order.
//
// The error is nil only when all jobs were taken: else it wraps the errors of those that were
// not, each of which stands with its job too, and says as that of Enqueue does whether the job may
// be there all the same. ErrNotReplicated is one. There are no results when nothing was sent
// because a job breaks a rule.
func (d *Dispatcher) EnqueueMany(ctx context.Context, jobs []NewJob) ([]EnqueueResult, error) {
	if len(jobs) > MaxBatch {
		return nil, fmt.Errorf("%w: a batch of %d jobs, at most %d are allowed", ErrTooLarge, len(jobs), MaxBatch)
	}
	payloads := 0
	for i := range jobs {
		payloads += len(jobs[i].Payload)
	}
	if most := max(d.cfg.MaxPayload, MaxBatchBytes); payloads > most {
		return nil, fmt.Errorf("%w: a batch with %d bytes of payload, at most %d are allowed", ErrTooLarge, payloads, most)
	}
	all := make([]prepared, len(jobs))
	for i := range jobs {
		var err error
		if all[i], err = d.prepare(&jobs[i]); err != nil {
			if len(jobs) > 1 {
				err = fmt.Errorf("job %d: %w", i, err)
			}
			return nil, err
		}
	}
	done := d.send(ctx, "all", all)
	return done, notAll(done)
}

// notTaken is the error of a batch of which not all jobs were taken.
type notTaken struct {
	errs []error
	of   int
}

// notAll returns nil when all jobs were taken.
func notAll(done []EnqueueResult) error {
	var errs []error
	for i := range done {
		if done[i].Err != nil {
			errs = append(errs, done[i].Err)
		}
	}
	if errs == nil {
		return nil
	}
	return &notTaken{errs, len(done)}
}

func (e *notTaken) Error() string {
	if e.of == 1 {
		return e.errs[0].Error()
	}
	return fmt.Sprintf("%d of %d jobs, the first: %s", len(e.errs), e.of, e.errs[0])
}

func (e *notTaken) Unwrap() []error { return e.errs }

// Check returns the error that Enqueue would return for a job that breaks a rule,
// without asking Redis.
func (d *Dispatcher) Check(job NewJob) error {
	_, err := d.prepare(&job)
	return err
}

// MaxBatchBytes, 2 MiB, is the most bytes of payload that one call may carry, or one payload's worth when
// that is more: a script takes 1 to 3 ms for a MiB, and Redis does nothing else meanwhile.
const MaxBatchBytes = lanes.MostBytes

// prepared is a job that keeps all rules, in the form in which the script wants it.
type prepared struct {
	lanes.Arriving
	id        string
	subject   subject.Key
	partition int
}

// prepare checks a job and encodes it. The job itself is not changed.
func (d *Dispatcher) prepare(given *NewJob) (prepared, error) {
	job, err := d.declared(*given)
	if err != nil {
		return prepared{}, err
	}
	if err := job.validate(d.cfg.MaxPayload); err != nil {
		return prepared{}, err
	}
	canonical, stored := job.Subject.Canonical(), job.stored()
	p := prepared{id: job.ID, subject: job.Subject, partition: d.lanes.Partition(job.Subject)}
	p.Arriving = lanes.Arriving{
		Subject: canonical, Kind: job.Kind, Body: stored.Encode(canonical), Unique: job.Unique.key(&job, canonical),
		Entry: stored.Entry(record.PackID(job.ID)).String(),
	}
	switch {
	case job.Delay > 0:
		p.When = "+" + strconv.FormatInt(job.Delay.Milliseconds(), 10)
	case !job.RunAt.IsZero():
		p.When = strconv.FormatInt(job.RunAt.UnixMilli(), 10)
	}
	return p, nil
}

// send enqueues jobs in one round trip and says what became of each. Of each
// partition, "all" jobs are taken or none, or "each" by itself.
func (d *Dispatcher) send(ctx context.Context, mode string, jobs []prepared) []EnqueueResult {
	members := make([][]int, d.lanes.Partitions) // indexes into jobs
	for i := range jobs {
		members[jobs[i].partition] = append(members[jobs[i].partition], i)
	}
	var calls []*script.Call
	var sent [][]int
	for p, m := range members {
		if len(m) > 0 {
			calls = append(calls, d.enqueueCall(p, mode, jobs, m))
			sent = append(sent, m)
		}
	}
	safe := d.cfg.Durability
	if safe.Replicas > 0 {
		d.lanes.Scripts.RideReplicated(ctx, safe.Replicas, safe.Within, calls...)
	} else {
		d.lanes.Scripts.Ride(ctx, calls...)
	}
	done := make([]EnqueueResult, len(jobs))
	for c, m := range sent {
		settleEnqueue(calls[c], jobs, m, done)
		for _, i := range m {
			if done[i].Acked = calls[c].Acked; done[i].Err == nil && done[i].Acked < safe.Replicas {
				done[i].Err = fmt.Errorf("%w: %d of %d within %s", ErrNotReplicated, done[i].Acked, safe.Replicas, safe.Within)
			}
		}
	}
	return done
}

func (d *Dispatcher) enqueueCall(p int, mode string, jobs []prepared, members []int) *script.Call {
	arriving := make([]*lanes.Arriving, len(members))
	for k, i := range members {
		arriving[k] = &jobs[i].Arriving
	}
	return d.lanes.Enqueue(p, mode, d.cfg.MaxLane, arriving)
}

// settleEnqueue turns the reply of a call into the results of its members.
func settleEnqueue(call *script.Call, jobs []prepared, members []int, done []EnqueueResult) {
	all, refused, err := lanes.Arrivals(call, len(members))
	if err != nil && lanes.Unanswered(err) {
		err = fmt.Errorf("%w: %w", errUnknown, err)
	}
	var reason error
	if refused >= 0 {
		reason = refusal(all[0], &jobs[members[refused]])
	}
	for k, i := range members {
		e, job := &done[i], &jobs[i]
		e.ID, e.Subject = job.id, job.subject
		switch {
		case err != nil:
			e.Err = fmt.Errorf("enqueue %s: %w", job.subject, err)
		case refused == k:
			e.Err = reason
		case refused >= 0:
			e.Err = fmt.Errorf("%w: job %d: %w", ErrRefused, members[refused], reason)
		default:
			e.settle(all[k], job)
		}
	}
}

// settle notes what became of one job.
func (e *EnqueueResult) settle(a lanes.Arrived, job *prepared) {
	e.Err = a.Err
	switch a.Did {
	case "created", "there":
		e.Created, e.Seq = a.Did == "created", a.Seq
	case "merged", "replaced":
		e.ID, e.Seq, e.Merged, e.Replaced = a.Owner, a.Seq, a.Merged, a.Did == "replaced"
	default:
		e.Err = refusal(a, job)
	}
}

// errHeavy is why a job can't be enqueued in the company it was in.
var errHeavy = errors.New("too many bytes for one call")

// refusal is the error for a job that was not taken.
func refusal(a lanes.Arrived, job *prepared) error {
	if a.Err != nil {
		return a.Err
	}
	switch a.Did {
	case "full":
		return fmt.Errorf("%w: %s holds %s jobs", ErrLaneFull, job.subject, a.There)
	case "conflict":
		return fmt.Errorf("%w: %q belongs to a job of another subject", ErrConflict, job.id)
	case "taken":
		return fmt.Errorf("enqueue %s: %w", job.subject, &TakenError{a.Owner})
	case "heavy":
		return fmt.Errorf("%w: %w: of the jobs of this call, those that exist already have over 2 MiB together; enqueue %s in another one",
			ErrTooLarge, errHeavy, subject.IDText(job.id))
	case "windows":
		return fmt.Errorf("%w: partition %d holds %s windows of unique keys, each until it is over", ErrBacklogFull, job.partition, a.There)
	case "backlog":
		return fmt.Errorf("%w: partition %d holds %s jobs", ErrBacklogFull, job.partition, a.There)
	}
	return fmt.Errorf("enqueue %s: unknown reply %q", job.subject, a.Did)
}
