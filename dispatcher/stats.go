package dispatcher

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"
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

	Kinds map[string]KindStats `json:"kinds"`
}

// KindStats are the totals of one job kind.
type KindStats struct {
	Ready   int `json:"ready"`   // lanes whose head is of this kind and can be claimed
	Workers int `json:"workers"` // workers alive that handle it
	Blamed  int `json:"blamed"`  // of them, those that claim none of it now: see [Session.Blame]
}

// Stats counts. What it costs depends on the numbers of partitions and kinds, not
// on the backlog.
func (d *Dispatcher) Stats(ctx context.Context) (Stats, error) {
	workers, err := d.Workers(ctx)
	if err != nil {
		return Stats{}, err
	}
	s := Stats{Partitions: d.ns.Partitions, Kinds: make(map[string]KindStats)}
	for p := range d.ns.Partitions {
		if err := d.countPartition(ctx, p, &s); err != nil {
			return Stats{}, err
		}
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
	return s, nil
}

func (d *Dispatcher) countPartition(ctx context.Context, p int, s *Stats) error {
	kinds, err := d.kinds(ctx, p)
	if err != nil {
		return err
	}
	keys := d.keys[p]
	ready := make([]*redis.IntCmd, len(kinds))
	counts := make([]*redis.IntCmd, 7)
	err = d.atomically(ctx, func(tx redis.Pipeliner) {
		for i, kind := range kinds {
			ready[i] = tx.LLen(ctx, keys.Ready(kind))
		}
		counts[0], counts[1] = tx.HLen(ctx, keys.Jobs()), tx.ZCard(ctx, keys.Scheduled())
		counts[2], counts[3] = tx.ZCard(ctx, keys.Dead()), tx.HLen(ctx, keys.Heads())
		counts[4], counts[5] = tx.ZCount(ctx, keys.Deadlines(), "-inf", "(inf"), tx.ZCard(ctx, keys.Delayed())
		counts[6] = tx.ZCount(ctx, keys.Deadlines(), "+inf", "+inf") // and the filler
	})
	if err != nil {
		return wrap("count", err)
	}
	for i, total := range []*int{&s.Jobs, &s.Scheduled, &s.Dead, &s.Lanes, &s.Leased, &s.Delayed} {
		*total += int(counts[i].Val())
	}
	s.Suspended += max(0, int(counts[6].Val())-1)
	for i, kind := range kinds {
		k := s.Kinds[kind]
		k.Ready += int(ready[i].Val())
		s.Kinds[kind] = k
		s.Ready += int(ready[i].Val())
	}
	return nil
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
