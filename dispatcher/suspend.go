package dispatcher

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Suspend stops a lane until it is resumed, whether it has jobs or not: at once, or when
// its holder is done, who is returned then. Jobs that were claimed together with the
// head still run. Without why the [Actor]'s counts.
func (d *Dispatcher) Suspend(ctx context.Context, key subject.Key, why string, conditions ...Condition) (holder string, err error) {
	if err := CheckSubject(key); err != nil {
		return "", err
	}
	who := lanes.ActorOf(ctx)
	why = strings.ReplaceAll(lanes.Clip(cmp.Or(why, who.Why)), "\n", " ")
	who.Why = cmp.Or(who.Why, why)
	head := seen(conditions)
	holder, err = d.lanes.Suspend(lanes.As(ctx, who), key, why, head)
	return holder, acted("suspend", key, head, err)
}

// Resume lets a lane go on that was suspended, or halted by its head (see [Halt]), which gets
// all its attempts again then. It returns [ErrNotSuspended] when the lane is neither.
func (d *Dispatcher) Resume(ctx context.Context, key subject.Key, conditions ...Condition) error {
	return d.resume(ctx, key, "resume", seen(conditions))
}

// Skip makes a dead letter of the head of a suspended or halted lane, and resumes the lane.
// It returns [ErrNotSuspended] when the lane is neither, and [ErrNotFound] when it is empty.
// A head that the caller has not looked at is better not skipped: [IfHead].
func (d *Dispatcher) Skip(ctx context.Context, key subject.Key, conditions ...Condition) error {
	return d.resume(ctx, key, "skip", seen(conditions))
}

func (d *Dispatcher) resume(ctx context.Context, key subject.Key, how string, head lanes.Seen) error {
	if err := CheckSubject(key); err != nil {
		return err
	}
	did, err := d.lanes.Resume(ctx, key, how, head)
	switch {
	case err != nil:
		return acted(how, key, head, err)
	case did == "no":
		return fmt.Errorf("%s %s: %w", how, key, ErrNotSuspended)
	case did == "empty":
		return fmt.Errorf("%w: %s has no head to skip", ErrNotFound, key)
	}
	return nil
}

// SuspendJob keeps a job that waits from being run until it is resumed. When its turn has come
// its lane stands still; or, for a kind with the policy [Skip], it steps aside. It returns
// [ErrRunning] when the job has been claimed, and [ErrNotFound] when it does not wait.
func (d *Dispatcher) SuspendJob(ctx context.Context, ref JobRef) error {
	return d.suspendJob(ctx, ref, "suspend")
}

// ResumeJob lets a suspended job run again: in its place, or at the tail when it had stepped
// aside. It returns [ErrNotSuspended] when it was not suspended.
func (d *Dispatcher) ResumeJob(ctx context.Context, ref JobRef) error {
	return d.suspendJob(ctx, ref, "resume")
}

func (d *Dispatcher) suspendJob(ctx context.Context, ref JobRef, how string) error {
	_, job, err := d.stored(ctx, ref)
	if err != nil {
		return err
	}
	did, err := reach(ctx, func() (string, error) { return d.lanes.SuspendJob(ctx, job.Subject, job.Entry(), how) })
	if err != nil {
		return fmt.Errorf("%s job %s: %w", how, ref, err)
	}
	return refusedFor(did, how, ref)
}

// handPatience is longer than a worker has jobs in hand behind one that is slow (maxPatience in package worker).
const handPatience = 250 * time.Millisecond

// reach asks for a job, and again for as long as it is in the hand of a worker.
func reach(ctx context.Context, ask func() (did string, err error)) (did string, err error) {
	for begun := time.Now(); ; {
		did, err = ask()
		if err != nil || did != "claimed" || time.Since(begun) >= handPatience {
			return did, err
		}
		select {
		case <-ctx.Done():
			return did, nil
		case <-time.After(handPatience / 10):
		}
	}
}

// refusedFor is the error for what a verb did not do to one job.
func refusedFor(did, how string, ref JobRef) error {
	switch did {
	case "no":
		return fmt.Errorf("%s job %s: %w", how, ref, ErrNotSuspended)
	case "running":
		return fmt.Errorf("%s job %s: %w; 'job cancel' asks its worker to end it", how, ref, ErrRunning)
	case "claimed":
		return fmt.Errorf("%s job %s: %w with the head of its lane; ask again in a moment", how, ref, ErrRunning)
	case "dead":
		return fmt.Errorf("%w: job %s is a dead letter already", ErrNotFound, ref)
	case "missing":
		return fmt.Errorf("%w: no job %s waits or runs", ErrNotFound, ref)
	}
	return nil
}
