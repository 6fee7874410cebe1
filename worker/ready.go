package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Ran is one attempt that [RunReady] made.
type Ran struct {
	session.Claim // the job, the attempt's number, and the lease

	Err    error         // what the handler returned, a [*PanicError] if it panicked; of a batch, for this job
	Result []byte        // what it left with [SetResult], where the job's outcome is kept
	Wait   time.Duration // until the next attempt, of a job that failed and runs again

	// Became is how the job has ended, and empty for one that runs again. Reason is why, in a word or two, of a
	// dead letter or a lane that was halted; "lease lost" is of an end that came too late to count.
	Became dispatcher.OutcomeState
	Reason string
}

// String says it in a line, without the payload.
func (r Ran) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "attempt %d at %s %s of %s", r.Attempt, r.Kind, subject.IDText(r.ID), r.Subject)
	if r.Became != "" {
		fmt.Fprintf(&b, ", %s", r.Became)
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, " (%s)", r.Reason)
	}
	if r.Wait > 0 {
		fmt.Fprintf(&b, ", again in %s", r.Wait)
	}
	if r.Err != nil {
		fmt.Fprintf(&b, ": %v", r.Err)
	}
	return b.String()
}

// RunReady runs what p could run now, until nothing is left that it could, and returns what ran, in the order of the
// starts. It is for package lanekeepertest, whose Drain says what it does for a test; programs call [Pool.Run].
//
// One handler runs at a time, and which lane comes next depends on no measured time: what p would claim ahead, or have
// in hand, stays where it is. All else is as in Run. p itself does not start, so RunReady may be called again; its
// Counts go on. When all is still, and the worker is still listed, it calls still.
//
// The error says what kept it from coming to an end: that it could not start, or that ctx was over; then it has
// cancelled the handler that ran, as a stop does without patience.
func RunReady(ctx context.Context, p *Pool, still func(context.Context)) ([]Ran, error) {
	if p.started.Load() {
		return nil, errors.New("worker: the pool has been started with Run already, and takes its jobs by itself")
	}
	w := &witness{ran: make(map[attemptKey]*noted)}
	one := p.oneByOne(w)
	kinds, err := one.ready()
	if err != nil {
		return nil, err
	}
	w.watch(one.handlers)
	if joined, err := one.signOn(ctx, kinds); err != nil {
		return nil, err
	} else if !joined {
		return nil, ctx.Err()
	}
	ended := one.runBeside(ctx)
	defer close(one.lanes)
	if !one.untilStill(ctx, w) {
		err = w.unfinished(ctx)
	}
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	still(look)
	cancel()
	one.stopHandlers()
	if left := one.leave(ctx, ended); err == nil {
		err = left
	}
	p.counts.add(one.Counts())
	return w.all(), err
}

// oneByOne returns a pool like p that has not run, and tells w of what it does.
func (p *Pool) oneByOne(w *witness) *Pool {
	one := &Pool{
		cfg: p.cfg, namespace: p.namespace, check: p.check, declared: p.declared, exact: true,
		handlers: maps.Clone(p.handlers), middleware: p.middleware,
		rules: make(map[string]dispatcher.Kind), rolls: make(map[string]bool),
	}
	one.cfg.Concurrency, one.cfg.StopTimeout = 1, 0
	one.join = func(ctx context.Context, who session.Claimant, n int) (source, error) {
		joined, err := p.join(ctx, who, n)
		if err != nil {
			return nil, err
		}
		w.source = joined
		return w, nil
	}
	return one
}

// untilStill waits until a look at all that is ready or due has found nothing more, and reports false when ctx is over
// before. What ran may have made something ready that nobody has told of, so there is a look after it.
func (p *Pool) untilStill(ctx context.Context, w *witness) bool {
	for moved := 0; p.desk.until(ctx, p.desk.still); {
		now := w.moves()
		if now == moved {
			return true
		}
		moved = now
		p.desk.lookEverywhere()
	}
	return false
}

// still reports whether nothing runs, nothing travels, and no partition has a lane that may be claimed. The caller has
// the lock.
func (d *desk) still() bool {
	if d.crew.busy() > 0 || d.unsaid > 0 || d.planner.trips > 0 {
		return false
	}
	for i := range d.planner.partitions {
		if part := &d.planner.partitions[i]; part.ready != 0 || part.reaped.IsZero() {
			return false
		}
	}
	return true
}

// lookEverywhere has all partitions reaped and asked, whatever is known of them.
func (d *desk) lookEverywhere() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.planner.partitions {
		part := &d.planner.partitions[i]
		part.ready, part.reapAt, part.reaped = unknown, time.Time{}, time.Time{}
	}
	d.changeLocked()
}

