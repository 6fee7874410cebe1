package worker

import (
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

// queued is a claimed lane that waits for a handler.
type queued struct {
	claim     *session.Claim
	partition int
	at        time.Time
}

// aheadLocked is how many lanes to claim beyond the handlers there are.
func (d *desk) aheadLocked() int {
	return int(min(maxAhead, int64(d.concurrency)*int64(aheadFor)/int64(d.pace)))
}

// learnLocked notes how long a lane kept its handler.
func (d *desk) learnLocked(took time.Duration) {
	d.pace = max(1, d.pace+(took-d.pace)/16)
}

// tryPatienceLocked hands the queue back when its first lane has waited too long, and
// returns how long until that is to be looked at again.
func (d *desk) tryPatienceLocked(now time.Time) time.Duration {
	if len(d.queue) == 0 {
		return time.Hour
	}
	if waited := now.Sub(d.queue[0].at); waited < d.patience {
		return d.patience - waited
	}
	d.pace = slowPace
	d.returnQueueLocked()
	return time.Hour
}

// popLocked takes the first lane off the queue.
func (d *desk) popLocked() queued {
	q := d.queue[0]
	d.queue[0] = queued{}
	if d.queue = d.queue[1:]; len(d.queue) == 0 {
		d.queue = nil
	}
	return q
}

// returnQueueLocked hands back the lanes that no handler has begun with.
func (d *desk) returnQueueLocked() {
	for _, q := range d.queue {
		d.reportLocked(&attempt{
			lane: &lane{partition: q.partition, release: func() {}}, claim: q.claim,
			end: session.End{Claim: q.claim, Outcome: session.HandedBack}, ended: q.at,
		})
	}
	d.queue = nil
	d.changeLocked()
}
