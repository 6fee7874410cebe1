package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
)

// leaveTimeout bounds what a pool still says to Redis when it stops.
const leaveTimeout = 5 * time.Second

// StopError is returned by Run when not all handlers finished by themselves.
type StopError struct {
	HandedBack int // cancelled, and their jobs given back with the attempt refunded
	Abandoned  int // did not return when cancelled; their leases run out
	Unreported int // ended, but Redis could not be told in time; their leases run out
}

// Error says all three numbers, those that are 0 among them, so that logs of stops can be compared.
func (e *StopError) Error() string {
	return fmt.Sprintf("worker: stopped with %d jobs handed back, %d handlers abandoned, %d ends unreported",
		e.HandedBack, e.Abandoned, e.Unreported)
}

// Run takes jobs and runs their handlers until ctx is done, and then stops: it
// claims no more, lets handlers finish for StopTimeout, cancels the rest and hands
// their jobs back. It returns nil when every handler finished by itself, a
// [*StopError] when some did not, and any other error when it could not start.
func (p *Pool) Run(ctx context.Context) error {
	kinds, err := p.ready()
	if err != nil {
		return err
	}
	if joined, err := p.signOn(ctx, kinds); !joined {
		return err
	}
	ended := p.runBeside(ctx)
	defer close(p.lanes)
	<-ctx.Done()
	p.stopHandlers()
	return p.leave(ctx, ended)
}

// ready checks what can be checked before anybody sees the pool, and returns the kinds that it
// handles.
func (p *Pool) ready() ([]string, error) {
	if p.started.Swap(true) {
		return nil, errors.New("worker: a pool runs only once")
	}
	if len(p.handlers) == 0 {
		return nil, errors.New("worker: the pool has no handler: nothing could run; add one with Handle")
	}
	for kind := range p.cfg.LaneBatch {
		if _, ok := p.handlers[kind]; !ok {
			return nil, fmt.Errorf("worker: Config.LaneBatch names the kind %q, which has no handler", kind)
		}
	}
	kinds := p.wrap()
	return kinds, p.checkKinds(kinds)
}

// signOn joins: from here on the worker is listed. It reports false without an error when the pool
// was told to stop before it had begun anything.
func (p *Pool) signOn(ctx context.Context, kinds []string) (joined bool, err error) {
	p.debug = debugging(p.cfg.Logger)
	who := session.Claimant{
		Holder: session.NewHolder(), Kinds: kinds, TTL: p.cfg.LeaseTTL, LaneBatch: p.cfg.LaneBatch, Pool: p.cfg.Name,
	}
	source, err := p.join(ctx, who, p.cfg.Concurrency)
	if err != nil && ctx.Err() != nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("start pool: %w", err)
	}
	p.source = source
	p.tally.Watch(source.Watched())
	p.log = newScribe(p.cfg.Logger, who.Holder)
	p.keeper = lease.NewKeeper(source, p.cfg.LeaseTTL, p.cfg.CancelGrace)
	p.desk = newDesk(p.cfg, source.Partitions(), p.apart(), slices.Collect(maps.Keys(p.rolls))...)
	p.desk.bars = source.Bars
	if p.fixedHand > 0 {
		p.desk.hands.fixed, p.desk.hands.lasts, p.desk.hands.patience = p.fixedHand, p.cfg.LeaseTTL, p.cfg.LeaseTTL
	}
	if p.exact {
		p.desk.crew.exact, p.desk.planner.next = true, 0
	}
	p.outage = newOutage(p.log, p.apart())
	p.log.Info("pool started", "namespace", p.namespace(), "pool", p.cfg.Name, "kinds", kinds,
		"concurrency", p.cfg.Concurrency, "lease_ttl", p.cfg.LeaseTTL)
	return true, nil
}

// apart reports whether partitions are on servers of their own, some of which may hang.
func (p *Pool) apart() bool { return p.source.Waits() > 1 }

