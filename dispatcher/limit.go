package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// A limit of N is N slots, which are leases: whoever starts a job of the kind, or of the pool,
// takes one first, keeps it alive like the lane's, and gives it back at the end. So a limit
// holds across partitions, which no script could count over on a cluster, and after a
// crash; and what it costs is paid by those who have one.

func kindLimit(kind string) string { return "kind/" + kind }
func poolLimit(pool string) string { return "pool/" + pool }

func isPoolLimit(name string) bool { return strings.HasPrefix(name, poolLimit("")) }

// limitRecord is what stands among the limits: "<most at once> <ms between two starts>".
func limitRecord(most int, every time.Duration) string {
	return fmt.Sprintf("%d %d", most, every.Milliseconds())
}

// limitHome is the partition that a limit's slots are in.
func (d *Dispatcher) limitHome(name string) int { return d.ns.Partition(subject.Slot(name, 1)) }

// noLimit is the record of a kind that has no limit (any more): those who knew another one find
// that, and not none.
const noLimit = "0 0"

// registerLimits writes limits to where they are enforced, and tells the sessions that run.
func (d *Dispatcher) registerLimits(ctx context.Context, limits map[string]string) error {
	if len(limits) == 0 {
		return nil
	}
	_, err := d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for name, record := range limits {
			pipe.HSet(ctx, d.keys[d.limitHome(name)].Limits(), name, record)
		}
		pipe.Publish(ctx, d.keys[0].News(limitNews), "")
		return nil
	})
	return wrap("register limits", err)
}

// limitNews is the name of the channel that tells of limits that were declared or changed.
const limitNews = "limits"

// limit is one limit that a session's claims are under.
type limit struct {
	name  string
	kinds []string // of the session's kinds, those that it limits

	assumed bool // it could not be read, and there may be none
}

// limitsOf returns the limits of a claimant: those of its kinds, and last that of its pool; before
// are those that it was under, nil when it asks for the first time. One that is not there, though
// it was known or is declared, lets nothing start: policy fails closed. So does one that can't be
// read the first time; later, what was known stays.
func (d *Dispatcher) limitsOf(ctx context.Context, who *Claimant, before []limit) []limit {
	var asked []limit
	for _, kind := range who.Kinds {
		asked = append(asked, limit{name: kindLimit(kind), kinds: []string{kind}})
	}
	if who.Pool != "" {
		asked = append(asked, limit{name: poolLimit(who.Pool), kinds: who.Kinds})
	}
	records, err := connect.Ask(ctx, func(ctx context.Context) ([]*redis.StringCmd, error) {
		records := make([]*redis.StringCmd, len(asked))
		_, _ = d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each has its own error
			for i, l := range asked {
				records[i] = pipe.HGet(ctx, d.keys[d.limitHome(l.name)].Limits(), l.name)
			}
			return nil
		})
		return records, nil
	})
	switch {
	case err != nil && before == nil:
		for i := range asked {
			asked[i].assumed = true
		}
		return asked
	case err != nil:
		return before
	}
	limits := []limit{}
	for i, l := range asked {
		record, err := records[i].Result()
		at := slices.IndexFunc(before, func(b limit) bool { return b.name == l.name })
		known, assumed := at >= 0, at >= 0 && before[at].assumed
		limited := record != noLimit
		switch {
		case errors.Is(err, redis.Nil):
			limited = known && !assumed || d.declaredLimit(l.name)
		case err != nil:
			limited = known || before == nil
			l.assumed = assumed || before == nil
		}
		if limited {
			limits = append(limits, l)
		}
	}
	return limits
}

// declaredLimit reports whether the kind of a limit was declared to have one when d was opened.
func (d *Dispatcher) declaredLimit(name string) bool {
	kind, isKind := strings.CutPrefix(name, kindLimit(""))
	k := d.registry[kind]
	return isKind && (k.Limit > 0 || k.Every > 0)
}

// permits is what a session knows of the limits that it is under.
type permits struct {
	mu     sync.Mutex
	limits []limit
	asking map[shortOf]bool // places that it has, or had, in the order of those who are short
}

// under returns the limits that claims of a claimant, which is the session's, are under.
func (s *Session) under(who *Claimant) []limit {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	if len(who.Kinds) == len(s.who.Kinds) {
		return s.permits.limits
	}
	var limits []limit
	for _, l := range s.permits.limits {
		l.kinds = slices.DeleteFunc(slices.Clone(l.kinds), func(kind string) bool { return !slices.Contains(who.Kinds, kind) })
		if len(l.kinds) > 0 {
			limits = append(limits, l)
		}
	}
	return limits
}

// watchLimits reads the limits again when some were declared or changed, until the session ends. What
// a lost hint did not tell is found with the next beat.
func (s *Session) watchLimits(declared <-chan struct{}) {
	for {
		select {
		case <-s.over:
			return
		case <-declared:
			ctx, cancel := context.WithTimeout(context.Background(), BeatEvery)
			s.readLimits(ctx)
			cancel()
		}
	}
}

func (s *Session) readLimits(ctx context.Context) {
	s.permits.mu.Lock()
	before := s.permits.limits
	s.permits.mu.Unlock()
	limits := s.d.limitsOf(ctx, &s.who, before)
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	s.permits.limits = limits
}
