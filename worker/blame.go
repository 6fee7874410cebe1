package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// Where blame is on, so many different jobs of a kind that fail in a row bring a worker under
// suspicion, and a job that fails on so many different workers is at fault itself. A blamed worker
// tries one lane after so long. Of the jobs that have failed so many get their attempts back, the
// last ones.
const (
	blameAfter  = 5
	mostWorkers = 3
	probeAfter  = time.Minute
	mostOwed    = 1000
)

// conduct is how a pool fares with one kind. Bad jobs fail everywhere, and whoever enqueues them
// would stop all workers if failing were enough: so a worker is blamed only when others have
// finished jobs of the kind since, and it has not (H3).
type conduct struct {
	failed []failure // attempts at different jobs that have failed since one went well
	looked bool
	others int64 // finished anywhere when it was looked first after that
	why    string
	probe  time.Time // of one that is blamed: when it tries again
}

// failure is the jobs of one attempt. A batch is one attempt: one bad job of it may have failed
// them all.
type failure []*session.Claim

// conducts are those of all kinds.
type conducts struct {
	mu sync.Mutex
	of map[string]*conduct
}

// add notes how an attempt at jobs of a kind has ended, and reports whether that ends a blame.
func (s *conducts) add(kind string, failed failure, good bool) (absolved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.of[kind]
	switch {
	case good:
		delete(s.of, kind)
		return c != nil && c.why != ""
	case len(failed) == 0:
		return false
	case c == nil:
		if s.of == nil {
			s.of = make(map[string]*conduct)
		}
		c = &conduct{}
		s.of[kind] = c
	}
	c.failed = slices.DeleteFunc(c.failed, func(f failure) bool { return f[0].ID == failed[0].ID })
	if len(c.failed) >= mostOwed {
		c.failed = c.failed[1:]
	}
	c.failed = append(c.failed, failed)
	return false
}

// suspects returns the kinds of which enough has failed in a row, and those that the pool is blamed
// for.
func (s *conducts) suspects() map[string]conduct {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]conduct)
	for kind, c := range s.of {
		if c.why != "" || len(c.failed) >= blameAfter {
			found[kind] = conduct{slices.Clone(c.failed), c.looked, c.others, c.why, c.probe}
		}
	}
	return found
}

// change changes what is known of a kind, unless a job of it went well meanwhile.
func (s *conducts) change(kind string, change func(*conduct)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.of[kind]; c != nil {
		change(c)
	}
}

// judgeSelf notes how an attempt has ended where blame is on.
func (p *Pool) judgeSelf(kind string, failed failure, good bool) {
	if !p.cfg.Blame {
		return
	}
	for i, c := range failed { // what a payload was does not matter any more
		slim := *c
		slim.Payload, slim.Along = nil, nil
		failed[i] = &slim
	}
	if p.conducts.add(kind, failed, good) {
		p.absolve(kind, "a job went well here")
	}
}

// absolve ends a blame. The desk looks again, because hints came to nobody here meanwhile.
func (p *Pool) absolve(kind, why string) {
	p.source.Absolve(kind, false)
	p.desk.lookAgain()
	p.log.Info("this worker is not to blame any more", "kind", kind, "reason", why)
}

// examine looks at the kinds that fail here: what others have done of them since, and what is to
// be done of those that the pool is blamed for. The pool has recorded before what went well here.
func (p *Pool) examine(ctx context.Context) (err error) {
	for kind, c := range p.conducts.suspects() {
		look := p.suspect
		if c.why != "" {
			look = p.blamed
		}
		if e := look(ctx, kind, c); e != nil {
			err = errors.Join(err, fmt.Errorf("blame for %s: %w", kind, e))
		}
	}
	return err
}

// suspect compares with others. It takes two looks, since only what others finish between them
// shows that the kind can be done: with one, a past success would speak against a worker of today.
func (p *Pool) suspect(ctx context.Context, kind string, c conduct) error {
	finished, err := p.source.Finished(ctx, kind)
	if err != nil {
		return err
	}
	if !c.looked {
		p.conducts.change(kind, func(c *conduct) { c.looked, c.others = true, finished })
		return nil
	}
	if finished <= c.others {
		return nil // nobody does it well: the jobs are bad, or what they need is away
	}
	last := c.failed[len(c.failed)-1]
	c.why = fmt.Sprintf("%d different jobs failed here in a row, the last of them %s, and others finished %d meanwhile",
		len(c.failed), last[len(last)-1].ID, finished-c.others)
	ok, err := p.blame(ctx, kind, c)
	if ok {
		p.log.Error("this worker is to blame and claims none of a kind; look at its machine", "kind", kind, "reason", c.why)
		p.desk.giveQueueBack()
	}
	return err
}

// blamed asks for what is still owed and for one more try, and ends the blame when the pool is the
// last one that handles the kind.
func (p *Pool) blamed(ctx context.Context, kind string, c conduct) error {
	ok, err := p.blame(ctx, kind, c)
	switch now := time.Now(); {
	case err != nil && !ok:
		return err
	case !ok:
		p.conducts.add(kind, nil, true)
		p.absolve(kind, "no other worker takes the kind")
	case !now.Before(c.probe):
		p.conducts.change(kind, func(c *conduct) { c.probe = now.Add(probeAfter) })
		p.source.Absolve(kind, true)
		p.desk.lookAgain()
	}
	return err // of an attempt that can't be given back: that keeps nobody from trying
}

// blame says that the pool is to blame for a kind, and gives the attempts that failed back. What
// has been given back is struck off; what failed meanwhile is owed with the next call.
func (p *Pool) blame(ctx context.Context, kind string, c conduct) (bool, error) {
	ok, err := p.source.Blame(ctx, kind, c.why, slices.Concat(c.failed...))
	if !ok {
		return false, err
	}
	p.conducts.change(kind, func(now *conduct) {
		if now.why == "" {
			now.probe = time.Now().Add(probeAfter)
		}
		now.why = c.why
		now.failed = slices.DeleteFunc(now.failed, func(f failure) bool {
			return slices.ContainsFunc(c.failed, func(given failure) bool { return given[0] == f[0] })
		})
	})
	return true, err
}
