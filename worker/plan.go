package worker

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// What goes into the next round trip is decided in this file, by values alone: there is no lock, no
// channel and no clock in it, and what is left to chance is only by how much a wait is spread. So a
// table can hold the decisions (plan_test.go). The desk owns the values, says what time it is, and
// carries out what is decided.

// While handlers are slow, an end is reported at once, by one of many trips; when
// there is much to report, two trips are enough: while Redis works on one, the answer
// of the other is handed out. More would only make them smaller.
const (
	maxTrips = 4
	muchLoad = 24 // ends under way
)

// awayBackoff is the pause after a trip that Redis did not serve.
var awayBackoff = dispatcher.Backoff{Base: 50 * time.Millisecond, Cap: time.Second}

// planner decides what goes into the next round trip, and remembers what the answers said.
type planner struct {
	// apart says that the partitions live on several servers, of which one may hang: then each
	// travels alone, once at a time.
	apart bool

	reapEvery time.Duration // at most so long between two reaps of a partition while working
	idleReap  time.Duration // and while idle

	partitions []partition
	next       int // partition that is first in line for claims
	trips      int // under way
	load       int // ends that they carry
}

// partition is what a pool knows about one partition.
type partition struct {
	ends   []*attempt       // that have ended, and whose ends go with the next trip
	rolls  bool             // some of them go on with their lanes, and have room in hand
	eased  []*session.Claim // what is in hand behind them goes back
	ready  int              // lanes known to be ready; unknown means: ask
	news   int              // counts hints, so that an answer older than one does not bury it
	passOn bool             // a hint came that this pool has no room for
	short  bool             // lanes are ready that a limit is in the way of
	refuse bool             // a limit offers what this pool has no room for
	reapAt time.Time        // when to look for what falls due, at the latest
	reaped time.Time        // when the last trip set out that reaped

	// While Redis is away or refuses, it is asked ever more slowly, and not by all
	// workers at once. On a cluster that can be so for one partition and not for another.
	failures int // trips in a row that were not served
	restTill time.Time
	away     bool // its trip is under way; only where partitions travel apart
}

// unknown is how many lanes of a partition are ready when only Redis can say.
const unknown = -1

// facts are what a plan goes by that no partition knows: how the crew stands.
type facts struct {
	room     int  // lanes that the crew may have in hand, with what it may claim ahead
	busy     int  // lanes that it has in hand, or that trips under way ask for
	working  bool // handlers run, or lanes wait for one
	stopping bool // nothing is begun any more
}

// errand is one partition's part of a round trip.
type errand struct {
	session.Turn
	attempts []*attempt // whose ends the turn reports
	heard    int        // partition.news when it was planned
	away     bool       // Redis was, when it came there
}

// newPlanner makes a planner that knows nothing yet, and so looks everywhere at once. Pools begin
// their round with different partitions, so that not all come to the same one first. The intervals
// are short of the TTL, for a reap to come in time for any lease; an idle pool is told by hints and
// looks by itself more seldom.
func newPlanner(cfg Config, partitions int, apart bool) planner {
	p := planner{
		apart:      apart,
		reapEvery:  min(cfg.LeaseTTL*2/3, time.Second),
		idleReap:   min(cfg.LeaseTTL*2/3, 10*time.Second),
		partitions: make([]partition, partitions),
		next:       rand.IntN(partitions),
	}
	for i := range p.partitions {
		p.partitions[i].ready = unknown
	}
	return p
}

// crowded reports whether one more trip would only make trips smaller. That is asked before one
// sets out, and before a traveller is woken for it.
func (p *planner) crowded() bool { return !p.apart && p.trips >= 2 && p.load >= muchLoad }

// budget is how many lanes a trip may ask for: half of the room at most, because another
// trip claims the other half while this one is under way.
func (f facts) budget() int {
	if f.stopping {
		return 0
	}
	return max(0, min(f.room-f.busy, (f.room+1)/2))
}

// plan takes what goes into the next round trip off the partitions. When there is
// nothing, it says for how long there will be nothing by itself.
func (p *planner) plan(now time.Time, f facts) (errands []errand, wait time.Duration) {
	budget, wait := f.budget(), time.Hour
	n, first, served := len(p.partitions), p.next, false
	for i := range n {
		at := (first + i) % n
		e := p.turn(at, now, f, budget)
		budget -= e.Want
		if len(e.attempts) > 0 || e.Reap || e.Claim || len(e.PutBack) > 0 {
			errands = append(errands, e)
			p.load += len(e.attempts)
		}
		if (e.Want > 0 || p.apart && len(errands) > 0) && !served {
			p.next, served = (at+1)%n, true // the next trip serves another one first
		}
		if p.apart && len(errands) > 0 {
			p.partitions[at].away = true
			break // the others are for the next traveller
		}
		wait = min(wait, p.quiet(at, now, f))
	}
	if len(errands) > 0 {
		p.trips++
	}
	return errands, wait
}

