package inspect

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/subject"
)

// HotLanes are the subjects whose handlers ran longest since a time, the hottest first. Took is of all subjects together; Rest is the part
// of it that is known to be nobody's, and so 0 where all of them are in the memory, if not in Lanes.
type HotLanes struct {
	Since time.Time     `json:"since"`
	AsOf  time.Time     `json:"as_of"` // by Redis's clock
	Took  time.Duration `json:"took_ns"`
	Rest  time.Duration `json:"rest_ns"`
	Lanes []HotLane     `json:"lanes"`
}

// HotLane is a subject with its lane as it is now, which may be empty: its State is "" then, as it is where it could not be asked. Took is for
// how long its handlers ran, at least; Share is that of the time of all handlers.
type HotLane struct {
	Lane
	Took  time.Duration `json:"took_ns"`
	Share float64       `json:"share"`
}

// MaxHot is how far back [Inspector.Hot] looks at most.
const MaxHot = 2 * time.Hour

// Hot shows up to so many subjects whose handlers ran longest lately, 500 at most. It knows whole ten minutes, so Since is up to ten minutes
// earlier than was asked for. A lost attempt counts for as long as its lease lasted.
//
// Workers tell with what they say every five seconds, each of 64 subjects: of all that it had, or of those that took most. The namespace
// keeps 256 for each ten minutes. So what is shown is never too much, and with few subjects it is exact: Rest says how much is not.
//
// It costs one transaction of 14 commands, a TIME, and the look at the lanes. An ago that is not within 1ms and 2h, or another number, is
// an error that wraps [dispatcher.ErrInvalid]; a [dispatcher.IncompleteError] may come beside the list.
func (in *Inspector) Hot(ctx context.Context, ago time.Duration, most int) (HotLanes, error) {
	limit, err := (Page{Limit: most}).limit()
	if err != nil {
		return HotLanes{}, err
	}
	if ago < time.Millisecond || ago > MaxHot {
		return HotLanes{}, lanes.Invalid("since", ago, "must be 1ms to 2h")
	}
	all := HotLanes{Lanes: []HotLane{}}
	if all.AsOf, err = in.lanes.Time(ctx); err != nil {
		return HotLanes{}, err
	}
	all.AsOf = all.AsOf.UTC()
	all.Since = all.AsOf.Add(-ago).Truncate(lanes.HotEvery)
	parts, err := in.lanes.ReadHeat(ctx, all.Since)
	if err != nil {
		return HotLanes{}, err
	}
	took := make(map[subject.Key]time.Duration)
	for _, part := range parts {
		all.Took, all.Rest = all.Took+part.All, all.Rest+part.All
		for _, s := range part.Subjects {
			if key, err := subject.FromCanonical(s.Subject); err == nil { // a hint that can't be read is none
				took[key] += s.Took
				all.Rest -= s.Took
			}
		}
	}
	for key, long := range took {
		all.Lanes = append(all.Lanes, HotLane{Lane{Subject: key}, long, float64(long) / float64(all.Took)})
	}
	slices.SortFunc(all.Lanes, func(a, b HotLane) int {
		return cmp.Or(cmp.Compare(b.Took, a.Took), cmp.Compare(a.Subject.String(), b.Subject.String()))
	})
	all.Lanes = all.Lanes[:min(limit, len(all.Lanes))]
	missing, err := in.fill(ctx, all.Lanes)
	return all, cmp.Or(err, missing.OrNil())
}

// fill reads the lanes of subjects, partition by partition.
func (in *Inspector) fill(ctx context.Context, list []HotLane) (*dispatcher.IncompleteError, error) {
	at := make(map[int][]int)
	for i := range list {
		p := in.lanes.Partition(list[i].Subject)
		at[p] = append(at[p], i)
	}
	parts := make([]int, 0, len(at))
	for p := range at {
		parts = append(parts, p)
	}
	slices.Sort(parts)
	missing, _, err := in.lanes.Across(parts, func(i int) error {
		subjects := make([]string, len(at[parts[i]]))
		for k, row := range at[parts[i]] {
			subjects[k] = list[row].Subject.Canonical()
		}
		looks, err := in.lanes.Look(ctx, parts[i], subjects)
		if err != nil {
			return err
		}
		for k, row := range at[parts[i]] {
			if !looks[k].Empty() {
				if list[row].Lane, err = laneOf(&looks[k]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return missing, err
}
