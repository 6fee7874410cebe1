package worker

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// desk is where a pool gathers what it has to say to Redis, and keeps what it
// knows about the partitions. It decides what goes into the next round trip.
// Handlers lay their ends on it; travellers plan, travel, and lay answers on it.
// So batches grow with load, and a lone end never waits for company.
type desk struct {
	concurrency int
	reapEvery   time.Duration // at most so long between two reaps while working
	idleReap    time.Duration // and while idle
	patience    time.Duration // how long a lane may wait for a handler once claimed

	apart bool

	mu         sync.Mutex
	partitions []partition
	next       int      // partition that is first in line for claims
	running    int      // handlers at work
	resting    int      // goroutines that wait for a lane
	queue      []queued // lanes claimed ahead, for which no handler is free yet
	asked      int      // lanes that trips under way ask for
	trips      int      // under way
	load       int      // ends that they carry
	pace       time.Duration
	unsaid     int // ends that Redis has not answered
	stopping   bool

	changed *sync.Cond    // on mu
	kick    chan struct{} // wakes one traveller
}

// While handlers are slow, an end is reported at once, by one of many trips; when
// there is much to report, two trips are enough: while Redis works on one, the answer
// of the other is handed out. More would only make them smaller.
const (
	maxTrips = 4
	muchLoad = 24 // ends under way
)

// partition is what a pool knows about one partition.
type partition struct {
	ends   []*attempt
	ready  int  // lanes known to be ready; unknown means: ask
	news   int  // counts hints, so that an answer older than one does not bury it
	passOn bool // a hint came that this pool has no room for
	short  bool // lanes are ready that a limit is in the way of
	refuse bool // a limit offers what this pool has no room for
	reapAt time.Time
	reaped time.Time // when the last trip set out that reaped

	// While Redis is away or refuses, it is asked ever more slowly, and not by all
	// workers at once. On a cluster that can be so for one partition and not for another.
	failures int
	restTill time.Time
	away     bool // its trip is under way; only where partitions travel apart
}

const unknown = -1

// awayBackoff is the pause after a trip that Redis did not serve.
var awayBackoff = dispatcher.Backoff{Base: 50 * time.Millisecond, Cap: time.Second}

// errand is one partition's part of a round trip.
type errand struct {
	session.Turn
	attempts []*attempt // whose ends the turn reports
	heard    int        // partition.news when it was planned
	away     bool       // Redis was, when it came there
}

// newDesk makes a desk. apart says that the partitions live on several servers, of
// which one may hang: then each travels alone, once at a time.
func newDesk(cfg Config, partitions int, apart bool) *desk {
	d := &desk{
		apart:       apart,
		concurrency: cfg.Concurrency,
		reapEvery:   min(cfg.LeaseTTL*2/3, time.Second),
		idleReap:    min(cfg.LeaseTTL*2/3, 10*time.Second),
		patience:    min(cfg.LeaseTTL/6, maxPatience),
		partitions:  make([]partition, partitions),
		next:        rand.IntN(partitions),
		pace:        slowPace,
		kick:        make(chan struct{}, maxTrips),
	}
	d.changed = sync.NewCond(&d.mu)
	for i := range d.partitions {
		d.partitions[i].ready = unknown
	}
	return d
}

// busyLocked is how many lanes are in the pool's hands, or were asked for.
func (d *desk) busyLocked() int { return d.running + len(d.queue) + d.asked }

// crowdedLocked reports whether one more trip would only make trips smaller.
func (d *desk) crowdedLocked() bool { return !d.apart && d.trips >= 2 && d.load >= muchLoad }

// plan takes what goes into the next round trip off the desk. When there is
// nothing, it says for how long there will be nothing by itself.
func (d *desk) plan(now time.Time) ([]errand, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.crowdedLocked() {
		return nil, time.Hour
	}
	wait := d.tryPatienceLocked(now)
	var errands []errand
	budget := 0
	if !d.stopping {
		// Half of the room at most: another trip claims the other half while this one
		// is under way.
		room := d.concurrency + d.aheadLocked()
		budget = max(0, min(room-d.busyLocked(), (room+1)/2))
	}
	n, first, served := len(d.partitions), d.next, false
	for i := range n {
		at := (first + i) % n
		e := d.planOne(at, now, &budget)
		if len(e.Ends) > 0 || e.Reap || e.Claim {
			errands = append(errands, e)
			d.load += len(e.Ends)
		}
		if (e.Want > 0 || d.apart && len(errands) > 0) && !served {
			d.next, served = (at+1)%n, true // the next trip serves another one first
		}
		if d.apart && len(errands) > 0 {
			d.partitions[at].away = true
			d.changeLocked() // the others are for the next traveller
			break
		}
		p := &d.partitions[at]
		switch {
		case p.away:
		case now.Before(p.restTill):
			wait = min(wait, p.restTill.Sub(now))
		case !d.stopping:
			wait = min(wait, d.reapAtLocked(p).Sub(now))
		}
	}
	if len(errands) > 0 {
		d.trips++
	}
	return errands, max(wait, 0)
}

