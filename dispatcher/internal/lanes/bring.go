package lanes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

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
// their order. It may be repeated. by is the run that may bring them: see [Namespace.Fence].
func (n *Namespace) Bring(p int, by string, jobs []Brought) *script.Call {
	tails, kinds, args := make([]string, len(jobs)), []string{}, make([]any, 2, 2+8*len(jobs))
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
	args[0], args[1] = by, strings.Join(kinds, " ")
	return n.Scripts.Plain(p, bringScript, tails, args...)
}

// Fence lets one run bring jobs and outcomes, and no other: what an earlier run still sends is refused from then on, however
// late it comes. Unfence lets none. Each takes one command a partition.
func (n *Namespace) Fence(ctx context.Context, by string) error {
	return Wrap("take over namespace "+n.Name, n.Together(ctx, func(pipe redis.Pipeliner) {
		for p := range n.Partitions {
			pipe.HSet(ctx, n.keys[p].Clock(), "mover", by)
		}
	}))
}

func (n *Namespace) Unfence(ctx context.Context) error {
	return Wrap("open namespace "+n.Name, n.Together(ctx, func(pipe redis.Pipeliner) {
		for p := range n.Partitions {
			pipe.HDel(ctx, n.keys[p].Clock(), "mover")
		}
	}))
}

// BringAll makes calls, by partition, that put jobs and outcomes back, and waits for all. It returns an error that wraps
// [ErrMismatch] when another run has taken over.
func (n *Namespace) BringAll(ctx context.Context, by string, jobs [][]Brought, outcomes [][]BroughtOutcome) error {
	var calls []*script.Call
	for p := range n.Partitions {
		if len(jobs[p]) > 0 {
			calls = append(calls, n.Bring(p, by, jobs[p]))
		}
		if len(outcomes[p]) > 0 {
			calls = append(calls, n.BringEnded(p, by, outcomes[p]))
		}
	}
	n.Scripts.Ride(ctx, calls...)
	for _, call := range calls {
		words, err := call.Words()
		if err == nil && words[0] == "other" {
			err = fmt.Errorf("%w: another import into namespace %s has taken over", ErrMismatch, n.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
