package inspect

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Stats are the totals of a namespace. Each partition is counted at one moment, and one after the
// other, so under load they may be off by what moved meanwhile.
//
// Jobs is the sum of InLanes, Scheduled and Dead. Ready, Leased, Delayed and Suspended are
// subjects. Their sum is Lanes and Bare, for a subject may be held or suspended with no job in its
// lane.
type Stats struct {
	Partitions int `json:"partitions"`
	Jobs       int `json:"jobs"`      // in lanes, on the schedule and dead
	InLanes    int `json:"in_lanes"`  // heads and those behind them, running ones among them
	Scheduled  int `json:"scheduled"` // whose time has not come, or that are set aside by their kind's policy
	Dead       int `json:"dead"`      // letters
	Lanes      int `json:"lanes"`     // that have a job, or somebody who waits for a section
	Ready      int `json:"ready"`     // lanes that the next free worker may claim
	Leased     int `json:"leased"`    // subjects held, by jobs or by sections
	Delayed    int `json:"delayed"`   // lanes whose head waits for its next attempt
	Suspended  int `json:"suspended"` // lanes that wait for an operator, halted ones among them
	Bare       int `json:"bare"`      // subjects that are held or suspended, and have no job
	Slots      int `json:"slots"`     // of limits, that somebody has
	Barred     int `json:"barred"`    // lanes that holds on lanes keep back, about; what holds on kinds and the like bar is Ready

	// These stay when jobs have ended: outcomes, how many bytes they have, and windows of unique
	// keys.
	Outcomes     int   `json:"outcomes"`
	OutcomeBytes int64 `json:"outcome_bytes"`
	Windows      int   `json:"windows"`

	Kinds map[string]KindStats `json:"kinds"`
}

// KindStats are the totals of one job kind. Lanes that are ready while Workers equals Blamed, or
// is 0, stand still: nobody claims them until a worker of that kind starts.
type KindStats struct {
	Ready   int `json:"ready"`   // lanes whose head is of this kind and can be claimed
	Workers int `json:"workers"` // workers alive that handle it
	Blamed  int `json:"blamed"`  // of them, those that claim none of it now: see [session.Session.Blame]
}

// Stats counts the namespace. Its cost depends on the numbers of partitions and kinds, not on the
// backlog: in each partition one SMEMBERS, one HGETALL and one transaction, with ten commands and one more for
// each kind and each limit, and three commands for the workers. So it may be called every few seconds.
//
// A [dispatcher.IncompleteError] may come beside the totals, which are those of the partitions
// that answered; when it names [MissingWorkers], all numbers of workers are 0.
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

// MissingWorkers is what a [dispatcher.IncompleteError] names when lanes and totals are there,
// and it is not known who serves them.
const MissingWorkers = "workers"

// add adds what another partition has.
func (s *Stats) add(o *Stats) {
	for total, more := range map[*int]int{
		&s.Jobs: o.Jobs, &s.Scheduled: o.Scheduled, &s.Dead: o.Dead, &s.Lanes: o.Lanes, &s.Ready: o.Ready, &s.Leased: o.Leased,
		&s.Delayed: o.Delayed, &s.Barred: o.Barred, &s.Suspended: o.Suspended, &s.Bare: o.Bare, &s.Slots: o.Slots, &s.Outcomes: o.Outcomes, &s.Windows: o.Windows,
	} {
		*total += more
	}
	s.OutcomeBytes += o.OutcomeBytes
	for kind, k := range o.Kinds {
		k.Ready += s.Kinds[kind].Ready
		s.Kinds[kind] = k
	}
}

// countPartition counts one partition at one moment, but for the names of its kinds, which are
// read before. All it asks for are sizes that Redis keeps: nothing is walked through.
func (in *Inspector) countPartition(ctx context.Context, p int) (Stats, error) {
	s := Stats{Kinds: make(map[string]KindStats)}
	kinds, err := in.kinds(ctx, p)
	if err != nil {
		return s, err
	}
	if s.Barred, err = in.allAsideIn(ctx, p); err != nil {
		return s, err
	}
	slots, err := in.slots(ctx, p)
	if err != nil {
		return s, err
	}
	keys := in.lanes.Keys(p)
	taken := make([]*redis.FloatSliceCmd, len(slots))
	ready := make([]*redis.IntCmd, len(kinds))
	counts := make([]*redis.IntCmd, 9)
	var filled *redis.BoolCmd
	var kept *redis.StringCmd
	err = in.lanes.Atomically(ctx, func(tx redis.Pipeliner) {
		for i, kind := range kinds {
			ready[i] = tx.LLen(ctx, keys.Ready(kind))
		}
		for i, of := range slots {
			taken[i] = tx.ZMScore(ctx, keys.Deadlines(), of...)
		}
		counts[0], counts[1] = tx.HLen(ctx, keys.Jobs()), tx.ZCard(ctx, keys.Scheduled())
		counts[2], counts[3] = tx.ZCard(ctx, keys.Dead()), tx.HLen(ctx, keys.Heads())
		counts[4], counts[5] = tx.ZCount(ctx, keys.Deadlines(), "-inf", "(inf"), tx.ZCount(ctx, keys.Parked(), "-inf", "(inf")
		counts[6] = tx.ZCount(ctx, keys.Parked(), "+inf", "+inf")
		counts[7], counts[8] = tx.HLen(ctx, keys.Outcomes()), tx.ZCard(ctx, keys.Windows())
		filled, kept = tx.HExists(ctx, keys.Heads(), record.Filler), tx.HGet(ctx, keys.Clock(), "kept")
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return s, lanes.Wrap("count", err)
	}
	s.OutcomeBytes, _ = strconv.ParseInt(kept.Val(), 10, 64)
	s.Outcomes, s.Windows = int(counts[7].Val()), int(counts[8].Val())
	for i, total := range []*int{&s.Jobs, &s.Scheduled, &s.Dead, &s.Lanes, &s.Leased, &s.Delayed, &s.Suspended} {
		*total = int(counts[i].Val())
	}
	if filled.Val() {
		s.Lanes--
	}
	s.Delayed = max(0, s.Delayed-s.Barred)
	for i, kind := range kinds {
		s.Kinds[kind] = KindStats{Ready: int(ready[i].Val())}
		s.Ready += int(ready[i].Val())
	}
	for _, ends := range taken {
		for _, end := range ends.Val() {
			if end > 0 { // somebody has it
				s.Slots++
			}
		}
	}
	s.Leased -= s.Slots
	s.Bare = max(0, s.Ready+s.Leased+s.Delayed+s.Suspended+s.Barred-s.Lanes) // below 0 where an index is wrong
	return s, nil
}

// slots are the slots of each limit that a partition enforces. Limits that can't be read have none: that is for the doctor to say. Nor has a
// slot above a limit that was lowered while somebody had it.
func (in *Inspector) slots(ctx context.Context, p int) (all [][]string, err error) {
	limits, err := connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) {
		return in.lanes.Redis.HGetAll(ctx, in.lanes.Keys(p).Limits()).Result()
	})
	if answer := redis.Error(nil); errors.As(err, &answer) && !connect.Passing(err) {
		return nil, nil
	}
	for name, declared := range limits {
		limit, ok := record.ParseLimit(declared)
		if !ok || limit.Most == 0 || strings.HasSuffix(name, " next") {
			continue
		}
		of := make([]string, limit.Most)
		for i := range of {
			of[i] = subject.Slot(name, i+1).Canonical()
		}
		all = append(all, of)
	}
	return all, lanes.Wrap("read limits", err)
}
