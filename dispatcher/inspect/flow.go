package inspect

import (
	"context"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// Flow is how many attempts of a kind ended, minute by minute for two hours and by ten minutes for three days, the oldest first. Times in
// which none ended are not in it. Workers tell every five seconds, and what they tell counts for the minute in which they do: after
// Redis was away that is one minute for all that ended meanwhile.
type Flow struct {
	AsOf       time.Time   `json:"as_of"` // by Redis's clock
	Minutes    []FlowPoint `json:"minutes"`
	TenMinutes []FlowPoint `json:"ten_minutes"`
}

// FlowPoint is what ended in a minute, or in ten.
type FlowPoint struct {
	From     time.Time                    `json:"from"`
	ByEnding map[session.Ending]FlowCount `json:"by_ending"`
}

// FlowCount is a number of attempts, and for how long their handlers ran together. That is read from buckets, as [Durations] are: it may be 9 %
// off, and attempts under 1 ms count as 1 ms.
type FlowCount struct {
	Count int64         `json:"count"`
	Took  time.Duration `json:"took_ns"`
}

// FlowSum is what ended in some minutes, and how fast that is. Handlers is how many ran at a time, on the average.
type FlowSum struct {
	Count     int64                        `json:"count"`
	PerMinute float64                      `json:"per_minute"`
	Handlers  float64                      `json:"handlers"`
	ByEnding  map[session.Ending]FlowCount `json:"by_ending"`
}

// Since adds up the last so many minutes, 1 to 120, that which is not over among them. Rates take the part of it that has passed, and
// a minute at least.
func (f Flow) Since(minutes int) FlowSum {
	s := FlowSum{ByEnding: make(map[session.Ending]FlowCount)}
	minutes = min(max(minutes, 1), lanes.FlowMinutes)
	from := f.AsOf.Truncate(time.Minute).Add(-time.Duration(minutes-1) * time.Minute)
	var took time.Duration
	for _, p := range f.Minutes {
		if p.From.Before(from) {
			continue
		}
		for how, c := range p.ByEnding {
			sum := s.ByEnding[how]
			s.ByEnding[how] = FlowCount{sum.Count + c.Count, sum.Took + c.Took}
			s.Count, took = s.Count+c.Count, took+c.Took
		}
	}
	passed := max(f.AsOf.Sub(from), time.Minute)
	s.PerMinute, s.Handlers = float64(s.Count)/passed.Minutes(), float64(took)/float64(passed)
	return s
}

// Flow returns how many attempts of a kind ended lately, with one HGETALL of at most 2,760 fields and one TIME, however many there
// were. A kind of which none has ended for three days, or which nobody knows, has none, and that is no error.
func (in *Inspector) Flow(ctx context.Context, kind string) (Flow, error) {
	slots, err := in.lanes.ReadFlow(ctx, kind)
	if err != nil {
		return flowOf(nil, time.Time{}), err
	}
	now, err := in.lanes.Time(ctx)
	return flowOf(slots, now), err
}

// Flows returns the last so many minutes, 1 to 120, of several kinds, each of which is in it: without TenMinutes. It costs a
// HMGET a kind, in one round trip for twenty of them, and a TIME. Another number of minutes is an error that wraps
// [dispatcher.ErrInvalid].
func (in *Inspector) Flows(ctx context.Context, kinds []string, minutes int) (map[string]Flow, error) {
	if minutes < 1 || minutes > lanes.FlowMinutes {
		return nil, lanes.Invalid("minutes", minutes, "must be 1 to 120")
	}
	now, err := in.lanes.Time(ctx)
	if err != nil {
		return nil, err
	}
	endings := make([]string, len(session.Endings))
	for i, how := range session.Endings {
		endings[i] = string(how)
	}
	slots, err := in.lanes.ReadFlows(ctx, kinds, endings, now, minutes)
	if err != nil {
		return nil, err
	}
	all := make(map[string]Flow, len(kinds))
	for _, kind := range kinds {
		all[kind] = flowOf(slots[kind], now)
	}
	return all, nil
}

// flowOf makes points of slots. One whose time has come round, and whose place has not been needed since, is in none.
func flowOf(slots []lanes.FlowSlot, now time.Time) Flow {
	f := Flow{AsOf: now.UTC(), Minutes: []FlowPoint{}, TenMinutes: []FlowPoint{}}
	for _, s := range slots {
		points, reach := &f.Minutes, lanes.FlowMinutes*time.Minute
		if s.Long > time.Minute {
			points, reach = &f.TenMinutes, lanes.FlowTenMinutes*s.Long
		}
		if f.AsOf.Sub(s.From) >= reach {
			continue
		}
		at := slices.IndexFunc(*points, func(p FlowPoint) bool { return p.From.Equal(s.From) })
		if at < 0 {
			at = len(*points)
			*points = append(*points, FlowPoint{s.From, make(map[session.Ending]FlowCount)})
		}
		(*points)[at].ByEnding[session.Ending(s.Ending)] = FlowCount{s.Count, s.Took}
	}
	for _, points := range [][]FlowPoint{f.Minutes, f.TenMinutes} {
		slices.SortFunc(points, func(a, b FlowPoint) int { return a.From.Compare(b.From) })
	}
	return f
}
