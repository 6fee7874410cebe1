package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/result"
)

// Handler does the work of one attempt. What it returns decides the job's fate:
//
//	nil                  finished
//	error                the job stays head and its lane waits for the backoff, unless
//	                     its kind declares another policy
//	RetryAfter(d, err)   the same, but the lane waits for d
//	Permanent(err)       the job becomes a dead letter at once
//
// A panic counts as an error, a [*PanicError], and so does runtime.Goexit. The context ends when
// the attempt's time is over, when the lease was lost (cause lease.ErrLost), when an operator
// cancelled the job (cause lease.ErrCancelled), or when the pool stops (cause [ErrStopped]); a
// handler must return soon after that, because at the end of its lease the next worker starts.
// [FromContext] gives the rest of what is known about the attempt, the fencing token among it.
//
// The methods of an error are called once each, within the attempt and its time: one that panics
// costs its own answer, and one that blocks is as a handler that does.
type Handler func(ctx context.Context, payload []byte) error

// Middleware wraps a handler. A handler's panic has become its error by then, a [*PanicError]; a
// panic of middleware itself is caught too, but only those around it are passed by. After
// runtime.Goexit no middleware goes on, for the goroutine ends; only what it has deferred runs.
type Middleware func(Handler) Handler

// JSON makes a handler of payloads that are JSON values of type T. A payload that
// is not one becomes a dead letter: no attempt could ever read it.
func JSON[T any](handle func(ctx context.Context, args T) error) Handler {
	return func(ctx context.Context, payload []byte) error {
		var args T
		if err := json.Unmarshal(payload, &args); err != nil {
			return Permanent(fmt.Errorf("payload is not JSON of the expected form: %s", withoutValues(err)))
		}
		return handle(ctx, args)
	}
}

// withoutValues says what is wrong with a text of JSON without any of the text: payloads are
// nobody's to read who can read a log (G14).
func withoutValues(err error) string {
	text := fmt.Sprintf("%T", err)
	_ = safely(func() { // it may be that of a decoder of the user's
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			text = fmt.Sprintf("syntax error at byte %d of the payload", syntax.Offset)
		case errors.As(err, &kind):
			found, _, _ := strings.Cut(kind.Value, " ") // "number 17"
			text = fmt.Sprintf("field %q is a %s, which does not go into a %s", kind.Field, found, kind.Type)
		}
	})
	return text
}

// permanentError is matched with errors.As.
type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// Permanent marks an error that no further attempt can mend. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err, or an error that it wraps, was made by [Permanent]: no further attempt is made.
func IsPermanent(err error) bool {
	var permanent *permanentError
	return errors.As(err, &permanent)
}

// retryAfterError is matched with errors.As.
type retryAfterError struct {
	error
	wait time.Duration
}

func (e *retryAfterError) Unwrap() error { return e.error }

// RetryAfter marks an error after which the lane waits for d instead of for the
// pool's backoff. RetryAfter(d, nil) is nil.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, max(0, d)}
}

// RetryWait returns the wait that err, or an error that it wraps, asks for with [RetryAfter]. ok is false when
// it asks for none: then the pool's backoff counts.
func RetryWait(err error) (wait time.Duration, ok bool) {
	var after *retryAfterError
	if !errors.As(err, &after) {
		return 0, false
	}
	return after.wait, true
}

// withResult lets the handler leave a result, where one is kept.
func withResult(ctx context.Context, a *attempt) context.Context {
	if a.claim.Keep == 0 {
		return ctx
	}
	return result.With(ctx, a)
}

// KeepResult is SetResult's way into the attempt.
func (a *attempt) KeepResult(result []byte) { a.result = result }

// SetResult leaves a result, of 64 KiB at most, that is kept with the job's outcome when the
// handler returns nil. Outside of a handler, or when the job's outcome is not kept, it does
// nothing.
func SetResult(ctx context.Context, left []byte) error {
	if len(left) > dispatcher.MaxResult {
		return fmt.Errorf("%w: result has %d bytes, at most %d are allowed", dispatcher.ErrTooLarge, len(left), dispatcher.MaxResult)
	}
	if keeper, ok := result.KeeperOf(ctx); ok {
		keeper.KeepResult(bytes.Clone(left))
	}
	return nil
}

// FromContext returns the claim that a handler runs under: the job, the attempt,
// and the lease with its token. ok is false outside of a handler.
func FromContext(ctx context.Context) (claim session.Claim, ok bool) {
	if own, ok := ctx.(jobContext); ok {
		return *own.a.claim, true
	}
	c, ok := session.ClaimFrom(ctx)
	if !ok {
		return session.Claim{}, false
	}
	return *c, true
}
