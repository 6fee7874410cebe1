package inspect

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// facts are what a sentence is made of besides the lane or the job itself. What is not known is empty.
type facts struct {
	now     time.Time
	workers []session.Worker
	who     bool                // they are known
	limits  map[string]LimitUse // by their names
	waits   []link              // from the lane on, when its holder waits
	took    map[string]Durations
	ready   map[string]int // lanes, by the kind of their heads
	holds   []held         // that are on
	pools   map[string]string
}

// link is one step of a chain of waits: a subject that is waited for, and who has it.
type link struct {
	subject subject.Key
	holder  string
}

// facts reads them for lanes; all says that how long jobs take, and how many lanes are ready, is to be read too.
func (in *Inspector) facts(ctx context.Context, list []Lane, all bool) (f facts, missing *dispatcher.IncompleteError, err error) {
	f = facts{limits: make(map[string]LimitUse), took: make(map[string]Durations), ready: make(map[string]int), pools: make(map[string]string)}
	if f.now, err = in.lanes.Time(ctx); err != nil {
		return f, nil, err
	}
	f.workers, err = session.Workers(ctx, in.d)
	f.who = err == nil
	if missing, err = missing.Without(MissingWorkers, err); err != nil {
		return f, nil, err
	}
	f.holds, err = in.holdsOn(ctx, f.now)
	if missing, err = missing.Without("holds", err); err != nil {
		return f, nil, err
	}
	for i := range list {
		kind := list[i].Kind
		f.pools[kind] = in.poolOf(kind)
		if _, known := f.limits[lanes.KindLimit(kind)]; known || list[i].HeadID == "" {
			continue
		}
		if missing, err = missing.Without("limits", in.readLimits(ctx, &f, kind)); err != nil {
			return f, nil, err
		}
		if all {
			f.took[kind], err = in.Durations(ctx, kind)
			if missing, err = missing.Without("durations", err); err != nil {
				return f, nil, err
			}
		}
	}
	if all {
		if list[0].State == Leased {
			f.waits, err = in.waits(ctx, &f, &list[0])
			if missing, err = missing.Without("waits", err); err != nil {
				return f, nil, err
			}
		}
		stats, err := in.Stats(ctx)
		if err != nil && !errors.Is(err, dispatcher.ErrIncomplete) {
			return f, nil, err
		}
		for kind, k := range stats.Kinds {
			f.ready[kind] = k.Ready
		}
	}
	return f, missing, nil
}

// readLimits reads the limits that a kind is under: its own, and those of the pools that take it.
func (in *Inspector) readLimits(ctx context.Context, f *facts, kind string) error {
	names := []string{lanes.KindLimit(kind)}
	for i := range f.workers {
		if w := &f.workers[i]; w.Pool != "" && w.Takes(kind) {
			names = append(names, lanes.PoolLimit(w.Pool))
		}
	}
	for _, name := range names {
		if _, known := f.limits[name]; !known {
			use, err := in.limitUse(ctx, name, f.now)
			if answer := redis.Error(nil); errors.As(err, &answer) {
				err = nil // it can't be read, which is for the doctor to say
			}
			if err != nil {
				return err
			}
			f.limits[name] = use
		}
	}
	return nil
}

// maxLinks is how far a chain of waits is followed.
const maxLinks = 10

// waits follows the notes of those who hold one subject and wait for another.
func (in *Inspector) waits(ctx context.Context, f *facts, l *Lane) (chain []link, err error) {
	at, token := l.Subject.Canonical(), l.Token
	for range maxLinks {
		notes, err := in.lanes.Fields(ctx, in.lanes.Waits(), []string{at})
		if err != nil {
			return nil, lanes.Wrap("read waits", err)
		}
		text, _ := notes[0].(string)
		w, ok := record.ParseWait(text)
		if !ok || !w.Until.After(f.now) || lease.Token(w.Token) != token {
			return chain, nil
		}
		next := link{}
		if next.subject, err = subject.FromCanonical(w.Subject); err != nil {
			return chain, nil
		}
		held, err := in.lanes.LookAt(ctx, next.subject)
		if err != nil {
			return nil, err
		}
		next.holder = held.Lease.Holder
		chain = append(chain, next)
		at, token = w.Subject, lease.Token(held.Lease.Token)
	}
	return chain, nil
}

// given is when a lease was given: tokens follow the clock.
func given(token lease.Token) time.Time { return time.UnixMicro(int64(token)).UTC() }
