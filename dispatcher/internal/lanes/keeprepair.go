package lanes

import (
	"context"
	"time"
)

var keepRepairScript = whole("keeprepair")

// KeepRepair keeps the repair of the namespace for a holder a while longer, or gives it up after 0, and then says who mended how much.
// That another one has it by now is no error: each step of a repair looks again at what it changes.
func (n *Namespace) KeepRepair(ctx context.Context, holder string, longer time.Duration, mended int) error {
	var ms any = ""
	if longer > 0 {
		ms = longer.Milliseconds()
	}
	_, err := n.Ask(ctx, n.Scripts.Whole(keepRepairScript, []string{n.Repairing(), n.Audit()}, holder, ms, n.actor(ctx), mended))
	return err
}
