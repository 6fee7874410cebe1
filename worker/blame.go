package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// Where blame is on, so many different jobs that fail in a row are the worker's fault; and a job
// that fails on so many different workers is at fault itself.
const (
	blameAfter  = 5
	mostWorkers = 3
)

// streak is the attempts at different jobs that have failed since one went well. A batch is one
// attempt: one bad job of it may have failed them all.
type streak struct {
	mu     sync.Mutex
	failed [][]*dispatcher.Claim
	blamed bool
}

// add notes how an attempt has ended, and returns the jobs whose failures the worker is to blame
// for, once there are enough of them.
func (s *streak) add(failed []*dispatcher.Claim, good bool) []*dispatcher.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blamed {
		return nil
	}
	if good {
		s.failed = nil
	} else if len(failed) > 0 {
		s.failed = slices.DeleteFunc(s.failed, func(f []*dispatcher.Claim) bool { return f[0].ID == failed[0].ID })
		s.failed = append(s.failed, failed)
	}
	if s.blamed = len(s.failed) >= blameAfter; s.blamed {
		return slices.Concat(s.failed...)
	}
	return nil
}

// judgeSelf stops the pool's claiming when it fails what others may do well.
func (p *Pool) judgeSelf(failed []*dispatcher.Claim, good bool) {
	if !p.cfg.Blame {
		return
	}
	blame := p.streak.add(failed, good)
	if blame == nil {
		return
	}
	p.desk.claimNoMore()
	why := fmt.Sprintf("%d different jobs failed here in a row, the last of them %s", blameAfter, blame[len(blame)-1].ID)
	p.log.Error("this worker is to blame and claims no more; restart it when it is well", "reason", why)
	go p.giveBack(why, blame) // not in a traveller: others wait for those
}

// giveBack gives the attempts of jobs back that have failed here, as soon as Redis takes them.
func (p *Pool) giveBack(why string, blame []*dispatcher.Claim) {
	for failures := 1; ; failures++ {
		ctx, cancel := context.WithTimeout(p.life, leaveTimeout)
		sent := time.Now()
		err := p.source.Blame(ctx, why, blame)
		cancel()
		if err == nil {
			return
		}
		blame = nil // the session owes what is left
		if p.life.Err() == nil {
			p.outage.heard(beats, sent, err)
		}
		if !pauseFor(p.life, awayBackoff.Wait(failures)) {
			p.log.Error("could not give attempts back", "jobs", blameAfter, "err", err)
			return
		}
	}
}
