package session

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// Aging is how long a kind has to get nothing to count one priority more.
const Aging = 10 * time.Second

// ranks puts the kinds of a session into the order in which they are served: by priority, and one more for
// every [Aging] since a kind got a lane or there was none for it. So a low one is served in the end, however
// much there is of the high ones (C11). A nil ranks orders nothing. since is the moment from which a kind's age
// counts, by kind; all trips of a session share it.
type ranks struct {
	priority map[string]int // nil when all have the same

	mu    sync.Mutex
	since map[string]time.Time
}

// newRanks takes the priorities of kinds from their declarations, as this process knows them. Without any,
// priority stays nil and nothing is sorted: the kinds take turns at being first.
func newRanks(d *dispatcher.Dispatcher, kinds []string) *ranks {
	r := &ranks{since: make(map[string]time.Time)}
	for _, kind := range kinds {
		if k, _ := d.Declared(kind); k.Priority > 0 {
			if r.priority == nil {
				r.priority = make(map[string]int)
			}
			r.priority[kind] = k.Priority
		}
	}
	return r
}

// order sorts kinds, the highest rank first, those of one rank staying as they are. A kind that was never
// served ages from the moment when it is first looked at.
func (r *ranks) order(kinds []string, now time.Time) {
	if r == nil || r.priority == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rank := func(kind string) int {
		since, ok := r.since[kind]
		if !ok {
			since = now
			r.since[kind] = now
		}
		return r.priority[kind] + int(now.Sub(since)/Aging)
	}
	slices.SortStableFunc(kinds, func(a, b string) int { return -cmp.Compare(rank(a), rank(b)) })
}

// served notes what a turn gave, of `want` lanes of these kinds: as many as the pool had room for and limits let start. A turn
// that gave less has found nothing left that it might take, and nobody was passed over: all are as young as if they had
// been served. A turn with want 0 says nothing of either.
func (r *ranks) served(claims []Claim, want int, kinds []string, now time.Time) {
	if r == nil || r.priority == nil || want == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range claims {
		r.since[claims[i].Kind] = now
	}
	if len(claims) < want {
		for _, kind := range kinds {
			r.since[kind] = now
		}
	}
}
