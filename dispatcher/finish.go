package dispatcher

import "context"

// Finish ends a claim whose job is done: the job is gone and its lane goes on. It
// returns lease.ErrLost, and changes nothing, when the claim's token has been
// superseded. An expired lease that nobody took yet still finishes.
func (d *Dispatcher) Finish(ctx context.Context, c Claim) error {
	_, err := d.end(ctx, End{Claim: &c, Outcome: Finished})
	return err
}
