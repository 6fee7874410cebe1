package worker

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// What a pool says, each thing in one line, is listed in docs/operations.md, with its level and
// fields. Fields have the same names everywhere; payloads are never among them.

// about are the fields of a line about an attempt, and more.
func about(c *session.Claim, more ...any) []any {
	return append([]any{
		"job", c.ID, "subject", c.Subject.String(), "kind", c.Kind, "attempt", c.Attempt, "token", c.Lease.Token.String(),
	}, more...)
}

// sayLost tells of attempts whose holders went silent, which this pool has found: their jobs run
// again, or are dead letters now.
func (p *Pool) sayLost(lost []session.LostAttempt) {
	for i := range lost {
		l := &lost[i]
		fields := []any{
			"job", l.Job, "subject", l.Subject.String(), "kind", l.Kind, "attempt", l.Attempt, "token", l.Token.String(),
			"reason", "worker lost", "lost_holder", l.Holder,
		}
		switch l.Became {
		case dispatcher.JobDead:
			p.counts.buried.Add(1)
			p.log.Error("dead letter", fields...)
		case dispatcher.JobHalted:
			p.counts.buried.Add(1)
			p.log.Error("lane halted: its head failed for good", fields...)
		case dispatcher.JobCancelled:
			p.log.Warn("attempt lost with its worker; its job was cancelled", fields...)
		default:
			p.log.Warn("attempt lost with its worker; its job is taken over", fields...)
		}
	}
}

// outage tells of Redis going away and coming back, in one line each, however many calls of
// the pool notice it.
type outage struct {
	log   *scribe
	apart bool

	mu    sync.Mutex
	trips map[int]bool // partitions whose trips are not served; on one server it stands for all
	other map[asker]bool
	since time.Time
	over  time.Time // what was sent before proves nothing any more

	refusal string // last one told
	toldAt  time.Time
}

// asker is who else asks Redis, on connections of its own: those may be cut where trips are served,
// and the other way round.
type asker struct {
	what  string
	place int
}

var beats = asker{what: "beats"}

// waits is who waits for hints at a place. Each has a connection of its own, which may fail by
// itself.
func waits(place int) asker { return asker{"waits", place} }

// newOutage makes the record of a pool that was served so far.
func newOutage(log *scribe, apart bool) *outage {
	return &outage{log: log, apart: apart, trips: make(map[int]bool), other: make(map[asker]bool)}
}

// trip notes how a partition's part of a trip has ended, that was sent at a moment.
func (o *outage) trip(partition int, sent time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.apart {
		partition = 0
	}
	if o.failedLocked(sent, sent, err) {
		o.trips[partition] = true
		return
	}
	if err != nil || !o.trips[partition] {
		return
	}
	// Trips are what a pool lives by: when all of them are served, the others' news is old.
	delete(o.trips, partition)
	if len(o.trips) == 0 {
		clear(o.other)
	}
	o.endedLocked()
}

// heard notes how another call has ended. It can't end an outage that trips have met.
func (o *outage) heard(by asker, sent time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	since, late := sent, net.Error(nil)
	if by.what == "waits" && !(errors.As(err, &late) && late.Timeout()) {
		since = time.Now() // Redis was there while it waited, until the connection broke
	}
	if o.failedLocked(sent, since, err) {
		o.other[by] = true
	} else if err == nil && o.other[by] {
		delete(o.other, by)
		o.endedLocked()
	}
}

// away reports whether anybody is not served.
func (o *outage) away() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.awayLocked()
}

// awayLocked reports whether anybody is not served.
func (o *outage) awayLocked() bool { return len(o.trips)+len(o.other) > 0 }

// failedLocked tells of what is wrong, and reports whether it is that Redis is away; since is when that may have begun.
func (o *outage) failedLocked(sent, since time.Time, err error) bool {
	switch {
	case err == nil, sent.Before(o.over):
		return false
	case !errors.Is(err, dispatcher.ErrUnavailable):
		o.refusedLocked(time.Now(), err)
		return false
	}
	if !o.awayLocked() {
		o.since = since
		o.log.Warn("redis is away; asking it ever more slowly", "err", err)
	}
	return true
}

// endedLocked tells that Redis is back, when nobody is left that is not served. Answers to what was
// sent before that are news of the outage, and no new one begins with them.
func (o *outage) endedLocked() {
	if !o.awayLocked() {
		o.over = time.Now()
		o.log.Info("redis is back", "after", o.over.Sub(o.since).Round(time.Millisecond))
	}
}

// refusedLocked tells of an answer that is an error; of the same one once a minute.
func (o *outage) refusedLocked(now time.Time, err error) {
	if text := err.Error(); text != o.refusal || now.Sub(o.toldAt) >= time.Minute {
		o.refusal, o.toldAt = text, now
		o.log.Warn("redis does not serve; trying again", "err", err)
	}
}
