package session

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// BeatEvery is how often a worker says that it is alive. One that has been
// silent for three times as long counts as lost.
const BeatEvery = 5 * time.Second

// forgetAfter is how long a lost worker stays listed.
const forgetAfter = time.Hour

// Worker is what is known of one worker process.
type Worker struct {
	Holder string   `json:"holder"`
	Host   string   `json:"host"`
	PID    int      `json:"pid"`
	Kinds  []string `json:"kinds"`
	Pool   string   `json:"pool,omitempty"`

	// Versions are those of the declared kinds, as the worker knows them.
	Versions map[string]int `json:"versions,omitempty"`

	// Blamed are the kinds of which it claims no more for a while, and why: see [Session.Blame].
	Blamed map[string]string `json:"blamed_for,omitempty"`

	Concurrency int       `json:"concurrency"`
	LeaseTTL    string    `json:"lease_ttl"`
	StartedAt   time.Time `json:"started_at"`

	SeenAt time.Time `json:"seen_at"` // last sign of life, by Redis's clock
	Alive  bool      `json:"alive"`
}

// Beat says that the worker is alive. Pools call it every [BeatEvery].
// What a lost hint did not tell of limits it finds out with that.
func (s *Session) Beat(ctx context.Context) error {
	if err := s.signOn(ctx); err != nil {
		return err
	}
	s.readLimits(ctx)
	return nil
}

func (s *Session) signOn(ctx context.Context) error {
	info, err := s.said()
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	return s.beat(ctx, info)
}

func (s *Session) signOff(ctx context.Context) error { return s.beat(ctx, "") }

func (s *Session) beat(ctx context.Context, info string) error {
	return lanes.Wrap("beat", s.lanes.Beat(ctx, s.beats, s.who.Holder, info, forgetAfter))
}

// Workers lists the worker processes that gave a sign of life within the last
// hour, the latest first, at most a thousand.
func Workers(ctx context.Context, d *dispatcher.Dispatcher) ([]Worker, error) {
	n := d.Engine()
	now, err := n.Time(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.Z, error) {
		return n.Redis.ZRevRangeWithScores(ctx, n.Seen(), 0, 999).Result()
	})
	if err != nil {
		return nil, lanes.Wrap("list workers", err)
	}
	if len(seen) == 0 {
		return []Worker{}, nil
	}
	holders := make([]string, len(seen))
	for i, z := range seen {
		holders[i] = z.Member.(string)
	}
	infos, err := n.Fields(ctx, n.Workers(), holders)
	if err != nil {
		return nil, lanes.Wrap("list workers", err)
	}
	workers := make([]Worker, 0, len(seen))
	for i, z := range seen {
		var w Worker
		info, _ := infos[i].(string)
		if json.Unmarshal([]byte(info), &w) != nil {
			w = Worker{Holder: holders[i]} // a newer release may say other things
		}
		w.SeenAt = time.UnixMilli(int64(z.Score)).UTC()
		w.Alive = now.Sub(w.SeenAt) < 3*BeatEvery
		workers = append(workers, w)
	}
	return workers, nil
}
