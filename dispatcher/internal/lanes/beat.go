package lanes

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

var beatScript = whole("beat")

// Beat says, on a connection of the worker's own, that a holder is alive and what it says of itself; "" is that
// it leaves. Those that have been silent for so long are forgotten, a hundred at most each time. It returns when that
// was.
func (n *Namespace) Beat(ctx context.Context, on *script.Runner, holder, info string, silent time.Duration) (at time.Time, err error) {
	words, err := on.Ask(ctx, on.Whole(beatScript, []string{n.Workers(), n.Seen()}, holder, info, silent.Milliseconds()))
	if err != nil {
		return at, err
	}
	ms, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	if err != nil {
		return at, fmt.Errorf("beat: reply %q: %w", words, err)
	}
	return time.UnixMilli(ms), nil
}
