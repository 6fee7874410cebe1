package dispatcher

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/lanekeeper/lanekeeper/lease"
)

//go:embed several.lua
var severalLua string

var severalScript = verb("several", severalLua)

// severalCall makes the call for the end of a whole batch.
func (d *Dispatcher) severalCall(partition int, ends []End, i int, own []string) endCall {
	claim := ends[i].Claim
	canonical := claim.Subject.Canonical()
	workers := 0
	for _, e := range ends[i].Each {
		workers = max(workers, e.Workers)
	}
	args := []any{spaced(own), canonical, claim.Lease.Token.String(), workers}
	for _, e := range ends[i].Each {
		_, stored := e.Claim.keys()
		args = append(args, stored)
		switch e.Outcome {
		case Finished:
			args = append(args, "finished", e.Claim.Keep.Milliseconds(), e.Result)
		case Retry:
			args = append(args, "failed", max(0, e.Wait.Milliseconds()), clip(e.Error))
		case DeadLettered:
			args = append(args, "dead", 0, strings.ReplaceAll(clip(e.Reason), "\n", " ")+"\n"+clip(e.Error))
		default:
			args = append(args, "back", 0, "")
		}
	}
	call := d.run.Once(partition, severalScript, []string{d.keys[partition].Tail(canonical)}, args...)
	return endCall{Call: call, members: []int{i}, each: true}
}

// settleEach reads a word for each job of a batch, or that its lease was lost.
func settleEach(end *End, words []string, callErr error) Ended {
	if callErr == nil && words[0] == "lost" {
		callErr = lease.ErrLost
	}
	if callErr != nil {
		return Ended{Err: fmt.Errorf("end batch of %d jobs of %s: %w", len(end.Each), end.Claim.Subject, callErr)}
	}
	all := Ended{Each: make([]Ended, len(end.Each))}
	for i := range all.Each {
		all.Each[i] = Ended{Dead: words[i] == "dead", Halted: words[i] == "halted", Cancelled: words[i] == "cancelled"}
	}
	return all
}
