package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// What a pool says, each thing in one line, is listed in docs/operations.md, with its level and
// fields. Fields have the same names everywhere; payloads are never among them.

// about are the fields of a line about an attempt, and more.
func about(c *dispatcher.Claim, more ...any) []any {
	return append([]any{
		"job", c.ID, "subject", c.Subject.String(), "kind", c.Kind, "attempt", c.Attempt, "token", c.Lease.Token.String(),
	}, more...)
}

// failure are the fields of what went wrong: the error, and the stack where there is one.
func failure(err error, text string) []any {
	var stacked interface{ stackText() string }
	switch {
	case errors.As(err, &stacked):
		return []any{"err", err.Error(), "stack", stacked.stackText()}
	case err != nil:
		return []any{"err", err.Error()}
	}
	return []any{"err", text}
}

// sayLost tells of attempts whose holders went silent, which this pool has found: their jobs run
// again, or are dead letters now.
func (p *Pool) sayLost(lost []dispatcher.LostAttempt) {
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
	log *slog.Logger

	mu      sync.Mutex
	sources []source
	away    int // sources that are
	since   time.Time

	refusal string // last one told
	toldAt  time.Time
}

// source is a part of what a pool asks, that may be served while another is not: on a cluster
// the servers of the partitions and what has no partition, elsewhere there is one.
type source struct {
	away   bool
	served time.Time // when a call was last
}

// noPartition stands for what a pool asks of no partition in particular.
const noPartition = -1

func newOutage(log *slog.Logger, partitions int, apart bool) *outage {
	o := &outage{log: log, sources: make([]source, 1)}
	if apart {
		o.sources = make([]source, 1+partitions)
	}
	return o
}

// heard notes how a call has ended that was sent at a moment.
func (o *outage) heard(partition int, sent time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &o.sources[0]
	if len(o.sources) > 1 {
		s = &o.sources[1+partition]
	}
	now := time.Now()
	switch {
	case err == nil:
		s.served = now
		if !s.away {
			return
		}
		s.away = false
		if o.away--; o.away == 0 {
			o.log.Info("redis is back", "after", now.Sub(o.since).Round(time.Millisecond))
		}
	case !errors.Is(err, dispatcher.ErrUnavailable):
		o.refusedLocked(now, err)
	case s.away || sent.Before(s.served): // what was sent before the last answer proves nothing now
	default:
		s.away = true
		if o.away++; o.away == 1 {
			o.since = sent
			o.log.Warn("redis is away; asking it ever more slowly", "err", err)
		}
	}
}

// refusedLocked tells of an answer that is an error; of the same one once a minute.
func (o *outage) refusedLocked(now time.Time, err error) {
	if text := err.Error(); text != o.refusal || now.Sub(o.toldAt) >= time.Minute {
		o.refusal, o.toldAt = text, now
		o.log.Warn("redis does not serve; trying again", "err", err)
	}
}

// debugging reports whether single attempts are to be told of.
func debugging(log *slog.Logger) bool { return log.Enabled(context.Background(), slog.LevelDebug) }
