package dispatcher

import "context"

// HandBack gives up a claim whose work was not done, as a worker does that stops.
// The job stays head, the attempt is refunded, and the lane is first in line. It
// returns lease.ErrLost, and changes nothing, when the token has been superseded.
func (d *Dispatcher) HandBack(ctx context.Context, c Claim) error {
	_, err := d.end(ctx, End{Claim: &c, Outcome: HandedBack})
	return err
}
