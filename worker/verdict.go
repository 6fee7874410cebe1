package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// verdict is what the error of a job comes to, in values of the pool's own. An error is code of the
// user's: its methods may panic, block, end the goroutine or call back. So they are asked once,
// where the handler is called, and nobody sees the error itself after that (H1).
type verdict struct {
	failed    bool
	text      string
	stack     string // of a panic, or of a handler that does not return
	permanent bool
	wait      *time.Duration // asked for by RetryAfter
}

// well is what most attempts come to, made once: nobody writes into a verdict that has not failed.
var well = make([]verdict, 1)

// call runs all code of the user's that an attempt has, and returns a verdict for each of its jobs.
// What does not return from here is given up like a handler that ignores its context.
func (a *attempt) call(ctx context.Context) (said []verdict) {
	defer func() {
		if cause := recover(); cause != nil { // of middleware, or of a batch
			said = a.same(verdictOf(&PanicError{cause, debug.Stack()}))
		}
	}()
	errs := a.do(ctx, a.claim)
	switch {
	case errs == nil && a.size() == 1:
		return well
	case errs == nil:
		return a.same(verdict{})
	case len(errs) != a.size():
		return a.same(verdictOf(fmt.Errorf("the handler returned %d errors for %d jobs", len(errs), a.size())))
	}
	for _, err := range errs {
		said = append(said, verdictOf(err))
	}
	return said
}

// same is one verdict for all jobs of the attempt.
func (a *attempt) same(v verdict) []verdict {
	said := make([]verdict, a.size())
	for i := range said {
		said[i] = v
	}
	return said
}

// verdictOf asks an error all that the pool wants to know of it. A method that panics costs no more
// than its own answer.
func verdictOf(err error) verdict {
	if err == nil {
		return verdict{}
	}
	v := verdict{failed: true}
	if panicked := safely(func() { v.text = err.Error() }); panicked != "" {
		v.text = fmt.Sprintf("a %T; its Error method: %s", err, panicked)
	}
	for _, question := range []func(){
		func() { v.permanent = IsPermanent(err) },
		func() {
			if wait, asked := RetryWait(err); asked {
				v.wait = &wait
			}
		},
		func() {
			if panicked := (*PanicError)(nil); errors.As(err, &panicked) {
				v.stack = string(panicked.Stack)
			}
		},
	} {
		if panicked := safely(question); panicked != "" {
			v.text += fmt.Sprintf(" (asked what else it is: %s)", panicked)
			break
		}
	}
	return v
}

// safely calls code of the user's and returns what it panics with, as a text that is not empty.
func safely(code func()) (panicked string) {
	defer func() {
		if cause := recover(); cause != nil {
			panicked = "panic: " + printed(cause)
		}
	}()
	code()
	return ""
}

// printed is the text of any value, whatever its own methods do: fmt catches one panic, but not
// that of a value which was panicked with.
func printed(value any) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("a %T that can't be printed", value)
		}
	}()
	return fmt.Sprint(value)
}

// kept is what is kept with the job.
func (v *verdict) kept() string {
	if v.stack == "" {
		return v.text
	}
	return v.text + "\n\n" + v.stack
}

// fields are what the log has of it.
func (v *verdict) fields() []any {
	if v.stack == "" {
		return []any{"err", v.text}
	}
	return []any{"err", v.text, "stack", v.stack}
}

// end is how an attempt at a job has ended that nobody has stopped. What a failure means for the
// job is decided in Redis, by its attempts and the policy of its kind. The pool says how long it
// would wait, on how many workers a job may fail, and whether its handler holds another attempt to
// be of any use.
func (p *Pool) end(c *session.Claim, v *verdict) session.End {
	if !v.failed {
		return session.End{Claim: c, Outcome: session.Finished}
	}
	end := session.End{Claim: c, Outcome: session.Retry, Error: v.kept()}
	if p.cfg.Blame {
		end.Workers = mostWorkers
	}
	switch {
	case v.permanent:
		end.Outcome, end.Reason = session.DeadLettered, "permanent error"
	case v.wait != nil:
		end.Wait = *v.wait
	default:
		end.Wait = cmp.Or(p.rules[c.Kind].Backoff, p.cfg.Backoff).Wait(c.Attempt)
	}
	return end
}
