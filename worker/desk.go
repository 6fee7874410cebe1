package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// desk is where a pool gathers what it has to say to Redis, and keeps what it
// knows about the partitions. It decides what goes into the next round trip.
// Handlers lay their ends on it; travellers plan, travel, and lay answers on it.
// So batches grow with load, and a lone end never waits for company.
type desk struct {
	concurrency int
	reapEvery   time.Duration // at most so long between two reaps while working
	idleReap    time.Duration // and while idle

	mu         sync.Mutex
	partitions []partition
	next       int // partition that is first in line for claims
	free       int // handlers that could run besides those that do and were asked for
	busy       int // handlers that run, or were asked for
	unsaid     int // ends that Redis has not answered
	stopping   bool

	changed *sync.Cond    // on mu
	kick    chan struct{} // wakes one traveller
}

// partition is what a pool knows about one partition.
type partition struct {
	ends   []*attempt
	ready  int  // lanes known to be ready; unknown means: ask
	news   int  // counts hints, so that an answer older than one does not bury it
	passOn bool // a hint came that this pool has no room for
	reapAt time.Time
}

const unknown = -1

// errand is one partition's part of a round trip.
type errand struct {
	dispatcher.Turn
	attempts []*attempt // whose ends the turn reports
	heard    int        // partition.news when it was planned
}

func newDesk(cfg Config, partitions int) *desk {
	d := &desk{
		concurrency: cfg.Concurrency,
		reapEvery:   min(cfg.LeaseTTL*2/3, time.Second),
		idleReap:    min(cfg.LeaseTTL*2/3, 10*time.Second),
		partitions:  make([]partition, partitions),
		next:        rand.IntN(partitions),
		free:        cfg.Concurrency,
		kick:        make(chan struct{}, trips),
	}
	d.changed = sync.NewCond(&d.mu)
	for i := range d.partitions {
		d.partitions[i].ready = unknown
	}
	return d
}

// plan takes what goes into the next round trip off the desk. When there is
// nothing, it says for how long there will be nothing by itself.
func (d *desk) plan(now time.Time) ([]errand, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errands []errand
	budget := 0
	if !d.stopping {
		// Half of the room at most: the other traveller claims the other half
		// while this one is away.
		budget = min(d.free, (d.concurrency+trips-1)/trips)
	}
	wait := time.Hour
	n, first, served := len(d.partitions), d.next, false
	for i := range n {
		at := (first + i) % n
		e := d.planOne(at, now, &budget)
		if len(e.Ends) > 0 || e.Reap || e.Claim {
			errands = append(errands, e)
		}
		if e.Want > 0 && !served {
			d.next, served = (at+1)%n, true // the next trip serves another one first
		}
		if !d.stopping {
			wait = min(wait, d.partitions[at].reapAt.Sub(now))
		}
	}
	return errands, max(wait, 0)
}

// planOne plans the turn of one partition. A partition that is known to have
// ready lanes is asked for as many; one whose ends may make lanes ready again is
// asked for as many as it frees.
func (d *desk) planOne(at int, now time.Time, budget *int) errand {
	p := &d.partitions[at]
	e := errand{Turn: dispatcher.Turn{Partition: at}, attempts: p.ends, heard: p.news}
	p.ends = nil
	for _, a := range e.attempts {
		e.Ends = append(e.Ends, a.end)
	}
	if !d.stopping && !now.Before(p.reapAt) {
		e.Reap = true
		p.reapAt = now.Add(d.reapEvery)
	}
	switch {
	case p.ready == unknown || e.Reap:
		e.Want = *budget
	case p.ready > 0:
		e.Want = min(*budget, max(p.ready, len(e.Ends)))
	default:
		e.Want = min(*budget, len(e.Ends))
	}
	e.Claim = e.Want > 0 || p.passOn
	p.passOn = false
	*budget -= e.Want
	d.free -= e.Want
	d.busy += e.Want
	return e
}

