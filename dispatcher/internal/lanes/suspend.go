package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/subject"
)

var suspendScript = verb("suspend")

// Suspend stops a lane until it is resumed: at once, or when its holder is done, who is returned then. why is
// one line, for those who look at the lane; a later one that is empty leaves it as it is.
func (n *Namespace) Suspend(ctx context.Context, key subject.Key, why string, seen Seen) (holder string, err error) {
	words, err := n.Ask(ctx, n.Scripts.Once(n.Partition(key), suspendScript, nil, key.Canonical(), why, seen.packed(), n.actor(ctx)))
	if err == nil && words[0] == "later" {
		holder = words[1]
	}
	return holder, notMoved(words, err)
}