// runBeside starts what runs beside the handlers. None of it ends with ctx: handlers that finish
// after it still need their leases renewed and their ends reported. It ends when it is told to, by
// ended, which returns a channel that is closed when all of it has.
func (p *Pool) runBeside(ctx context.Context) (ended func() <-chan struct{}) {
	// Whoever only takes work ends with ctx; whoever a running handler needs ends with life.
	life, endLife := context.WithCancel(context.WithoutCancel(ctx))
	p.life = life
	p.lanes = make(chan queued, p.cfg.Concurrency)
	var beside sync.WaitGroup
	beside.Go(func() { p.keeper.Run(life) })
	beside.Go(func() { p.beat(life) })
	beside.Go(func() { p.hear(life) })
	beside.Go(func() { p.prune(life) })
	for place := range p.source.Waits() {
		if p.exact { // it looks for itself when nothing is left
			break
		}
		beside.Go(func() { p.awaitWakeups(ctx, place) })
	}
	// One server that hangs may hold a traveller for each of its partitions; there have to be some
	// left for the others.
	travellers := maxTrips
	if p.apart() {
		travellers = max(maxTrips, p.source.Partitions())
	}
	for range travellers {
		beside.Go(func() { p.travel(life) })
	}
	return func() <-chan struct{} {
		endLife()
		gone := make(chan struct{})
		go func() { beside.Wait(); close(gone) }()
		return gone
	}
}

// stopHandlers ends the claiming; handlers finish, or are cancelled; ends are reported, and what
// trips under way have claimed goes back.
func (p *Pool) stopHandlers() {
	p.desk.stop()
	// First patience: handlers end by themselves, and their contexts stay alive.
	if !p.desk.idleWithin(p.cfg.StopTimeout) {
		p.log.Warn("handlers still run after the stop timeout; cancelling them", "after", p.cfg.StopTimeout)
	}
	// Then none: contexts are cancelled, and who does not return within the grace is given up,
	// which takes a moment.
	p.cutting.Store(true)
	p.keeper.Cancel(ErrStopped)
	p.desk.idleWithin(p.cfg.CancelGrace + time.Second)
}

// leave says to Redis what is still to be said, which all shares one limit. What does not come
// back by then, from a Redis that hangs, ends by itself later.
func (p *Pool) leave(ctx context.Context, ended func() <-chan struct{}) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	unreported := p.desk.flushed(last)
	if err := p.record(last); err != nil {
		p.log.Warn("what was measured is not recorded", "err", err)
	}
	select {
	case <-ended():
	case <-last.Done():
	}
	if err := p.source.Close(last); err != nil {
		p.log.Warn("could not sign off", "err", err)
	}
	stop := &StopError{
		HandedBack: int(p.cut.Load()), Abandoned: int(p.left.Load()), Unreported: unreported,
	}
	did := p.Counts()
	p.log.Info("pool stopped", "namespace", p.namespace(), "pool", p.cfg.Name, "started", did.Started, "finished", did.Finished,
		"retried", did.Retried, "dead", did.Dead, "buried", did.Buried, "cancelled", did.Cancelled, "lost", did.Lost,
		"handed_back", did.HandedBack, "abandoned", did.Abandoned, "unreported", unreported)
	p.watch.stop()
	p.log.flush()
	if *stop != (StopError{}) {
		return stop
	}
	return nil
}

// travel makes round trips until life ends: it takes what has gathered at the
// desk, and lays the answers there.
func (p *Pool) travel(life context.Context) {
	for {
		runtime.Gosched() // handlers that are about to end, end first
		errands, wait := p.desk.plan(time.Now())
		if len(errands) == 0 {
			if !p.desk.sleep(life, wait) {
				return
			}
			continue
		}
		// The lock of the desk is not held from here on: while Redis is at work, ends gather for
		// the traveller that is next.
		turns := make([]session.Turn, len(errands))
		for i, e := range errands {
			turns[i] = e.Turn
		}
		sent := time.Now()
		p.settle(life, errands, sent, p.source.Turns(life, turns))
		if life.Err() != nil {
			return
		}
	}
}

// askAgain is how long a Redis that is away is left alone at most, by each who asks it: an idle pool too should know soon that it is back.
const askAgain = time.Second

