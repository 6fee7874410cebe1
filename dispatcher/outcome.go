package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// JobOutcome is how a job has ended, for as long as that is kept ([NewJob.Keep]). Its JSON form leaves the
// result out.
type JobOutcome struct {
	ID       string       `json:"id"`
	Subject  subject.Key  `json:"subject"`
	State    OutcomeState `json:"state"`
	Attempts int          `json:"attempts"`
	At       time.Time    `json:"ended_at,omitzero"` // of the end, by Redis's clock
	Result   []byte       `json:"-"`                 // what the handler left, when it finished
	Reason   string       `json:"reason,omitzero"`   // of a dead letter, or why its lane was halted
	Error    string       `json:"error,omitzero"`    // of the last attempt, when it did not finish
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
	at, err := d.find(ctx, ref)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrIncomplete) && at.text == "":
		return d.keptOutcome(ctx, ref)
	case err != nil && !errors.Is(err, ErrIncomplete):
		return JobOutcome{}, err
	}
	o, state, failed := d.standing(ctx, ref.ID, at)
	if failed == nil && state != "" {
		failed = fmt.Errorf("%w: %s is %s", ErrNotEnded, ref, state)
	}
	return o, cmp.Or(failed, err)
}

// standing says how a stored job has ended; state is where it stands, of one that has not.
func (d *Dispatcher) standing(ctx context.Context, id string, at stored) (o JobOutcome, state string, err error) {
	s, err := d.lanes.Standing(ctx, at.partition, record.PackID(id), at.text)
	o = JobOutcome{ID: id, Subject: s.Job.Subject}
	switch {
	case err != nil:
		return JobOutcome{}, "", err
	case s.Dead:
		o.State, o.At = JobDead, time.UnixMilli(int64(s.Died)).UTC()
		o.Attempts, o.Reason, o.Error = record.ParseReason(s.Reason)
		return o, "", nil
	case s.Head == nil || s.Head.InSection():
		return JobOutcome{}, s.State(), nil
	}
	stop, halted := s.Head.Why()
	if !halted {
		return JobOutcome{}, s.State(), nil
	}
	o.State, o.Attempts, o.Reason, o.Error = JobHalted, s.Head.Attempt(), stop.Why, s.Head.Note.Error
	return o, "", nil
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
		return JobOutcome{}, lanes.Wrap("read outcome", err)
	}
	o, bad := parseOutcome(ref.ID, at.text)
	return o, cmp.Or(bad, lanes.Wrap("read outcome", err))
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
	channel := d.lanes.Keys(p).News(record.PackID(ref.ID))
	heard, leave := d.lanes.News.Listen(channel)
	defer leave()
	endWait, err := d.waitOn(ctx, job.Subject)
	if err != nil {
		return JobOutcome{}, fmt.Errorf("wait for %s: %w", ref, err)
	}
	defer endWait()
	for begun := time.Now(); ; {
		asked := time.Now()
		outcome, err := d.glance(ctx, &job)
		if ctx.Err() != nil && err != nil && lanes.Unanswered(err) {
			err = connect.Judge(ctx, connect.Bound, err)
			if time.Since(asked) < lanes.LookAgain { // it has answered all questions before this one
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
		case <-time.After(d.lanes.News.Pace(channel, time.Since(begun))):
		}
	}
}

// glance is Outcome of a job that was there a while ago: it asks for little as long as that may be so.
func (d *Dispatcher) glance(ctx context.Context, job *Job) (JobOutcome, error) {
	keys, id := d.lanes.Keys(d.lanes.Partition(job.Subject)), record.PackID(job.ID)
	var there *redis.BoolCmd
	var dead *redis.FloatCmd
	var parked, kept *redis.StringCmd
	err := d.lanes.Together(ctx, func(pipe redis.Pipeliner) {
		there, dead = pipe.HExists(ctx, keys.Jobs(), id), pipe.ZScore(ctx, keys.Dead(), id)
		parked = pipe.HGet(ctx, keys.ParkReasons(), job.Subject.Canonical())
		kept = pipe.HGet(ctx, keys.Outcomes(), id)
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return JobOutcome{}, lanes.Wrap("look for the end of "+subject.IDText(job.ID), err)
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
