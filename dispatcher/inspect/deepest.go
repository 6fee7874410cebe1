package inspect

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
)

// DeepLanes are the deepest lanes that a look has found, the deepest first. Sampled says that it has not looked at all lanes of the namespace:
// those of more than Surely jobs are missing in one look of a hundred, less deep ones more often.
type DeepLanes struct {
	Lanes   []Lane `json:"lanes"`
	Sampled bool   `json:"sampled"`
	Drawn   int    `json:"drawn,omitempty"`  // how many of all stored jobs it has drawn by chance
	Surely  int    `json:"surely,omitempty"` // jobs of a lane
}

// mostDeep is how many lanes a look for the deepest looks at, or how many jobs it draws, in all partitions together.
const mostDeep = 10_000

// lnHundred is how many jobs of a lane are to be expected among those drawn, so that in one look of a hundred there is none.
const lnHundred = 4.605

// Deepest shows up to so many of the deepest lanes, 500 at most. Up to 10,000 lanes it looks at all; where there are more it draws as many jobs by
// chance and looks at theirs, since no job pays for a list of deep lanes. A lane is found the more surely the more of all jobs are in it, and what
// is shown of each is counted. Dead letters and scheduled jobs are drawn too. Of large jobs it draws fewer, 16 MiB of a partition.
//
// Each command reads up to 200 lanes or jobs, and all together take about a tenth of a second. A number that is not within 0, for 50, and 500 is an error
// that wraps [dispatcher.ErrInvalid]; a [dispatcher.IncompleteError] may come beside the lanes of other partitions.
func (in *Inspector) Deepest(ctx context.Context, most int) (DeepLanes, error) {
	limit, err := (Page{Limit: most}).limit()
	if err != nil {
		return DeepLanes{}, err
	}
	parts := in.lanes.EveryPartition()
	looks, found := make([]lanes.Deep, len(parts)), make([][]Lane, len(parts))
	missing, _, err := in.lanes.Across(parts, func(i int) (err error) {
		if looks[i], err = in.lanes.LookDeep(ctx, parts[i], max(1, mostDeep/len(parts))); err != nil {
			return err
		}
		found[i], err = in.describe(ctx, parts[i], deepest(looks[i].Behind, limit))
		return err
	})
	if err != nil {
		return DeepLanes{}, err
	}
	all := DeepLanes{Lanes: []Lane{}}
	for i, look := range looks {
		if all.Drawn += look.Drawn; look.Drawn > 0 {
			all.Sampled = true
			all.Surely = max(all.Surely, int(math.Ceil(lnHundred*float64(look.Jobs)/float64(look.Drawn))))
		}
		for _, lane := range found[i] {
			if lane.Depth > 0 {
				all.Lanes = append(all.Lanes, lane)
			}
		}
	}
	slices.SortFunc(all.Lanes, func(a, b Lane) int {
		return cmp.Or(cmp.Compare(b.Depth, a.Depth), cmp.Compare(a.Subject.String(), b.Subject.String()))
	})
	all.Lanes = all.Lanes[:min(limit, len(all.Lanes))]
	return all, missing.OrNil()
}

// deepest are the subjects with most jobs behind their heads.
func deepest(behind map[string]int, limit int) []string {
	all := slices.SortedFunc(maps.Keys(behind), func(a, b string) int { return cmp.Or(cmp.Compare(behind[b], behind[a]), cmp.Compare(a, b)) })
	return all[:min(limit, len(all))]
}
