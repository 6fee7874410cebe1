package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// held is a hold with what is said of it to people.
type held struct {
	record.HoldRule
	Reason string `json:"reason"`
	By     string `json:"by"`
	Since  int64  `json:"since_ms"`
}

// holdsOn reads the holds that are on at a moment.
func (in *Inspector) holdsOn(ctx context.Context, now time.Time) (all []held, err error) {
	stored, err := in.lanes.ReadHolds(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range stored.Rules {
		if h := (held{HoldRule: r}); r.On(now) {
			_ = json.Unmarshal([]byte(stored.About[r.ID]), &h) // it bars, whatever is said of it
			all = append(all, h)
		}
	}
	return all, nil
}

// poolOf is the pool that takes a kind, as it is declared.
func (in *Inspector) poolOf(kind string) string {
	k, _ := in.d.Declared(kind)
	return cmp.Or(k.Pool, dispatcher.DefaultPool)
}

// Barred counts, by the id of each hold that is on, the lanes that it keeps back: ready ones of the kinds that it bars, and
// those that it has taken aside. Of a hold on a host nobody knows how many: it is not among them. A
// [dispatcher.IncompleteError] may come beside the counts.
func (in *Inspector) Barred(ctx context.Context) (map[string]int, error) {
	now, err := in.lanes.Time(ctx)
	if err != nil {
		return nil, err
	}
	holds, err := in.holdsOn(ctx, now)
	if err != nil || len(holds) == 0 {
		return map[string]int{}, err
	}
	counts := make(map[string]int)
	stats, err := in.Stats(ctx)
	if err != nil && stats.Kinds == nil {
		return nil, err
	}
	aside, failed := in.takenAside(ctx)
	for _, h := range holds {
		if h.Scope == record.HoldHost {
			continue
		}
		counts[h.ID] = aside[h.ID]
		for kind, k := range stats.Kinds {
			if h.BarsClaims(kind, in.poolOf(kind), "", now) {
				counts[h.ID] += k.Ready
			}
		}
	}
	return counts, cmp.Or(err, failed)
}

// takenAside counts the lanes that are parked for holds, by their ids.
func (in *Inspector) takenAside(ctx context.Context) (map[string]int, error) {
	all := make(map[string]int)
	parts := in.lanes.EveryPartition()
	counts := make([]map[string]int, len(parts))
	missing, _, err := in.lanes.Across(parts, func(i int) (err error) {
		counts[i], err = in.asideIn(ctx, parts[i])
		return err
	})
	if err != nil {
		return all, err
	}
	for _, one := range counts {
		for id, n := range one {
			all[id] += n
		}
	}
	return all, missing.OrNil()
}

// asideIn counts them in one partition.
func (in *Inspector) asideIn(ctx context.Context, p int) (map[string]int, error) {
	keys := in.lanes.Keys(p)
	ids, err := connect.Ask(ctx, func(ctx context.Context) ([]string, error) {
		return in.lanes.Redis.SMembers(ctx, keys.Barring()).Result()
	})
	if err != nil || len(ids) == 0 {
		return nil, lanes.Wrap("count barred lanes", err)
	}
	slices.Sort(ids)
	sizes := make([]*redis.IntCmd, len(ids))
	err = in.lanes.Together(ctx, func(pipe redis.Pipeliner) {
		for i, id := range ids {
			sizes[i] = pipe.LLen(ctx, keys.Barred(id))
		}
	})
	if err != nil {
		return nil, lanes.Wrap("count barred lanes", err)
	}
	counts := make(map[string]int)
	for i, id := range ids {
		counts[id] = int(sizes[i].Val())
	}
	return counts, nil
}

// allAsideIn counts them for all holds together.
func (in *Inspector) allAsideIn(ctx context.Context, p int) (all int, err error) {
	counts, err := in.asideIn(ctx, p)
	for _, n := range counts {
		all += n
	}
	return all, err
}

// bars returns the hold that keeps a lane back: the one that it was taken aside for, or the first that is on kinds or lanes.
func (f *facts) bars(l *Lane) (h held, is bool) {
	if l.look != nil && l.look.Park.Hold != nil {
		h = held{HoldRule: record.HoldRule{ID: l.look.Park.Hold.ID, Until: l.look.Park.Hold.Until}}
		for _, known := range f.holds {
			if known.ID == h.ID {
				h = known
			}
		}
		return h, h.Until.After(f.now)
	}
	for _, h := range f.holds {
		if h.BarsClaims(l.Kind, f.pools[l.Kind], "", f.now) || h.BarsLane(l.Subject.Canonical(), l.Kind) {
			return h, true
		}
	}
	return h, false
}

// sayBarred says that a lane is held, by whom and why.
func (f *facts) sayBarred(h *held, w *Why, say func(Code, string, ...any)) {
	w.Since = time.UnixMilli(h.Since).UTC()
	if h.Since == 0 {
		w.Since = time.Time{}
	}
	until := ""
	if h.Until.Before(record.Forever) {
		w.Until = h.Until
		until = ", until " + f.at(h.Until)
	} else {
		w.Stuck = true
	}
	set := f.since(w.Since)
	if h.By != "" {
		set = ", set" + f.by(h.By, w.Since)
	}
	say(WhyBarred, "Barred by hold %s%s%s%s.", h.ID, set, until, because(h.Reason))
	w.Next = []Step{{"hold ls", "lists what is held"}, {"release " + h.ID, "lets it go on"}}
}
