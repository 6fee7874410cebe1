package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/lease"
)

// lane is a claimed lane whose jobs a handler's place is at work on.
type lane struct {
	partition int
	begun     time.Time
	ctx       context.Context // ends when the lease is lost or the pool has no more patience
	release   func()          // ends the keeping of the lease, and of its slots

	// Of a lane with several jobs, under desk.mu: whether a trip with ends of it is
	// under way, and the ends that wait for its return. Two trips may overtake each
	// other, and only the head of a lane can end.
	away  bool
	later []*attempt
}

// together is how many more jobs of the lane a batch handler gets.
func (a *attempt) together() int {
	if a.pool.batches[a.claim.Kind] == nil {
		return 0
	}
	return len(a.claim.Along)
}

// failed is why the ith job of the attempt did.
func (a *attempt) failed(i int) error {
	if a.err == nil && i < len(a.errs) {
		return a.errs[i]
	}
	return a.err
}

// took is how long the handler ran.
func (a *attempt) took() time.Duration { return a.ended.Sub(a.started) }

// leave notes that a trip with an end of the lane sets out.
func (l *lane) leave() { l.away = true }

// comeBack notes that the trip is over, and returns the ends that waited for it.
func (l *lane) comeBack() []*attempt {
	later := l.later
	l.away, l.later = false, nil
	return later
}

// attempt is one run of one handler.
type attempt struct {
	*lane
	pool  *Pool
	claim *dispatcher.Claim

	errs   []error // of a batch, one for each job, or nil
	err    error   // why it failed: what the handler returned, or an error of the whole batch
	result []byte  // what the handler left, by SetResult

	reported atomic.Bool // exactly one of return and giving up reports

	started time.Time // of the handler; zero when it was not called

	// Set by that report, and then left to the travellers.
	end    dispatcher.End
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
	l := &lane{partition: q.partition, begun: time.Now()}
	l.ctx, l.release = p.life, func() {}
	for _, slot := range q.claim.Slots { // a limit counts on them: without them, no work
		l.ctx, l.release = p.keepToo(l.ctx, slot, l.release)
	}
	l.ctx, l.release = p.keepToo(l.ctx, q.claim.Lease, l.release)
	return &attempt{lane: l, pool: p, claim: q.claim}
}

// keepToo puts one more lease into the keeper's care, under the context of the others.
func (p *Pool) keepToo(ctx context.Context, l lease.Lease, before func()) (work context.Context, release func()) {
	work, end := p.keeper.Keep(ctx, l)
	return work, func() { end(); before() }
}

// run takes an attempt from the last look to the report of its end, and returns the
// next one for the same place, if any. gone says that the place went on without this
// goroutine, because the attempt was given up.
//
//go:noinline
func (a *attempt) run() (next *attempt, gone bool) {
	p := a.pool
	// The last look (crates.io asked for it): time may have passed since the
	// claim, and work under a lease that is over is work on somebody else's subject.
	if !p.trusted(a) {
		p.counts.lost.Add(1)
		p.log.Warn("lease over before the handler started", about(a.claim)...)
		a.reported.Store(true)
		return a.drop(), false
	}
	ctx := dispatcher.WithClaim(a.ctx, a.claim)
	ctx = withResult(ctx, a)
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.claim.Timeout, p.cfg.Timeout))
	defer cancel()
	a.started = time.Now() // before anybody else may report
	stop := context.AfterFunc(ctx, a.giveUpLater)
	defer stop()

	p.counts.started.Add(1)
	if p.debug {
		p.log.Debug("attempt begins", about(a.claim, "jobs", 1+a.together())...)
	}
	err, returned := error(nil), false
	defer func() {
		cause := recover()
		exits := cause == nil && !returned
		switch {
		case cause != nil: // of middleware, or of a batch
			err = &PanicError{cause, debug.Stack()}
		case exits:
			err = errors.New("the handler called runtime.Goexit")
		}
		next, gone = a.report(ctx, err)
		if exits && !gone {
			go p.work(next)
		}
	}()
	if batch, ok := p.batches[a.claim.Kind]; ok {
		a.errs, err = runBatch(ctx, batch, a.claim)
	} else {
		err = p.handlers[a.claim.Kind](ctx, a.claim.Payload)
	}
	returned = true
	return nil, false // report says
}

