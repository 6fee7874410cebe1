package worker

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// prune removes dead letters that their kinds keep no longer, now and then, until life ends. Of all pools one does
// it at a time; they begin at different times, and soon, for a pool may not live for long.
func (p *Pool) prune(life context.Context) {
	for wait := rand.N(time.Minute); pauseFor(life, wait); wait = session.PruneEvery {
		gone, err := p.source.Prune(life)
		for _, kind := range slices.Sorted(maps.Keys(gone)) {
			p.log.Info("dead letters removed: their kind keeps them no longer", "kind", kind, "count", gone[kind])
		}
		if err != nil && life.Err() == nil {
			p.log.Warn("dead letters were not looked at", "err", err)
		}
	}
}