// turn plans the turn of one partition. A partition that is known to have ready lanes is asked for
// as many; one whose ends may make lanes ready again is asked for as many as it frees.
func (p *planner) turn(at int, now time.Time, f facts, budget int) errand {
	part := &p.partitions[at]
	if part.away || now.Before(part.restTill) {
		return errand{Turn: session.Turn{Partition: at}}
	}
	e := errand{Turn: session.Turn{Partition: at, PutBack: part.eased}, attempts: part.ends, heard: part.news}
	rolls, frees := part.rolls && !f.stopping, 0
	for _, a := range part.ends {
		if !a.end.GoesOn {
			frees++
		}
	}
	part.ends, part.eased, part.rolls = nil, nil, false
	if !f.stopping && !now.Before(p.due(part, f)) {
		e.Reap = true
		part.reapAt, part.reaped = now.Add(p.reapEvery), now
	}
	switch {
	case part.ready == unknown || e.Reap:
		e.Want = budget
	case part.ready > 0:
		e.Want = min(budget, max(part.ready, frees))
	default:
		e.Want = min(budget, frees)
	}
	e.Refuse = part.refuse && e.Want == 0
	e.Claim = e.Want > 0 || part.passOn || e.Refuse || rolls
	part.passOn, part.refuse = false, false
	// What is over the bound of one call stays in the budget, for the partitions behind this one.
	e.Want = min(e.Want, session.MaxClaim)
	return e
}

// quiet is for how long a partition has nothing to do by itself.
func (p *planner) quiet(at int, now time.Time, f facts) time.Duration {
	switch part := &p.partitions[at]; {
	case part.away:
	case now.Before(part.restTill):
		return part.restTill.Sub(now)
	case !f.stopping:
		return p.due(part, f).Sub(now)
	}
	return time.Hour
}

// due is when a partition is to be reaped. A pool that has filled up since it last did
// does not wait as long as an idle one, which would be told of what falls due: a full one
// listens for no hints. Nor does one that waits for an offer, which is a hint too.
func (p *planner) due(part *partition, f facts) time.Time {
	at := part.reapAt
	if working := part.reaped.Add(p.reapEvery); (part.short || f.working) && working.Before(at) {
		at = working
	}
	return at
}

// learn notes what the answer to an errand says of its partition. answered is that no end of it
// is to be sent again; the facts are those without the lanes that the errand asked for.
func (p *planner) learn(now time.Time, e errand, answer session.TurnReply, answered bool, f facts) {
	part := &p.partitions[e.Partition]
	part.away = false
	p.load -= len(e.attempts)
	if answer.Err == nil && answered {
		part.failures, part.restTill = 0, time.Time{}
	} else {
		p.rest(now, part, e.away)
	}
	switch {
	case part.news != e.heard: // a hint came meanwhile; what the answer knows is old
	case answer.Err != nil || len(e.attempts) > 0 && !e.Claim:
		part.ready = unknown
	case e.Claim:
		part.ready, part.short = answer.Ready, answer.Short
	}
	if e.Reap && part.news == e.heard {
		part.reapAt = now.Add(p.nextReap(answer, f))
	}
	if answer.Later > 0 { // a limit was in the way
		part.dueBy(now.Add(answer.Later))
	}
	part.waitFor(now, e.Ends)
}

// waitFor has the partition reaped when lanes that this pool made wait may go on.
func (p *partition) waitFor(now time.Time, ends []session.End) {
	for i := range ends {
		if ends[i].Outcome == session.Retry {
			p.dueBy(now.Add(ends[i].Wait))
		}
		p.waitFor(now, ends[i].Each)
	}
}

// dueBy has the partition reaped at a moment at the latest. It never puts a reap off: what is due
// before stays due.
func (p *partition) dueBy(at time.Time) {
	if at.Before(p.reapAt) {
		p.reapAt = at
	}
}

// rest notes that a partition was not served. A server that is away is so for all of its
// partitions, and trips that learn it while they rest already tell nothing new: so a pool
// asks one server once for each pause, however many partitions it has.
func (p *planner) rest(now time.Time, part *partition, away bool) {
	if p.apart || !away {
		part.failures++
		part.restTill = now.Add(awayBackoff.Wait(part.failures))
		return
	}
	if now.Before(part.restTill) {
		return
	}
	failures := part.failures + 1
	till := now.Add(awayBackoff.Wait(failures))
	for i := range p.partitions {
		p.partitions[i].failures, p.partitions[i].restTill = failures, till
	}
}

// nextReap is how long until a partition is reaped next: until something falls due there,
// and otherwise an interval short of the TTL. A lease given by another
// worker after this reap can't end before that, so none is seen late.
func (p *planner) nextReap(answer session.TurnReply, f facts) time.Duration {
	interval := p.reapEvery
	if f.busy == 0 {
		interval = p.idleReap
	}
	if next := answer.Reaped.Next; next >= 0 && next < interval {
		// Workers that wait for the same moment should not all come at once.
		interval = next + rand.N(5*time.Millisecond)
	}
	return interval
}

// hear notes a hint. A pool that has no room any more passes it on.
func (p *planner) hear(hint session.Hint, full bool) {
	part := &p.partitions[hint.Partition]
	part.ready = unknown
	part.news++
	part.passOn = full
	if hint.Due {
		part.reapAt = time.Time{}
	}
}

// hearOffer notes that limits offer more to lanes of partitions, or to those of any when offered
// is nil. A pool that has no room any more says so, for the next one is waiting.
func (p *planner) hearOffer(offered []int, full bool) {
	for i := range p.partitions {
		if part := &p.partitions[i]; offered == nil || slices.Contains(offered, i) {
			part.ready, part.short, part.refuse = unknown, false, full
			part.news++
		}
	}
}

// nothingReady reports whether no lane is known to be ready that would be heard of at a place:
// that is any partition on one server, and the one of the same number where they are apart.
func (p *planner) nothingReady(place int) bool {
	for i := range p.partitions {
		if (i == place || !p.apart) && p.partitions[i].ready != 0 {
			return false
		}
	}
	return true
}
