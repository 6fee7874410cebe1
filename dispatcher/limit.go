package dispatcher

import (
	"context"
	_ "embed"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

// A limit of N is N slots, which are leases: whoever starts a job of the kind, or of the pool,
// takes one first, keeps it alive like the lane's, and gives it back at the end. So a limit
// holds across partitions, which no script could count over on a cluster, and after a
// crash; and what it costs is paid by those who have one.

func kindLimit(kind string) string { return "kind/" + kind }
func poolLimit(pool string) string { return "pool/" + pool }

func isPoolLimit(name string) bool { return strings.HasPrefix(name, poolLimit("")) }

//go:embed limit.lua
var limitLua string

var limitScript = verb("limit", limitLua)

// limitHome is the partition that a limit's slots are in.
func (d *Dispatcher) limitHome(name string) int { return d.ns.Partition(subject.Slot(name, 1)) }

// registerLimits writes limits to where they are enforced, and tells the sessions that run.
// On a cluster, those whose home is away are owed: sessions write them later (see owedLimits).
func (d *Dispatcher) registerLimits(ctx context.Context, limits map[string]record.Limit) error {
	names := slices.Sorted(maps.Keys(limits))
	if len(names) == 0 {
		return nil
	}
	calls := make([]*script.Call, len(names))
	for i, name := range names {
		r := limits[name]
		calls[i] = d.run.Plain(d.limitHome(name), limitScript, nil, name, r.Most, r.Every.Milliseconds(), r.Version)
	}
	asking, cancel := connect.Bounded(ctx)
	defer cancel()
	d.run.Run(asking, calls...)
	d.owedLimits.mu.Lock()
	defer d.owedLimits.mu.Unlock()
	for i, name := range names {
		_, err := calls[i].Words()
		switch {
		case err == nil:
			delete(d.owedLimits.limits, name)
		case connect.IsCluster(d.rdb) && errors.Is(err, ErrUnavailable):
			d.owedLimits.limits[name] = limits[name]
		default:
			return wrap("register limits", err)
		}
	}
	d.tell(ctx, d.keys[0].News(limitNews))
	return nil
}

// owedLimits are limits that could not be written yet.
type owedLimits struct {
	mu     sync.Mutex
	limits map[string]record.Limit
}

// payLimits writes what is owed.
func (d *Dispatcher) payLimits(ctx context.Context) {
	d.owedLimits.mu.Lock()
	owed := maps.Clone(d.owedLimits.limits)
	d.owedLimits.mu.Unlock()
	_ = d.registerLimits(ctx, owed) // else with the next beat
}

// tell says that there is news. It is a hint: nobody counts on it.
func (d *Dispatcher) tell(ctx context.Context, channel string) {
	_ = d.together(ctx, func(pipe redis.Pipeliner) { pipe.Publish(ctx, channel, "") })
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
	names := make([]string, len(asked)) // of the trip alone, which may go on when it was given up
	for i, l := range asked {
		names[i] = l.name
	}
	records, err := connect.Ask(ctx, func(ctx context.Context) ([]*redis.StringCmd, error) {
		records := make([]*redis.StringCmd, len(names))
		_, _ = d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { // each has its own error
			for i, name := range names {
				records[i] = pipe.HGet(ctx, d.keys[d.limitHome(name)].Limits(), name)
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
		return slices.DeleteFunc(asked, func(l limit) bool { return !d.mayBeLimited(l.name) })
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
			limited = known && !assumed || d.declaredLimit(l.name)
		case err != nil:
			limited = known || before == nil && d.mayBeLimited(l.name)
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

// mayBeLimited reports whether a limit that can't be read may be there, as far as the registry of
// kinds tells, which was read before: it has those of kinds, and not those of pools.
func (d *Dispatcher) mayBeLimited(name string) bool {
	return isPoolLimit(name) || d.declaredLimit(name)
}

// permits is what a session knows of the limits that it is under.
type permits struct {
	mu         sync.Mutex
	limits     []limit
	lost       []lostStarts
	recovering bool             // somebody asks for what got lost
	asking     map[shortOf]bool // places that it has, or had, in the order of those who are short
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
	s.d.payLimits(ctx)
	s.permits.mu.Lock()
	before := s.permits.limits
	s.permits.mu.Unlock()
	limits := s.d.limitsOf(ctx, &s.who, before)
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	s.permits.limits = limits
}
