package dispatcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// deadLetter finds a dead letter. One that can't be read is there all the same: it can be discarded.
func (d *Dispatcher) deadLetter(ctx context.Context, ref JobRef) (partition int, job Job, err error) {
	at, err := d.only(ctx, ref)
	if err != nil {
		return 0, Job{}, err
	}
	job, _ = decode(record.PackID(ref.ID), at.text)
	dead, err := d.isDead(ctx, ref.ID, at.partition)
	if err == nil && !dead {
		err = fmt.Errorf("%w: job %s is not a dead letter", ErrNotFound, ref)
	}
	return at.partition, job, err
}

// IsDead reports whether a job is a dead letter. It asks for no more rights than enqueueing does.
func (d *Dispatcher) IsDead(ctx context.Context, ref JobRef) (bool, error) {
	at, err := d.find(ctx, ref)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return d.isDead(ctx, ref.ID, at.partition)
}

func (d *Dispatcher) isDead(ctx context.Context, id string, partition int) (bool, error) {
	_, err := connect.Ask(ctx, func(ctx context.Context) (float64, error) {
		return d.lanes.Redis.ZScore(ctx, d.lanes.Keys(partition).Dead(), record.PackID(id)).Result()
	})
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, lanes.Wrap("look for a dead letter", err)
}
