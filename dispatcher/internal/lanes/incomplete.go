package lanes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// IncompleteError comes beside what a look has found when a part of Redis could not be asked, as while a master
// of a cluster is away: what is returned with it is right, and what it names is missing. When nothing could be
// asked the error wraps ErrUnavailable instead. A nil one says that nothing is missing; OrNil, All and Without
// take it so.
type IncompleteError struct {
	Missing []string // such as "partition 2 of 4", "workers"
	Err     error    // why, of the first
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("dispatcher: incomplete, without %s: %s", strings.Join(e.Missing, ", "), e.Err)
}

// Is makes errors.Is(err, ErrIncomplete) true. It is not connect.ErrUnavailable, though its cause is: there is
// an answer.
func (e *IncompleteError) Is(target error) bool { return target == ErrIncomplete }

// OrNil is e as an error: nil when nothing is missing. To return e itself would make an error that is not nil
// of a nil pointer.
func (e *IncompleteError) OrNil() error {
	if e == nil {
		return nil
	}
	return e
}

// All reports whether as many things are missing as there are.
func (e *IncompleteError) All(n int) bool { return e != nil && len(e.Missing) == n }

// Without notes one more thing that is missing, if err says that it could not be asked: the result is e, or a
// new one when e was nil. Any other error is returned, for it is no matter of a part that is away.
func (e *IncompleteError) Without(what string, err error) (*IncompleteError, error) {
	if err == nil || !errors.Is(err, connect.ErrUnavailable) {
		return e, err
	}
	if e == nil {
		e = &IncompleteError{Err: err}
	}
	if !slices.Contains(e.Missing, what) {
		e.Missing = append(e.Missing, what)
	}
	return e, nil
}

// PartitionName names a partition to a reader of an error.
func (n *Namespace) PartitionName(p int) string {
	return fmt.Sprintf("partition %d of %d", p, n.Partitions)
}

// EveryPartition are the numbers of all partitions.
func (n *Namespace) EveryPartition() []int {
	all := make([]int, n.Partitions)
	for p := range all {
		all[p] = p
	}
	return all
}

// Across asks something of each of the partitions: on a cluster, where each may be on a server of its own, of
// all at once. Those that can't be asked keep nobody from the others: they are returned as missing, by their
// place in partitions too, unless it is all of them.
//
// On one server it asks one after the other and ends with the first error: what can't be asked there can't be
// asked at all. ask is called from several goroutines on a cluster, and may write only what is for its own i.
func (n *Namespace) Across(partitions []int, ask func(i int) error) (missing *IncompleteError, without []bool, err error) {
	errs := make([]error, len(partitions))
	if connect.IsCluster(n.Redis) {
		var all sync.WaitGroup
		for i := range partitions {
			all.Go(func() { errs[i] = ask(i) })
		}
		all.Wait()
	} else {
		for i := range partitions {
			if errs[i] = ask(i); errs[i] != nil {
				return nil, nil, errs[i]
			}
		}
	}
	without = make([]bool, len(partitions))
	for i, p := range partitions {
		without[i] = errs[i] != nil
		if missing, err = missing.Without(n.PartitionName(p), errs[i]); err != nil {
			return nil, nil, err
		}
	}
	if missing != nil && !slices.Contains(without, false) {
		return nil, nil, missing.Err
	}
	return missing, without, nil
}

// OneAfterTheOther is Across for what takes its time in each, such as an examination, and says when it is done
// with one: progress gets how many are, and may be nil.
func (n *Namespace) OneAfterTheOther(progress func(done int), visit func(p int) error) (missing *IncompleteError, err error) {
	for p := range n.Partitions {
		err := visit(p)
		if err != nil && connect.IsCluster(n.Redis) {
			missing, err = missing.Without(n.PartitionName(p), err)
		}
		if err != nil {
			return nil, err
		}
		if progress != nil {
			progress(p + 1)
		}
	}
	if missing.All(n.Partitions) {
		return nil, missing.Err
	}
	return missing, nil
}

// AcrossTogether is Across for plain commands, which one server gets in one round trip. say lays the commands
// for the ith of the partitions into a pipe. That something is not there is no error.
func (n *Namespace) AcrossTogether(ctx context.Context, partitions []int, say func(i int, pipe redis.Pipeliner)) (*IncompleteError, []bool, error) {
	if !connect.IsCluster(n.Redis) {
		err := n.Together(ctx, func(pipe redis.Pipeliner) {
			for i := range partitions {
				say(i, pipe)
			}
		})
		return nil, make([]bool, len(partitions)), answer(err)
	}
	return n.Across(partitions, func(i int) error {
		return answer(n.Together(ctx, func(pipe redis.Pipeliner) { say(i, pipe) }))
	})
}
