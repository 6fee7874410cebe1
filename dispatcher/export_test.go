package dispatcher

import (
	"context"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Deafen makes waiters hear no news, as if there were no pub/sub.
func (d *Dispatcher) Deafen(deaf bool) { d.lanes.News.Deaf = deaf }

// Quiet sets how long a subscription may be silent.
func (d *Dispatcher) Quiet(quiet time.Duration) { d.lanes.News.Quiet = quiet }

// Pace is how long a waiter for a job's news waits until it looks by itself.
func (d *Dispatcher) Pace(ref JobRef, waited time.Duration) time.Duration {
	return d.lanes.News.Pace(d.lanes.Keys(d.lanes.Partition(ref.Subject)).News(record.PackID(ref.ID)), waited)
}

// LateAsk asks for a lease as a section does, with a request that arrives after the one that gave it up.
func LateAsk(ctx context.Context, d *Dispatcher, key subject.Key) error {
	t := d.ticket(key, record.PackID("late"))
	defer t.caller.Rest()
	canonical, p := key.Canonical(), d.lanes.Partition(key)
	late := t.caller.Once(p, lanes.Script("section"), []string{d.lanes.Keys(p).Tail(canonical)}, canonical, t.holder, d.cfg.SectionTTL.Milliseconds(), t.entry())
	t.leave(ctx, false)
	_, err := d.lanes.Ask(ctx, late)
	return err
}

// AskTwice asks for a lease at once, and after something else with a copy of the same request.
func AskTwice(ctx context.Context, d *Dispatcher, key subject.Key, between func()) (first, again string, err error) {
	t := d.ticket(key, "")
	defer t.caller.Rest()
	canonical, p := key.Canonical(), d.lanes.Partition(key)
	call := t.caller.Once(p, lanes.Script("section"), []string{d.lanes.Keys(p).Tail(canonical)}, canonical, t.holder, d.cfg.SectionTTL.Milliseconds(), "")
	words, err := d.lanes.Ask(ctx, call)
	if err != nil {
		return "", "", err
	}
	first = words[0]
	between()
	words, err = d.lanes.Ask(ctx, t.caller.Again(call))
	if err != nil {
		return "", "", err
	}
	return first, words[0], nil
}

// SuspendTwice suspends a lane, and after something else with a copy of the same request.
func SuspendTwice(ctx context.Context, d *Dispatcher, key subject.Key, between func()) (first, again string) {
	return d.twice(ctx, d.lanes.Partition(key), lanes.Script("suspend"), between, key.Canonical(), "why", "*", "")
}

// CancelTwice cancels a job, and after something else with a copy of the same request.
func CancelTwice(ctx context.Context, d *Dispatcher, job Job, between func()) (first, again string) {
	return d.twice(ctx, d.lanes.Partition(job.Subject), lanes.Script("cancel"), between, job.Subject.Canonical(), job.Entry().String(), 0, "")
}

func (d *Dispatcher) twice(ctx context.Context, p int, s *script.Script, between func(), args ...any) (first, again string) {
	caller := d.lanes.Scripts.Caller()
	defer caller.Rest()
	call := caller.Once(p, s, nil, args...)
	words, err := d.lanes.Ask(ctx, call)
	first = fmt.Sprint(words)
	if err != nil {
		first = err.Error()
	}
	between()
	words, err = d.lanes.Ask(ctx, caller.Again(call))
	if err != nil {
		return first, err.Error()
	}
	return first, fmt.Sprint(words)
}
