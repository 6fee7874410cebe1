package main

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// flowView is how fast jobs of a kind go through.
type flowView struct {
	TenMinutes rateView `json:"last_10_minutes"`
	Hour       rateView `json:"last_hour"`
}

// rateView is a rate in attempts a minute, of how many attempts, and how many handlers ran for them at a time.
type rateView struct {
	PerMinute float64          `json:"per_minute"`
	Handlers  float64          `json:"handlers"`
	ByEnding  map[string]int64 `json:"by_ending"`
}

func viewFlow(f inspect.Flow) *flowView {
	rate := func(minutes int) rateView {
		sum := f.Since(minutes)
		v := rateView{PerMinute: sum.PerMinute, Handlers: sum.Handlers, ByEnding: make(map[string]int64)}
		for how, c := range sum.ByEnding {
			v.ByEnding[string(how)] = c.Count
		}
		return v
	}
	return &flowView{rate(10), rate(60)}
}

// bad is how many attempts failed or were lost.
func (r *rateView) bad() int64 {
	return r.ByEnding[string(session.EndFailed)] + r.ByEnding[string(session.EndLost)]
}

// flowText says it in a line.
func flowText(f *flowView) string {
	if f == nil {
		return ""
	}
	of := func(r rateView) string {
		text := fmt.Sprintf("%.1f/min", r.PerMinute)
		if n := r.bad(); n > 0 {
			text += fmt.Sprintf(" (%d failed or lost)", n)
		}
		return text
	}
	return fmt.Sprintf("%s in the last 10 minutes, %s in the last hour", of(f.TenMinutes), of(f.Hour))
}

// flows reads how fast the jobs of all kinds of a namespace go through.
func (a *app) flows(ctx context.Context, in *inspect.Inspector, s *inspect.Stats) (map[string]*flowView, error) {
	all, err := in.Flows(ctx, slices.Sorted(maps.Keys(s.Kinds)), 60)
	views := make(map[string]*flowView, len(all))
	for kind, f := range all {
		views[kind] = viewFlow(f)
	}
	return views, err
}

// sayFlows is the table of them.
func (a *app) sayFlows(all map[string]*flowView) error {
	a.say("")
	cells := [][]string{{"KIND", "PER MINUTE, 10 MIN", "PER MINUTE, 1 H", "FAILED OR LOST, 1 H", "HANDLERS, 1 H"}}
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		f := all[kind]
		cells = append(cells, []string{
			kind, fmt.Sprintf("%.1f", f.TenMinutes.PerMinute), fmt.Sprintf("%.1f", f.Hour.PerMinute), fmt.Sprint(f.Hour.bad()), fmt.Sprintf("%.2f", f.Hour.Handlers),
		})
	}
	return a.table(cells)
}
