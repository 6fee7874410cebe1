package lanes

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

var watchScript = whole("watch")

// MostWatched is how many subjects may be watched at once: each beat of a worker reads them.
const MostWatched = 64

// Watch has workers tell of all attempts of a subject for so long, or no more when that is 0. It returns when that ends; ok is false
// when too many others are watched, and until is when the first of those ends then. Repeating it does no harm.
func (n *Namespace) Watch(ctx context.Context, key subject.Key, long time.Duration) (until time.Time, ok bool, err error) {
	words, err := n.Ask(ctx, n.Scripts.Whole(watchScript, []string{n.Watched()}, key.Canonical(), long.Milliseconds(), MostWatched))
	if err != nil {
		return until, false, err
	}
	if len(words) != 2 {
		return until, false, cutOff("watch", words)
	}
	ms, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return until, false, fmt.Errorf("watch: reply %q: %w", words, err)
	}
	return time.UnixMilli(ms).UTC(), words[0] == "ok", nil
}

// ReadWatched reads, on a connection of the worker's own, which subjects are watched at a time. It is a command by itself and no part
// of the beat: who may not read it beats all the same.
func (n *Namespace) ReadWatched(ctx context.Context, on redis.Cmdable, at time.Time) (map[subject.Key]bool, error) {
	members, err := connect.Ask(ctx, func(ctx context.Context) ([]string, error) {
		return on.ZRangeArgs(ctx, redis.ZRangeArgs{
			Key: n.Watched(), ByScore: true, Start: "(" + strconv.FormatInt(at.UnixMilli(), 10), Stop: "+inf", Count: MostWatched,
		}).Result()
	})
	watched := make(map[subject.Key]bool, len(members))
	for _, canonical := range members {
		if key, err := subject.FromCanonical(canonical); err == nil {
			watched[key] = true
		}
	}
	return watched, Wrap("read what is watched", err)
}
