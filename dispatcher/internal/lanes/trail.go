package lanes

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var trailScript = whole("trail")

// MostTrail is how many attempts the trail of a namespace keeps: 1 MB of usual ones.
const MostTrail = 5000

// MostTrailOf is how many the trail of a watched subject keeps, and trailOfStays how long after the last one.
const (
	MostTrailOf  = 200
	trailOfStays = time.Hour
)

// Trailed is what a session adds to a trail: see [Measured] for its number.
type Trailed struct {
	Subject string   // canonical, of a subject's own trail; "" is that of the namespace
	Entries []string // the earliest end first
	Number  int64
}

// AddToTrail adds it, as Measure adds durations.
func (n *Namespace) AddToTrail(ctx context.Context, on *script.Runner, holder string, t *Trailed) error {
	trail, args := n.Trail(), []any{t.Number, MostTrail, 0}
	if t.Subject != "" {
		trail, args = n.TrailOf(t.Subject), []any{t.Number, MostTrailOf, trailOfStays.Milliseconds()}
	}
	for i := range t.Entries {
		args = append(args, &t.Entries[i])
	}
	_, err := on.Ask(ctx, on.Whole(trailScript, []string{trail, n.Recorded(holder)}, args...))
	return err
}

// trailPart is how many attempts one command reads.
const trailPart = 500

// Trails is what is remembered of attempts: all that the namespace's trail has, and, where that was asked for, those of a subject
// that is or was watched, and until when it is.
type Trails struct {
	All, Own     []record.Attempt
	WatchedUntil time.Time
}

// ReadTrail reads it, in one round trip; of is a subject in canonical form, or "". What is added meanwhile moves the rest, so an
// attempt may stand in two parts; each comes once. What can't be read is left out.
func (n *Namespace) ReadTrail(ctx context.Context, of string) (t Trails, err error) {
	parts := make([]*redis.StringSliceCmd, MostTrail/trailPart)
	var own *redis.StringSliceCmd
	var until *redis.FloatCmd
	err = n.Together(ctx, func(pipe redis.Pipeliner) {
		for i := range parts {
			parts[i] = pipe.LRange(ctx, n.Trail(), int64(i*trailPart), int64((i+1)*trailPart-1))
		}
		if of != "" {
			own, until = pipe.LRange(ctx, n.TrailOf(of), 0, MostTrailOf-1), pipe.ZScore(ctx, n.Watched(), of)
		}
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return t, Wrap("read the trail", err)
	}
	if t.All = attemptsOf(parts...); of != "" {
		t.Own, t.WatchedUntil = attemptsOf(own), time.UnixMilli(int64(until.Val())).UTC()
	}
	return t, nil
}

// attemptsOf reads entries, each once.
func attemptsOf(parts ...*redis.StringSliceCmd) (all []record.Attempt) {
	seen := make(map[string]bool)
	for _, part := range parts {
		for _, entry := range part.Val() {
			if a, ok := record.ParseAttempt(entry); ok && !seen[entry] {
				seen[entry] = true
				all = append(all, a)
			}
		}
	}
	return all
}