// awaitWakeups blocks for wake-ups in one place while the pool has room, until ctx is
// done. Of several places one may wait on when the pool has filled up meanwhile: the
// desk passes on what it gets then.
func (p *Pool) awaitWakeups(ctx context.Context, place int) {
	for failures := 0; p.desk.room(ctx, place); {
		sent := time.Now()
		hint, ok, err := p.source.Wait(ctx, place)
		if ctx.Err() != nil {
			return
		}
		p.outage.heard(waits(place), sent, err)
		switch {
		case err != nil:
			failures++
			// Thousands lose their connections at the same moment; anywhere within the wait
			// they come back.
			pauseFor(ctx, rand.N(dispatcher.Backoff{Base: 100 * time.Millisecond, Cap: askAgain}.Wait(failures)))
		default:
			failures = 0
			if ok {
				p.desk.wake(hint)
			}
		}
	}
}

// checkKinds returns an error for a kind that this pool may not handle, or not so. A head that
// halts its lane, and a rate, are for one job at a time: jobs that were claimed with it would have
// begun already when it is known what becomes of it.
func (p *Pool) checkKinds(kinds []string) error {
	for _, kind := range kinds {
		if err := p.check(kind, p.cfg.Name); err != nil {
			return fmt.Errorf("start pool %s: %w", p.cfg.Name, err)
		}
		k, _ := p.declared(kind)
		if p.handlers[kind].batch && k.OnFailure == dispatcher.Halt {
			return fmt.Errorf("worker: kind %s is declared with halt, which goes job by job: it can have no batch handler", kind)
		}
		if n := p.cfg.LaneBatch[kind]; n > 1 && (k.OnFailure == dispatcher.Halt || k.Every > 0) {
			return fmt.Errorf("worker: Config.LaneBatch[%s] (%d) must be 1: the kind is declared with halt or every, which go job by job", kind, n)
		}
		p.rules[kind] = k.Kind
		if _, says := p.cfg.LaneBatch[kind]; !says && !p.exact && plain(&k.Kind) {
			p.rolls[kind] = true
		}
	}
	return nil
}

// plain reports whether jobs of a kind end in the calls that claim, and none of them has to wait for what becomes of the one
// before: only such kinds roll.
func plain(k *dispatcher.Kind) bool {
	return k.Limit == 0 && k.Every == 0 && k.Keep == 0 && k.OnFailure != dispatcher.Halt
}

// hear looks at the leases when an operator may have asked for something, and for lanes when
// a limit gives more, or what operators hold has changed. Unlike hints of ready lanes, which a pool that is full leaves to others,
// these are for this pool alone.
func (p *Pool) hear(life context.Context) {
	for {
		select {
		case <-life.Done():
			return
		case <-p.source.Asked():
			p.keeper.Look(life)
		case <-p.source.Slots():
			p.desk.wakeShort(p.source.Offered())
		case <-p.source.Held():
			p.desk.lookAgain() // what is held now goes back, and what no more is may be claimed
		}
	}
}

// beat says that the worker is alive, until life ends. With each beat goes what was measured since
// the last, and after that the pool looks at its own conduct: others are compared with what it has
// finished, so that has to be told first. Workers that were started together beat at different
// times.
func (p *Pool) beat(life context.Context) {
	for pauseFor(life, p.untilBeat()) {
		ctx, cancel := context.WithTimeout(life, session.BeatEvery)
		sent := time.Now()
		err := p.source.Beat(ctx)
		if life.Err() == nil {
			p.outage.heard(beats, sent, err)
		}
		if err == nil { // else there is nobody to tell; and to have nothing to tell is no sign of Redis
			sent = time.Now()
			err := p.record(ctx)
			if err == nil {
				err = p.examine(ctx)
			}
			if err != nil && life.Err() == nil {
				p.outage.heard(beats, sent, err)
			}
		}
		cancel()
	}
}

// untilBeat is when to beat again: soon while Redis is away.
func (p *Pool) untilBeat() time.Duration {
	every := session.BeatEvery
	if p.outage.away() {
		every = askAgain
	}
	return every - rand.N(every/10)
}

// pauseFor waits for d and reports whether ctx is still alive then.
func pauseFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