// back notes that a trip is over, whose errands were all taken.
func (d *desk) back() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trips--
	d.changeLocked()
}

// planOne plans the turn of one partition. A partition that is known to have
// ready lanes is asked for as many; one whose ends may make lanes ready again is
// asked for as many as it frees.
func (d *desk) planOne(at int, now time.Time, budget *int) errand {
	p := &d.partitions[at]
	if p.away || now.Before(p.restTill) {
		return errand{Turn: session.Turn{Partition: at}}
	}
	e := errand{Turn: session.Turn{Partition: at}, attempts: p.ends, heard: p.news}
	p.ends = nil
	if len(e.attempts) > 0 {
		e.Ends = make([]session.End, len(e.attempts))
	}
	for i, a := range e.attempts {
		e.Ends[i] = a.end
		a.leave()
	}
	if !d.stopping && !now.Before(d.reapAtLocked(p)) {
		e.Reap = true
		p.reapAt, p.reaped = now.Add(d.reapEvery), now
	}
	switch {
	case p.ready == unknown || e.Reap:
		e.Want = *budget
	case p.ready > 0:
		e.Want = min(*budget, max(p.ready, len(e.Ends)))
	default:
		e.Want = min(*budget, len(e.Ends))
	}
	e.Refuse = p.refuse && e.Want == 0
	e.Claim = e.Want > 0 || p.passOn || e.Refuse
	p.passOn, p.refuse = false, false
	e.Want = min(e.Want, session.MaxClaim)
	*budget -= e.Want
	d.asked += e.Want
	return e
}

// take lays the answer to an errand on the desk, with the ends that are to be sent
// again, and returns the lanes for which a handler is to be started, and how many of them
// need a new goroutine.
func (d *desk) take(e errand, answer session.TurnReply, again []*attempt) (start []queued, fresh int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &d.partitions[e.Partition]
	p.away = false
	d.asked -= e.Want
	d.load -= len(e.Ends)
	d.unsaid -= len(e.attempts) - len(again)
	p.ends = append(p.ends, again...)
	for _, a := range e.attempts {
		p.ends = append(p.ends, a.comeBack()...)
	}
	if answer.Err != nil || len(again) > 0 {
		d.restLocked(p, e.away)
	} else {
		p.failures, p.restTill = 0, time.Time{}
	}
	switch {
	case p.news != e.heard: // a hint came meanwhile; what the answer knows is old
	case answer.Err != nil || len(e.Ends) > 0 && !e.Claim:
		p.ready = unknown
	case e.Claim:
		p.ready, p.short = answer.Ready, answer.Short
	}
	now := time.Now()
	if e.Reap && p.news == e.heard {
		p.reapAt = d.nextReap(answer)
	}
	if answer.Later > 0 { // a limit was in the way
		if again := now.Add(answer.Later); again.Before(p.reapAt) {
			p.reapAt = again
		}
	}
	for i := range e.Ends { // a lane that this pool made wait is back in time
		for _, end := range append(e.Ends[i].Each, e.Ends[i]) {
			if end.Outcome == session.Retry {
				if due := now.Add(end.Wait); due.Before(p.reapAt) {
					p.reapAt = due
				}
			}
		}
	}
	for i := range answer.Claims {
		d.queue = append(d.queue, queued{&answer.Claims[i], e.Partition, now})
	}
	if d.stopping { // the claim was under way when the pool was told to stop
		d.returnQueueLocked()
	}
	for d.running < d.concurrency && len(d.queue) > 0 {
		d.running++
		start = append(start, d.popLocked())
	}
	fresh = max(0, len(start)-d.resting)
	d.resting -= len(start) - fresh
	d.changeLocked()
	return start, fresh
}

// restLocked notes that a partition was not served. A server that is away is so for all of its
// partitions, and trips that learn it while they rest already tell nothing new: so a pool
// asks one server once for each pause, however many partitions it has.
func (d *desk) restLocked(p *partition, away bool) {
	now := time.Now()
	if d.apart || !away {
		p.failures++
		p.restTill = now.Add(awayBackoff.Wait(p.failures))
		return
	}
	if now.Before(p.restTill) {
		return
	}
	failures := p.failures + 1
	till := now.Add(awayBackoff.Wait(failures))
	for i := range d.partitions {
		d.partitions[i].failures, d.partitions[i].restTill = failures, till
	}
}

