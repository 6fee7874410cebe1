package dispatcher

import (
	"context"
	"math/rand/v2"
	"time"
)

// Retry ends an attempt that failed. The job stays the head of its lane, which
// waits; or it becomes a dead letter when this was its last attempt, and then the
// first result is true. It returns lease.ErrLost, and changes nothing, when the
// claim's token has been superseded.
func (d *Dispatcher) Retry(ctx context.Context, c Claim, wait time.Duration, why string) (dead bool, err error) {
	ended, err := d.end(ctx, End{Claim: &c, Outcome: Retry, Wait: wait, Error: why})
	return ended.Dead, err
}

// Backoff is how long a lane waits after failed attempts: the base after the
// first, twice as long after each further one, never over the cap.
type Backoff struct {
	Base time.Duration `json:"base" yaml:"base"`
	Cap  time.Duration `json:"cap" yaml:"cap"`
}

// DefaultBackoff waits 1 s after the first failed attempt and at most 10 min.
var DefaultBackoff = Backoff{Base: time.Second, Cap: 10 * time.Minute}

// Wait returns the wait after the nth failed attempt, n from 1: between three
// quarters and all of min(cap, base·2ⁿ⁻¹), so that jobs that failed together do
// not come back together.
func (b Backoff) Wait(n int) time.Duration {
	d := b.Base
	for i := 1; i < n && d < b.Cap; i++ {
		d *= 2 // d < cap before, and caps are far below half of what a Duration holds
	}
	d = min(d, b.Cap)
	if d <= 0 {
		return 0
	}
	return d - rand.N(d/4+1)
}
