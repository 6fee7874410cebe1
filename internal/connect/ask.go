package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnavailable is returned when Redis can't be reached, does not answer in time, or says
// that it can't serve now. It has the name under which package dispatcher exports it.
var ErrUnavailable = errors.New("dispatcher: Redis is unavailable")

// Bound is how long one question waits for Redis when its context has no earlier end. It is
// longer than a replica takes to be promoted, and shorter than replies are remembered.
const Bound = 10 * time.Second

// atOnce is how far apart two timers of one deadline may go off.
const atOnce = 20 * time.Millisecond

// Bounded returns ctx with an end after [Bound], for what makes trips without a bound.
func Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, Bound)
}

// Ask makes a trip to Redis and returns what it brings. It returns early, without it, when ctx
// ends or [Bound] is over: then the trip is left to itself, and ends with the client's own
// timeouts. So a trip must share nothing with its caller that is read after an error. Contexts
// alone do not do it: go-redis reads on through a cancellation, and through a deadline too
// unless the client, which is the user's, was made with ContextTimeoutEnabled.
func Ask[T any](ctx context.Context, trip func(ctx context.Context) (T, error)) (T, error) {
	return AskFor(ctx, Bound, trip)
}

// AskFor is [Ask] with a bound of its own.
func AskFor[T any](ctx context.Context, most time.Duration, trip func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	type answer struct {
		value T
		err   error
	}
	asking, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	back := make(chan answer, 1)
	go func() {
		value, err := trip(asking)
		back <- answer{value, err}
	}()
	select {
	case a := <-back:
		return a.value, Judge(ctx, most, a.err)
	case <-asking.Done():
		select {
		case a := <-back: // it came together with the end
			return a.value, Judge(ctx, most, a.err)
		default:
			return none, Judge(ctx, most, asking.Err())
		}
	}
}

// Judge says what an error of a trip for ctx means to its caller, who gave it no longer than
// most. An answer of Redis stays as it is, unless it is that Redis can't serve now; and so does
// what only a change of the program or its settings would mend. A caller who has cancelled gets
// his context's error alone. All else wraps [ErrUnavailable]; when it was the deadline of ctx
// that passed meanwhile, that error too.
func Judge(ctx context.Context, most time.Duration, err error) error {
	var answered redis.Error
	ended := ctx.Err()
	if at, ok := ctx.Deadline(); ok && ended == nil && os.IsTimeout(err) && time.Until(at) < atOnce {
		ended = context.DeadlineExceeded // a read that ends with the context may be a moment early
	}
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, redis.Nil), errors.Is(err, redis.ErrClosed),
		errors.As(err, new(*tls.CertificateVerificationError)):
		return err
	case errors.As(err, &answered) && !Passing(err) && !redis.HasErrorPrefix(err, "max number of clients"):
		return err
	case errors.Is(ended, context.Canceled):
		return with(ended, err)
	case ended != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, with(ended, err))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer within %s: %w", ErrUnavailable, most, os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// with puts the error of a context before another one, unless that is of the same sort.
func with(ended, err error) error {
	if errors.Is(err, ended) {
		return err
	}
	return fmt.Errorf("%w: %w", ended, err)
}
