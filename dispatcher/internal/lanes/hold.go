package lanes

import (
	"context"
	"time"
)

var holdScript = whole("hold")

// Hold keeps the repair of the namespace for a holder a while longer, or gives it up after 0. That another one
// has it by now is no error: each step of a repair looks again at what it changes.
func (n *Namespace) Hold(ctx context.Context, holder string, longer time.Duration) error {
	var ms any = ""
	if longer > 0 {
		ms = longer.Milliseconds()
	}
	_, err := n.Ask(ctx, n.Scripts.Whole(holdScript, []string{n.Repairing()}, holder, ms))
	return err
}
