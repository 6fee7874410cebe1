package lanes

import (
	"context"

	"github.com/lanekeeper/lanekeeper/subject"
)

var discardScript = verb("discard")

// Discard deletes a dead letter, by its packed id, and reports whether there was one. Nothing of the job is
// left after it. key is its subject, zero of one that can't be read.
func (n *Namespace) Discard(ctx context.Context, p int, key subject.Key, id string) (did bool, err error) {
	canonical := ""
	if key.Validate() == nil {
		canonical = key.Canonical()
	}
	words, err := n.Ask(ctx, n.Scripts.Once(p, discardScript, nil, n.actor(ctx), canonical, id))
	return err == nil && words[0] == "ok", err
}
