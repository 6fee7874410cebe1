package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// standstill gathers, over all partitions, what may not go on by itself. A lane that stands still
// breaks no invariant: so all that comes of it is a warning.
type standstill struct {
	suspended int // lanes

	ready map[string]int       // kind -> ready lanes
	held  map[string]int       // holder -> its leases
	since map[string]time.Time // holder -> end of the one that ends first
}

func newStandstill() *standstill {
	return &standstill{ready: make(map[string]int), held: make(map[string]int), since: make(map[string]time.Time)}
}

// add takes in a partition. A lane that an operator or its head has stopped is counted there, and
// nowhere else: no worker could do anything about it.
func (i *standstill) add(s *survey) {
	for _, lane := range s.lanes {
		for kind, n := range lane.ready {
			i.ready[kind] += n
		}
		lease := record.ParseLease(lane.record)
		holder := lease.Holder
		if park, _ := record.ParsePark(lane.reasons); park.Stopped() {
			i.suspended++
			continue
		}
		if holder == "" || lane.deadline == 0 {
			continue
		}
		over := time.UnixMilli(int64(lane.deadline))
		i.held[holder]++
		if first, ok := i.since[holder]; !ok || over.Before(first) {
			i.since[holder] = over
		}
	}
}

// overdue is how long after its end a lease is reaped at the latest while workers live: pools
// reap every few seconds, and a minute is no false alarm on a machine that is slow.
const overdue = time.Minute

// explain says which lanes stand still, and why: ready with no worker alive that handles them, or
// leased to a holder that is gone with nobody there to reap. It also names workers that are
// blamed, for their lanes wait for the others. It asks for the workers, the clock, and the limits of
// kinds that are ready.
func (d *Doctor) explain(ctx context.Context, i *standstill) ([]Finding, error) {
	workers, err := session.Workers(ctx, d.d)
	if err != nil {
		return nil, err
	}
	now, err := d.lanes.Time(ctx)
	if err != nil {
		return nil, err
	}
	// A worker that is blamed for a kind does not count as one that takes it.
	alive := make(map[string]bool)
	workersOf, blamed := make(map[string]int), make(map[string]int)
	for _, w := range workers {
		alive[w.Holder] = w.Alive
		for _, kind := range w.Kinds {
			if w.Alive {
				workersOf[kind]++
			}
			if w.Alive && !w.Takes(kind) {
				blamed[kind]++
			}
		}
	}
	// The order is that of what an operator can do: look at what was stopped, at machines, and
	// then at kinds that want a worker.
	var findings []Finding
	if i.suspended > 0 {
		findings = append(findings, Finding{Warning, "lanes", fmt.Sprint(i.suspended),
			"are suspended or halted; 'lanekeeper lane ls --state suspended' says why, 'lane resume' or 'lane skip' lets one go on"})
	}
	for _, w := range workers {
		if w.Alive && len(w.Blamed) > 0 {
			findings = append(findings, Finding{Warning, "worker", w.Holder,
				"is to blame and claims none of " + strings.Join(w.Why(), "; ") + "; look at that machine"})
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(blamed)) {
		findings = append(findings, Finding{Warning, "kind", kind, fmt.Sprintf("%d of %d workers are blamed", blamed[kind], workersOf[kind])})
	}
	why, err := inspect.New(d.d).WhyKinds(ctx, i.ready)
	if err != nil && !errors.Is(err, dispatcher.ErrIncomplete) { // whose limits are away is stuck for no other reason
		return nil, err
	}
	for _, kind := range slices.Sorted(maps.Keys(why)) {
		if w := why[kind]; w.Stuck {
			findings = append(findings, Finding{Warning, "kind", kind, fmt.Sprintf("%s 'lanekeeper %s' %s", w.Text, w.Next[0].Command, w.Next[0].Does)})
		}
	}
	for _, holder := range slices.Sorted(maps.Keys(i.held)) {
		if late := now.Sub(i.since[holder]); late > overdue && !alive[holder] {
			findings = append(findings, Finding{Warning, "worker", holder,
				fmt.Sprintf("is gone and holds %d lanes, the first since %s after its lease ended: any worker that runs would take them back",
					i.held[holder], late.Round(time.Second))})
		}
	}
	return findings, nil
}
