package dispatcher

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// Nothing here asks Redis but through internal/connect's Ask or a script's Runner: so every call
// ends with its context, or after [connect.Bound], whatever Redis does, and every error that is
// not an answer wraps [ErrUnavailable].

// ask runs a call and returns its reply.
func (d *Dispatcher) ask(ctx context.Context, call *script.Call) ([]string, error) {
	return d.run.Ask(ctx, call)
}

// together sends commands in one round trip, and atomically sends them as one transaction. After
// an error that is no answer (redis.Nil is one) the commands must not be looked at: their trip
// may still be under way.
func (d *Dispatcher) together(ctx context.Context, say func(pipe redis.Pipeliner)) error {
	_, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.Cmder, error) {
		return d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { say(pipe); return nil })
	})
	return err
}

func (d *Dispatcher) atomically(ctx context.Context, say func(tx redis.Pipeliner)) error {
	_, err := connect.Ask(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, connect.Atomically(ctx, d.rdb, say)
	})
	return err
}

// fields reads fields of a hash, and members a part of a list.
func (d *Dispatcher) fields(ctx context.Context, key string, fields []string) ([]any, error) {
	return connect.Ask(ctx, func(ctx context.Context) ([]any, error) { return d.rdb.HMGet(ctx, key, fields...).Result() })
}

func (d *Dispatcher) members(ctx context.Context, key string, from, to int64) ([]string, error) {
	return connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return d.rdb.LRange(ctx, key, from, to).Result() })
}

// inRange reads a part of a sorted set.
func (d *Dispatcher) inRange(ctx context.Context, part redis.ZRangeArgs) ([]string, error) {
	return connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return d.rdb.ZRangeArgs(ctx, part).Result() })
}

// scanned is one step of a scan: what it found, and where the next one goes on, or 0.
type scanned struct {
	found []string
	next  uint64
}

func scan(ctx context.Context, from uint64, step func(ctx context.Context, from uint64) *redis.ScanCmd) (scanned, error) {
	return connect.Ask(ctx, func(ctx context.Context) (scanned, error) {
		found, next, err := step(ctx, from).Result()
		return scanned{found, next}, err
	})
}

// lastWords is how long what is said at an end may take; beyondEnd is how much of that a
// caller waits for whose context has ended.
const (
	lastWords = 5 * time.Second
	beyondEnd = 50 * time.Millisecond
)

// soon returns a context that ends after most, and no later than beyondEnd after ctx.
func soon(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(beyondEnd, cancel) })
	return waiting, func() { stop(); cancel() }
}

// parting says something to Redis at the end of a call, which goes on when ctx has ended. It
// returns when that is said, but not later than beyondEnd after ctx and not after most:
// what is not said by then is left to itself.
func parting(ctx context.Context, most time.Duration, say func(ctx context.Context) error) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	said := make(chan error, 1)
	go func() { defer cancel(); said <- say(last) }()
	waiting, stop := soon(ctx, most)
	defer stop()
	select {
	case err := <-said:
		return err
	case <-waiting.Done():
		return connect.Judge(last, most, context.DeadlineExceeded)
	}
}
