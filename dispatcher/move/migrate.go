package move

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/subject"
)

// steps lead from each schema to the next one, partition by partition. A step may be repeated in a partition where it has
// stopped in the middle, or has come to its end. Nobody else works there meanwhile, and a step writes by its run alone: see [lanes.Mover].
//
// The steps back to [lanes.OldestSchema] stay for ever, with a dump of each schema in testdata.
var steps = map[string]func(ctx context.Context, m *lanes.Mover, p int) error{
	"6": from6,
}

// Migrate brings what is stored of a namespace to the schema of this release, and returns which it was. It does nothing to
// one that has it already. It fails with [ErrAlive] while workers live: those of the release before can't read what
// becomes of their lanes, and must be stopped, as must be all that enqueues. Nobody can open the namespace meanwhile. After an
// interruption that stays so, and the next call goes on with the partition where this one stopped. Of two calls at once the one
// that began first is refused all that it still writes, with [dispatcher.ErrMismatch].
//
// Jobs keep their places, attempts and numbers. A schema older than the oldest that this release knows, and one of a later
// release, is a [dispatcher.ErrMismatch]. progress, if not nil, is told how many partitions are done, and of how many.
func Migrate(ctx context.Context, rdb redis.UniversalClient, name string, progress func(done, all int)) (from string, err error) {
	if err := subject.CheckName(name); err != nil {
		return "", err
	}
	for {
		meta, found, err := lanes.ReadMeta(ctx, rdb, name)
		if err == nil && !found {
			err = fmt.Errorf("%w: there is no namespace %s", dispatcher.ErrNotFound, name)
		}
		if err != nil {
			return "", err
		}
		if from == "" {
			from = meta.Schema
		}
		step := steps[meta.Schema]
		switch {
		case meta.Refusal() == nil:
			return from, nil
		case step == nil || meta.Partitions == 0 || meta.Doing != "" && meta.Doing != lanes.Migrating:
			return from, meta.Refusal()
		}
		m := migration{lanes.Closed(rdb, meta.Namespace), meta, progress}
		if err := m.run(ctx, step); err != nil {
			return from, fmt.Errorf("migrate namespace %s: %w", name, err)
		}
	}
}

// migration is one step of one namespace.
type migration struct {
	n        *lanes.Namespace
	meta     lanes.Meta
	progress func(done, all int)
}

// run closes the namespace, and looks for workers once more after that: none can have joined since. One that stood still all the time, and
// wakes up while its lanes are rewritten, is found at the end: then the namespace stays closed.
func (m migration) run(ctx context.Context, step func(ctx context.Context, m *lanes.Mover, p int) error) error {
	if err := m.alone(ctx); err != nil {
		return err
	}
	mover, err := m.n.TakeOver(ctx, m.meta, lanes.Migrating)
	if err != nil {
		return err
	}
	if err := m.alone(ctx); err != nil {
		return err
	}
	meta, err := mover.Fence(ctx)
	if err != nil {
		return err
	}
	for p := meta.Migrated; p < m.n.Partitions; p++ {
		if err := step(ctx, mover, p); err != nil {
			return fmt.Errorf("%s: %w", m.n.PartitionName(p), err)
		}
		if err := mover.Note(ctx, "migrated", strconv.Itoa(p+1)); err != nil {
			return err
		}
		if m.progress != nil {
			m.progress(p+1, m.n.Partitions)
		}
	}
	if err := m.alone(ctx); err != nil {
		return err
	}
	number, _ := strconv.Atoi(m.meta.Schema) // it is the key of a step
	return mover.Open(ctx, strconv.Itoa(number+1), "migrated", "")
}

func (m migration) alone(ctx context.Context) error {
	holders, err := alive(ctx, m.n)
	if err != nil {
		return err
	}
	return refuseWorkers("schema "+m.meta.Schema+" is theirs", holders)
}
