package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Do runs fn while it holds a subject, as a job of the subject would: it takes a ticket in the
// subject's lane, waits for its turn for maxWait at most, and has the lease, kept alive, until
// fn returns; no job of the subject runs meanwhile. [LeaseFrom] gives fn the lease with its
// token. fn's context is cancelled with cause lease.ErrLost when the lease is lost.
//
// With maxWait 0 it returns [ErrBusy] at once when the subject is leased or jobs wait. It returns
// [ErrBusy] too when maxWait is over, what fn returned, or an error that wraps lease.ErrLost
// when the lease was lost while fn ran. [ErrBusy] is what Redis says: when that does not answer,
// within maxWait or ten seconds, Do returns [ErrUnavailable], and the subject may stay closed for
// [Config].SectionTTL. A wait that ends early leaves nothing behind otherwise; one whose
// process dies is gone after [Config].SectionTTL. When fn has returned, Do waits until Redis has
// the lease back, for five seconds at most and not after the end of ctx.
//
// A subject that an operator holds (package dispatcher/control) is [ErrBusy] at once, however long maxWait is; the error wraps a
// lease.HeldError with the hold then. A section is of no kind and in no pool: it obeys holds on all, on its host and on lanes. One that
// waits already when the hold comes goes on waiting.
//
// Within a handler, or within another fn, for a subject that is leased there, or whose holder
// waits for one that is, it returns [ErrWouldDeadlock] at once.
func (d *Dispatcher) Do(ctx context.Context, key subject.Key, maxWait time.Duration, fn func(ctx context.Context) error) error {
	if err := CheckSubject(key); err != nil {
		return err
	}
	if maxWait < 0 {
		return invalid("maxWait", maxWait, "must not be negative")
	}
	for _, held := range lanes.LeasesOf(ctx) {
		if held.Subject == key {
			return fmt.Errorf("do %s: %w: it is held by the caller", key, ErrWouldDeadlock)
		}
	}
	l, err := d.enter(ctx, key, maxWait)
	if err != nil {
		return fmt.Errorf("do %s: %w", key, err)
	}
	return d.within(ctx, l, fn)
}

// DoOrEnqueue runs fn under the lease of the job's subject when that is free now, as [Dispatcher.Do]
// does, and enqueues the job otherwise: exactly one of the two. ran tells which. When Redis does not
// answer, the error wraps [ErrUnavailable] and fn did not run; whether the job may be there, it says.
func (d *Dispatcher) DoOrEnqueue(ctx context.Context, job NewJob, fn func(ctx context.Context) error) (ran bool, done EnqueueResult, err error) {
	if err := d.Check(job); err != nil {
		return false, EnqueueResult{}, err
	}
	t := d.ticket(job.Subject, "")
	defer t.caller.Rest()
	l, err := t.atOnce(ctx)
	if errors.Is(err, lease.ErrHeld) {
		done, err = d.Enqueue(ctx, job)
		return false, done, err
	}
	if err != nil {
		return false, EnqueueResult{}, err
	}
	return true, EnqueueResult{}, d.within(ctx, l, fn)
}

