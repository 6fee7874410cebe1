package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// JobOutcome is how a job has ended, of one that has ended, for as long as it is kept ([NewJob.Keep]).
type JobOutcome struct {
	ID       string
	Subject  subject.Key
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

// ErrNotEnded is returned by [Dispatcher.Outcome] for a job that waits or runs.
var ErrNotEnded = errors.New("dispatcher: job has not ended")

// Outcome returns how a job has ended. It returns [ErrNotEnded] when it has not, and
// [ErrNotFound] for a job that never was, or whose outcome is not kept (any more).
func (d *Dispatcher) Outcome(ctx context.Context, ref JobRef) (JobOutcome, error) {
	// The job goes first: an outcome may be that of an earlier one of the same id.
	info, err := d.Job(ctx, ref)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrIncomplete) && info.ID == "":
		return d.keptOutcome(ctx, ref)
	case err != nil && !errors.Is(err, ErrIncomplete):
		return JobOutcome{}, err
	case info.State == Dead:
		return JobOutcome{ID: ref.ID, Subject: info.Subject, State: JobDead, Attempts: info.Attempt, At: info.DiedAt, Reason: info.Reason, Error: info.Error}, err
	case info.Halted:
		return JobOutcome{ID: ref.ID, Subject: info.Subject, State: JobHalted, Attempts: info.Attempt, Reason: info.Why, Error: info.Error}, err
	}
	return JobOutcome{}, fmt.Errorf("%w: %s is %s", ErrNotEnded, ref, info.State)
}

// keptOutcome looks for the outcome of a job that is gone.
func (d *Dispatcher) keptOutcome(ctx context.Context, ref JobRef) (JobOutcome, error) {
	read := func(text string) (subject.Key, error) {
		o, err := parseOutcome(ref.ID, text)
		return o.Subject, err
	}
	at, err := d.lookUp(ctx, ref, subject.Keys.Outcomes, read)
	switch {
	case errors.Is(err, ErrNotFound):
		return JobOutcome{}, fmt.Errorf("%w: no job %s, and no outcome of one is kept", ErrNotFound, ref)
	case at.text == "":
		return JobOutcome{}, wrap("read outcome", err)
	}
	o, bad := parseOutcome(ref.ID, at.text)
	return o, cmp.Or(bad, wrap("read outcome", err))
}

func parseOutcome(id, text string) (JobOutcome, error) {
	o, err := record.ParseOutcome(id, text)
	return JobOutcome{ID: id, Subject: o.Subject, State: OutcomeState(o.State), Attempts: o.Attempts, At: o.At, Result: o.Result}, err
}

// WaitFor waits until a job has ended and returns its outcome. The job must have been enqueued
// with a Keep, of its own or declared by its kind: of others nothing is left to be read, and
// WaitFor returns an error that wraps [ErrInvalid]. It subscribes, looks, and waits, so an end
// in between is not missed; it looks by itself about every half minute. Without pub/sub it looks after
// a second, and then after a tenth of the time that it has waited, half a minute at most.
//
// Within a handler, or within the fn of [Dispatcher.Do], a wait for a job that can't start
// before that work has ended returns [ErrWouldDeadlock] at once.
func (d *Dispatcher) WaitFor(ctx context.Context, ref JobRef) (JobOutcome, error) {
	p, job, err := d.stored(ctx, ref)
	if errors.Is(err, ErrNotFound) {
		return d.Outcome(ctx, ref)
	}
	if err != nil {
		return JobOutcome{}, err
	}
	if job.Keep == 0 {
		return JobOutcome{}, invalid("job", ref, "keeps no outcome to wait for: enqueue it with a Keep, or declare one for its kind")
	}
	ref.Subject = job.Subject // from here on it is this one
	if outcome, err := d.Outcome(ctx, ref); !errors.Is(err, ErrNotEnded) {
		return outcome, err
	}
	channel := d.keys[p].News(record.PackID(ref.ID))
	heard, leave := d.news.listen(channel)
	defer leave()
	endWait, err := d.waitOn(ctx, job.Subject)
	if err != nil {
		return JobOutcome{}, fmt.Errorf("wait for %s: %w", ref, err)
	}
	defer endWait()
	for begun := time.Now(); ; {
		asked := time.Now()
		outcome, err := d.glance(ctx, &job)
		if ctx.Err() != nil && err != nil && unanswered(err) {
			err = connect.Judge(ctx, connect.Bound, err)
			if time.Since(asked) < lookAgain { // it has answered all questions before this one
				err = ctx.Err()
			}
			return JobOutcome{}, fmt.Errorf("wait for %s: %w", ref, err)
		}
		if !errors.Is(err, ErrNotEnded) {
			return outcome, err
		}
		select {
		case <-ctx.Done():
			return JobOutcome{}, fmt.Errorf("wait for %s: %w", ref, ctx.Err())
		case <-heard:
		case <-time.After(d.news.pace(channel, time.Since(begun))):
		}
	}
}

// glance is Outcome of a job that was there a while ago: it asks for little as long as that may be so.
func (d *Dispatcher) glance(ctx context.Context, job *Job) (JobOutcome, error) {
	keys, id := d.keys[d.ns.Partition(job.Subject)], record.PackID(job.ID)
	var there *redis.BoolCmd
	var dead *redis.FloatCmd
	var parked, kept *redis.StringCmd
	err := d.together(ctx, func(pipe redis.Pipeliner) {
		there, dead = pipe.HExists(ctx, keys.Jobs(), id), pipe.ZScore(ctx, keys.Dead(), id)
		parked = pipe.HGet(ctx, keys.ParkReasons(), job.Subject.Canonical())
		kept = pipe.HGet(ctx, keys.Outcomes(), id)
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return JobOutcome{}, wrap("look for the end of "+subject.IDText(job.ID), err)
	}
	// Another subject may have a job of this id by now; an outcome from before is that of an earlier one.
	if kept.Err() == nil && job.EnqueuedAt.UnixMilli() > 0 {
		o, err := parseOutcome(job.ID, kept.Val())
		if err == nil && o.Subject == job.Subject && o.At.After(job.EnqueuedAt) {
			return o, nil
		}
	}
	if park, _ := record.ParsePark(parked.Val()); there.Val() && dead.Err() != nil && park.Halted == nil {
		return JobOutcome{}, ErrNotEnded
	}
	return d.Outcome(ctx, job.Ref())
}
