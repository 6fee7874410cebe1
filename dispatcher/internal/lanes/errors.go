package lanes

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// The errors of opening a namespace and of going through it: package dispatcher says when they are returned.
// Their texts begin with its name, because that is the package that users see.
var (
	ErrMismatch   = errors.New("dispatcher: namespace mismatch")
	ErrEviction   = errors.New("dispatcher: server may evict keys")
	ErrInvalid    = errors.New("dispatcher: invalid")
	ErrIncomplete = errors.New("dispatcher: incomplete")
)

// Wrap says what was done when err came; nil stays nil.
func Wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Unanswered reports whether an error leaves open what became of a call: Redis did not answer, or the caller's
// time was over first. A call that was never sent is not open, it had no effect; and an error that Redis itself
// said is an answer.
func Unanswered(err error) bool {
	return !errors.Is(err, script.ErrNotSent) &&
		(errors.Is(err, connect.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
}

// answer drops what a server says of something that is not there: that it is not is an answer too.
func answer(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// Invalid says which field of what holds which value against which rule.
func Invalid(field string, value any, rule string) error {
	return fmt.Errorf("%w: %s %q %s", ErrInvalid, field, fmt.Sprint(value), rule)
}
