package session

import (
	"context"
	"math"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
)

// PruneEvery is how often dead letters are looked at that their kinds may keep no longer, by one worker of all.
const PruneEvery = 5 * time.Minute

// pruneStep is how many letters one call removes.
const pruneStep = 100

// Prune removes dead letters that their kinds keep no longer ([dispatcher.Kind], DeadKeep and DeadMax), the newest
// being kept, and returns how many of each kind. Pools call it each [PruneEvery]; it asks Redis nothing where no kind
// was declared so when the dispatcher was opened, and does nothing while another worker has the turn.
//
// It looks at all dead letters, whose payloads do not travel, and takes at most a twentieth of Redis's time. After
// an error it returns what it has removed so far. It goes by what is declared now, so a declaration that was taken
// back removes nothing.
func (s *Session) Prune(ctx context.Context) (map[string]int, error) {
	if !s.d.Prunes() {
		return nil, nil
	}
	may, err := s.lanes.MayPrune(ctx, PruneEvery)
	if err != nil || !may {
		return nil, err
	}
	kinds, err := s.d.Kinds(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.lanes.Time(ctx)
	if err != nil {
		return nil, err
	}
	p := pruner{
		n: s.lanes, pace: s.lanes.Paced(), now: now, kinds: make(map[string]dispatcher.Kind), kept: make(map[string]int),
		gone: make(map[string]int), over: make([][]lanes.Grave, s.lanes.Partitions),
	}
	for _, k := range kinds {
		p.kinds[k.Name] = k.Kind
	}
	err = p.run(ctx)
	return p.gone, err
}

// pruner goes through all dead letters, the newest first, and so knows of each how many newer ones its kind has.
type pruner struct {
	n     *lanes.Namespace
	pace  *lanes.Pace
	now   time.Time
	kinds map[string]dispatcher.Kind
	kept  map[string]int
	gone  map[string]int
	over  [][]lanes.Grave // to be removed, by partition
}

// run merges the partitions by times of death: which are the newest is a matter of the whole namespace. When one can't
// be asked it ends, for what is counted without that one would be too few.
func (p *pruner) run(ctx context.Context) error {
	next, at := make([][]lanes.Grave, len(p.over)), make([]float64, len(p.over))
	for i := range at {
		at[i] = math.Inf(1)
	}
	for {
		newest := -1
		for i := range next {
			if len(next[i]) == 0 && !math.IsInf(at[i], -1) {
				err := p.pace.Step(ctx, func() (err error) {
					next[i], err = p.n.Graves(ctx, i, at[i], math.Inf(-1))
					return err
				})
				if err != nil {
					return err
				}
				at[i] = math.Inf(-1) // none is left
				if n := len(next[i]); n > 0 {
					at[i] = next[i][n-1].Died
				}
			}
			if len(next[i]) > 0 && (newest < 0 || next[i][0].Died > next[newest][0].Died) {
				newest = i
			}
		}
		if newest < 0 {
			break
		}
		g := next[newest][0]
		next[newest] = next[newest][1:]
		if p.keeps(g) {
			continue
		}
		if p.over[newest] = append(p.over[newest], g); len(p.over[newest]) == pruneStep {
			if err := p.remove(ctx, newest); err != nil {
				return err
			}
		}
	}
	for i := range p.over {
		if err := p.remove(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// keeps reports whether a letter stays, and counts it then. One that can't be read has no kind, and stays; and what a repair has
// saved is no letter that died of old age: it stays for whoever looks, and is not counted.
func (p *pruner) keeps(g lanes.Grave) bool {
	k := p.kinds[g.Kind]
	switch {
	case g.Reason == lanes.LostAndFound:
		return true
	case k.DeadKeep > 0 && g.Died < float64(p.now.Add(-k.DeadKeep).UnixMilli()), k.DeadMax > 0 && p.kept[g.Kind] >= k.DeadMax:
		return false
	}
	p.kept[g.Kind]++
	return true
}

// remove discards letters of a partition that are over. One that was replayed meanwhile and died anew is a new letter.
func (p *pruner) remove(ctx context.Context, partition int) error {
	over := p.over[partition]
	if len(over) == 0 {
		return nil
	}
	p.over[partition] = nil
	return p.pace.Step(ctx, func() error {
		still, _, err := p.n.StillDead(ctx, over, false)
		if err != nil {
			return err
		}
		var dead []lanes.Grave
		by := make(map[string]int)
		for i, g := range over {
			if still[i] {
				dead = append(dead, g)
				by[g.Kind]++
			}
		}
		if _, err = p.n.DiscardAll(lanes.AsWorker(ctx), partition, dead); err != nil {
			return err
		}
		for kind, n := range by {
			p.gone[kind] += n
		}
		return nil
	})
}
