package worker

import (
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// A pool claims ahead what its handlers will have come to within aheadFor, judged by
// the mean time that its last lanes took (pace), so that the batches of fast handlers are
// large. A handler that turns out slow does not keep others' work waiting: what
// has waited for longer than maxPatience goes back.
const (
	aheadFor    = 2 * time.Millisecond
	maxAhead    = 400
	maxPatience = 100 * time.Millisecond
	slowPace    = time.Second // what is assumed before anything is known
)

// crew is the places of a pool, each for one handler, and the lanes that were claimed ahead for
// them. It has no lock of its own, because it lies on the desk, which has one.
type crew struct {
	concurrency int           // places
	patience    time.Duration // how long a lane may wait for a place once claimed

	running  int           // places that have a lane
	resting  int           // goroutines that wait for a lane
	queue    []queued      // lanes claimed ahead, for which no place is free yet; first come, first served
	asked    int           // lanes that trips under way ask for
	pace     time.Duration // mean time that the last lanes kept their place
	stopping bool          // no place goes on with another lane
	exact    bool          // none is claimed ahead
}

// queued is a claimed lane that waits for a place.
type queued struct {
	claim     *session.Claim
	partition int
	at        time.Time // when it was claimed
}

// newCrew makes a crew of free places. The patience is well within the TTL: a lane that goes back
// unused has its lease still.
func newCrew(cfg Config) crew {
	return crew{concurrency: cfg.Concurrency, patience: min(cfg.LeaseTTL/6, maxPatience), pace: slowPace}
}

// lanes is how many lanes the pool has.
func (c *crew) lanes() int { return c.running + len(c.queue) }

// busy is how many it has, or has asked for.
func (c *crew) busy() int { return c.lanes() + c.asked }

// ahead is how many lanes to claim beyond the places there are.
func (c *crew) ahead() int {
	if c.exact {
		return 0
	}
	return int(min(maxAhead, int64(c.concurrency)*int64(aheadFor)/int64(c.pace)))
}

// facts are what a plan goes by.
func (c *crew) facts() facts {
	return facts{room: c.concurrency + c.ahead(), busy: c.busy(), working: c.lanes() > 0, stopping: c.stopping}
}

// claimed puts lanes of a partition behind those that wait.
func (c *crew) claimed(claims []session.Claim, partition int, now time.Time) {
	for i := range claims {
		c.queue = append(c.queue, queued{&claims[i], partition, now})
	}
}

// start gives the free places to the lanes that have waited longest, and returns these, and how
// many of them need a new goroutine because none rests.
func (c *crew) start() (lanes []queued, fresh int) {
	for c.running < c.concurrency && len(c.queue) > 0 {
		c.running++
		lanes = append(lanes, c.pop())
	}
	fresh = max(0, len(lanes)-c.resting)
	c.resting -= len(lanes) - fresh
	return lanes, fresh
}

// vacate gives a place whose lane is done with the next one, or frees it: then its goroutine rests.
func (c *crew) vacate() (next queued, ok bool) {
	if len(c.queue) > 0 && !c.stopping {
		return c.pop(), true
	}
	c.running--
	c.resting++
	return queued{}, false
}

// learn notes how long a lane kept its place.
func (c *crew) learn(took time.Duration) { c.pace = mean(c.pace, took) }

// mean moves a mean time by a sixteenth of the difference to the last one, so that one slow one among fast ones changes
// little; the first one is the mean.
func mean(of, last time.Duration) time.Duration {
	if of == 0 {
		return max(1, last)
	}
	return max(1, of+(last-of)/16)
}

// impatient returns the lanes that wait when the first of them has waited too long, and claims no
// more ahead until handlers were fast again. Otherwise it says how long until the queue is to be
// looked at again.
func (c *crew) impatient(now time.Time) (back []queued, wait time.Duration) {
	if len(c.queue) == 0 {
		return nil, time.Hour
	}
	if waited := now.Sub(c.queue[0].at); waited < c.patience {
		return nil, c.patience - waited
	}
	c.pace = slowPace
	return c.giveUp(), time.Hour
}

// withdraw takes those lanes off the queue that are held, and returns them.
func (c *crew) withdraw(held func(*session.Claim) bool) (back []queued) {
	if !slices.ContainsFunc(c.queue, func(q queued) bool { return held(q.claim) }) {
		return nil
	}
	stay := []queued{}
	for _, q := range c.queue {
		if held(q.claim) {
			back = append(back, q)
		} else {
			stay = append(stay, q)
		}
	}
	c.queue = stay
	return back
}

// giveUp takes all lanes off the queue, with which no handler has begun.
func (c *crew) giveUp() []queued {
	all := c.queue
	c.queue = nil
	return all
}

// pop takes the first lane off the queue, and lets go of its claim: the queue keeps its memory
// while it has lanes, and payloads may be large.
func (c *crew) pop() queued {
	q := c.queue[0]
	c.queue[0] = queued{}
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return q
}
