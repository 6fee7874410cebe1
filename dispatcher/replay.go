package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
)

//go:embed replay.lua
var replayLua string

var replayScript = verb("replay", replayLua)

// Replay puts a dead letter back into its lane with all its attempts before it:
// at the tail, with a new sequence number; or at the front, as the head, or next
// after what the lane's holder has claimed. It returns the job's sequence number, or
// [ErrNotFound] when there is no such dead letter.
func (d *Dispatcher) Replay(ctx context.Context, id string, front bool) (seq int64, err error) {
	p, job, err := d.deadLetter(ctx, id)
	if err != nil {
		return 0, err
	}
	if err := job.Subject.Validate(); err != nil {
		return 0, fmt.Errorf("replay %s: %w: it can only be looked at and discarded", id, errCorrupt)
	}
	place := "back"
	if front {
		place = "front"
	}
	canonical := job.Subject.Canonical()
	call := d.run.Once(p, replayScript, []string{d.keys[p].Tail(canonical)},
		canonical, packID(id), job.Kind, strconv.Itoa(job.MaxAttempts)+job.flags, place)
	words, err := d.ask(ctx, call)
	if err != nil {
		return 0, err
	}
	if words[0] != "ok" {
		return 0, fmt.Errorf("%w: job %q is not a dead letter", ErrNotFound, id)
	}
	return strconv.ParseInt(words[1], 10, 64)
}
