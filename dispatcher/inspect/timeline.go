package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Timeline is a lane over time: what ran in it, what runs, and what waits with its estimates. Past are attempts that have ended, as far as
// the trail has them, the earliest first; Jobs are those of the lane, the head first. A lane that has neither jobs nor a holder now has a
// State of "".
type Timeline struct {
	AsOf time.Time `json:"as_of"` // by Redis's clock
	Lane
	Past []Attempt `json:"past"`
	Jobs []JobInfo `json:"jobs"`
	More bool      `json:"more"` // jobs wait behind those

	// What TrailPage says of its attempts: from when on the trail goes, whether it is a sample, and until when all of
	// this lane's are remembered.
	Since        time.Time `json:"since,omitzero"`
	Sampled      bool      `json:"sampled"`
	WatchedUntil time.Time `json:"watched_until,omitzero"`
}

// Timeline shows a lane over time: its last so many attempts and its next so many jobs, up to 500 of each. It costs what [Inspector.Trail] and
// [Inspector.Lane] do, and a TIME. It returns [dispatcher.ErrNotFound] where there are no jobs, nobody holds the subject, and the
// trail has nothing of it; and a [dispatcher.IncompleteError] beside a lane whose estimates are missing.
func (in *Inspector) Timeline(ctx context.Context, key subject.Key, most int) (Timeline, error) {
	t := Timeline{Lane: Lane{Subject: key}, Past: []Attempt{}, Jobs: []JobInfo{}}
	trail, err := in.Trail(ctx, TrailFilter{Subject: key}, Page{Limit: most})
	if err != nil {
		return t, err
	}
	slices.Reverse(trail.Attempts)
	t.Past, t.Since, t.Sampled, t.WatchedUntil = trail.Attempts, trail.Since, trail.Sampled, trail.WatchedUntil
	lane, incomplete := in.Lane(ctx, key, Page{Limit: most})
	switch {
	case errors.Is(incomplete, dispatcher.ErrNotFound) && len(t.Past) == 0:
		return t, fmt.Errorf("%w, and the trail has no attempt of it", incomplete)
	case errors.Is(incomplete, dispatcher.ErrNotFound):
		incomplete = nil
	case incomplete != nil && !errors.Is(incomplete, dispatcher.ErrIncomplete):
		return t, incomplete
	default:
		t.Lane, t.Jobs, t.More = lane.Lane, lane.Jobs, lane.Next != ""
	}
	if t.AsOf, err = in.lanes.Time(ctx); err != nil {
		return t, err
	}
	t.AsOf = t.AsOf.UTC()
	return t, incomplete
}
