package lanes

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// Nothing here asks Redis but through internal/connect's Ask or a script's Runner: so every call
// ends with its context, or after [connect.Bound], whatever Redis does, and every error that is
// not an answer wraps [connect.ErrUnavailable].

// Ask runs a call and returns its reply.
func (n *Namespace) Ask(ctx context.Context, call *script.Call) ([]string, error) {
	return n.Scripts.Ask(ctx, call)
}

// Together sends commands in one round trip, and Atomically sends them as one transaction. After
// an error that is no answer (redis.Nil is one) the commands must not be looked at: their trip
// may still be under way.
func (n *Namespace) Together(ctx context.Context, say func(pipe redis.Pipeliner)) error {
	_, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.Cmder, error) {
		return n.Redis.Pipelined(ctx, func(pipe redis.Pipeliner) error { say(pipe); return nil })
	})
	return err
}

func (n *Namespace) Atomically(ctx context.Context, say func(tx redis.Pipeliner)) error {
	_, err := connect.Ask(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, connect.Atomically(ctx, n.Redis, say)
	})
	return err
}

// Fields reads fields of a hash, and Members a part of a list.
func (n *Namespace) Fields(ctx context.Context, key string, fields []string) ([]any, error) {
	return connect.Ask(ctx, func(ctx context.Context) ([]any, error) { return n.Redis.HMGet(ctx, key, fields...).Result() })
}

func (n *Namespace) Members(ctx context.Context, key string, from, to int64) ([]string, error) {
	return connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return n.Redis.LRange(ctx, key, from, to).Result() })
}

// Hash reads a whole hash, which must be a small one.
func (n *Namespace) Hash(ctx context.Context, key string) (map[string]string, error) {
	return connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) { return n.Redis.HGetAll(ctx, key).Result() })
}

// InRange reads a part of a sorted set.
func (n *Namespace) InRange(ctx context.Context, part redis.ZRangeArgs) ([]string, error) {
	return connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return n.Redis.ZRangeArgs(ctx, part).Result() })
}

// Scanned is one step of a scan: what it found, and where the next one goes on, or 0.
type Scanned struct {
	Found []string
	Next  uint64
}

// Scan makes one step of a scan.
func Scan(ctx context.Context, from uint64, step func(ctx context.Context, from uint64) *redis.ScanCmd) (Scanned, error) {
	return connect.Ask(ctx, func(ctx context.Context) (Scanned, error) {
		found, next, err := step(ctx, from).Result()
		return Scanned{found, next}, err
	})
}

// LastWords is how long what is said at an end may take; BeyondEnd is how much of that a
// caller waits for whose context has ended.
const (
	LastWords = 5 * time.Second
	BeyondEnd = 50 * time.Millisecond
)

// Soon returns a context that ends after most, and no later than BeyondEnd after ctx.
func Soon(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(BeyondEnd, cancel) })
	return waiting, func() { stop(); cancel() }
}

// Parting says something to Redis at the end of a call, which goes on when ctx has ended. It
// returns when that is said, but not later than BeyondEnd after ctx and not after most:
// what is not said by then is left to itself.
func Parting(ctx context.Context, most time.Duration, say func(ctx context.Context) error) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), LastWords)
	said := make(chan error, 1)
	go func() { defer cancel(); said <- say(last) }()
	waiting, stop := Soon(ctx, most)
	defer stop()
	select {
	case err := <-said:
		return err
	case <-waiting.Done():
		return connect.Judge(last, most, context.DeadlineExceeded)
	}
}
