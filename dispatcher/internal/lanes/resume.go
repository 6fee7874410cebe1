package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/subject"
)

var resumeScript = verb("resume")

// Resume lets a suspended or halted lane go on, "resume" with its head or "skip" without it: did is "ok", "no"
// when it is not suspended, or "empty" when there is no head to skip. A lane that is still leased can be
// resumed, which takes back what was asked of its holder, and not skipped.
func (n *Namespace) Resume(ctx context.Context, key subject.Key, how string, seen Seen) (did string, err error) {
	p, tail := n.tail(key)
	words, err := n.Ask(ctx, n.Scripts.Once(p, resumeScript, tail, key.Canonical(), how, seen.packed(), n.actor(ctx)))
	return first(words), notMoved(words, err)
}
