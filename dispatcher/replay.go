package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

//go:embed replay.lua
var replayLua string

var replayScript = verb("replay", replayLua)

// Replay puts a dead letter back into its lane with all its attempts before it:
// at the tail, with a new sequence number; or at the front, as the head, or next
// after what the lane's holder has claimed. Its unique key, if it has one, is taken again. It
// returns the job's sequence number; [ErrNotFound] when there is no such dead letter; and a
// [*TakenError] when another job has the key by now.
func (d *Dispatcher) Replay(ctx context.Context, ref JobRef, front bool) (seq int64, err error) {
	done, err := d.replay(ctx, ref, front, "refuse")
	return done.Seq, err
}

// ReplayOrMerge is Replay for a dead letter whose unique key may have been taken meanwhile: then it
// is merged into the job that has the key, as an enqueue would be, and goes. It returns the job
// that remains: Created tells whether that is the replayed one.
func (d *Dispatcher) ReplayOrMerge(ctx context.Context, ref JobRef, front bool) (Enqueued, error) {
	return d.replay(ctx, ref, front, "merge")
}

func (d *Dispatcher) replay(ctx context.Context, ref JobRef, front bool, onTaken string) (Enqueued, error) {
	p, job, err := d.deadLetter(ctx, ref)
	if err != nil {
		return Enqueued{}, err
	}
	if err := job.Subject.Validate(); err != nil {
		return Enqueued{}, fmt.Errorf("replay %s: %w: it can only be looked at and discarded", ref, record.ErrCorrupt)
	}
	place := "back"
	if front {
		place = "front"
	}
	canonical := job.Subject.Canonical()
	call := d.run.Once(p, replayScript, []string{d.keys[p].Tail(canonical)},
		canonical, record.PackID(ref.ID), job.Kind, job.entry().Rules(), place, onTaken)
	words, err := d.ask(ctx, call)
	if err != nil {
		return Enqueued{}, err
	}
	switch words[0] {
	case "ok":
		seq, err := strconv.ParseInt(words[1], 10, 64)
		return Enqueued{ID: ref.ID, Subject: job.Subject, Seq: seq, Created: true}, err
	case "taken", "merged":
		other, seq, merged, err := record.ParseOwner(words[1])
		if err == nil && words[0] == "taken" {
			err = fmt.Errorf("replay %s: %w", ref, &TakenError{ID: other})
		}
		return Enqueued{ID: other, Subject: job.Subject, Seq: seq, Merged: merged}, err
	}
	return Enqueued{}, fmt.Errorf("%w: job %s is not a dead letter", ErrNotFound, ref)
}
