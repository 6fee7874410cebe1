package lanes

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var trailScript = whole("trail")

// MostTrail is how many attempts the trail of a namespace keeps: 1 MB of usual ones.
const MostTrail = 5000

// Trailed is what a session adds to the trail: see [Measured] for its number.
type Trailed struct {
	Entries []string // the earliest end first
	Number  int64
}

// AddToTrail adds it, as Measure adds durations.
func (n *Namespace) AddToTrail(ctx context.Context, on *script.Runner, holder string, t *Trailed) error {
	args := []any{t.Number, MostTrail}
	for i := range t.Entries {
		args = append(args, &t.Entries[i])
	}
	_, err := on.Ask(ctx, on.Whole(trailScript, []string{n.Trail(), n.Recorded(holder)}, args...))
	return err
}

// trailPart is how many attempts one command reads.
const trailPart = 500

// ReadTrail reads the whole trail, in one round trip. What is added meanwhile moves the rest, so an attempt may
// stand in two parts; each comes once. What can't be read is left out.
func (n *Namespace) ReadTrail(ctx context.Context) ([]record.Attempt, error) {
	var parts [MostTrail / trailPart]*redis.StringSliceCmd
	err := n.Together(ctx, func(pipe redis.Pipeliner) {
		for i := range parts {
			parts[i] = pipe.LRange(ctx, n.Trail(), int64(i*trailPart), int64((i+1)*trailPart-1))
		}
	})
	if err != nil {
		return nil, Wrap("read the trail", err)
	}
	var all []record.Attempt
	seen := make(map[string]bool)
	for _, part := range parts {
		for _, entry := range part.Val() {
			if a, ok := record.ParseAttempt(entry); ok && !seen[entry] {
				seen[entry] = true
				all = append(all, a)
			}
		}
	}
	return all, nil
}
