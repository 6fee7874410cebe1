package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/boot"
)

// Renewer is the verb of [Store] that a Keeper needs.
type Renewer interface {
	Renew(ctx context.Context, ttl time.Duration, leases ...Lease) []error
}

// Keeper keeps leases alive while work runs under them, and cancels the work in
// time when it could not. Run must be running from the first Keep to the last
// release. Its methods are safe for concurrent use.
type Keeper struct {
	renewer Renewer
	ttl     time.Duration
	margin  time.Duration
	slept   func() time.Duration // for how long the machine has been suspended

	mu      sync.Mutex
	held    map[*Held]struct{}
	stopped error // set by Cancel

	panicked any // what the renewer did at the last renewal
}

// Held is one lease in a Keeper's care, from Hold to Release.
type Held struct {
	keeper *Keeper
	end    context.CancelCauseFunc

	// These belong to Keeper.mu.
	lease   Lease
	proven  moment
	renewAt time.Time
}

// moment is a time by the monotonic clock, and how long the machine had been suspended until then.
// The wall clock says nothing here: who sets it forward must not end all work, and who sets it
// back must not let work go on.
type moment struct {
	at    time.Time
	slept time.Duration
}

func (k *Keeper) now() moment { return moment{time.Now(), k.slept()} }

// past reports whether t has come for h at a moment: a suspension since the lease was proven
// counts, though the monotonic clock stood still.
func (h *Held) past(now moment, t time.Time) bool {
	return !now.at.Add(now.slept - h.proven.slept).Before(t)
}

// NewKeeper returns a Keeper of leases of the given TTL. It renews at a third of
// it. Work is cancelled margin before the lease can end; margin is the time that
// work has to stop.
func NewKeeper(r Renewer, ttl, margin time.Duration) *Keeper {
	return &Keeper{renewer: r, ttl: ttl, margin: margin, slept: boot.Slept, held: make(map[*Held]struct{})}
}

// Keep is Hold for work that has no context yet: it returns one, which ends with the lease, and when h is released.
func (k *Keeper) Keep(ctx context.Context, l Lease) (work context.Context, h *Held) {
	work, end := context.WithCancelCause(ctx)
	h = k.Hold(l, end)
	return h.Under(work), h
}

// Hold puts a lease into the keeper's care. It calls end with cause [ErrLost] when the lease is known to be
// lost or can't be proven any more, with [ErrCancelled] when an operator asks for it, and with the cause of
// [Keeper.Cancel]; of several causes the first counts. end must not wait for anything, nor call the keeper. Call
// Release when the lease has ended or its end has been reported.
func (k *Keeper) Hold(l Lease, end context.CancelCauseFunc) *Held {
	now := k.now()
	// Between the request and now the machine may have been suspended. That shows only as a
	// wall clock that has gone on further, so for this moment its word is taken: of more than
	// what reading two clocks makes of it.
	asleep := max(0, now.at.Round(0).Sub(l.Proven.Round(0))-now.at.Sub(l.Proven)).Truncate(10 * time.Millisecond)
	h := &Held{keeper: k, lease: l, proven: moment{l.Proven, now.slept - asleep}, renewAt: l.Proven.Add(k.ttl / 3), end: end}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held[h] = struct{}{}
	if k.stopped != nil {
		end(k.stopped)
	}
	return h
}

// Under returns the context of work under the lease, for [Until].
func (h *Held) Under(ctx context.Context) context.Context {
	return context.WithValue(ctx, keptKey{}, &kept{h, ctx})
}

// Release takes the lease out of the keeper's care. Its work has ended.
func (h *Held) Release() {
	k := h.keeper
	k.mu.Lock()
	delete(k.held, h)
	k.mu.Unlock()
	h.end(context.Canceled)
}

// Cancel cancels all work in the keeper's care, and what will come into it, with a
// cause. The leases are kept until they are released.
func (k *Keeper) Cancel(cause error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = cause
	for h := range k.held {
		h.end(cause)
	}
}

// Lose ends the work under a lease that is known to be lost, with cause [ErrLost].
func (h *Held) Lose() {
	k := h.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.held[h]; ok {
		k.loseLocked(h)
	}
}

// Look renews all leases now, to learn what was asked of their holder.
func (k *Keeper) Look(ctx context.Context) {
	k.mu.Lock()
	all := slices.Collect(maps.Keys(k.held))
	k.mu.Unlock()
	if len(all) > 0 {
		k.renew(ctx, all)
	}
}

