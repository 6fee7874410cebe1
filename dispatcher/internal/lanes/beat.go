package lanes

import (
	"context"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

var beatScript = whole("beat")

// Beat says, on a connection of the worker's own, that a holder is alive and what it says of itself; "" is that
// it leaves. Those that have been silent for so long are forgotten, a hundred at most each time.
func (n *Namespace) Beat(ctx context.Context, on *script.Runner, holder, info string, silent time.Duration) error {
	_, err := on.Ask(ctx, on.Whole(beatScript, []string{n.Workers(), n.Seen()}, holder, info, silent.Milliseconds()))
	return err
}
