package lanes

import (
	"context"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/record"
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
	p, tail := n.tail(key)
	words, err := n.Ask(ctx, n.Scripts.Once(p, replayScript, tail, key.Canonical(), job.ID, job.Kind, job.Rules(), place, onTaken, n.actor(ctx)))
	if err != nil {
		return r, err
	}
	switch r.Did = words[0]; r.Did {
	case "ok":
		r.Seq, err = strconv.ParseInt(words[1], 10, 64)
	case "taken", "merged":
		r.Owner, r.Seq, r.Merged, err = record.ParseOwner(words[1])
	}
	return r, err
}
