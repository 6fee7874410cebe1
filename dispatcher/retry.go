package dispatcher

import (
	"context"
	"fmt"

	"github.com/lanekeeper/lanekeeper/subject"
)

// RetryNow lets a lane go on now whose head has failed and waits for its next attempt: the lane is ready, in front of others of
// its kind. The attempts of the job stay as they are. It returns [ErrNotDelayed] when the lane does not wait for that: also for one that is
// suspended or halted, which [Dispatcher.Resume] lets go on; [ErrNotFound] when it has no jobs; and [ErrMoved] as [IfHead] says.
//
// It is one round trip, in which it searches through nothing.
func (d *Dispatcher) RetryNow(ctx context.Context, key subject.Key, conditions ...Condition) error {
	if err := CheckSubject(key); err != nil {
		return err
	}
	head := seen(conditions)
	did, err := d.lanes.Retry(ctx, key, head)
	rest := map[string]string{
		"leased":    "an attempt of its head runs, or a section",
		"ready":     "it is ready, and a worker may take it at any moment",
		"suspended": "it is suspended; 'lane resume' lets it go on",
		"halted":    "its head has halted it; 'lane resume' gives that all attempts again, 'lane skip' goes on without it",
		"asleep":    "its head is suspended by itself; 'job resume' lets it run",
	}[did]
	switch {
	case err != nil:
		return acted("retry", key, head, err)
	case did == "empty":
		return fmt.Errorf("%w: %s has no head to retry", ErrNotFound, key)
	case rest != "":
		return fmt.Errorf("retry %s: %w: %s", key, ErrNotDelayed, rest)
	}
	return nil
}
