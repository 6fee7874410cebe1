package dispatcher

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

//go:embed enqueue.lua
var enqueueLua string

var enqueueScript = verb("enqueue", enqueueLua)

// Enqueued says what became of one job.
type Enqueued struct {
	ID      string
	Subject subject.Key
	Seq     int64 // place in the lane's order, counted by partition; 0 for a scheduled job, which has none yet
	Created bool  // false when a job of this id existed already, or had the unique key

	// Of a job whose unique key was taken: ID and Seq are those of the one that has it. How
	// many were merged into that one so far, or whether it has the new payload now.
	Merged   int
	Replaced bool

	Acked int   // replicas that had it in time, when [Config].Durability asks for any
	Err   error // what is wrong with it; only from EnqueueMany, whose error wraps it
}

// Enqueue puts a job at the tail of its subject's lane, or on the schedule when
// it has a run-at. When it returns nil the job is in Redis, on as many replicas as
// [Config].Durability asks for. When the error says "not known whether it was stored", which it
// does for [ErrUnavailable] unless it says "not sent",
// the job may be there or not, or may still come, after jobs that are enqueued later; calling again with the same ID is safe
// while the job exists. Calls from many goroutines share round trips; one on its own
// waits for no company.
func (d *Dispatcher) Enqueue(ctx context.Context, job NewJob) (Enqueued, error) {
	if err := ctx.Err(); err != nil {
		return Enqueued{}, fmt.Errorf("enqueue %s: %w", job.Subject, err)
	}
	p, err := d.prepare(&job)
	if err != nil {
		return Enqueued{}, err
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
func (d *Dispatcher) EnqueueMany(ctx context.Context, jobs []NewJob) ([]Enqueued, error) {
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
func notAll(done []Enqueued) error {
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

// MaxBatchBytes is the most bytes of payload that one call may carry, or one payload's worth when
// that is more: a script takes 1 to 3 ms for a MiB, and Redis does nothing else meanwhile.
const MaxBatchBytes = 2 << 20

// prepared is a job that keeps all rules, in the form in which the script wants it.
type prepared struct {
	id, kind  string
	subject   subject.Key
	canonical string
	partition int
	entry     string
	when      string
	body      []byte
	unique    *Unique
	field     string // among the unique keys
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
	p := prepared{id: job.ID, kind: job.Kind, subject: job.Subject, canonical: job.Subject.Canonical()}
	p.partition = d.ns.Partition(job.Subject)
	stored := job.stored()
	p.entry = record.Entry{ID: record.PackID(job.ID), Kind: job.Kind, Max: job.MaxAttempts, Flags: stored.Flags}.String()
	if job.Unique != nil {
		p.unique, p.field = job.Unique, job.Unique.field(&job, p.canonical)
	}
	p.body = stored.Encode(p.canonical)
	switch {
	case job.Delay > 0:
		p.when = "+" + strconv.FormatInt(job.Delay.Milliseconds(), 10)
	case !job.RunAt.IsZero():
		p.when = strconv.FormatInt(job.RunAt.UnixMilli(), 10)
	}
	return p, nil
}

// send enqueues jobs in one round trip and says what became of each. Of each
// partition, "all" jobs are taken or none, or "each" by itself.
func (d *Dispatcher) send(ctx context.Context, mode string, jobs []prepared) []Enqueued {
	members := make([][]int, d.ns.Partitions) // indexes into jobs
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
		d.run.RideReplicated(ctx, safe.Replicas, safe.Within, calls...)
	} else {
		d.run.Ride(ctx, calls...)
	}
	done := make([]Enqueued, len(jobs))
	for c, m := range sent {
		words, err := calls[c].Words()
		settleEnqueue(words, err, jobs, m, done)
		for _, i := range m {
			if done[i].Acked = calls[c].Acked; done[i].Err == nil && done[i].Acked < safe.Replicas {
				done[i].Err = fmt.Errorf("%w: %d of %d within %s", ErrNotReplicated, done[i].Acked, safe.Replicas, safe.Within)
			}
		}
	}
	return done
}

func (d *Dispatcher) enqueueCall(p int, mode string, jobs []prepared, members []int) *script.Call {
	keys := d.keys[p]
	tails := make([]string, len(members))
	args := make([]any, 5, 5+4*len(members))
	var kinds []string
	var unique []any
	for k, i := range members {
		job := &jobs[i]
		tails[k] = keys.Tail(job.canonical)
		args = append(args, job.canonical, job.entry, job.when, job.body)
		if job.unique != nil {
			unique = append(unique, job.unique.args(k+1, job.field)...)
		}
		if !slices.Contains(kinds, job.kind) {
			kinds = append(kinds, job.kind)
		}
	}
	args[0], args[1], args[2], args[3], args[4] = mode, d.cfg.MaxLane, d.share(), strings.Join(kinds, " "), len(members)
	return d.run.Once(p, enqueueScript, tails, append(args, unique...)...)
}

// share is how many jobs one partition may hold, and how many windows of unique keys.
func (d *Dispatcher) share() int { return (d.cfg.MaxBacklog + d.ns.Partitions - 1) / d.ns.Partitions }

// settleEnqueue turns the script's reply into the results of its members.
func settleEnqueue(words []string, err error, jobs []prepared, members []int, done []Enqueued) {
	if err == nil && words[0] == "refused" {
		nth, _ := strconv.Atoi(words[1])
		culprit := members[nth-1]
		reason := refusal(words[2], words[3], &jobs[culprit])
		for _, i := range members {
			done[i] = Enqueued{ID: jobs[i].id, Subject: jobs[i].subject, Err: reason}
			if i != culprit {
				done[i].Err = fmt.Errorf("%w: job %d: %w", ErrRefused, culprit, reason)
			}
		}
		return
	}
	var first int64 // numbers begin with 1
	if err == nil && words[0] == "created" {
		first, err = strconv.ParseInt(words[1], 10, 64)
	}
	if err != nil && unanswered(err) {
		err = fmt.Errorf("%w: %w", errUnknown, err)
	}
	for k, i := range members {
		e := &done[i]
		e.ID, e.Subject = jobs[i].id, jobs[i].subject
		if err != nil {
			e.Err = fmt.Errorf("enqueue %s: %w", jobs[i].subject, err)
			continue
		}
		if first > 0 {
			e.Created, e.Seq = true, first+int64(k)
			continue
		}
		switch word, count := words[1+2*k], words[2+2*k]; word {
		case "0", "1":
			e.Created = word == "1"
			e.Seq, _ = strconv.ParseInt(count, 10, 64)
		case "merged", "replaced":
			e.ID, e.Seq, e.Merged, e.Err = record.ParseOwner(count)
			e.Replaced = word == "replaced"
		default:
			e.Err = refusal(word, count, &jobs[i])
		}
	}
}

// unanswered reports whether an error leaves open what became of a call.
func unanswered(err error) bool {
	return !errors.Is(err, script.ErrNotSent) &&
		(errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}

// errHeavy is why a job can't be enqueued in the company it was in.
var errHeavy = errors.New("too many bytes for one call")

// refusal is the error that a word of the script stands for.
func refusal(word, count string, job *prepared) error {
	switch word {
	case "full":
		return fmt.Errorf("%w: %s holds %s jobs", ErrLaneFull, job.subject, count)
	case "conflict":
		return fmt.Errorf("%w: %q belongs to a job of another subject", ErrConflict, job.id)
	case "taken":
		id, _, _, err := record.ParseOwner(count)
		if err != nil {
			return err
		}
		return fmt.Errorf("enqueue %s: %w", job.subject, &TakenError{id})
	case "heavy":
		return fmt.Errorf("%w: %w: of the jobs of this call, those that exist already have over 2 MiB together; enqueue %s in another one",
			ErrTooLarge, errHeavy, subject.IDText(job.id))
	case "windows":
		return fmt.Errorf("%w: partition %d holds %s windows of unique keys, each until it is over", ErrBacklogFull, job.partition, count)
	case "backlog":
		return fmt.Errorf("%w: partition %d holds %s jobs", ErrBacklogFull, job.partition, count)
	}
	return fmt.Errorf("enqueue %s: unknown reply %q", job.subject, word)
}
