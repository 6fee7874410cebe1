package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
)

// mostFlags are those of 'lane ls' that list the lanes which have most of something, and no pages.
type mostFlags struct {
	deepest, hot bool
	since        time.Duration
}

// hotColumns are those of hot lanes: for how long their handlers ran comes first.
var hotColumns = append([]column[laneView]{
	laneColumns[0],
	{"HANDLERS RAN", false, func(l laneView) string { return l.Took }},
	{"SHARE", false, func(l laneView) string { return fmt.Sprintf("%.1f %%", 100*l.Share) }},
}, laneColumns[1:]...)

// listMost lists the deepest lanes, or the hottest.
func (a *app) listMost(ctx context.Context, most mostFlags, filter inspect.LaneFilter, page inspect.Page) error {
	if err := checkPage(page); err != nil {
		return err
	}
	switch {
	case most.deepest && most.hot:
		return usage("--deepest or --hot, not both")
	case filter != (inspect.LaneFilter{}) || page.Cursor != "":
		return usage("--deepest and --hot list those of all lanes that have most, in one page: without --state, --kind and --cursor")
	}
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	if most.deepest {
		return a.listDeepest(ctx, d, page.Limit)
	}
	return a.listHot(ctx, d, most.since, page.Limit)
}

func (a *app) listDeepest(ctx context.Context, d *dispatcher.Dispatcher, limit int) error {
	deep, err := inspect.New(d).Deepest(ctx, limit)
	if err = a.partly(err, true); err != nil {
		return err
	}
	views, err := a.viewLanes(ctx, d, deep.Lanes, "")
	if err != nil {
		return err
	}
	if err := list(a, views, func(l laneView) string { return l.key.Word() }, laneColumns); err != nil {
		return err
	}
	switch {
	case deep.Sampled:
		a.note("A sample: the lanes of %d jobs that were drawn by chance. Of lanes with more than %d jobs one look of a hundred misses one; less deep ones may be missing.", deep.Drawn, deep.Surely)
	case len(views) == 0:
		a.note("No lanes to show.")
	}
	return nil
}

func (a *app) listHot(ctx context.Context, d *dispatcher.Dispatcher, since time.Duration, limit int) error {
	hot, err := inspect.New(d).Hot(ctx, since, limit)
	none := "empty"
	if errors.Is(err, dispatcher.ErrIncomplete) {
		none = "" // or it could not be asked
	}
	if err = a.partly(err, true); err != nil {
		return err
	}
	lanes := make([]inspect.Lane, len(hot.Lanes))
	for i := range lanes {
		lanes[i] = hot.Lanes[i].Lane
	}
	views, err := a.viewLanes(ctx, d, lanes, none)
	if err != nil {
		return err
	}
	for i := range views {
		views[i].Took, views[i].Share = span(hot.Lanes[i].Took), hot.Lanes[i].Share
	}
	if err := list(a, views, func(l laneView) string { return l.key.Word() }, hotColumns); err != nil {
		return err
	}
	switch from := clock(&hot.Since); {
	case hot.Took == 0:
		a.note("Since %s nobody has told of an attempt that ended; workers do every five seconds.", from)
	case hot.Rest > 0:
		a.note("Since %s handlers ran for %s. %s of that is not known by subject, so each may have more than is shown.", from, span(hot.Took), span(hot.Rest))
	default:
		a.note("Since %s handlers ran for %s, which is all known by subject.", from, span(hot.Took))
	}
	return nil
}

// viewLanes shows lanes with what keeps them. One that is not there has nothing to say, and the state none.
func (a *app) viewLanes(ctx context.Context, d *dispatcher.Dispatcher, lanes []inspect.Lane, none string) ([]laneView, error) {
	views := make([]laneView, len(lanes))
	var full []inspect.Lane
	for _, l := range lanes {
		if l.State != "" {
			full = append(full, l)
		}
	}
	var whys []inspect.Why
	if len(full) > 0 {
		var err error
		whys, err = inspect.New(d).WhyLanes(ctx, full)
		if err = a.partly(err, true); err != nil {
			return nil, err
		}
	}
	for i, l := range lanes {
		if l.State == "" {
			views[i] = laneView{Subject: l.Subject.String(), key: l.Subject, State: none}
			continue
		}
		views[i], whys = viewLane(l, whys[0]), whys[1:]
	}
	return views, nil
}