// Trusted reports whether the lease can still be relied on: the last look before work starts. It asks Redis
// only when the lease was not proven within the last third of its TTL.
func (h *Held) Trusted(ctx context.Context) bool {
	k := h.keeper
	k.mu.Lock()
	now := k.now()
	_, ok := k.held[h]
	if !ok || h.past(now, k.deadline(h)) {
		k.mu.Unlock()
		return false
	}
	fresh := !h.past(now, h.renewAt)
	k.mu.Unlock()
	if fresh {
		return true
	}
	k.renew(ctx, []*Held{h})
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok = k.held[h]
	return ok && !h.past(k.now(), k.deadline(h))
}

// Run renews and watches until ctx is done. The watch does no I/O, so a stuck
// renewal cannot delay a cancellation.
func (k *Keeper) Run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { every(ctx, k.ttl/3, k.renewDue) })
	// A lease that comes into care with little of its window left is seen at the
	// next look, so looks are closer together than the margin is wide.
	look := min(time.Second, max(k.margin/4, 10*time.Millisecond))
	both.Go(func() { every(ctx, look, k.cancelOver) })
	both.Wait()
}

// every calls step, which returns when it wants to be called next, and at the
// latest after longest.
func every(ctx context.Context, longest time.Duration, step func(context.Context) time.Time) {
	timer := time.NewTimer(longest)
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			next := step(ctx)
			timer.Reset(max(0, min(longest, time.Until(next))))
		}
	}
}

// renewDue renews what is due and returns when the next lease is. A lease that
// comes into care meanwhile is not due for a third of its TTL, so none is late.
func (k *Keeper) renewDue(ctx context.Context) time.Time {
	now := k.now()
	var due []*Held
	k.mu.Lock()
	for h := range k.held {
		if h.past(now, h.renewAt) {
			due = append(due, h)
		}
	}
	k.mu.Unlock()
	if len(due) > 0 {
		k.renew(ctx, due)
	}
	next := time.Now().Add(k.ttl)
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.held {
		if h.renewAt.Before(next) {
			next = h.renewAt
		}
	}
	return next
}

func (k *Keeper) renew(ctx context.Context, due []*Held) {
	ctx, cancel := context.WithTimeout(ctx, k.ttl/3)
	defer cancel()
	leases := make([]Lease, len(due))
	k.mu.Lock()
	for i, h := range due {
		leases[i] = h.lease
	}
	k.mu.Unlock()

	sent := k.now() // before the request: Redis counts from later on
	answers, panicked := k.ask(ctx, leases)

	k.mu.Lock()
	defer k.mu.Unlock()
	k.panicked = panicked
	for i, h := range due {
		switch answers[i] {
		case renewed, cancelled:
			h.lease.Proven, h.lease.TTL, h.proven = sent.at, k.ttl, sent
			h.renewAt = sent.at.Add(k.ttl / 3)
			if answers[i] == cancelled {
				h.end(ErrCancelled) // the lease is kept until the work has ended
			}
		case lost:
			k.loseLocked(h)
		case unknown: // go on trying until the deadline
			h.renewAt = time.Now().Add(k.ttl / 12)
		}
	}
}

// answer is what a renewal came to for one lease.
type answer int

const (
	unknown answer = iota
	renewed
	cancelled
	lost
)

// ask renews leases. The renewer and its errors may be anybody's code: nothing of them is touched
// outside of the recover, and one that panics has not answered (H1).
func (k *Keeper) ask(ctx context.Context, leases []Lease) (answers []answer, panicked any) {
	answers = make([]answer, len(leases))
	defer func() { panicked = recover() }()
	for i, err := range k.renewer.Renew(ctx, k.ttl, leases...) {
		switch {
		case err == nil:
			answers[i] = renewed
		case errors.Is(err, ErrCancelled):
			answers[i] = cancelled
		case errors.Is(err, ErrLost):
			answers[i] = lost
		}
	}
	return answers, nil
}

// cancelOver cancels work whose lease can't be relied on any longer, and returns
// when the next deadline is.
func (k *Keeper) cancelOver(context.Context) time.Time {
	now := k.now()
	next := now.at.Add(k.ttl)
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.held {
		switch at := k.deadline(h); {
		case h.past(now, at):
			k.loseLocked(h)
		case at.Before(next):
			next = at
		}
	}
	return next
}

func (k *Keeper) loseLocked(h *Held) {
	delete(k.held, h)
	cause := ErrLost
	if k.panicked != nil {
		cause = fmt.Errorf("%w: the last renewal panicked with a %T", ErrLost, k.panicked)
	}
	h.end(cause)
}

// deadline is when work must have been told to stop.
func (k *Keeper) deadline(h *Held) time.Time {
	return h.lease.Proven.Add(h.lease.TTL - k.margin)
}
