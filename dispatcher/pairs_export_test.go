package dispatcher

import "context"

// Refund gives the last attempt of a job back that failed on a holder, as a session does that is to blame.
func Refund(ctx context.Context, d *Dispatcher, holder string, job Job) error {
	return d.refund(ctx, holder, &Claim{Job: job})
}
