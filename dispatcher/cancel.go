package dispatcher

import (
	"context"
	"fmt"
)

// Cancel takes a job that waits, in its lane or on the schedule, away for good. One that runs
// is asked to end: its handler's context is cancelled with cause lease.ErrCancelled, and its
// lane stays leased until the handler has returned or the lease is over; the holder is returned
// then. A job whose handler returns nil all the same has finished. One that is in the hand of a
// worker behind the one that runs is asked for again for a quarter of a second, within which it begins or goes back;
// it returns [ErrRunning] if it is there still, in a batch, and [ErrNotFound] for one that
// neither waits nor runs; dead letters are discarded instead.
func (d *Dispatcher) Cancel(ctx context.Context, ref JobRef) (holder string, err error) {
	_, job, err := d.stored(ctx, ref)
	if err != nil {
		return "", err
	}
	did, err := reach(ctx, func() (did string, err error) {
		did, holder, err = d.lanes.Cancel(ctx, job.Subject, job.Entry(), job.Keep)
		return did, err
	})
	if err != nil {
		return "", fmt.Errorf("cancel %s: %w", ref, err)
	}
	return holder, refusedFor(did, "cancel", ref)
}
