package lanes

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

var afterScript = whole("after")

// After reads a part of a sorted set in its order, from behind a member that may be gone by now; from its begin behind nil. What
// comes into the set or goes out of it meanwhile moves nothing else into a part that was read, or past one that was not.
func (n *Namespace) After(ctx context.Context, key string, last *redis.Z, most int) ([]redis.Z, error) {
	score, member := "", any("")
	if last != nil {
		score, member = strconv.FormatFloat(last.Score, 'f', -1, 64), last.Member
	}
	words, err := n.Ask(ctx, n.Scripts.Whole(afterScript, []string{key}, score, member, most))
	if err != nil {
		return nil, err
	}
	var some []redis.Z
	for i := 1; i+1 < len(words); i += 2 {
		z := redis.Z{Member: words[i]}
		if z.Score, err = strconv.ParseFloat(words[i+1], 64); err != nil {
			return nil, err
		}
		some = append(some, z)
	}
	return some, nil
}
