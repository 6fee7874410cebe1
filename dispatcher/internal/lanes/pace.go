package lanes

import (
	"context"
	"time"
)

// Pace keeps long work from taking more than a twentieth of Redis's time: after each step it rests for nineteen
// times as long as that took. What is measured is the step's trip, so a network or a server that is slow slows
// the work down as well. One Pace is for one piece of work, step by step.
type Pace struct {
	now  func() time.Time
	rest func(ctx context.Context, d time.Duration) error
	owed time.Duration
}

const (
	paceShare = 20

	// mostRest bounds a rest: a step that hung says nothing of the load.
	mostRest = 5 * time.Second
)

// Paced returns a new Pace by the namespace's clock.
func (n *Namespace) Paced() *Pace {
	p := &Pace{now: n.Clock, rest: n.Rest}
	if p.rest == nil {
		p.rest = rest
	}
	return p
}

// Step rests for what the step before it owes, and then does one: so nobody waits after the last. It returns the
// error of ctx if that ends meanwhile.
func (p *Pace) Step(ctx context.Context, do func() error) error {
	if p.owed > 0 {
		if err := p.rest(ctx, p.owed); err != nil {
			return err
		}
	}
	begin := p.now()
	err := do()
	p.owed = min(mostRest, (paceShare-1)*p.now().Sub(begin))
	return err
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
