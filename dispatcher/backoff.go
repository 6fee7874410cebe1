package dispatcher

import (
	"math/rand/v2"
	"time"
)

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
