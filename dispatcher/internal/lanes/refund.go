package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

var refundScript = verb("refund")

// Refund gives the last attempt of a job that a holder has failed back. It reports whether the job is a dead
// letter because its attempts are used up, which stays one: whoever refunds replays it. A job that has ended,
// or that died for another reason, is left as it is.
func (n *Namespace) Refund(ctx context.Context, holder string, key subject.Key, id string) (dead bool, err error) {
	words, err := n.Ask(ctx, n.Scripts.Once(n.Partition(key), refundScript, nil, holder, key.Canonical(), record.PackID(id)))
	return err == nil && words[0] == "dead", err
}
