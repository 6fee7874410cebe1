package lanes

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// MostBytes is the most bytes of jobs that one command or script may read or write (I16): MOST_BYTES of parts/lane.lua.
const MostBytes = 2 << 20

// Small is how many bytes a stored job may have without a note in the clock, SMALL of parts/lane.lua; and MostKept
// how many bytes of outcomes a partition keeps at most, MOST_KEPT of parts/kept.lua.
const (
	Small    = 8192
	MostKept = 64 << 20
)

// ScanCount is how many elements a step of a scan asks for at most.
const ScanCount = 200

// ScanHash reads a hash, in as many round trips as its size takes. The first step asks for few fields where
// their values may be large. Each field comes once; one that is added or taken away meanwhile may come or not.
func (n *Namespace) ScanHash(ctx context.Context, key string, each func(field, value string)) error {
	return scanPairs(ctx, 2, func(ctx context.Context, from uint64, count int64) *redis.ScanCmd {
		return n.Redis.HScan(ctx, key, from, "", count)
	}, each)
}

// ScanSet reads a sorted set in the same way; its order is not that of the scores.
func (n *Namespace) ScanSet(ctx context.Context, key string, each func(member, score string)) error {
	return scanPairs(ctx, ScanCount, func(ctx context.Context, from uint64, count int64) *redis.ScanCmd {
		return n.Redis.ZScan(ctx, key, from, "", count)
	}, each)
}

// scanPairs reads a scan of pairs, which may bring one of them twice. A step is to bring half of MostBytes at
// most (I16): it asks for as many pairs, ScanCount at most, as those before it lead to expect, and for four
// times as many as the one before at most, because a scan of few small values says little of the next ones.
func scanPairs(ctx context.Context, first int64, step func(ctx context.Context, from uint64, count int64) *redis.ScanCmd, each func(first, second string)) error {
	seen := make(map[string]bool)
	n := first
	return ScanAll(ctx, func(ctx context.Context, from uint64) *redis.ScanCmd { return step(ctx, from, n) }, func(found []string) error {
		bytes := 0
		for i := 0; i+1 < len(found); i += 2 {
			bytes += len(found[i]) + len(found[i+1])
			if !seen[found[i]] {
				seen[found[i]] = true
				each(found[i], found[i+1])
			}
		}
		if pairs := int64(len(found) / 2); pairs > 0 {
			fitting := MostBytes / 2 * pairs / int64(bytes+1)
			n = max(1, min(ScanCount, 4*n, fitting))
		}
		return nil
	})
}

// ScanAll makes all steps of a scan, until Redis says that there is no next one or each returns an error.
func ScanAll(ctx context.Context, step func(ctx context.Context, from uint64) *redis.ScanCmd, each func(found []string) error) error {
	for from := uint64(0); ; {
		part, err := Scan(ctx, from, step)
		if err == nil {
			err = each(part.Found)
		}
		if from = part.Next; err != nil || from == 0 {
			return err
		}
	}
}

// ScanList reads a list from its end to its head, ScanCount elements a round trip: what stands in it moves
// towards the head while others are taken off there, so it may come twice, but is not missed. An element that is added
// behind the end meanwhile does not come.
func (n *Namespace) ScanList(ctx context.Context, key string, each func(member string)) error {
	length, err := connect.Ask(ctx, func(ctx context.Context) (int64, error) { return n.Redis.LLen(ctx, key).Result() })
	for to := length; to > 0 && err == nil; to -= ScanCount {
		var part []string
		part, err = n.Members(ctx, key, max(0, to-ScanCount), to-1)
		for _, member := range part {
			each(member)
		}
	}
	return err
}
