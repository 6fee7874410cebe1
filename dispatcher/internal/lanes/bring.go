package lanes

import (
	"context"
	"slices"
	"strings"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var bringScript = verb("bring")

// Brought is a job of an export, in the forms in which it is stored.
type Brought struct {
	Subject string // canonical; "" of a dead letter that can't be read
	Entry   record.Entry
	Body    []byte
	Place   string // "lane", "scheduled" or "dead"
	When    string // its score on the schedule or among the dead letters
	Said    string // its note, or a dead letter's reason
	Name    string // what is known of its unique key, "" without one
	Has     bool   // it has that key now
}

// Bring makes a call that puts jobs where they stood, at most 250 and [MostBytes], of one partition. Jobs of a lane stand in
// their order. It may be repeated.
func (n *Namespace) Bring(p int, jobs []Brought) *script.Call {
	tails, kinds, args := make([]string, len(jobs)), []string{}, make([]any, 1, 1+8*len(jobs))
	for i, j := range jobs {
		tails[i] = n.keys[p].Tail(j.Subject)
		has := ""
		if j.Has {
			has = "has"
		}
		if !slices.Contains(kinds, j.Entry.Kind) {
			kinds = append(kinds, j.Entry.Kind)
		}
		args = append(args, j.Subject, j.Entry.String(), j.Body, j.Place, j.When, j.Said, j.Name, has)
	}
	args[0] = strings.Join(kinds, " ")
	return n.Scripts.Plain(p, bringScript, tails, args...)
}

// BringAll makes calls, by partition, that put jobs and outcomes back, and waits for all.
func (n *Namespace) BringAll(ctx context.Context, jobs [][]Brought, outcomes [][]BroughtOutcome) error {
	var calls []*script.Call
	for p := range n.Partitions {
		if len(jobs[p]) > 0 {
			calls = append(calls, n.Bring(p, jobs[p]))
		}
		if len(outcomes[p]) > 0 {
			calls = append(calls, n.BringEnded(p, outcomes[p]))
		}
	}
	n.Scripts.Ride(ctx, calls...)
	for _, call := range calls {
		if _, err := call.Words(); err != nil {
			return err
		}
	}
	return nil
}
