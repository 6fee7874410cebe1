package lanes

import (
	"context"
	"slices"
	"strings"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var bringScript = verb("bring")

// Unreadable is the kind of the entry of a dead letter whose own can't be read; no kind is named so.
const Unreadable = "?"

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

// bring makes a call that puts jobs where they stood, at most 250 and [MostBytes], of one partition. Jobs of a lane stand in
// their order. It may be repeated.
func (m *Mover) bring(p int, jobs []Brought) *script.Call {
	tails, kinds, args := make([]string, len(jobs)), []string{}, make([]any, 2, 2+8*len(jobs))
	for i, j := range jobs {
		tails[i] = m.keys[p].Tail(j.Subject)
		has := ""
		if j.Has {
			has = "has"
		}
		if j.Entry.Kind != Unreadable && !slices.Contains(kinds, j.Entry.Kind) {
			kinds = append(kinds, j.Entry.Kind)
		}
		args = append(args, j.Subject, j.Entry.String(), j.Body, j.Place, j.When, j.Said, j.Name, has)
	}
	args[0], args[1] = m.run.String(), strings.Join(kinds, " ")
	return m.Scripts.Plain(p, bringScript, tails, args...)
}

// BringAll puts jobs and outcomes back, by partition, and waits for all. It returns an error that wraps [ErrMismatch] when this run may
// not write.
func (m *Mover) BringAll(ctx context.Context, jobs [][]Brought, outcomes [][]BroughtOutcome) error {
	var calls []*script.Call
	for p := range m.Partitions {
		if len(jobs[p]) > 0 {
			calls = append(calls, m.bring(p, jobs[p]))
		}
		if len(outcomes[p]) > 0 {
			calls = append(calls, m.bringEnded(p, outcomes[p]))
		}
	}
	return m.together(ctx, calls)
}
