package inspect

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// Stats are the totals of a namespace. They are counted partition by partition,
// so under load they may be off by what moved meanwhile.
type Stats struct {
	Partitions int `json:"partitions"`
	Jobs       int `json:"jobs"` // in lanes, on the schedule and dead
	InLanes    int `json:"in_lanes"`
	Scheduled  int `json:"scheduled"`
	Dead       int `json:"dead"`
	Lanes      int `json:"lanes"`
	Ready      int `json:"ready"`
	Leased     int `json:"leased"` // subjects held; sections, and slots of limits, among them
	Delayed    int `json:"delayed"`
	Suspended  int `json:"suspended"`

	// What stays when jobs have ended: outcomes, how many bytes they have, and windows of unique keys.
	Outcomes     int   `json:"outcomes"`
	OutcomeBytes int64 `json:"outcome_bytes"`
	Windows      int   `json:"windows"`

	Kinds map[string]KindStats `json:"kinds"`
}

// KindStats are the totals of one job kind.
type KindStats struct {
	Ready   int `json:"ready"`   // lanes whose head is of this kind and can be claimed
	Workers int `json:"workers"` // workers alive that handle it
	Blamed  int `json:"blamed"`  // of them, those that claim none of it now: see [session.Session.Blame]
}

// Stats counts. What it costs depends on the numbers of partitions and kinds, not
// on the backlog. An [dispatcher.IncompleteError] may come beside the totals.
func (in *Inspector) Stats(ctx context.Context) (Stats, error) {
	s := Stats{Partitions: in.lanes.Partitions, Kinds: make(map[string]KindStats)}
	parts := in.lanes.EveryPartition()
	counts := make([]Stats, len(parts))
	missing, _, err := in.lanes.Across(parts, func(i int) (err error) { counts[i], err = in.countPartition(ctx, parts[i]); return err })
	if err != nil {
		return Stats{}, err
	}
	for i := range counts { // those that could not be asked have none
		s.add(&counts[i])
	}
	workers, err := session.Workers(ctx, in.d)
	if missing, err = missing.Without(MissingWorkers, err); err != nil {
		return Stats{}, err
	}
	s.InLanes = s.Jobs - s.Scheduled - s.Dead
	for kind, k := range s.Kinds {
		for _, w := range workers {
			if w.Alive && slices.Contains(w.Kinds, kind) {
				k.Workers++
				if w.Blamed[kind] != "" {
					k.Blamed++
				}
			}
		}
		s.Kinds[kind] = k
	}
	return s, missing.OrNil()
}

// MissingWorkers is said of totals and lanes of which it is not known who serves them.
const MissingWorkers = "workers"

func (s *Stats) add(o *Stats) {
	for total, more := range map[*int]int{
		&s.Jobs: o.Jobs, &s.Scheduled: o.Scheduled, &s.Dead: o.Dead, &s.Lanes: o.Lanes, &s.Ready: o.Ready, &s.Leased: o.Leased,
		&s.Delayed: o.Delayed, &s.Suspended: o.Suspended, &s.Outcomes: o.Outcomes, &s.Windows: o.Windows,
	} {
		*total += more
	}
	s.OutcomeBytes += o.OutcomeBytes
	for kind, k := range o.Kinds {
		k.Ready += s.Kinds[kind].Ready
		s.Kinds[kind] = k
	}
}

func (in *Inspector) countPartition(ctx context.Context, p int) (Stats, error) {
	s := Stats{Kinds: make(map[string]KindStats)}
	kinds, err := in.kinds(ctx, p)
	if err != nil {
		return s, err
	}
	keys := in.lanes.Keys(p)
	ready := make([]*redis.IntCmd, len(kinds))
	counts := make([]*redis.IntCmd, 9)
	var kept *redis.StringCmd
	err = in.lanes.Atomically(ctx, func(tx redis.Pipeliner) {
		for i, kind := range kinds {
			ready[i] = tx.LLen(ctx, keys.Ready(kind))
		}
		counts[0], counts[1] = tx.HLen(ctx, keys.Jobs()), tx.ZCard(ctx, keys.Scheduled())
		counts[2], counts[3] = tx.ZCard(ctx, keys.Dead()), tx.HLen(ctx, keys.Heads())
		counts[4], counts[5] = tx.ZCount(ctx, keys.Deadlines(), "-inf", "(inf"), tx.ZCount(ctx, keys.Parked(), "-inf", "(inf")
		counts[6] = tx.ZCount(ctx, keys.Parked(), "+inf", "+inf")
		counts[7], counts[8] = tx.HLen(ctx, keys.Outcomes()), tx.ZCard(ctx, keys.Windows())
		kept = tx.HGet(ctx, keys.Clock(), "kept")
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return s, lanes.Wrap("count", err)
	}
	s.OutcomeBytes, _ = strconv.ParseInt(kept.Val(), 10, 64)
	s.Outcomes, s.Windows = int(counts[7].Val()), int(counts[8].Val())
	for i, total := range []*int{&s.Jobs, &s.Scheduled, &s.Dead, &s.Lanes, &s.Leased, &s.Delayed, &s.Suspended} {
		*total = int(counts[i].Val())
	}
	for i, kind := range kinds {
		s.Kinds[kind] = KindStats{Ready: int(ready[i].Val())}
		s.Ready += int(ready[i].Val())
	}
	return s, nil
}
