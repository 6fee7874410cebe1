package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// limit is one limit that a session's claims are under. A limit of a kind has one kind; the limit of a pool has
// all of the session's, because a session is of one pool.
type limit struct {
	name  string
	kinds []string // of the session's kinds, those that it limits

	assumed bool // it could not be read, and there may be none
}

// limitsOf returns the limits of a claimant: those of its kinds, and last that of its pool; before are those
// that it was under, nil when it asks for the first time. One that is not there, though it was known or is
// declared, lets nothing start: policy fails closed. So does one that can't be read the first time; later, what
// was known stays.
//
// It reads one hash field for each kind and the pool, in one round trip to a single server. A record that says
// "no limit" is one that was taken back, and is not the same as none.
func (s *Session) limitsOf(ctx context.Context, who *Claimant, before []limit) []limit {
	var asked []limit
	for _, kind := range who.Kinds {
		asked = append(asked, limit{name: lanes.KindLimit(kind), kinds: []string{kind}})
	}
	if who.Pool != "" {
		asked = append(asked, limit{name: lanes.PoolLimit(who.Pool), kinds: who.Kinds})
	}
	names := make([]string, len(asked)) // of the trip alone, which may go on when it was given up
	for i, l := range asked {
		names[i] = l.name
	}
	records, err := connect.Ask(ctx, func(ctx context.Context) ([]*redis.StringCmd, error) {
		records := make([]*redis.StringCmd, len(names))
		_, _ = s.lanes.Redis.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each has its own error
			for i, name := range names {
				records[i] = pipe.HGet(ctx, s.lanes.Keys(s.lanes.LimitHome(name)).Limits(), name)
			}
			return nil
		})
		return records, nil
	})
	// The trip has failed as a whole: what was known counts on, and at the start all that may be limited is.
	switch {
	case err != nil && before == nil:
		for i := range asked {
			asked[i].assumed = true
		}
		return slices.DeleteFunc(asked, func(l limit) bool { return !s.mayBeLimited(l.name) })
	case err != nil:
		return before
	}
	limits := []limit{}
	for i, l := range asked {
		text, err := records[i].Result()
		at := slices.IndexFunc(before, func(b limit) bool { return b.name == l.name })
		known, assumed := at >= 0, at >= 0 && before[at].assumed
		_, limited := record.ParseLimit(text)
		switch {
		case errors.Is(err, redis.Nil):
			limited = known && !assumed || s.declaredLimit(l.name)
		case err != nil:
			limited = known || before == nil && s.mayBeLimited(l.name)
			l.assumed = assumed || before == nil
		}
		if limited {
			limits = append(limits, l)
		}
	}
	return limits
}

// declaredLimit reports whether the kind of a limit was declared to have one when the namespace was opened.
// Limits of pools are in no registry, so of these it says no.
func (s *Session) declaredLimit(name string) bool {
	kind, isKind := strings.CutPrefix(name, lanes.KindLimit(""))
	k, _ := s.d.Declared(kind)
	return isKind && (k.Limit > 0 || k.Every > 0)
}

// mayBeLimited reports whether a limit that can't be read may be there, as far as the registry of kinds tells,
// which was read before: it has the limits of kinds and not those of pools, so a pool may always be limited.
func (s *Session) mayBeLimited(name string) bool {
	return lanes.IsPoolLimit(name) || s.declaredLimit(name)
}

// permits is what a session knows of the limits that it is under. All of it is under mu, and limits is replaced
// and never changed, so a trip goes on with those that it began with. recovery is made with the session.
type permits struct {
	mu       sync.Mutex
	limits   []limit
	lost     []lostStarts
	asking   map[shortOf]bool // places that it has, or had, in the order of those who are short
	recovery chan struct{}    // has room for whoever asks for what got lost: one at a time
}

// under returns the limits that claims of a claimant are under: the session's, or for a claimant with fewer
// kinds those that are left of them, each with fewer kinds.
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

// watchLimits reads the limits again when some were declared or changed, until the session ends. A change that
// a lost hint did not tell is found with the next beat; therefore a read gets no longer than [BeatEvery].
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

// readLimits reads the limits that the session is under, after it has written those that this process owes (a
// cluster's home of a limit may have been away when it was declared). The mutex is free while Redis is asked:
// trips go on under the limits of before.
func (s *Session) readLimits(ctx context.Context) {
	s.lanes.PayLimits(ctx)
	s.permits.mu.Lock()
	before := s.permits.limits
	s.permits.mu.Unlock()
	limits := s.limitsOf(ctx, &s.who, before)
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	s.permits.limits = limits
}
