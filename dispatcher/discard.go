package dispatcher

import (
	"context"
	"fmt"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

// Discard deletes a dead letter for good. It returns [ErrNotFound] when there is
// no such dead letter.
func (d *Dispatcher) Discard(ctx context.Context, ref JobRef) error {
	p, job, err := d.deadLetter(ctx, ref)
	if err != nil {
		return err
	}
	did, err := d.lanes.Discard(ctx, p, job.Subject, record.PackID(ref.ID))
	if err == nil && !did {
		err = fmt.Errorf("%w: job %s is not a dead letter", ErrNotFound, ref)
	}
	return err
}
