package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/subject"
)

var retryScript = verb("retry")

// Retry lets a lane go on now whose head waits for its next attempt: did is "ok"; "asleep" when the head is suspended by
// itself; or the state that the lane is in instead.
func (n *Namespace) Retry(ctx context.Context, key subject.Key, seen Seen) (did string, err error) {
	words, err := n.Ask(ctx, n.Scripts.Once(n.Partition(key), retryScript, nil, key.Canonical(), seen.packed(), n.actor(ctx)))
	if err == nil && words[0] == "no" {
		return words[1], nil
	}
	return first(words), notMoved(words, err)
}
