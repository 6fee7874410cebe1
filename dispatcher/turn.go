package dispatcher

import (
	"context"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

// Turn is what a worker says and asks about one partition in one round trip:
// the ends of attempts, then whether to reap, then how many lanes it can take.
type Turn struct {
	Partition int
	Ends      []End
	Reap      bool
	Claim     bool // ask for lanes; with Want 0 only pass a wake-up on
	Want      int
}

// Turned is the answer to a [Turn].
type Turned struct {
	Ended  []Ended // of each of the turn's Ends
	Reaped Reaped  // when the turn reaped
	Claims []Claim
	Ready  int   // lanes of the worker's kinds that were left, as far as was looked
	Err    error // of reaping or claiming
}

// turns sends all turns together and returns an answer for each.
func (d *Dispatcher) turns(ctx context.Context, who Claimant, turns []Turn) []Turned {
	type sent struct {
		ends  []endCall
		reap  int // index in calls, or -1
		claim int
	}
	var calls []*script.Call
	layout := make([]sent, len(turns))
	for i, t := range turns {
		var own []string
		if t.Claim {
			own = who.Kinds
		}
		s := sent{reap: -1, claim: -1}
		s.ends = d.endCalls(t.Partition, t.Ends, own)
		for _, c := range s.ends {
			calls = append(calls, c.Call)
		}
		if t.Reap {
			s.reap = len(calls)
			calls = append(calls, d.reapCall(t.Partition, own))
		}
		if t.Claim {
			s.claim = len(calls)
			calls = append(calls, d.claimCall(t.Partition, who, t.Want))
		}
		layout[i] = s
	}
	start := time.Now()
	d.run.Run(ctx, calls...)
	answers := make([]Turned, len(turns))
	for i, s := range layout {
		a := Turned{Ended: make([]Ended, len(turns[i].Ends)), Reaped: Reaped{Next: -1}}
		for _, c := range s.ends {
			c.settle(turns[i].Ends, a.Ended)
		}
		if s.reap >= 0 {
			a.Reaped, a.Err = reaped(calls[s.reap])
		}
		if s.claim >= 0 {
			var err error
			a.Claims, a.Ready, err = d.claimed(calls[s.claim], who, start)
			if err != nil {
				a.Err = err
			}
		}
		answers[i] = a
	}
	return answers
}
