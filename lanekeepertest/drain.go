package lanekeepertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/worker"
)

// Drain runs the handlers of pool, which is on the kit's Dispatcher, until nothing is left that could run now: lanes that are
// ready, what has fallen due, what workers left whose leases are over, and all that becomes ready by that. It returns what
// ran, in the order of the starts, and why each lane still stands that has jobs, and each job that waits for its time.
//
// Handlers run one at a time, whatever the pool's Concurrency, and lanes take turns by nothing that varies: the same test does
// the same things. All else is as in a pool that runs: middleware, timeouts, retries, batches, limits. The pool is not
// started by it; a test drains it as often as it likes.
//
// A handler must not wait for another job, which nobody runs meanwhile. A test of such handlers runs the pool itself, and
// waits with WaitFor.
//
// Drain ends with ctx, and a moment before the time of go test is over. Then, or when the pool can't start, t fails, and is
// told what ran and what stands.
func (k *Kit) Drain(ctx context.Context, pool *worker.Pool) (ran []worker.Ran, left []inspect.Why) {
	k.t.Helper()
	ctx, cancel := k.bounded(ctx)
	defer cancel()
	var failed error
	began := false
	ran, err := worker.RunReady(ctx, pool, func(ctx context.Context) {
		began = true
		left, failed = k.standing(ctx)
	})
	switch err = errors.Join(err, failed); {
	case err != nil && !began && errors.Is(err, dispatcher.ErrUnavailable):
		k.t.Fatalf("lanekeepertest: Drain did not start: %v\nIt needs the server; a test of a worker in an outage runs the pool itself: go pool.Run(ctx)", err)
	case err != nil && !began:
		k.t.Fatalf("lanekeepertest: Drain did not start: %v", err)
	case err != nil:
		k.t.Fatalf("lanekeepertest: Drain did not come to an end: %v\n%s", err, report(ran, left))
	}
	return ran, left
}

// lastWords is how long before the end of go test Drain gives up, so that the test says why and not the stacks of all.
const lastWords = 5 * time.Second

// bounded ends ctx before go test ends the process.
func (k *Kit) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if timed, ok := k.t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := timed.Deadline(); ok {
			return context.WithDeadlineCause(ctx, end.Add(-lastWords), errors.New("the time of go test is nearly over"))
		}
	}
	return context.WithCancel(ctx)
}

// standing says of all lanes that have jobs, and of jobs that are not in their lanes yet, why they stand.
func (k *Kit) standing(ctx context.Context) (left []inspect.Why, err error) {
	for page := (inspect.Page{Limit: 500}); ; {
		lanes, next, err := k.look.Lanes(ctx, inspect.LaneFilter{}, page)
		if err != nil {
			return left, err
		}
		why, err := k.look.WhyLanes(ctx, lanes)
		if err != nil {
			return left, err
		}
		left = append(left, why...)
		if page.Cursor = next; next == "" {
			break
		}
	}
	jobs, err := k.jobs(ctx)
	if err != nil {
		return left, err
	}
	for i := range jobs {
		if jobs[i].State != inspect.Scheduled {
			continue
		}
		why, err := k.look.WhyJob(ctx, jobs[i].Ref())
		if err != nil && !errors.Is(err, dispatcher.ErrNotFound) {
			return left, err
		}
		left = append(left, why)
	}
	return left, nil
}

// oneOr is the word for one thing, or that for another number of them.
func oneOr(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// report says what ran and what stands, a line each; of many the last ones, which tell where it got stuck.
func report(ran []worker.Ran, left []inspect.Why) string {
	const most = 20
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s ran:\n", len(ran), oneOr(len(ran), "attempt", "attempts"))
	for i := max(0, len(ran)-most); i < len(ran); i++ {
		fmt.Fprintf(&b, "  %v\n", ran[i])
	}
	fmt.Fprintf(&b, "%d %s:\n", len(left), oneOr(len(left), "lane or job stands", "lanes or jobs stand"))
	for i := range left[:min(len(left), most)] {
		fmt.Fprintf(&b, "  %v\n", left[i])
	}
	return b.String()
}