// witness stands between a pool and its session, and notes what runs and what becomes of it.
type witness struct {
	source
	mu      sync.Mutex
	ran     map[attemptKey]*noted
	order   []*noted // as they began
	reaped  int      // turns that have set something free
	refused error    // what the last trip was answered that was not served
}

// noted is an attempt, whether its handler has returned, and whether Redis has its end.
type noted struct {
	Ran
	returned, ended bool
}

// attemptKey is one attempt: ids are unique within a subject, and so are tokens, but jobs that were claimed together
// share one.
type attemptKey struct {
	subject subject.Key
	id      string
	token   lease.Token
}

func keyOf(c *session.Claim) attemptKey { return attemptKey{c.Subject, c.ID, c.Lease.Token} }

// watch wraps handlers in the form that all have inside, so that batches are seen as single jobs are.
func (w *witness) watch(handlers map[string]handling) {
	for kind, h := range handlers {
		do, batch := h.do, h.batch
		h.do = func(ctx context.Context, c *session.Claim) []error {
			all := []*session.Claim{c}
			if batch {
				all = c.Each()
			}
			w.begin(all)
			errs := do(ctx, c)
			w.returned(all, errs)
			return errs
		}
		handlers[kind] = h
	}
}

func (w *witness) begin(claims []*session.Claim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range claims {
		r := &noted{Ran: Ran{Claim: *c}}
		r.Along = nil // they have a Ran each
		w.ran[keyOf(c)] = r
		w.order = append(w.order, r)
	}
}

func (w *witness) returned(claims []*session.Claim, errs []error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, c := range claims {
		r := w.ran[keyOf(c)]
		if r.returned = true; i < len(errs) {
			r.Err = errs[i]
		}
	}
}

// Turns passes turns on, and notes what is answered.
func (w *witness) Turns(ctx context.Context, turns []session.Turn) []session.TurnReply {
	replies := w.source.Turns(ctx, turns)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = nil
	for i := range turns {
		r := &replies[i]
		w.refused = cmp.Or(w.refused, r.Err)
		if r.Reaped.Expired+r.Reaped.Resumed+r.Reaped.Placed > 0 {
			w.reaped++
		}
		for k := range r.Ended {
			w.refused = cmp.Or(w.refused, r.Ended[k].Err)
			w.endedLocked(&turns[i].Ends[k], &r.Ended[k])
		}
	}
	return replies
}

// endedLocked notes what Redis says of an end, or of each of a batch's.
func (w *witness) endedLocked(end *session.End, reply *session.EndReply) {
	if end.Outcome == session.Several {
		for i := range reply.Each {
			w.endedLocked(&end.Each[i], &reply.Each[i])
		}
		return
	}
	r, ok := w.ran[keyOf(end.Claim)]
	lost := errors.Is(reply.Err, lease.ErrLost)
	if !ok || reply.Err != nil && !lost { // no handler began with it; or the end is sent again
		return
	}
	if r.Err == nil && end.Error != "" { // it comes from around the handler
		r.Err = errors.New(end.Error)
	}
	r.ended, r.Result, r.Reason = true, end.Result, reply.Reason
	switch {
	case lost:
		r.Reason = "lease lost"
	case reply.Cancelled:
		r.Became = dispatcher.JobCancelled
	case reply.Halted:
		r.Became = dispatcher.JobHalted
	case reply.Dead || end.Outcome == session.DeadLettered:
		r.Became = dispatcher.JobDead
	case end.Outcome == session.Finished:
		r.Became = dispatcher.JobFinished
	case end.Outcome == session.Retry:
		r.Wait = end.Wait
	}
}

// moves counts what has happened so far.
func (w *witness) moves() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.order) + w.reaped
}

// all returns what ran.
func (w *witness) all() []Ran {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]Ran, len(w.order))
	for i, r := range w.order {
		all[i] = r.Ran
	}
	return all
}

// unfinished says what was under way when ctx was over.
func (w *witness) unfinished(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.order) - 1
	switch {
	case last >= 0 && !w.order[last].returned:
		r := w.order[last]
		return fmt.Errorf("%w; the handler of %s has not returned, in attempt %d at %s of %s", context.Cause(ctx), r.Kind, r.Attempt, r.ID, r.Subject)
	case last >= 0 && !w.order[last].ended:
		return fmt.Errorf("%w; Redis has not taken the end of attempt %d at %s of %s: %w", context.Cause(ctx), w.order[last].Attempt, w.order[last].ID,
			w.order[last].Subject, cmp.Or(w.refused, dispatcher.ErrUnavailable))
	case w.refused != nil:
		return fmt.Errorf("%w; %w", context.Cause(ctx), w.refused)
	}
	return fmt.Errorf("%w; %d attempts were made, and more can be", context.Cause(ctx), len(w.order))
}
