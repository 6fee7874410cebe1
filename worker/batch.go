package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/lease"
)

// runBatch calls a batch's handler. The second error is one of the whole batch.
func runBatch(ctx context.Context, handle BatchHandler, c *dispatcher.Claim) (errs []error, err error) {
	all := c.Each()
	jobs := make([]dispatcher.Job, len(all))
	for i, one := range all {
		jobs[i] = one.Job
	}
	errs = handle(ctx, jobs)
	if errs != nil && len(errs) != len(jobs) {
		return nil, fmt.Errorf("the handler returned %d errors for %d jobs", len(errs), len(jobs))
	}
	return errs, nil
}

// judgeBatch decides how each job of a batch has ended. Whole is an error of all of them: a
// panic, or a handler that did not return.
func (a *attempt) judgeBatch(ctx context.Context, whole error) dispatcher.End {
	end := dispatcher.End{Claim: a.claim, Outcome: dispatcher.Several}
	cause := context.Cause(ctx)
	back := errors.Is(cause, ErrStopped) || errors.Is(cause, lease.ErrCancelled)
	for i, c := range a.claim.Each() {
		err := whole
		if err == nil && a.errs != nil {
			err = a.errs[i]
		}
		one := a.pool.judge(c, err)
		if err != nil && back { // what the pool or an operator stopped has not failed
			a.cut = a.cut || errors.Is(cause, ErrStopped)
			one = dispatcher.End{Claim: c, Outcome: dispatcher.HandedBack}
		}
		end.Each = append(end.Each, one)
	}
	return end
}
