package inspect

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// Durations is how long the attempts of a kind took, since the namespace was made. Attempts count
// however they ended, for a figure of those alone that went well would be too short by the
// others. Workers tell Redis every five seconds: what ended since is not in it yet, and what a
// killed worker had not told is lost.
type Durations struct {
	Count    int64                    `json:"count"`     // attempts, of all endings
	ByEnding map[session.Ending]int64 `json:"by_ending"` // an ending that never was is not in it

	// P50 is what half of the attempts did not exceed, P95 what 95 of 100 did not. They are read
	// from buckets, four for each doubling, so they may be 9 % off; they are never over Max.
	// Attempts under 1 ms count as 1 ms.
	P50 time.Duration `json:"p50_ns"`
	P95 time.Duration `json:"p95_ns"`

	// Max is the longest attempt, in whole milliseconds, at least one if there was any.
	Max time.Duration `json:"max_ns"`
}

// Durations returns what was measured of a kind, with one HGETALL of at most 706 fields, however
// many attempts there were. A kind of which no attempt has ended, or which nobody knows, has a
// Count of 0, and that is no error.
func (in *Inspector) Durations(ctx context.Context, kind string) (Durations, error) {
	measured, err := in.lanes.Measures(ctx, kind)
	if err != nil {
		return Durations{}, err
	}
	all := Durations{Count: measured.Count, ByEnding: make(map[session.Ending]int64)}
	for how, count := range measured.Endings {
		all.ByEnding[session.Ending(how)] = count
	}
	quantile := func(q float64) time.Duration {
		rank, seen := int64(math.Ceil(q*float64(all.Count))), int64(0)
		for b, n := range measured.Buckets {
			if seen += n; n > 0 && seen >= rank {
				return lanes.Middle(b)
			}
		}
		return 0
	}
	if all.Count > 0 {
		all.Max = max(measured.Max, time.Millisecond)
		// The middle of the last bucket may lie over the longest attempt, which is known
		// exactly.
		all.P50, all.P95 = min(quantile(0.50), all.Max), min(quantile(0.95), all.Max)
	}
	return all, nil
}

// typical returns how long a job of each kind takes: the median of what was measured, else what
// is declared. A kind of which neither is known is not in it. It asks once for each kind, of
// which a page has few.
func (in *Inspector) typical(ctx context.Context, kinds []string) (map[string]time.Duration, error) {
	known := make(map[string]time.Duration)
	for _, kind := range kinds {
		measured, err := in.Durations(ctx, kind)
		if err != nil {
			return nil, err
		}
		declared, _ := in.d.Declared(kind)
		if took := cmp.Or(measured.P50, declared.Expected); took > 0 {
			known[kind] = took
		}
	}
	return known, nil
}

// maxAhead is how many jobs of a lane an estimate looks over: the kinds of those before a page
// have to be read for it, and nobody believes an estimate behind a thousand jobs.
const maxAhead = 1000

// estimate fills in when jobs of a lane start and end, as far as their kinds' durations are
// known: each starts when the one before it ends. A lane that is ready is taken to be claimed now
// if any worker handles its head; a suspended one has no estimate. jobs are those at the
// positions from on; ahead are the kinds of those before.
func (in *Inspector) estimate(ctx context.Context, lane *Lane, jobs []JobInfo, ahead []string) error {
	kinds := slices.Clone(ahead)
	for i := range jobs {
		kinds = append(kinds, jobs[i].Kind)
	}
	slices.Sort(kinds)
	took, err := in.typical(ctx, slices.Compact(kinds))
	if err != nil {
		return err
	}
	now, err := in.lanes.Time(ctx)
	if err != nil {
		return err
	}
	at, err := in.startOf(ctx, lane, now)
	if err != nil {
		return err
	}
	step := func(kind string) (starts, ends time.Time) {
		length, known := took[kind]
		starts = at
		if at.IsZero() || !known {
			at = time.Time{}
			return starts, time.Time{}
		}
		if at = at.Add(length); at.Before(now) { // the head takes longer than most
			at = now
		}
		return starts, at
	}
	for _, kind := range ahead {
		step(kind)
	}
	for i := range jobs {
		jobs[i].Starts, jobs[i].Ends = step(jobs[i].Kind)
	}
	return nil
}

// startOf returns when the head of a lane has started or starts, or zero when nobody can say.
// Zero goes on through the lane: what comes behind an unknown start has none either.
func (in *Inspector) startOf(ctx context.Context, lane *Lane, now time.Time) (time.Time, error) {
	switch lane.State {
	case Leased:
		if lane.HeadID == "" || lane.Section {
			return time.Time{}, nil // nobody knows how long a section takes
		}
		return given(lane.Token), nil
	case Delayed:
		return lane.RunAt, nil
	case Ready:
		if k, _ := in.d.Declared(lane.Kind); k.Limit > 0 || k.Every > 0 {
			return time.Time{}, nil // others of the kind go first, nobody knows how many
		}
		workers, err := session.Workers(ctx, in.d)
		for _, w := range workers {
			if w.Takes(lane.Kind) {
				return now, err
			}
		}
		return time.Time{}, err
	}
	return time.Time{}, nil
}
