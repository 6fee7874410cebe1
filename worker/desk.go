package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// desk is where a pool gathers what it has to say to Redis, and keeps what it
// knows about the partitions. Handlers lay their ends on it; travellers take what the
// planner makes of it, travel, and lay answers on it. So batches grow with load, and a lone
// end never waits for company.
//
// The desk has the only lock. The planner (plan.go) and the crew (crew.go) lie under it and
// decide; the desk tells them the time, and wakes whom a decision is about.
type desk struct {
	mu      sync.Mutex
	planner planner
	crew    crew
	hands   hands
	bars    func(*session.Claim) bool // an operator holds it: it goes back if it has not begun
	held    map[*lane]struct{}        // whose places have jobs in hand that go back when they wait too long
	unsaid  int                       // ends that Redis has not answered

	changed *sync.Cond    // on mu
	kick    chan struct{} // wakes one traveller
}

// newDesk makes a desk. apart says that the partitions live on several servers; rolling are the kinds of which places may
// have several jobs of a lane in hand.
func newDesk(cfg Config, partitions int, apart bool, rolling ...string) *desk {
	d := &desk{
		planner: newPlanner(cfg, partitions, apart),
		crew:    newCrew(cfg),
		hands:   newHands(rolling, partitions),
		bars:    func(*session.Claim) bool { return false },
		held:    make(map[*lane]struct{}),
		kick:    make(chan struct{}, maxTrips),
	}
	d.changed = sync.NewCond(&d.mu)
	return d
}

// plan takes what goes into the next round trip off the desk. When there is
// nothing, it says for how long there will be nothing by itself.
func (d *desk) plan(now time.Time) ([]errand, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.planner.crowded() {
		return nil, time.Hour
	}
	if held := d.crew.withdraw(d.bars); len(held) > 0 { // to hand back is a change, and a change wakes a traveller
		d.handBackLocked(held)
	}
	back, patient := d.crew.impatient(now)
	if len(back) > 0 {
		d.handBackLocked(back)
	}
	patient = min(patient, d.easeLocked(now))
	errands, quiet := d.planner.plan(now, d.crew.facts())
	var inHand map[string]int
	if len(d.crew.queue) == 0 { // else lanes wait here, though Redis knows of none
		inHand = d.hands.forTurns()
	}
	for i := range errands {
		d.crew.asked += errands[i].Want
		errands[i].InHand = inHand
		errands[i].pack()
	}
	if d.planner.apart && len(errands) > 0 {
		d.changeLocked() // the others are for the next traveller
	}
	return errands, max(0, min(patient, quiet))
}

// pack writes the ends of the attempts into the turn, and notes that their lanes travel. An end that goes on says what is in
// hand behind the next job: what is there now, and the jobs that have begun since, whose ends travel with it.
func (e *errand) pack() {
	if len(e.attempts) == 0 {
		return
	}
	e.Ends = make([]session.End, len(e.attempts))
	for i, a := range slices.Backward(e.attempts) {
		if a.end.GoesOn {
			a.end.More = len(a.hand.jobs) + a.packed + 1 - len(a.claim.Along)
			a.packed++
		}
		e.Ends[i] = a.end
	}
	for _, a := range e.attempts {
		a.leave()
	}
}

// holds notes what is in hand of a lane that a place begins with.
func (d *desk) holds(l *lane) {
	if len(l.hand.jobs) > 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.held[l] = struct{}{}
	}
}

// easeLocked has what has been in a hand for too long go back to its lane: the job before it is slow, and an operator can
// reach it there; and what an operator holds, at once. A lane that does not roll was claimed as a batch, which stays together but for that. Otherwise it says how long until it is to be asked again. What travels has to come back first: its answer may
// bring more. An end of the lane that is to be said says itself what is in the hand.
func (d *desk) easeLocked(now time.Time) (wait time.Duration) {
	wait = time.Hour
	for l := range d.held {
		left := d.hands.patience - now.Sub(l.since)
		switch {
		case l.over || len(l.hand.jobs) == 0:
			delete(d.held, l)
		case l.away: // whose return is a change
		case d.bars(l.running):
			d.giveHandBackLocked(l)
		case !l.rolls:
		case left > 0:
			wait = min(wait, left)
		default:
			d.giveHandBackLocked(l)
		}
	}
	return wait
}

// giveHandBackLocked has what is in the hand of a lane go back. The job that runs stays.
func (d *desk) giveHandBackLocked(l *lane) {
	l.hand.jobs = nil
	delete(d.held, l)
	if part := &d.planner.partitions[l.partition]; l.unsaid == 0 {
		part.eased = append(part.eased, l.running)
	}
}

// take lays the answer to an errand on the desk, with the ends that are to be sent
// again, and returns the lanes for which a handler is to be started, and how many of them
// need a new goroutine. Ends that are sent again go in front of those that waited for the return
// of their lane: they are of earlier jobs.
func (d *desk) take(e errand, answer session.TurnReply, again []*attempt) (start []queued, fresh int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.crew.asked -= e.Want
	d.unsaid -= len(e.attempts) - len(again)
	for _, a := range e.attempts {
		a.lane.unsaid--
	}
	for _, a := range again {
		a.lane.unsaid++
	}
	d.planner.learn(now, e, answer, len(again) == 0, d.crew.facts())
	p := &d.planner.partitions[e.Partition]
	p.ends = append(p.ends, again...)
	for i, ended := range answer.Ended {
		if len(ended.More) > 0 {
			e.attempts[i].hand.takes(ended.More)
			d.held[e.attempts[i].lane] = struct{}{}
		}
	}
	for _, a := range e.attempts {
		p.ends = append(p.ends, a.comeBack()...)
	}
	d.crew.claimed(answer.Claims, e.Partition, now)
	if d.crew.stopping { // the claim was under way when the pool was told to stop
		d.handBackLocked(d.crew.giveUp())
	}
	start, fresh = d.crew.start()
	d.changeLocked()
	return start, fresh
}

