package dispatcher

import (
	"context"
	"fmt"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

// Replay puts a dead letter back into its lane with all its attempts before it:
// at the tail, with a new sequence number; or at the front, as the head, or next
// after what the lane's holder has claimed. Its unique key, if it has one, is taken again. It
// returns the job's sequence number; [ErrNotFound] when there is no such dead letter; and a
// [*TakenError] when another job has the key by now.
func (d *Dispatcher) Replay(ctx context.Context, ref JobRef, front bool) (seq int64, err error) {
	done, err := d.replay(ctx, ref, front, "refuse")
	return done.Seq, err
}

// ReplayOrMerge is Replay for a dead letter whose unique key may have been taken meanwhile: then it
// is merged into the job that has the key, as an enqueue would be, and goes. It returns the job
// that remains: Created tells whether that is the replayed one.
func (d *Dispatcher) ReplayOrMerge(ctx context.Context, ref JobRef, front bool) (EnqueueResult, error) {
	return d.replay(ctx, ref, front, "merge")
}

func (d *Dispatcher) replay(ctx context.Context, ref JobRef, front bool, onTaken string) (EnqueueResult, error) {
	_, job, err := d.deadLetter(ctx, ref)
	if err != nil {
		return EnqueueResult{}, err
	}
	if err := job.Subject.Validate(); err != nil {
		return EnqueueResult{}, fmt.Errorf("replay %s: %w: it can only be looked at and discarded", ref, record.ErrCorrupt)
	}
	place := "back"
	if front {
		place = "front"
	}
	r, err := d.lanes.Replay(ctx, job.Subject, job.Entry(), place, onTaken)
	if err != nil {
		return EnqueueResult{}, err
	}
	switch r.Did {
	case "ok":
		return EnqueueResult{ID: ref.ID, Subject: job.Subject, Seq: r.Seq, Created: true}, nil
	case "taken":
		err = fmt.Errorf("replay %s: %w", ref, &TakenError{ID: r.Owner})
		fallthrough
	case "merged":
		return EnqueueResult{ID: r.Owner, Subject: job.Subject, Seq: r.Seq, Merged: r.Merged}, err
	}
	return EnqueueResult{}, fmt.Errorf("%w: job %s is not a dead letter", ErrNotFound, ref)
}
