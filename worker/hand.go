package worker

import (
	"maps"
	"math"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// A place that is at work on a lane has the next jobs of it in hand, so that it goes on while the end of the one before
// travels: a handler that takes as long as a trip would wait half of the time otherwise. Redis fills hands only while no
// other lane waits, so a lane is late for its turn by what was in a hand, and never by more.
const (
	mostInHand = 64                    // jobs of one lane, the one that runs among them
	slowJob    = 20 * time.Millisecond // from here on a trip is a twentieth, and jobs go one by one

	// A lane of a namespace of several partitions goes behind others after so long, though Redis knows of none
	// that waits: it sees only those of the partition.
	rollsFor = 100 * time.Millisecond
)

// hands decides how many jobs of one lane a place has in hand, by kind. It lies on the desk, which has a lock.
type hands struct {
	trip  time.Duration            // mean time of the last trips
	took  map[string]time.Duration // of kinds that roll, mean time of their last handlers; 0 before the first
	turns map[string]int           // what turns ask for: replaced when it changes, because turns keep it
	fixed int                      // in tests: as many of every kind that rolls

	lasts    time.Duration // how long a lane rolls
	patience time.Duration // how long jobs are in a hand behind one that is slow
}

// newHands makes hands for the kinds that roll.
func newHands(kinds []string, partitions int) hands {
	h := hands{took: make(map[string]time.Duration, len(kinds)), lasts: rollsFor, patience: maxPatience}
	if partitions == 1 {
		h.lasts = math.MaxInt64
	}
	for _, kind := range kinds {
		h.took[kind] = 0
	}
	return h
}

// travelled notes how long a trip took.
func (h *hands) travelled(took time.Duration) { h.trip = mean(h.trip, took) }

// handled notes how long a handler took.
func (h *hands) handled(kind string, took time.Duration) {
	if before, rolls := h.took[kind]; rolls {
		h.took[kind] = mean(before, took)
	}
}

// want is how many jobs of a lane of a kind to have in hand, the one that runs among them: those that end within two trips,
// the one under way and the next, and one more. It is a power of two, so that it changes seldom; and no more than what ends
// within maxPatience, however slow trips are, because a job in a hand can't be reached by others.
func (h *hands) want(kind string) int {
	took, rolls := h.took[kind]
	switch {
	case !rolls:
		return 1
	case h.fixed > 0:
		return h.fixed
	case took == 0 || took >= slowJob || h.trip == 0:
		return 1
	}
	n := 2
	for n < mostInHand && time.Duration(n-1)*took < 2*h.trip && time.Duration(2*n)*took <= maxPatience {
		n *= 2
	}
	return n
}

// forTurns is what the next turns ask for, of kinds that roll.
func (h *hands) forTurns() map[string]int {
	changed := false
	for kind := range h.took {
		changed = changed || max(1, h.turns[kind]) != h.want(kind)
	}
	if changed {
		h.turns = maps.Clone(h.turns)
		if h.turns == nil {
			h.turns = make(map[string]int)
		}
		for kind := range h.took {
			h.turns[kind] = h.want(kind)
		}
	}
	return h.turns
}

// hand is what a place has in hand of its lane. Its fields are under the lock of the desk.
type hand struct {
	jobs  []dispatcher.Job // behind the one that runs
	since time.Time        // when that one began
	over  bool             // the place goes on with no more of them
}

// takes adds jobs that an answer has brought. A place that is done with the lane has no use for them: they
// are in the lane still, and whoever has it next gets them.
func (h *hand) takes(more []dispatcher.Job) {
	if !h.over {
		h.jobs = append(h.jobs, more...)
	}
}
