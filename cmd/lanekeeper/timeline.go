package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/subject"
)

// How many columns the past and the future have, and how many kinds a row of their own: what is drawn fits into 80 columns beside
// short names.
const (
	pastColumns   = 40
	futureColumns = 22
	mostRows      = 8
	otherKinds    = "(others)"
)

// The marks of a strip are letters, so that it can be read without colours, and pasted into a report.
var endingMarks = map[session.Ending]byte{
	session.EndFinished: 'F', session.EndFailed: 'X', session.EndLost: 'L', session.EndCancelled: 'C', session.EndInterrupted: 'I',
}

const (
	runsMark, sectionMark, backoffMark, expectedMark = '>', '=', '.', 'o'

	stripLegend = `F finished  X failed  L lost  C cancelled  I interrupted  > runs  = section  . backoff  o expected
~ over a minute in which nothing ran  +2? so many more, nobody can say when. Left and right of now have scales of their own.`
)

// strips are the bars of a lane, those that have begun and those to come, and how many jobs have no estimate, by kind or row.
type strips struct {
	rows         []string
	past, future []bar
	unknown      map[string]int
}

// barsOf makes bars of what a lane did, does and will.
func barsOf(t *inspect.Timeline) strips {
	s := strips{unknown: make(map[string]int)}
	for i := range t.Past {
		a := &t.Past[i]
		mark, ok := endingMarks[a.Ending]
		if !ok {
			mark = '!' // of a newer release
		}
		s.past = append(s.past, bar{a.Kind, a.StartedAt, a.EndedAt, mark})
	}
	began := time.UnixMicro(int64(t.Token)).UTC() // a token is the time of its claim
	if t.Lane.Section {
		s.past = append(s.past, bar{inspect.SectionKind, began, t.AsOf, sectionMark})
	}
	for i := range t.Jobs {
		j := &t.Jobs[i]
		row, starts := j.Kind, j.Starts
		if j.State == inspect.Leased && j.Token != 0 {
			s.past = append(s.past, bar{row, began, t.AsOf, runsMark})
		}
		if j.State == inspect.Delayed && j.RunAt.After(t.AsOf) {
			s.future = append(s.future, bar{row, t.AsOf, j.RunAt, backoffMark})
		}
		if starts.Before(t.AsOf) {
			starts = t.AsOf
		}
		switch {
		case j.Ends.After(starts):
			s.future = append(s.future, bar{row, starts, j.Ends, expectedMark})
		case j.Ends.IsZero() && !(j.State == inspect.Leased && j.Token != 0):
			s.unknown[row]++
		}
	}
	return s
}

// assign gives the kinds of what is shown their rows: each its own, as long as there are few.
func (s *strips) assign(before, after []part) {
	row := func(kind string) string {
		if !slices.Contains(s.rows, kind) && len(s.rows) >= mostRows {
			kind = otherKinds
		}
		if !slices.Contains(s.rows, kind) {
			s.rows = append(s.rows, kind)
		}
		return kind
	}
	shown := func(bars []bar, parts []part) (some []bar) {
		for _, b := range bars {
			if columnAt(parts, b.from) >= 0 {
				b.row = row(b.row)
				some = append(some, b)
			}
		}
		return some
	}
	s.past, s.future = shown(s.past, before), shown(s.future, after)
	unknown := make(map[string]int)
	for _, kind := range slices.Sorted(maps.Keys(s.unknown)) {
		unknown[row(kind)] += s.unknown[kind]
	}
	s.unknown = unknown
}

// stripLines draws a lane over time: a line of times, then one for each kind.
func stripLines(t *inspect.Timeline) []string {
	s := barsOf(t)
	before, after := scale(s.past, t.AsOf, pastColumns, true), scale(s.future, t.AsOf, futureColumns, false)
	s.assign(before, after)
	past, future := draw(s.past, s.rows, before), draw(s.future, s.rows, after)
	label := 0
	for _, row := range s.rows {
		label = max(label, len(row))
	}
	end := before[len(before)-1]
	from, now := before[0].from.Format(time.TimeOnly), "now "+t.AsOf.Format(time.TimeOnly)
	if len(from) >= end.col+end.cols {
		from = "" // there is no room, and next to no past
	}
	lines := []string{fmt.Sprintf("%*s  %-*s%s", label, "", end.col+end.cols, from, now)}
	if last := after[len(after)-1].to; last.After(t.AsOf) {
		lines[0] += "  ~ " + last.Format(time.TimeOnly)
	}
	for _, row := range s.rows {
		line := fmt.Sprintf("%-*s  %s|%s", label, row, past[row], strings.TrimRight(string(future[row]), " "))
		if n := s.unknown[row]; n > 0 {
			line += fmt.Sprintf(" +%d?", n)
		}
		lines = append(lines, line)
	}
	var gone []string
	for _, d := range folds(before) {
		gone = append(gone, d.Round(time.Second).String())
	}
	if len(gone) > 0 {
		lines = append(lines, fmt.Sprintf("%*s  idle: %s", label, "", strings.Join(gone, ", ")))
	}
	return lines
}

