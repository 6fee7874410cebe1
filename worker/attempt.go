package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
)

// lane is a claimed lane whose jobs a handler's place is at work on.
type lane struct {
	partition int
	begun     time.Time
	held      []*lease.Held // the lease, and those of its slots: whichever is lost first, the handler's context ends
	one       [1]*lease.Held

	rolls bool // its hand is filled while nobody waits

	mu    sync.Mutex
	cause error    // why its attempts are to end
	at    *attempt // that runs

	// Under desk.mu: what is in hand of the lane, and the claim that runs; whether a trip with ends of it is
	// under way, the ends that wait for its return, and how many are not answered. Two trips may overtake each
	// other, and only the head of a lane can end. packed counts ends while a trip is packed.
	hand
	running *session.Claim
	away    bool
	later   []*attempt
	unsaid  int
	packed  int
}

// lose ends what runs in a lane whose lease is known to be lost. One that goes back unused is not kept.
func (l *lane) lose() {
	if len(l.held) > 0 {
		l.held[0].Lose()
	}
}

// size is how many jobs the handler gets: of a claim of several a batch handler gets all, the others get them one at a
// time, each with an attempt of its own.
func (a *attempt) size() int {
	if a.batch {
		return 1 + len(a.claim.Along)
	}
	return 1
}

// took is how long the handler ran.
func (a *attempt) took() time.Duration { return a.ended.Sub(a.started) }

// leave notes that a trip with an end of the lane sets out.
func (l *lane) leave() { l.away, l.packed = true, 0 }

// comeBack notes that the trip is over, and returns the ends that waited for it.
func (l *lane) comeBack() []*attempt {
	later := l.later
	l.away, l.later = false, nil
	return later
}

// attempt is one run of one handler, for one job or for a batch of them. Two may want to report how
// it ended, the handler's goroutine and a timer that gives it up: whoever sets reported first does,
// and the other leaves it alone.
type attempt struct {
	*lane
	handling
	pool  *Pool
	claim *session.Claim

	result []byte // what the handler left, by SetResult

	reported atomic.Bool // exactly one of return and giving up reports

	started  time.Time // of the handler; zero when it was not called
	deadline time.Time // of its context

	// Under lane.mu: why the context has ended, and what stands behind it when somebody listens.
	cause error
	heard context.Context
	tell  context.CancelCauseFunc

	// Under watch.mu: when it is given up, and where it stands there; -1 is nowhere.
	due     time.Time
	watched int

	// Set by that report, and then left to the travellers.
	said   []verdict // of each job
	end    session.End
	ended  time.Time
	cut    bool // the handler stopped because the pool did
	resent bool // the end was sent before and the answer was lost
}

// work is what a goroutine of the pool does: one attempt after the other, and then
// wait for a lane. Making a new goroutine for each would cost the growth of its stack.
func (p *Pool) work(a *attempt) {
	for {
		for a != nil {
			var gone bool
			if a, gone = a.run(); gone {
				return
			}
		}
		q, ok := <-p.lanes
		if !ok {
			return
		}
		a = p.begin(q)
	}
}

// begin takes a claimed lane into the keeper's care.
func (p *Pool) begin(q queued) *attempt {
	l := &lane{partition: q.partition, begun: time.Now(), running: q.claim, rolls: p.rolls[q.claim.Kind]}
	l.held = l.one[:0] // most have no slots
	for one := range q.claim.Leases() {
		l.held = append(l.held, p.keeper.Hold(one, l.cancel))
	}
	if !p.handlers[q.claim.Kind].batch {
		l.hand = hand{jobs: q.claim.Along, since: l.begun}
		p.desk.holds(l)
	}
	return p.attempt(l, q.claim)
}

// attempt makes the attempt at a job of a lane, or at a batch of them.
func (p *Pool) attempt(l *lane, c *session.Claim) *attempt {
	return &attempt{lane: l, handling: p.handlers[c.Kind], pool: p, claim: c, watched: -1}
}

// release ends the keeping of the lane's lease, and of its slots.
func (l *lane) release() {
	for _, one := range l.held {
		one.Release()
	}
}

// run takes an attempt from the last look to the report of its end, and returns the
// next one for the same place, if any. gone says that the place went on without this
// goroutine, because the attempt was given up. It reports in a defer, because a handler may end its
// goroutine (runtime.Goexit): then the place goes on in a new one.
//
//go:noinline
func (a *attempt) run() (next *attempt, gone bool) {
	p := a.pool
	// The last look (crates.io asked for it): time may have passed since the
	// claim, and work under a lease that is over is work on somebody else's subject.
	if !a.trusted(p.life) {
		p.counts.lost.Add(1)
		p.log.Warn("lease over before the handler started", about(a.claim)...)
		a.reported.Store(true)
		return a.drop(), false
	}
	a.start()
	p.counts.started.Add(1)
	if p.debug {
		p.log.Debug("attempt begins", about(a.claim, "jobs", a.size())...)
	}
	var said []verdict
	defer func() {
		exits := said == nil
		if exits {
			said = a.same(verdict{failed: true, text: "the handler called runtime.Goexit"})
		}
		next, gone = a.report(said)
		if exits && !gone {
			go p.work(next)
		}
	}()
	said = a.call(jobContext{a})
	return nil, false // report says
}

// trusted reports whether all leases that the lane is held under can be relied on. That costs a
// round trip only when one of them was not proven lately.
func (l *lane) trusted(ctx context.Context) bool {
	for _, one := range l.held {
		if !one.Trusted(ctx) {
			return false
		}
	}
	return true
}