// take lays the answer to an errand on the desk.
func (d *desk) take(e errand, answer dispatcher.Turned) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &d.partitions[e.Partition]
	d.free += e.Want - len(answer.Claims)
	d.busy -= e.Want - len(answer.Claims)
	switch {
	case p.news != e.heard: // a hint came meanwhile; what the answer knows is old
	case answer.Err != nil || len(e.Ends) > 0 && !e.Claim:
		p.ready = unknown
	case e.Claim:
		p.ready = answer.Ready
	}
	if e.Reap && p.news == e.heard {
		p.reapAt = d.nextReap(answer)
	}
	for _, end := range e.Ends { // a lane that this pool made wait is back in time
		if due := time.Now().Add(end.Wait); end.Outcome == dispatcher.Retry && due.Before(p.reapAt) {
			p.reapAt = due
		}
	}
	d.changeLocked()
}

// nextReap is when a partition is reaped next: when something falls due there,
// and otherwise after an interval short of the TTL. A lease given by another
// worker after this reap can't end before that, so none is seen late.
func (d *desk) nextReap(answer dispatcher.Turned) time.Time {
	interval := d.reapEvery
	if d.busy == 0 {
		interval = d.idleReap
	}
	if next := answer.Reaped.Next; next >= 0 && next < interval {
		// Workers that wait for the same moment should not all come at once.
		interval = next + rand.N(5*time.Millisecond)
	}
	return time.Now().Add(interval)
}

// end lays the end of an attempt on the desk and frees its place.
func (d *desk) end(partition int, a *attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.partitions[partition].ends = append(d.partitions[partition].ends, a)
	d.unsaid++
	d.vacateLocked()
}

// vacate frees the place of an attempt that will not be reported.
func (d *desk) vacate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.vacateLocked()
}

func (d *desk) vacateLocked() {
	d.busy--
	d.free++
	d.changeLocked()
}

// again lays an end back whose answer is not known.
func (d *desk) again(partition int, a *attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.partitions[partition].ends = append(d.partitions[partition].ends, a)
	d.changeLocked()
}

// closed notes that the ends of n attempts are answered.
func (d *desk) closed(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsaid -= n
	d.changeLocked()
}

// wake notes a hint. A pool that has no room any more passes it on.
func (d *desk) wake(hint dispatcher.Hint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &d.partitions[hint.Partition]
	p.ready = unknown
	p.news++
	p.passOn = d.free <= 0
	if hint.Due {
		p.reapAt = time.Time{}
	}
	d.changeLocked()
}

func (d *desk) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = true
	d.changeLocked()
}

func (d *desk) stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

// changeLocked wakes whoever waits for a change, and one traveller.
func (d *desk) changeLocked() {
	d.changed.Broadcast()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// sleep waits until there may be something to plan. It returns false when life ends.
func (d *desk) sleep(life context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-life.Done():
		return false
	case <-d.kick:
	case <-timer.C:
	}
	return true
}

// until waits until ok, asked under the lock after each change, or until ctx is
// done, and returns what ok said last.
func (d *desk) until(ctx context.Context, ok func() bool) bool {
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.changed.Broadcast()
	})
	defer stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !ok() {
		if ctx.Err() != nil {
			return false
		}
		d.changed.Wait()
	}
	return true
}

// room waits until the pool could run another handler and knows of no lane that is
// ready for it: only then hints are worth taking away from other workers. It
// returns false when ctx is done.
func (d *desk) room(ctx context.Context) bool {
	return d.until(ctx, func() bool {
		for i := range d.partitions {
			if d.partitions[i].ready != 0 {
				return false
			}
		}
		return d.free > 0
	}) && ctx.Err() == nil
}

// idleWithin waits until no handler runs, but not longer than limit.
func (d *desk) idleWithin(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return d.until(ctx, func() bool { return d.busy == 0 })
}

// flushed waits until all ends are answered or ctx is done, and returns how many
// are not.
func (d *desk) flushed(ctx context.Context) int {
	d.until(ctx, func() bool { return d.unsaid == 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsaid
}
