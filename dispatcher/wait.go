package dispatcher

import (
	"context"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// waitCounts is how long a note counts that somebody waits, if its lease lasts.
const waitCounts = 30 * time.Second

// wait is the wait of work that holds leases for one more subject.
type wait struct {
	d    *Dispatcher
	held []lease.Lease
	key  subject.Key
}

// waitOn notes, until end is called, that the work of ctx waits for a subject. It returns
// [ErrWouldDeadlock] when the wait could not end. Work that holds nothing deadlocks with nobody.
func (d *Dispatcher) waitOn(ctx context.Context, key subject.Key) (end func(), err error) {
	w := wait{d, lanes.LeasesOf(ctx), key}
	if len(w.held) == 0 {
		return func() {}, nil
	}
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		again := time.Tick(waitCounts / 3)
		for {
			select {
			case <-ended:
				_ = lanes.Parting(ctx, lanes.LastWords, func(ctx context.Context) error { _, err := w.say(ctx, "leave", w.held...); return err })
				return
			case <-again:
				_, _ = w.say(ctx, "wait", w.held...)
			}
		}
	}()
	return func() { close(ended); <-over }, nil
}

// begin makes the first note. A chain of notes that leads to a deadlock is believed when the leases
// of all who wait in it last: a note may outlive its process.
func (w *wait) begin(ctx context.Context) error {
	for {
		chain, err := w.say(ctx, "wait", w.held...)
		if err != nil || chain == nil {
			return err
		}
		over, err := w.over(ctx, chain)
		if err != nil {
			return err
		}
		if len(over) == 0 {
			return fmt.Errorf("%w: %s is held by who waits for the caller, or by the caller", ErrWouldDeadlock, w.key)
		}
		if _, err := w.say(ctx, "drop", over...); err != nil {
			return err
		}
	}
}

// say makes, repeats or drops notes.
func (w *wait) say(ctx context.Context, what string, about ...lease.Lease) ([]lease.Lease, error) {
	return w.d.lanes.Wait(ctx, what, waitCounts, w.key, about)
}

// over returns those of some leases that do not last: another one has been given, or none, or its end has come.
func (w *wait) over(ctx context.Context, leases []lease.Lease) (over []lease.Lease, err error) {
	now, err := w.d.lanes.Time(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		lane, err := w.d.lanes.LookAt(ctx, l.Subject)
		if err != nil {
			return nil, err
		}
		if !lane.Leased || lane.Lease.Token != int64(l.Token) || !lane.Until.After(now) {
			over = append(over, l)
		}
	}
	return over, nil
}
