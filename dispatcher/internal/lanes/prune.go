package lanes

import (
	"context"
	"time"
)

var pruneScript = verb("prune")

// MayPrune takes the turn to look for dead letters that are kept no longer, and reports whether it had come. Nobody
// else gets it for a while. A repeat of a request whose reply was lost is told to come later, so that turn is lost.
func (n *Namespace) MayPrune(ctx context.Context, every time.Duration) (bool, error) {
	words, err := n.Ask(ctx, n.Scripts.Plain(0, pruneScript, nil, every.Milliseconds()))
	return err == nil && first(words) == "ok", err
}
