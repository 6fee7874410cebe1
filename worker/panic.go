package worker

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"
)

// PanicError is the error of a handler that panicked, which middleware gets like any other: the
// panic is caught around the handler itself, and once more around all middleware. What is
// kept with the job, and the log, have the stack too.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

func (e *PanicError) stackText() string { return string(e.Stack) }

// deafError is the error of a handler that did not return when cancelled.
type deafError struct {
	grace time.Duration
	stack string
}

func (e *deafError) Error() string {
	return fmt.Sprintf("the handler did not return within %s after it was cancelled", e.grace)
}

func (e *deafError) stackText() string { return e.stack }

// guard makes an error of a handler's panic.
func guard(h Handler) Handler {
	return func(ctx context.Context, payload []byte) (err error) {
		defer func() {
			if cause := recover(); cause != nil {
				err = &PanicError{cause, debug.Stack()}
			}
		}()
		return h(ctx, payload)
	}
}
