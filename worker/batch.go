package worker

import (
	"context"
	"fmt"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// runBatch calls a batch's handler. The second error is one of the whole batch.
func runBatch(ctx context.Context, handle BatchHandler, c *session.Claim) (errs []error, err error) {
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