// nextReap is when a partition is reaped next: when something falls due there,
// and otherwise after an interval short of the TTL. A lease given by another
// worker after this reap can't end before that, so none is seen late.
func (d *desk) nextReap(answer session.TurnReply) time.Time {
	interval := d.reapEvery
	if d.busyLocked() == 0 {
		interval = d.idleReap
	}
	if next := answer.Reaped.Next; next >= 0 && next < interval {
		// Workers that wait for the same moment should not all come at once.
		interval = next + rand.N(5*time.Millisecond)
	}
	return time.Now().Add(interval)
}

// reapAtLocked is when a partition is to be reaped. A pool that has filled up since it last did
// does not wait as long as an idle one, which would be told of what falls due: a full one
// listens for no hints. Nor does one that waits for an offer, which is a hint too.
func (d *desk) reapAtLocked(p *partition) time.Time {
	at := p.reapAt
	if working := p.reaped.Add(d.reapEvery); (p.short || d.running+len(d.queue) > 0) && working.Before(at) {
		at = working
	}
	return at
}

// report lays the end of an attempt on the desk whose place goes on with the lane.
func (d *desk) report(a *attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reportLocked(a)
	d.changeLocked()
}

func (d *desk) reportLocked(a *attempt) {
	d.unsaid++
	if a.away {
		a.later = append(a.later, a)
		return
	}
	p := &d.partitions[a.partition]
	p.ends = append(p.ends, a)
}

// end lays the end of an attempt on the desk, and gives its place the next lane or
// frees it: then the calling goroutine rests. took is how long the lane had the place.
func (d *desk) end(a *attempt, took time.Duration) (queued, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learnLocked(took)
	d.reportLocked(a)
	return d.vacateLocked()
}

// vacate gives the place of an attempt that will not be reported the next lane, or
// frees it like end.
func (d *desk) vacate() (queued, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.vacateLocked()
}

func (d *desk) vacateLocked() (next queued, ok bool) {
	if len(d.queue) > 0 && !d.stopping {
		next, ok = d.popLocked(), true
	} else {
		d.running--
		d.resting++
	}
	d.changeLocked()
	return next, ok
}

// wake notes a hint. A pool that has no room any more passes it on.
func (d *desk) wake(hint session.Hint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &d.partitions[hint.Partition]
	p.ready = unknown
	p.news++
	p.passOn = d.busyLocked() >= d.concurrency
	if hint.Due {
		p.reapAt = time.Time{}
	}
	d.changeLocked()
}

// wakeShort notes that limits offer more to lanes of partitions, or to those of any when offered is
// nil. A pool that has no room any more says so, for the next one is waiting.
func (d *desk) wakeShort(offered []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	full := d.running+len(d.queue) >= d.concurrency // what trips ask for may be more than comes
	for i := range d.partitions {
		if p := &d.partitions[i]; offered == nil || slices.Contains(offered, i) {
			p.ready, p.short, p.refuse = unknown, false, full
			p.news++
		}
	}
	d.changeLocked()
}

func (d *desk) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopping = true
	d.returnQueueLocked()
}

// giveQueueBack hands back what no handler has begun with.
func (d *desk) giveQueueBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.returnQueueLocked()
}

// lookAgain forgets what is known of ready lanes: the pool takes kinds that it did not.
func (d *desk) lookAgain() { d.wakeShort(nil) }

func (d *desk) stopped() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping
}

// changeLocked wakes whoever waits for a change, and one traveller.
func (d *desk) changeLocked() {
	d.changed.Broadcast()
	if d.crowdedLocked() {
		return
	}
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// sleep waits until there may be something to plan. It returns false when life ends.
func (d *desk) sleep(life context.Context, wait time.Duration) bool {
	select {
	case <-life.Done():
		return false
	case <-d.kick:
	case <-time.After(wait):
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
// ready for it where it would wait: only then hints are worth taking away from other
// workers. It returns false when ctx is done.
func (d *desk) room(ctx context.Context, place int) bool {
	return d.until(ctx, func() bool {
		for i := range d.partitions {
			if (i == place || !d.apart) && d.partitions[i].ready != 0 {
				return false
			}
		}
		return d.busyLocked() < d.concurrency
	}) && ctx.Err() == nil
}

// idleWithin waits until no handler runs, but not longer than limit. It is for a desk that was
// stopped: what a trip under way claims begins no handler then, and is none.
func (d *desk) idleWithin(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return d.until(ctx, func() bool { return d.running == 0 })
}

// flushed waits until all ends are answered, those of what trips under way bring among them, or
// ctx is done, and returns how many are not.
func (d *desk) flushed(ctx context.Context) int {
	d.until(ctx, func() bool { return d.unsaid == 0 && d.asked == 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsaid
}
