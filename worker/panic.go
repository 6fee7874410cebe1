package worker

import (
	"context"
	"runtime/debug"
)

// PanicError is the error of a handler that panicked, which middleware gets like any other: the
// panic is caught around the handler itself, and once more around all middleware. What is
// kept with the job, and the log, have the stack too.
type PanicError struct {
	Value any
	Stack []byte
}

// Error has no stack, which is long; it is kept beside the text.
func (e *PanicError) Error() string { return "panic: " + printed(e.Value) }

// guard makes an error of a handler's panic, so that middleware sees how the handler has ended.
// What panics outside of it is caught by the attempt, as an error of all its jobs.
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
