package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

//go:embed enqueue.lua
var enqueueLua string

var enqueueScript = verb("enqueue", enqueueLua)

// Enqueued says what became of one job.
type Enqueued struct {
	ID      string
	Seq     int64 // place in the lane's order; 0 for a scheduled job, which has none yet
	Created bool  // false when a job of this id existed already
	Err     error // why the job was not taken; only from EnqueueMany
}

// Enqueue puts a job at the tail of its subject's lane, or on the schedule when
// it has a run-at. When it returns nil the job is in Redis. When it returns an
// error that is not one of this package's, the job may be there or not; calling
// again with the same ID is safe while the job exists.
func (d *Dispatcher) Enqueue(ctx context.Context, job NewJob) (Enqueued, error) {
	done, err := d.EnqueueMany(ctx, []NewJob{job})
	if err != nil {
		return Enqueued{}, err
	}
	return done[0], done[0].Err
}

// EnqueueMany enqueues up to [MaxBatch] jobs, with 16 MiB of payload together, in one
// round trip. Jobs of one
// partition are taken all or none; the result at index i says what became of
// jobs[i]. Jobs of one subject keep their order. The error is not nil only when
// nothing was sent, because a job breaks a rule.
func (d *Dispatcher) EnqueueMany(ctx context.Context, jobs []NewJob) ([]Enqueued, error) {
	if len(jobs) > MaxBatch {
		return nil, fmt.Errorf("%w: a batch of %d jobs, at most %d are allowed", ErrTooLarge, len(jobs), MaxBatch)
	}
	payloads := 0
	for _, job := range jobs {
		payloads += len(job.Payload)
	}
	if most := max(d.cfg.MaxPayload, maxBatchBytes); payloads > most {
		return nil, fmt.Errorf("%w: a batch with %d bytes of payload, at most %d are allowed", ErrTooLarge, payloads, most)
	}
	done := make([]Enqueued, len(jobs))
	batches := make(map[int]*enqueueBatch)
	var order []*enqueueBatch
	for i, job := range jobs {
		job = job.withDefaults()
		if err := job.validate(d.cfg.MaxPayload); err != nil {
			if len(jobs) > 1 {
				err = fmt.Errorf("job %d: %w", i, err)
			}
			return nil, err
		}
		done[i].ID = job.ID
		p := d.ns.Partition(job.Subject)
		if batches[p] == nil {
			batches[p] = &enqueueBatch{partition: p}
			order = append(order, batches[p])
		}
		batches[p].add(d.ns.Keys(p).Tail, i, job)
	}
	calls := make([]*script.Call, len(order))
	for c, b := range order {
		share := (d.cfg.MaxBacklog + d.ns.Partitions - 1) / d.ns.Partitions
		args := append([]any{d.cfg.MaxLane, share}, b.args...)
		calls[c] = d.run.Once(b.partition, enqueueScript, b.tails, args...)
	}
	d.run.Run(ctx, calls...)
	for c, b := range order {
		b.settle(jobs, done, calls[c])
	}
	return done, nil
}

// maxBatchBytes bounds the payloads of one call, and with them the time of a script.
const maxBatchBytes = 16 << 20

// enqueueBatch is the part of a call that goes to one partition.
type enqueueBatch struct {
	partition int
	members   []int // indexes into the call's jobs
	tails     []string
	args      []any
}

func (b *enqueueBatch) add(tail func(string) string, i int, job NewJob) {
	canonical := job.Subject.Canonical()
	when := ""
	switch {
	case job.Delay > 0:
		when = "+" + strconv.FormatInt(job.Delay.Milliseconds(), 10)
	case !job.RunAt.IsZero():
		when = strconv.FormatInt(job.RunAt.UnixMilli(), 10)
	}
	b.members = append(b.members, i)
	b.tails = append(b.tails, tail(canonical))
	b.args = append(b.args, canonical, packID(job.ID), job.Kind, job.MaxAttempts, when, encode(job))
}

// settle turns the script's reply into the results of the batch's members.
func (b *enqueueBatch) settle(jobs []NewJob, done []Enqueued, call *script.Call) {
	words, err := call.Words()
	if err == nil && words[0] == "ok" {
		for at, i := range b.members {
			done[i].Created = words[1+2*at] == "1"
			done[i].Seq, _ = strconv.ParseInt(words[2+2*at], 10, 64)
		}
		return
	}
	culprit, reason := -1, err
	if err == nil {
		switch words[0] {
		case "full":
			culprit = b.member(words[1])
			reason = fmt.Errorf("%w: %s holds %s jobs", ErrLaneFull, jobs[culprit].Subject, words[2])
		case "conflict":
			culprit = b.member(words[1])
			reason = fmt.Errorf("%w: %q belongs to a job of another subject", ErrConflict, jobs[culprit].ID)
		case "backlog":
			reason = fmt.Errorf("%w: partition %d holds %s jobs", ErrBacklogFull, b.partition, words[1])
		}
	}
	for _, i := range b.members {
		switch {
		case err != nil || culprit < 0:
			done[i].Err = fmt.Errorf("enqueue %s: %w", jobs[i].Subject, reason)
		case i == culprit:
			done[i].Err = reason
		default:
			done[i].Err = fmt.Errorf("%w: job %d: %w", ErrRefused, culprit, reason)
		}
	}
}

// member returns the call's index of the batch's nth job, counted from 1.
func (b *enqueueBatch) member(n string) int {
	i, _ := strconv.Atoi(n)
	return b.members[i-1]
}

// Check returns the error that Enqueue would return for a job that breaks a rule,
// without asking Redis.
func (d *Dispatcher) Check(job NewJob) error {
	return job.withDefaults().validate(d.cfg.MaxPayload)
}
