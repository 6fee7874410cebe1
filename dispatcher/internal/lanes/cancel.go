package lanes

import (
	"context"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

var cancelScript = verb("cancel")

// Cancel takes a job that waits out of its place, or asks the holder of one that runs to end it: did is "ok",
// "asked" with that holder, "claimed", "dead" or "missing". keep is how long the outcome can be read, 0 for not
// at all; for a job that runs it is left with what is asked, because a reap has nobody else to tell it.
func (n *Namespace) Cancel(ctx context.Context, key subject.Key, job record.Entry, keep time.Duration) (did, holder string, err error) {
	words, err := n.Ask(ctx, n.Scripts.Once(n.Partition(key), cancelScript, nil, key.Canonical(), job.String(), keep.Milliseconds(), n.actor(ctx)))
	if err == nil && words[0] == "asked" {
		holder = words[1]
	}
	return first(words), holder, err
}
