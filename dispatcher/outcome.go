package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// JobOutcome is how a job has ended, of one that has ended, for as long as it is kept ([NewJob.Keep]).
type JobOutcome struct {
	ID       string
	State    OutcomeState
	Attempts int
	At       time.Time // of the end, by Redis's clock
	Result   []byte    // what the handler left, when it finished
	Reason   string    // of a dead letter, or why its lane was halted
	Error    string    // of the last attempt, when it did not finish
}

// OutcomeState is how a job has ended.
type OutcomeState string

// The ends of jobs. A halted one may still be run again, when an operator resumes its lane.
const (
	JobFinished  OutcomeState = "finished"
	JobCancelled OutcomeState = "cancelled"
	JobDead      OutcomeState = "dead"
	JobHalted    OutcomeState = "halted"
)

// MaxResult is the most that a result may have.
const MaxResult = 64 << 10

// lookAgain is how often a waiter looks without a hint.
const lookAgain = time.Second

// ErrNotEnded is returned by [Dispatcher.Outcome] for a job that waits or runs.
var ErrNotEnded = errors.New("dispatcher: job has not ended")

// Outcome returns how a job has ended. It returns [ErrNotEnded] when it has not, and
// [ErrNotFound] for a job that never was, or whose outcome is not kept (any more).
func (d *Dispatcher) Outcome(ctx context.Context, id string) (JobOutcome, error) {
	// The job goes first: an outcome may be that of an earlier one of the same id.
	info, err := d.Job(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		if o, ok, err := d.keptOutcome(ctx, id); ok || err != nil {
			return o, err
		}
		return JobOutcome{}, fmt.Errorf("%w: no job %q, and no outcome of one is kept", ErrNotFound, id)
	case err != nil:
		return JobOutcome{}, err
	case info.State == Dead:
		return JobOutcome{ID: id, State: JobDead, Attempts: info.Attempt, At: info.DiedAt, Reason: info.Reason, Error: info.Error}, nil
	case info.Halted:
		return JobOutcome{ID: id, State: JobHalted, Attempts: info.Attempt, Reason: info.Why, Error: info.Error}, nil
	}
	return JobOutcome{}, fmt.Errorf("%w: %s is %s", ErrNotEnded, subject.IDText(id), info.State)
}

// keptOutcome looks for an outcome in every partition.
func (d *Dispatcher) keptOutcome(ctx context.Context, id string) (o JobOutcome, ok bool, err error) {
	found := make([]*redis.StringCmd, d.ns.Partitions)
	err = d.together(ctx, func(pipe redis.Pipeliner) {
		for p := range found {
			found[p] = pipe.HGet(ctx, d.keys[p].Outcomes(), packID(id))
		}
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return JobOutcome{}, false, wrap("read outcome", err)
	}
	for _, cmd := range found {
		if cmd.Err() == nil {
			o, err = parseOutcome(id, cmd.Val())
			return o, true, err
		}
	}
	return JobOutcome{}, false, nil
}

// parseOutcome reads "<outcome> <attempts> <when>\n<text>".
func parseOutcome(id, record string) (JobOutcome, error) {
	head, text, _ := strings.Cut(record, "\n")
	parts := strings.Split(head, " ")
	if len(parts) != 3 {
		return JobOutcome{}, fmt.Errorf("%w: the outcome of %s is %q", errCorrupt, subject.IDText(id), head)
	}
	o := JobOutcome{ID: id, State: OutcomeState(parts[0])}
	o.Attempts, _ = strconv.Atoi(parts[1])
	ms, _ := strconv.ParseInt(parts[2], 10, 64)
	o.At = time.UnixMilli(ms).UTC()
	if text != "" {
		o.Result = []byte(text)
	}
	return o, nil
}

// WaitFor waits until a job has ended and returns its outcome. The job must have been enqueued
// with a Keep, of its own or declared by its kind: of others nothing is left to be read, and
// WaitFor returns an error that wraps [ErrInvalid]. It subscribes, looks, and waits, so an end
// in between is not missed; without pub/sub it looks once a second.
//
// Within a handler, or within the fn of [Dispatcher.Do], a wait for a job that can't start
// before that work has ended returns [ErrWouldDeadlock] at once.
func (d *Dispatcher) WaitFor(ctx context.Context, id string) (JobOutcome, error) {
	p, job, err := d.stored(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return d.Outcome(ctx, id)
	}
	if err != nil {
		return JobOutcome{}, err
	}
	if job.Keep == 0 {
		return JobOutcome{}, invalid("job", id, "keeps no outcome to wait for: enqueue it with a Keep, or declare one for its kind")
	}
	if outcome, err := d.Outcome(ctx, id); !errors.Is(err, ErrNotEnded) {
		return outcome, err
	}
	heard, leave := d.news.listen(d.keys[p].News(packID(id)))
	defer leave()
	endWait, err := d.waitOn(ctx, job.Subject)
	if err != nil {
		return JobOutcome{}, fmt.Errorf("wait for %s: %w", subject.IDText(id), err)
	}
	defer endWait()
	looking, stop := beyond(ctx)
	defer stop()
	for {
		asked := time.Now()
		outcome, err := d.Outcome(looking, id)
		if ctx.Err() != nil && err != nil && unanswered(err) {
			err = connect.Judge(ctx, connect.Bound, err)
			if time.Since(asked) < lookAgain { // it has answered all questions before this one
				err = ctx.Err()
			}
			return JobOutcome{}, fmt.Errorf("wait for %s: %w", subject.IDText(id), err)
		}
		if !errors.Is(err, ErrNotEnded) {
			return outcome, err
		}
		timer := time.NewTimer(lookAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return JobOutcome{}, fmt.Errorf("wait for %s: %w", subject.IDText(id), ctx.Err())
		case <-heard:
			timer.Stop()
		case <-timer.C:
		}
	}
}
