package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

var suspendJobScript = verb("suspendjob")

// SuspendJob keeps one job from running, or lets it run again, as how says, "suspend" or "resume": did is "ok",
// "no" when it is not suspended, "running", "claimed" with the head of its lane, "dead" or "missing". To suspend one that is suspended is "ok" too.
func (n *Namespace) SuspendJob(ctx context.Context, key subject.Key, job record.Entry, how string) (did string, err error) {
	p, tail := n.tail(key)
	words, err := n.Ask(ctx, n.Scripts.Once(p, suspendJobScript, tail, key.Canonical(), job.String(), how, n.actor(ctx)))
	return first(words), err
}