// momentView is a line of the list below: an attempt, or a job.
type momentView struct {
	At, ID, Kind, Attempt, What, Took, Error string
	word                                     string
}

var momentColumns = []column[momentView]{
	{"STARTS (UTC)", false, func(m momentView) string { return m.At }},
	{"ID", false, func(m momentView) string { return m.ID }},
	{"KIND", false, func(m momentView) string { return m.Kind }},
	{"ATTEMPT", false, func(m momentView) string { return m.Attempt }},
	{"WHAT", false, func(m momentView) string { return m.What }},
	{"TOOK", false, func(m momentView) string { return m.Took }},
	{"ERROR", false, func(m momentView) string { return m.Error }},
}

// moments are the same as the strip, in words.
func moments(past []attemptView, jobs []jobView) (all []momentView) {
	for _, a := range past {
		all = append(all, momentView{clock(&a.StartedAt), a.ID, a.Kind, itoa(a.Attempt), a.Ending, a.Took, a.Error, idWord(a.id)})
	}
	for _, j := range jobs {
		m := momentView{estimate(j.StartsAt), j.ID, j.Kind, fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts), j.State, "", jobError(j), jobWord(j)}
		if j.StartsAt != nil && j.EndsAt != nil {
			m.Took = "~ " + j.EndsAt.Sub(*j.StartsAt).Round(time.Millisecond).String()
		}
		all = append(all, m)
	}
	return all
}

// showTimeline draws a lane over time, and lists it.
func (a *app) showTimeline(ctx context.Context, text string, page inspect.Page) error {
	if err := checkPage(page); err != nil {
		return err
	}
	if page.Cursor != "" {
		return usage("--timeline shows one page: without --cursor, and with --limit for more attempts and jobs of it")
	}
	key, err := subject.Parse(text)
	if err != nil {
		return err
	}
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	t, err := inspect.New(d).Timeline(ctx, key, page.Limit)
	if err = a.partly(err, !t.AsOf.IsZero()); err != nil {
		return err
	}
	why := inspect.Why{}
	if t.State != "" {
		why, err = inspect.New(d).WhyLane(ctx, key)
		if errors.Is(err, dispatcher.ErrNotFound) { // it has ended just now
			err = nil
		}
		if err = a.partly(err, true); err != nil {
			return err
		}
	}
	return a.sayTimeline(&t, viewLane(t.Lane, why), a.viewJobs(d, t.Jobs))
}

func (a *app) sayTimeline(t *inspect.Timeline, lane laneView, jobs []jobView) error {
	if lane.State == "" {
		lane.State = "empty"
	}
	past := make([]attemptView, len(t.Past))
	for i := range t.Past {
		past[i] = viewAttempt(t.Past[i])
	}
	if a.machine() {
		return a.show(struct {
			laneView
			AsOf    time.Time     `json:"as_of"`
			Past    []attemptView `json:"past"`
			Jobs    []jobView     `json:"jobs"`
			More    bool          `json:"more"`
			Since   *time.Time    `json:"since,omitempty"`
			Sampled bool          `json:"sampled"`
			Watched *time.Time    `json:"watched_until,omitempty"`
		}{lane, t.AsOf, past, jobs, t.More, optional(t.Since), t.Sampled, optional(t.WatchedUntil)}, nil)
	}
	if !a.quiet {
		a.say("%s is %s, %d jobs. %s", lane.key.Word(), lane.State, lane.Depth, lane.Note)
		a.say("")
		for _, line := range stripLines(t) {
			a.say("%s", printable(line))
		}
		a.say("")
		for line := range strings.Lines(stripLegend) {
			a.say("%s", strings.TrimSpace(line))
		}
		a.say("")
	}
	if err := list(a, moments(past, jobs), func(m momentView) string { return m.word }, momentColumns); err != nil {
		return err
	}
	a.note("%s", reach(inspect.TrailPage{Since: t.Since, Sampled: t.Sampled, WatchedUntil: t.WatchedUntil}))
	if t.More {
		a.note("More jobs wait behind these; 'lane show %s' has pages.", lane.key.Word())
	}
	return nil
}