// trusted reports whether all leases that an attempt runs under can be relied on.
func (p *Pool) trusted(a *attempt) bool {
	for _, slot := range a.claim.Slots {
		if !p.keeper.Trusted(a.ctx, slot) {
			return false
		}
	}
	return p.keeper.Trusted(a.ctx, a.claim.Lease)
}

// report says how the attempt ended, unless it was given up meanwhile.
func (a *attempt) report(ctx context.Context, err error) (next *attempt, gone bool) {
	if !a.reported.CompareAndSwap(false, true) {
		a.pool.log.Warn("a handler that was given up has returned", about(a.claim, "err", err)...)
		return nil, true
	}
	a.err = err
	if a.pool.batches[a.claim.Kind] != nil {
		return a.send(a.judgeBatch(ctx, err)), false
	}
	end := a.pool.judge(a.claim, err)
	if err != nil && errors.Is(context.Cause(ctx), ErrStopped) {
		a.cut = true
		end = dispatcher.End{Claim: a.claim, Outcome: dispatcher.HandedBack}
	}
	if err != nil && errors.Is(context.Cause(ctx), lease.ErrCancelled) {
		end = dispatcher.End{Claim: a.claim, Outcome: dispatcher.HandedBack} // Redis knows that it was cancelled
	}
	if end.Outcome == dispatcher.Finished && a.claim.Keep > 0 {
		end.Result = a.result
	}
	if end.Outcome == dispatcher.Retry && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		a.err = fmt.Errorf("timed out after %s: %w", cmp.Or(a.claim.Timeout, a.pool.cfg.Timeout), err)
		end.Error = kept(a.err)
	}
	return a.send(end), false
}

// send lays the end on the desk and returns what to do next. The caller has set
// reported.
func (a *attempt) send(end dispatcher.End) (next *attempt) {
	p := a.pool
	a.end, a.ended = end, time.Now()
	if p.debug {
		p.log.Debug("attempt ended", about(a.claim, "outcome", end.Outcome.String(), "took", a.took())...)
	}
	// The next job of the lane is begun only while nothing speaks against it.
	if follower, ok := a.claim.Next(); ok && end.Outcome == dispatcher.Finished && a.claim.Keep == 0 && a.ctx.Err() == nil && !p.desk.stopped() {
		a.end.GoesOn = true
		p.desk.report(a)
		return &attempt{lane: a.lane, pool: p, claim: follower}
	}
	if q, ok := p.desk.end(a, a.ended.Sub(a.begun)); ok {
		return p.begin(q)
	}
	return nil
}

// drop ends the attempt without a report: its lease runs out. The caller has set
// reported.
func (a *attempt) drop() (next *attempt) {
	a.release()
	if q, ok := a.pool.desk.vacate(); ok {
		return a.pool.begin(q)
	}
	return nil
}

// giveUpLater is called when the attempt's context is done.
func (a *attempt) giveUpLater() {
	time.AfterFunc(a.pool.cfg.CancelGrace, a.giveUp)
}

// giveUp ends an attempt whose handler ignores that it was cancelled. After a
// timeout the job is retried: the handler may still be at work, but its token is
// superseded, and the alternative is a lane that never goes on
// (Tencent/WeKnora#3462). When the pool stops, the lease runs out with the process.
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
	err := &deafError{p.cfg.CancelGrace, stack}
	a.err = err
	if p.batches[a.claim.Kind] != nil {
		p.work(a.send(a.judgeBatch(context.Background(), err)))
		return
	}
	p.work(a.send(p.judge(a.claim, err)))
}

// stack finds the goroutine that runs the attempt in a dump of all, by the
// address of a, which is run's receiver.
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