// start begins the attempt's time, and the watch over it: before anybody else may report.
func (a *attempt) start() {
	p, l := a.pool, a.lane
	a.started = time.Now()
	a.deadline = a.started.Add(cmp.Or(a.claim.Timeout, p.cfg.Timeout))
	p.watch.begin(a, a.deadline.Add(p.cfg.CancelGrace)) // before a cancel can be about it, which hurries it
	l.mu.Lock()
	l.at = a
	cut := l.cause != nil
	l.mu.Unlock()
	if cut { // between the claim and now
		p.watch.hurry(a, a.started.Add(p.cfg.CancelGrace))
	}
}

// report says how the attempt ended, unless it was given up meanwhile.
func (a *attempt) report(said []verdict) (next *attempt, gone bool) {
	cause := a.finish()
	if !a.reported.CompareAndSwap(false, true) {
		a.pool.log.Warn("a handler that was given up has returned", about(a.claim, "err", said[0].text)...)
		return nil, true
	}
	a.pool.watch.end(a)
	return a.send(a.judge(cause, said)), false
}

// judge decides how each job of the attempt has ended, whose context has ended for a cause or not at all. The caller has
// set reported.
func (a *attempt) judge(cause error, said []verdict) session.End {
	a.said = said
	if !a.batch {
		end := a.judgeOne(cause, a.claim, &said[0])
		if end.Outcome == session.Finished {
			end.Result = a.result // nil where nobody keeps it
		}
		return end
	}
	end := session.End{Claim: a.claim, Outcome: session.Several}
	for i, c := range a.claim.Each() {
		end.Each = append(end.Each, a.judgeOne(cause, c, &said[i]))
	}
	return end
}

// judgeOne decides how one job has ended, by why its context ended and by what its handler said.
// An error after a cancel is nobody's failure, and the attempt is given back; nil counts even then,
// because the work is done.
func (a *attempt) judgeOne(cause error, c *session.Claim, v *verdict) session.End {
	switch stopped := errors.Is(cause, ErrStopped); {
	case v.failed && (stopped || errors.Is(cause, lease.ErrCancelled)): // what the pool or an operator stopped has not failed
		a.cut = a.cut || stopped
		return session.End{Claim: c, Outcome: session.HandedBack}
	case v.failed && !v.permanent && errors.Is(cause, context.DeadlineExceeded):
		v.text = fmt.Sprintf("timed out after %s: %s", cmp.Or(a.claim.Timeout, a.pool.cfg.Timeout), v.text)
	}
	return a.pool.end(c, v)
}

// send lays the end on the desk and returns what to do next. The caller has set
// reported.
func (a *attempt) send(end session.End) (next *attempt) {
	p := a.pool
	a.end, a.ended = end, time.Now()
	if p.debug {
		p.log.Debug("attempt ended", about(a.claim, "outcome", end.Outcome.String(), "took", a.took())...)
	}
	// The next job of the lane is begun under the same lease, and only while nothing speaks against
	// it. A job whose outcome is kept ends in a call that frees the lane, so nothing follows it.
	mayGoOn := end.Outcome == session.Finished && a.claim.Keep == 0 && !a.cancelled()
	switch follower, q, ok := p.desk.end(a, a.ended.Sub(a.begun), mayGoOn); {
	case follower != nil:
		return p.attempt(a.lane, follower)
	case ok:
		return p.begin(q)
	}
	return nil
}

// drop ends the attempt without a report: its lease runs out. It is for an attempt that was not
// begun because its lease is over, and for a handler that is still at work when the pool stops:
// nobody may begin with its lane before the TTL is over. The caller has set reported.
func (a *attempt) drop() (next *attempt) {
	a.release()
	if q, ok := a.pool.desk.vacate(a); ok {
		return a.pool.begin(q)
	}
	return nil
}

// giveUp ends an attempt whose handler ignores that it was cancelled. After a
// timeout the job is retried: the handler may still be at work, but its token is
// superseded, and the alternative is a lane that never goes on
// (Tencent/WeKnora#3462). When the pool stops, the lease runs out with the process.
// The grace before it is counted from the end of the context, for any cause: a timeout, a
// lost lease, a cancel or a stop.
func (a *attempt) giveUp() {
	if !a.reported.CompareAndSwap(false, true) {
		return
	}
	p, stack := a.pool, a.stack()
	p.counts.abandoned.Add(1)
	p.log.Error("handler does not return; given up", about(a.claim, "stack", stack)...)
	if p.cutting.Load() {
		p.left.Add(1)
		p.work(a.drop())
		return
	}
	// Its place goes on with something else, in this goroutine.
	said := a.same(verdict{
		failed: true, stack: stack,
		text: fmt.Sprintf("the handler did not return within %s after it was cancelled", p.cfg.CancelGrace),
	})
	p.work(a.send(a.judge(nil, said)))
}

// stack finds the goroutine that runs the attempt in a dump of all, by the
// address of a, which is run's receiver. A label of package pprof would be no help: a dump of
// whole stacks has none, whatever a handler starts inherits it, and every attempt would pay for it.
func (a *attempt) stack() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	mark := fmt.Appendf(nil, "(*attempt).run(%p", a)
	for _, goroutine := range bytes.Split(buf, []byte("\n\n")) {
		if bytes.Contains(goroutine, mark) {
			return string(goroutine)
		}
	}
	return "stack not found"
}
