package lanes

import (
	"context"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

var replayScript = verb("replay")

// Replayed says what became of a dead letter: Did is "ok", "taken" or "merged", which name the job that has its
// unique key, or "missing". Owner is that job's id. With "ok" Seq is 0 for a job that waits on the schedule
// behind others that are due.
type Replayed struct {
	Did    string
	Seq    int64 // of the job that is there now
	Owner  string
	Merged int // jobs that were merged into that one
}

// Replay puts a dead letter back into its lane at a place, "front" or "back", with no attempts behind it. Where
// another job has its unique key, onTaken says whether to "merge" it or to "refuse" (I12).
func (n *Namespace) Replay(ctx context.Context, key subject.Key, job record.Entry, place, onTaken string) (r Replayed, err error) {
	words, err := n.Ask(ctx, n.replay(ctx, key, job, place, onTaken))
	if err != nil {
		return r, err
	}
	return readReplayed(words)
}

// Replaying is a dead letter that is to go back with others.
type Replaying struct {
	Key subject.Key
	Job record.Entry
}

// ReplayTogether is Replay of letters of one partition, in their order and in one transaction: no worker takes one
// before all are there. How many the caller bounds: Redis serves nobody else meanwhile. With an error those that have
// an answer are returned, up to the first that has none.
func (n *Namespace) ReplayTogether(ctx context.Context, letters []Replaying, place, onTaken string) (all []Replayed, err error) {
	if len(letters) == 0 {
		return nil, nil
	}
	calls := make([]*script.Call, len(letters))
	for i, l := range letters {
		calls[i] = n.replay(ctx, l.Key, l.Job, place, onTaken)
	}
	n.Scripts.RideTogether(ctx, calls...)
	for _, call := range calls {
		words, err := call.Words()
		if err != nil {
			return all, err
		}
		r, err := readReplayed(words)
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

func (n *Namespace) replay(ctx context.Context, key subject.Key, job record.Entry, place, onTaken string) *script.Call {
	p, tail := n.tail(key)
	return n.Scripts.Once(p, replayScript, tail, key.Canonical(), job.ID, job.Kind, job.Rules(), place, onTaken, n.actor(ctx))
}

func readReplayed(words []string) (r Replayed, err error) {
	switch r.Did = words[0]; r.Did {
	case "ok":
		r.Seq, err = strconv.ParseInt(words[1], 10, 64)
	case "taken", "merged":
		r.Owner, r.Seq, r.Merged, err = record.ParseOwner(words[1])
	}
	return r, err
}
