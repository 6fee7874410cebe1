package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// leftover is an entry of an index that stands for nothing (any more): a unique key whose job is
// gone would refuse others for good, and a note of one that is gone would count attempts against
// the next job of that id.
type leftover struct {
	index, field, id string // where it is: which index, and its field or its job's id

	what, where, detail, mended string // what is said of it, in a [Finding] and in a [Repair]
}

// leftovers compares what jobs leave for a while, unique keys, outcomes and notes, with what it
// is there for. Each is looked at again at one moment: jobs end all the time.
//
// A unique key is its job's while the job is stored and has that key, or its window's. An outcome
// goes when its time is over, or when it is the oldest and room is needed; so it has to be in
// both indexes by which it goes. A note is of a job that waits or runs.
func (d *Doctor) leftovers(ctx context.Context, p int, s *survey) ([]leftover, error) {
	// Suspects come in the order of their fields and ids, so that two examinations read alike.
	there := func(id string) bool { return s.jobs[id] != nil && s.jobs[id].body }
	var suspects []leftover
	for _, field := range slices.Sorted(maps.Keys(s.unique)) {
		if id := s.unique[field]; !s.windows[field] && !(there(id) && s.names[id] == field) {
			suspects = append(suspects, leftover{"unique", field, id,
				"unique key", fmt.Sprintf("%q", field), "is taken by " + lanes.IDText(id) + ", which does not have it", "freed it"})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.names)) {
		if field := s.names[id]; !there(id) || s.unique[field] == "" && !s.jobs[id].dead() {
			suspects = append(suspects, leftover{"names", field, id,
				"unique key", lanes.IDText(id), "is said to have one, but does not", "dropped that"})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.outcomes)) {
		if !s.expiring[record.ExpiringOutcome(id)] || !s.ended[id] {
			suspects = append(suspects, leftover{"outcomes", "", id, "outcome", lanes.IDText(id), "would be kept for ever, or make room for no other", "dropped it"})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.notes)) {
		if _, ok := record.ParseNote(s.notes[id]); !ok {
			suspects = append(suspects, leftover{"notes", "", id, "note", lanes.IDText(id), "can't be read", "dropped it: its attempts begin anew"})
		} else if !there(id) || s.jobs[id].dead() {
			suspects = append(suspects, leftover{"notes", "", id, "note", lanes.IDText(id), "is of a job that does not wait or run", "dropped it"})
		}
	}
	var found []leftover
	for _, l := range suspects {
		gone, err := d.leftover(ctx, p, "look", l)
		if err != nil {
			return nil, err
		}
		if gone {
			found = append(found, l)
		}
	}
	return found, nil
}

// leftover looks at a suspect ("look"), or drops it ("drop"), and returns whether it stands for
// nothing. One script does either, so what is dropped is what was seen. An index of a wrong type
// is a finding of its own.
func (d *Doctor) leftover(ctx context.Context, p int, what string, l leftover) (bool, error) {
	stale, err := d.lanes.Leftover(ctx, p, l.index, what, l.field, l.id)
	if wrongType(err) {
		return false, nil
	}
	return stale, lanes.Wrap("examine what is left over", err)
}
