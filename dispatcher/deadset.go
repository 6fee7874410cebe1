package dispatcher

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// DeadSet are the dead letters that a filter has picked, as they were at that moment. Its verbs work on these
// alone: what dies later is not among them, and what was replayed or discarded meanwhile is passed over. It is not
// safe for concurrent use.
type DeadSet struct {
	d       *Dispatcher
	letters []lanes.Grave // the oldest first, those of a lane in the order of their numbers
}

// DeadMatching picks dead letters, to be counted and then replayed or discarded together. It reads what each is
// about, without payloads, in steps that take at most a twentieth of Redis's time; about 300 bytes are kept of each.
//
// It returns the error of a filter that breaks a rule. On a cluster with a master away it returns an error too, and
// nothing: half of a lane's letters would be no order.
func (d *Dispatcher) DeadMatching(ctx context.Context, f DeadFilter) (*DeadSet, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	parts := d.lanes.EveryPartition()
	if f.Subject != (subject.Key{}) {
		parts = []int{d.lanes.Partition(f.Subject)}
	}
	since, before := f.Bounds()
	s, pace, same := &DeadSet{d: d}, d.lanes.Paced(), make(map[string]string)
	for _, p := range parts {
		for at := before; ; {
			var step []lanes.Grave
			err := pace.Step(ctx, func() (err error) { step, err = d.lanes.Graves(ctx, p, at, since); return err })
			if err != nil {
				return nil, err
			}
			if len(step) == 0 {
				break
			}
			at = step[len(step)-1].Died
			for _, g := range step {
				if f.Picks(g.Kind, g.Subject, g.Reason) {
					g.Kind, g.Reason = intern(same, g.Kind), intern(same, g.Reason)
					s.letters = append(s.letters, g)
				}
			}
		}
	}
	inOrder(s.letters)
	return s, nil
}

// intern returns one text for all that are equal: a set has few kinds and reasons, and may have a million letters.
func intern(same map[string]string, text string) string {
	one, ok := same[text]
	if !ok {
		one = strings.Clone(text)
		same[one] = one
	}
	return one
}

// inOrder sorts letters by their deaths, the oldest first; and where a lane has several, by their numbers within
// the places that the lane has so. A job that was set aside may die before an earlier one of its lane.
func inOrder(letters []lanes.Grave) {
	slices.SortFunc(letters, func(a, b lanes.Grave) int {
		return cmp.Or(cmp.Compare(a.Died, b.Died), cmp.Compare(a.Partition, b.Partition), strings.Compare(a.ID, b.ID))
	})
	places := make(map[subject.Key][]int)
	for i, g := range letters {
		if g.Kind != "" {
			places[g.Subject] = append(places[g.Subject], i)
		}
	}
	for _, at := range places {
		lane := make([]lanes.Grave, len(at))
		for i, place := range at {
			lane[i] = letters[place]
		}
		slices.SortFunc(lane, func(a, b lanes.Grave) int { return cmp.Compare(a.Order, b.Order) })
		for i, place := range at {
			letters[place] = lane[i]
		}
	}
}

// Len is how many letters were picked.
func (s *DeadSet) Len() int { return len(s.letters) }

// DeadCount is how many letters of a set have one kind and reason. A letter that can't be read has no kind.
type DeadCount struct {
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Counts counts the letters by kind and reason, most first.
func (s *DeadSet) Counts() []DeadCount {
	by := make(map[DeadCount]int)
	for _, g := range s.letters {
		by[DeadCount{Kind: g.Kind, Reason: g.Reason}]++
	}
	counts := make([]DeadCount, 0, len(by))
	for c, n := range by {
		c.Count = n
		counts = append(counts, c)
	}
	slices.SortFunc(counts, func(a, b DeadCount) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Reason, b.Reason))
	})
	return counts
}

// DeadLetter is what a set knows of a letter.
type DeadLetter struct {
	ID      string      `json:"id"`
	Subject subject.Key `json:"subject"`
	Kind    string      `json:"kind"`
	Reason  string      `json:"reason"`
	DiedAt  time.Time   `json:"died_at"`
}

// First are the first n letters, in the order in which a set goes through them.
func (s *DeadSet) First(n int) []DeadLetter {
	n = min(n, len(s.letters))
	first := make([]DeadLetter, n)
	for i, g := range s.letters[:n] {
		id, err := record.UnpackID(g.ID)
		if err != nil {
			id = lanes.IDText(g.ID)
		}
		first[i] = DeadLetter{ID: id, Subject: g.Subject, Kind: g.Kind, Reason: g.Reason, DiedAt: time.UnixMilli(int64(g.Died)).UTC()}
	}
	return first
}
