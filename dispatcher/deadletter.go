package dispatcher

import "context"

// DeadLetter ends an attempt that failed for good: the job is set aside with its
// reason and error, and its lane goes on. It returns lease.ErrLost, and changes
// nothing, when the claim's token has been superseded.
func (d *Dispatcher) DeadLetter(ctx context.Context, c Claim, reason, why string) error {
	_, err := d.end(ctx, End{Claim: &c, Outcome: DeadLettered, Reason: reason, Error: why})
	return err
}