// enter gets the lease of a subject within maxWait.
func (d *Dispatcher) enter(ctx context.Context, key subject.Key, maxWait time.Duration) (lease.Lease, error) {
	if maxWait == 0 {
		t := d.ticket(key, "")
		defer t.caller.Rest()
		l, err := t.atOnce(ctx)
		if errors.Is(err, lease.ErrHeld) {
			err = fmt.Errorf("%w: %w", ErrBusy, err)
		}
		return l, err
	}
	t := d.ticket(key, record.PackID(uuid.Must(uuid.NewV7()).String()))
	defer t.caller.Rest()
	l, err := t.wait(ctx, maxWait)
	if errors.Is(err, lease.ErrHeld) { // barred
		return l, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if err != nil {
		t.leave(ctx, errors.Is(err, ErrUnavailable))
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
	}
	return l, err
}

// ticket is a place in a lane for somebody who is no job. Who does not wait has none, and no id.
type ticket struct {
	d          *Dispatcher
	key        subject.Key
	holder, id string
	caller     *script.Caller // so that leaving overtakes what asked for the lease
}

func (d *Dispatcher) ticket(key subject.Key, id string) *ticket {
	return &ticket{d: d, key: key, holder: lanes.NewHolder(), id: id, caller: d.lanes.Scripts.Caller()}
}

func (t *ticket) entry() string {
	if t.id == "" {
		return ""
	}
	return record.Ticket(t.id).String()
}

// ask asks once for the lease.
func (t *ticket) ask(ctx context.Context) (l lease.Lease, ok bool, over time.Duration, err error) {
	return t.d.lanes.Section(ctx, t.caller, t.key, t.holder, t.d.cfg.SectionTTL, t.entry())
}

// atOnce gets the lease when nobody has it and nobody waits. A lease whose answer did not come is
// given back: it would close the subject until its end.
func (t *ticket) atOnce(ctx context.Context) (lease.Lease, error) {
	l, ok, _, err := t.ask(ctx)
	if !ok && !errors.Is(err, lease.ErrHeld) {
		t.leave(ctx, errors.Is(err, ErrUnavailable))
	}
	return l, err
}

// wait waits for the ticket's turn. Only Redis can say that it has not come: a question that is
// under way when maxWait is over is given a moment more. When that brings no answer, the one
// before counts, unless Redis has been silent for as long as between two looks.
func (t *ticket) wait(ctx context.Context, maxWait time.Duration) (lease.Lease, error) {
	over := time.After(maxWait)
	asking, cancel := context.WithTimeout(ctx, maxWait+lanes.BeyondEnd)
	defer cancel()
	d, ttl := t.d, t.d.cfg.SectionTTL
	channel := d.lanes.Keys(d.lanes.Partition(t.key)).News(t.id)
	heard, leave := d.lanes.News.Listen(channel)
	defer leave()
	endWait, err := d.waitOn(asking, t.key)
	if err != nil {
		return lease.Lease{}, err
	}
	defer endWait()
	begun := time.Now()
	for answered := false; ; answered = true {
		asked := time.Now()
		l, ok, last, err := t.ask(asking)
		if asking.Err() != nil && ctx.Err() == nil && answered && err != nil && lanes.Unanswered(err) && time.Since(asked) < lanes.LookAgain {
			return lease.Lease{}, ErrBusy // as Redis said less than a moment ago
		}
		if ok || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
			return lease.Lease{}, ctx.Err()
		case <-over:
			return lease.Lease{}, ErrBusy
		case <-heard:
		case <-time.After(min(ttl/3, last, d.lanes.News.Pace(channel, time.Since(begun)))):
		}
	}
}

// leave takes the ticket back, or the lease that it was given. What asked for either and is still on
// its way has no effect then. If Redis can't be reached nobody waits: it is said again for as long as
// either could last.
func (t *ticket) leave(ctx context.Context, away bool) {
	most := time.Second
	if away {
		most = 0
	}
	waiting, stop := lanes.Soon(ctx, most)
	defer stop()
	select {
	case <-t.d.lanes.Leave(t.caller, t.key, t.holder, t.entry(), t.d.cfg.SectionTTL):
	case <-waiting.Done():
	}
}

// within runs fn under a lease, keeps it alive, and gives it back.
func (d *Dispatcher) within(ctx context.Context, l lease.Lease, fn func(context.Context) error) (err error) {
	keeper := lease.NewKeeper(d.lanes.Leases, l.TTL, l.TTL/5)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() { defer close(kept); keeper.Run(life) }()
	work, held := keeper.Keep(ctx, l)
	defer func() { // also when fn panics
		lost := errors.Is(context.Cause(work), lease.ErrLost)
		held.Release()
		end()
		<-kept
		gone := lanes.Parting(ctx, lanes.LastWords, func(ctx context.Context) error { return d.lanes.Leases.Release(ctx, l) })
		switch {
		case lost:
			err = errors.Join(err, fmt.Errorf("section on %s: %w", l.Subject, lease.ErrLost))
		case gone != nil:
			err = errors.Join(err, fmt.Errorf("section on %s: %w", l.Subject, gone))
		}
	}()
	return fn(lanes.WithLease(work, l))
}

// LeaseFrom returns the lease that a handler, or the fn of a Do, runs under: the innermost,
// if there are several. Its token is what stores should be sent.
func LeaseFrom(ctx context.Context) (l lease.Lease, ok bool) {
	all := lanes.LeasesOf(ctx)
	if len(all) == 0 {
		return lease.Lease{}, false
	}
	return all[0], true
}
