package dispatcher

import (
	"math/rand/v2"
	"time"
)

// Backoff is how long a lane waits after failed attempts. The bound is Base after the
// first one, doubles with each further one, and is never over Cap. Each wait is drawn
// anew, evenly, from three quarters of the bound up to all of it: with a Base of 4 s a
// lane waits 3 to 4 s after the first failure, and 6 to 8 s after the second.
// A Base of 0 under a Cap is no wait.
type Backoff struct {
	Base time.Duration `json:"base" yaml:"base"` // the bound after the first failed attempt
	Cap  time.Duration `json:"cap" yaml:"cap"`   // the most that a bound grows to
}

// DefaultBackoff waits 0.75 to 1 s after the first failed attempt, and 7.5 to 10 min in the end.
var DefaultBackoff = Backoff{Base: time.Second, Cap: 10 * time.Minute}

// Wait returns the wait after the nth failed attempt, n from 1: a random one between three
// quarters and all of min(Cap, Base·2ⁿ⁻¹), so that jobs that failed together do
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
