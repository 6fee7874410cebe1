package inspect

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Attempt is an attempt that has ended, as the trail has it. Of is how many it stands for: 1, or more when it is one of
// a sample.
type Attempt struct {
	session.Attempt
	Of int `json:"of"`
}

// TrailFilter picks attempts. The zero value picks all that the trail has.
type TrailFilter struct {
	Subject subject.Key
	Kind    string
	Ending  session.Ending
	Since   time.Time // of the attempt's end
}

// takes reports whether an attempt is among those that are looked for.
func (f *TrailFilter) takes(a *session.Attempt) bool {
	return (f.Subject == subject.Key{} || a.Subject == f.Subject) && (f.Kind == "" || a.Kind == f.Kind) &&
		(f.Ending == "" || a.Ending == f.Ending) && !a.EndedAt.Before(f.Since)
}

// TrailPage is a page of the trail, the latest end first. Sampled says that the trail has left attempts out, of those that
// went well and fast, or of others where there were many; Since is the end of the oldest one in it, of any subject.
type TrailPage struct {
	Attempts []Attempt `json:"attempts"`
	Next     string    `json:"next_cursor,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Sampled  bool      `json:"sampled"`

	// WatchedUntil is until when all attempts of the subject that was asked for are remembered, zero where nobody has asked
	// for that ([dispatcher.Dispatcher.Watch]).
	WatchedUntil time.Time `json:"watched_until,omitzero"`
}

// Trail lists attempts that have ended, the latest first: the last 5,000 of the namespace that workers told of. They
// tell every five seconds, of all that failed, were lost, cancelled or interrupted or took a second, up to 300, and of
// up to 200 of the others, drawn by chance. What a killed worker had not told yet is not there; the attempts that it
// left are, as lost, when another one has reaped them. docs/features/history.md has more.
//
// It takes one round trip for a page, with ten commands that read the whole trail, 1 MB. An ending that is none is an
// error that wraps [dispatcher.ErrInvalid].
func (in *Inspector) Trail(ctx context.Context, f TrailFilter, page Page) (TrailPage, error) {
	limit, err := page.limit()
	if err != nil {
		return TrailPage{}, err
	}
	if f.Ending != "" && !slices.Contains(session.Endings, f.Ending) {
		return TrailPage{}, lanes.Invalid("ending", f.Ending, "must be finished, failed, cancelled, lost or interrupted")
	}
	from, err := parseTrailCursor(page.Cursor)
	if err != nil {
		return TrailPage{}, err
	}
	of := ""
	if f.Subject != (subject.Key{}) {
		of = f.Subject.Canonical()
	}
	stored, err := in.lanes.ReadTrail(ctx, of)
	if err != nil {
		return TrailPage{}, err
	}
	all := TrailPage{Attempts: []Attempt{}}
	for i := range stored.All {
		all.Sampled = all.Sampled || stored.All[i].Of > 1
		if ended := stored.All[i].Began.Add(stored.All[i].Took); all.Since.IsZero() || ended.Before(all.Since) {
			all.Since = ended
		}
	}
	if stored.WatchedUntil.UnixMilli() > 0 { // it may be over
		now, err := in.lanes.Time(ctx)
		if err != nil {
			return TrailPage{}, err
		}
		if stored.WatchedUntil.After(now) {
			all.WatchedUntil = stored.WatchedUntil
		}
	}
	told := make(map[footprint]bool)
	for _, r := range slices.Concat(stored.Own, stored.All) { // its own first: those stand for nothing else
		a, err := session.AttemptOf(r)
		at := footprintOf(&a)
		if err != nil || told[at] || !f.takes(&a) || page.Cursor != "" && at.compare(from) <= 0 {
			continue // a hint that can't be read is none
		}
		told[at] = true
		all.Attempts = append(all.Attempts, Attempt{a, r.Of})
	}
	slices.SortFunc(all.Attempts, func(a, b Attempt) int { return footprintOf(&a.Attempt).compare(footprintOf(&b.Attempt)) })
	if len(all.Attempts) > limit {
		all.Attempts = all.Attempts[:limit]
		all.Next = footprintOf(&all.Attempts[limit-1].Attempt).String()
	}
	return all, nil
}

// footprint is an attempt's place in the order of ends: a sum over its names tells those apart that ended together.
type footprint struct {
	ended int64 // ms
	sum   uint64
}

func footprintOf(a *session.Attempt) footprint {
	h := fnv.New64a()
	fmt.Fprint(h, a.Attempt, " ", a.StartedAt.UnixMilli(), " ", a.ID, " ", a.Kind, " ", a.Subject)
	return footprint{a.EndedAt.UnixMilli(), h.Sum64()}
}

// compare is below 0 for the one that comes first, the later end.
func (p footprint) compare(o footprint) int {
	return cmp.Or(cmp.Compare(o.ended, p.ended), cmp.Compare(p.sum, o.sum))
}

func (p footprint) String() string { return fmt.Sprintf("%d.%016x", p.ended, p.sum) }

// parseTrailCursor takes only what String writes.
func parseTrailCursor(text string) (p footprint, err error) {
	if text == "" {
		return p, nil
	}
	if n, err := fmt.Sscanf(text, "%d.%x", &p.ended, &p.sum); err != nil || n != 2 || p.String() != text {
		return p, lanes.Invalid("cursor", text, "is not one that an earlier page returned")
	}
	return p, nil
}
