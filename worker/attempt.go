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
)

// attempt is one run of one handler.
type attempt struct {
	pool    *Pool
	claim   dispatcher.Claim
	release func() // ends the keeping of the lease

	reported atomic.Bool // exactly one of return and giving up reports

	// Set by that report, and then left to the travellers.
	end    dispatcher.End
	ended  time.Time
	cut    bool // the handler stopped because the pool did
	resent bool // the end was sent before and the answer was lost
}

// start runs the handler of a claim in a goroutine of its own.
func (p *Pool) start(c dispatcher.Claim) {
	a := &attempt{pool: p, claim: c}
	var ctx context.Context
	ctx, a.release = p.keeper.Keep(p.work, c.Lease)
	if p.desk.stopped() { // the claim was under way when the pool was told to stop
		a.reported.Store(true)
		a.send(dispatcher.End{Claim: c, Outcome: dispatcher.HandedBack})
		return
	}
	go a.run(ctx)
}

// run takes an attempt from the last look to the report of its end.
//
//go:noinline
func (a *attempt) run(ctx context.Context) {
	p := a.pool
	// The last look (crates.io asked for it): time may have passed since the
	// claim, and work under a lease that is over is work on somebody else's subject.
	if !p.keeper.Trusted(ctx, a.claim.Lease) {
		p.counts.lost.Add(1)
		p.log.Warn("lease over before the handler started", "job", a.claim.ID)
		a.reported.Store(true)
		a.drop()
		return
	}
	ctx = context.WithValue(ctx, contextKey{}, &a.claim)
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.claim.Timeout, p.cfg.Timeout))
	defer cancel()
	stop := context.AfterFunc(ctx, a.giveUpLater)
	defer stop()

	p.counts.started.Add(1)
	err, returned := error(nil), false
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v\n\n%s", cause, debug.Stack())
		} else if !returned {
			err = errors.New("the handler called runtime.Goexit")
		}
		a.report(ctx, err)
	}()
	err = p.handlers[a.claim.Kind](ctx, a.claim.Payload)
	returned = true
}

// report says how the attempt ended, unless it was given up meanwhile.
func (a *attempt) report(ctx context.Context, err error) {
	if !a.reported.CompareAndSwap(false, true) {
		a.pool.log.Warn("a handler that was given up has returned", "job", a.claim.ID, "err", err)
		return
	}
	end := a.pool.judge(a.claim, err)
	if err != nil && errors.Is(context.Cause(ctx), ErrStopped) {
		a.cut = true
		end = dispatcher.End{Claim: a.claim, Outcome: dispatcher.HandedBack}
	}
	if end.Outcome == dispatcher.Retry && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		end.Error = fmt.Sprintf("timed out after %s: %s", cmp.Or(a.claim.Timeout, a.pool.cfg.Timeout), end.Error)
	}
	a.send(end)
}

// send lays the end on the desk. The caller has set reported.
func (a *attempt) send(end dispatcher.End) {
	a.end, a.ended = end, time.Now()
	a.pool.desk.end(a.pool.source.PartitionOf(a.claim.Subject), a)
}

// drop ends the attempt without a report: its lease runs out. The caller has set
// reported.
func (a *attempt) drop() {
	a.release()
	a.pool.desk.vacate()
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
	p.log.Error("handler does not return; given up", "job", a.claim.ID, "kind", a.claim.Kind, "stack", stack)
	if p.work.Err() != nil {
		p.left.Add(1)
		a.drop()
		return
	}
	a.send(p.judge(a.claim, fmt.Errorf("the handler did not return within %s after it was cancelled\n\n%s",
		p.cfg.CancelGrace, stack)))
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
