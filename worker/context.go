package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// jobContext is the context of a handler. One of package context, with its timer, its parents and its values, costs more
// than all else that a pool does for a job, and most handlers of fast jobs listen to none. So it is made by the first who
// does, or who asks for a value; until then the attempt itself knows whether it is over, and why.
type jobContext struct{ a *attempt }

func (c jobContext) Deadline() (time.Time, bool) { return c.a.deadline, true }
func (c jobContext) Done() <-chan struct{}       { return c.a.listen().Done() }
func (c jobContext) Value(key any) any           { return c.a.listen().Value(key) }

func (c jobContext) Err() error {
	c.a.lane.mu.Lock()
	defer c.a.lane.mu.Unlock()
	switch cause := c.a.causeLocked(time.Now()); {
	case c.a.heard != nil:
		return c.a.heard.Err()
	case cause == nil:
		return c.a.pool.life.Err()
	case cause == context.DeadlineExceeded:
		return cause
	}
	return context.Canceled
}

// String is for who prints a context: without it package fmt would print all that an attempt has, payloads too.
func (c jobContext) String() string {
	return fmt.Sprintf("context of attempt %d at job %q", c.a.claim.Attempt, c.a.claim.ID)
}

// listen returns the context of package context that stands behind the handler's.
func (a *attempt) listen() context.Context {
	l := a.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.heard != nil {
		return a.heard
	}
	ctx := a.pool.life
	for _, held := range l.held {
		ctx = held.Under(ctx)
	}
	ctx, tell := context.WithCancelCause(withResult(session.WithClaim(ctx, a.claim), a))
	cause := a.causeLocked(time.Now())
	if cause != nil && cause != context.DeadlineExceeded {
		tell(cause) // before the deadline is set, which may be over by now too
	}
	ctx, stop := context.WithDeadline(ctx, a.deadline)
	if cause == context.DeadlineExceeded {
		tell(cause) // nobody else may: the attempt may have ended
	}
	a.heard, a.tell = ctx, func(cause error) { tell(cause); stop() }
	return ctx
}

// causeLocked is why the attempt's context has ended, or nil. A deadline is noticed by whoever asks first.
func (a *attempt) causeLocked(now time.Time) error {
	if a.cause == nil {
		switch {
		case a.lane.cause != nil:
			a.cause = a.lane.cause
		case !now.Before(a.deadline):
			a.cause = context.DeadlineExceeded
		}
	}
	return a.cause
}

// finish ends the attempt's context, and returns why it had ended before, or nil.
func (a *attempt) finish() (cause error) {
	l := a.lane
	l.mu.Lock()
	cause = a.causeLocked(time.Now())
	if a.cause == nil {
		a.cause = context.Canceled
	}
	if l.at == a {
		l.at = nil
	}
	tell := a.tell
	l.mu.Unlock()
	if tell != nil {
		tell(context.Canceled)
	}
	return cause
}

// cancel ends what runs in a lane with a cause, the first of several: the keeper calls it when a lease is lost, when an
// operator asks for it, or when the pool stops. The handler has the grace from then on.
func (l *lane) cancel(cause error) {
	l.mu.Lock()
	now, a := time.Now(), l.at
	var tell context.CancelCauseFunc
	if a != nil {
		_ = a.causeLocked(now) // a deadline that was over before
		tell = a.tell
	}
	if l.cause == nil {
		l.cause = cause
	}
	l.mu.Unlock()
	if a != nil {
		a.pool.watch.hurry(a, now.Add(a.pool.cfg.CancelGrace))
	}
	if tell != nil {
		tell(cause)
	}
}

// cancelled reports whether the lane's attempts have been cancelled.
func (l *lane) cancelled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause != nil
}
