package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// Where blame is on, so many different jobs that fail in a row are the worker's fault; and a job
// that fails on so many different workers is at fault itself.
const (
	blameAfter  = 5
	mostWorkers = 3
)

// streak is the different jobs that have failed since one went well.
type streak struct {
	mu     sync.Mutex
	failed []*dispatcher.Claim
	blamed bool
}

// add notes how a job has ended, and returns the jobs whose failures the worker is to blame for,
// once there are enough of them.
func (s *streak) add(c *dispatcher.Claim, how dispatcher.Ending) []*dispatcher.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.blamed:
		return nil
	case how == dispatcher.EndFinished:
		s.failed = nil
	case how == dispatcher.EndFailed:
		s.failed = slices.DeleteFunc(s.failed, func(f *dispatcher.Claim) bool { return f.ID == c.ID })
		s.failed = append(s.failed, c)
	}
	s.blamed = len(s.failed) >= blameAfter
	if s.blamed {
		return s.failed
	}
	return nil
}

// judgeSelf stops the pool's claiming when it fails what others may do well.
func (p *Pool) judgeSelf(c *dispatcher.Claim, how dispatcher.Ending) {
	if !p.cfg.Blame {
		return
	}
	failed := p.streak.add(c, how)
	if failed == nil {
		return
	}
	p.desk.claimNoMore()
	why := fmt.Sprintf("%d different jobs failed here in a row, the last of them %s", blameAfter, c.ID)
	p.log.Error("this worker is to blame and claims no more; restart it when it is well", "why", why)
	go func() { // not in a traveller: others wait for those
		ctx, cancel := context.WithTimeout(p.life, leaveTimeout)
		defer cancel()
		if err := p.source.Blame(ctx, why, failed); err != nil {
			p.log.Error("could not give attempts back", "err", err)
		}
	}()
}