// back notes that a trip is over, whose errands were all taken, and how long it took; 0 is that it was not served.
func (d *desk) back(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.planner.trips--
	if took > 0 {
		d.hands.travelled(took)
	}
	d.changeLocked()
}

// goOnLocked lays the end of an attempt on the desk whose place goes on with the lane, and returns the next job that it has in hand.
// It is nil when there is none, when the pool stops, when an operator holds it, and when a lane that rolls had its time or another one waits for a place.
func (d *desk) goOnLocked(a *attempt) *session.Claim {
	if d.crew.stopping || d.bars(a.claim) || a.rolls && (len(d.crew.queue) > 0 || a.ended.Sub(a.begun) >= d.hands.lasts) {
		return nil
	}
	claim := *a.claim
	claim.Along = a.hand.jobs
	next, ok := claim.Next()
	if !ok {
		return nil
	}
	a.hand.jobs, a.since, a.running = next.Along, a.ended, next
	a.end.GoesOn = true
	d.reportLocked(a)
	if a.rolls {
		d.planner.partitions[a.partition].rolls = true
	}
	return next
}

// reportLocked has the end of an attempt wait for its partition's next trip, or for the return
// of the trip that carries an earlier end of the same lane.
func (d *desk) reportLocked(a *attempt) {
	d.unsaid++
	a.lane.unsaid++
	if a.away {
		a.later = append(a.later, a)
		return
	}
	p := &d.planner.partitions[a.partition]
	p.ends = append(p.ends, a)
}

// end lays the end of an attempt on the desk. Its place goes on with a follower of the same lane, if it may and has one in
// hand; else with the next lane, ok says whether there is one; or it is free, and the calling goroutine rests. took is how
// long the lane had the place.
func (d *desk) end(a *attempt, took time.Duration, mayGoOn bool) (follower *session.Claim, next queued, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changeLocked()
	if mayGoOn {
		d.hands.handled(a.claim.Kind, a.took())
		if follower = d.goOnLocked(a); follower != nil {
			return follower, queued{}, false
		}
	}
	d.crew.learn(took)
	a.hand.jobs, a.over = nil, true
	d.reportLocked(a)
	next, ok = d.crew.vacate()
	return nil, next, ok
}

// vacate gives the place of an attempt that will not be reported the next lane, or
// frees it like end.
func (d *desk) vacate(a *attempt) (queued, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.changeLocked()
	a.hand.jobs, a.over = nil, true
	return d.crew.vacate()
}

// handBackLocked hands back lanes that no handler has begun with.
func (d *desk) handBackLocked(waiting []queued) {
	for _, q := range waiting {
		d.reportLocked(&attempt{
			lane: &lane{partition: q.partition}, claim: q.claim,
			end: session.End{Claim: q.claim, Outcome: session.HandedBack}, ended: q.at,
		})
	}
	d.changeLocked()
}

// wake notes a hint. What trips under way ask for has its place already: no further lane fits in.
func (d *desk) wake(hint session.Hint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.planner.hear(hint, d.crew.busy() >= d.crew.concurrency)
	d.changeLocked()
}

// wakeShort notes what limits offer to partitions, or to any when offered is nil. To refuse is to
// lose a place in line, and so only who is full already does: what trips ask for may be more than
// comes.
func (d *desk) wakeShort(offered []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.planner.hearOffer(offered, d.crew.lanes() >= d.crew.concurrency)
	d.changeLocked()
}

// lookAgain forgets what is known of ready lanes: the pool takes kinds that it did not.
func (d *desk) lookAgain() { d.wakeShort(nil) }

// stop has the pool begin nothing any more. It hands back what no handler has begun with.
func (d *desk) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crew.stopping = true
	d.handBackLocked(d.crew.giveUp())
}

// giveQueueBack hands back what no handler has begun with.
func (d *desk) giveQueueBack() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handBackLocked(d.crew.giveUp())
}

// changeLocked wakes whoever waits for a change, and one traveller. A kick that finds no room is
// not missed: as many are waiting to be heard as a pool on one server has travellers.
func (d *desk) changeLocked() {
	d.changed.Broadcast()
	if d.planner.crowded() { // who comes back makes it known, and there is no change to miss
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
// done, and returns what ok said last. A condition knows no context, so the end of ctx is
// made a change.
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
		return d.planner.nothingReady(place) && d.crew.busy() < d.crew.concurrency
	}) && ctx.Err() == nil
}

// idleWithin waits until no handler runs, but not longer than limit. It is for a desk that was
// stopped: what a trip under way claims begins no handler then, and is none.
func (d *desk) idleWithin(limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return d.until(ctx, func() bool { return d.crew.running == 0 })
}

// flushed waits until all ends are answered, those of what trips under way bring among them, or
// ctx is done, and returns how many are not.
func (d *desk) flushed(ctx context.Context) int {
	d.until(ctx, func() bool { return d.unsaid == 0 && d.crew.asked == 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsaid
}
