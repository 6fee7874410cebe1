package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

//go:embed wait.lua
var waitLua string

var waitScript = script.NewWhole("wait", waitLua)

// heldBy returns the leases that the work of a context has.
func heldBy(ctx context.Context) (held []lease.Lease) {
	if c, ok := ClaimFrom(ctx); ok {
		held = append(held, c.Lease)
	}
	for s := sectionOf(ctx); s != nil; s = s.outer {
		held = append(held, s.lease)
	}
	return held
}

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
	w := wait{d, heldBy(ctx), key}
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
				_ = parting(ctx, lastWords, func(ctx context.Context) error { _, err := w.say(ctx, "leave", w.held...); return err })
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

// say runs the script. It returns the notes that lead to a deadlock, if any, as the leases they are
// about: not nil, but empty, when what is waited for is held by the work itself.
func (w *wait) say(ctx context.Context, what string, about ...lease.Lease) ([]lease.Lease, error) {
	args := []any{what, waitCounts.Milliseconds(), w.key.Canonical()}
	for _, l := range about {
		args = append(args, l.Subject.Canonical(), l.Token.String())
	}
	reply, err := w.d.ask(ctx, w.d.run.Whole(waitScript, []string{w.d.ns.Waits()}, args...))
	if err != nil {
		return nil, fmt.Errorf("note a wait: %w", err)
	}
	if reply[0] != "deadlock" {
		return nil, nil
	}
	chain := []lease.Lease{}
	for notes := reply[1:]; len(notes) >= 2; notes = notes[2:] {
		l := lease.Lease{}
		if l.Subject, err = subject.FromCanonical(notes[0]); err == nil {
			l.Token, err = lease.ParseToken(notes[1])
		}
		if err != nil {
			return nil, fmt.Errorf("note a wait: reply %q: %w", notes[:2], err)
		}
		chain = append(chain, l)
	}
	return chain, nil
}

// over returns those of some leases that do not last: another one has been given, or none, or its end has come.
func (w *wait) over(ctx context.Context, leases []lease.Lease) (over []lease.Lease, err error) {
	now, err := w.d.now(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range leases {
		lanes, err := w.d.describe(ctx, w.d.ns.Partition(l.Subject), []string{l.Subject.Canonical()})
		if err != nil {
			return nil, err
		}
		if len(lanes) == 0 || lanes[0].Token != l.Token || !lanes[0].ExpiresAt.After(now) {
			over = append(over, l)
		}
	}
	return over, nil
}
