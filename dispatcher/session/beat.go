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
	"github.com/lanekeeper/lanekeeper/subject"
)

// BeatEvery is how often a worker says that it is alive. One that has been silent for LostAfter
// counts as lost: for listings, for blame and for who moves a namespace, not for its leases, which have deadlines of their own.
const (
	BeatEvery = 5 * time.Second
	LostAfter = 3 * BeatEvery
)

// forgetAfter is how long a lost worker stays listed: the beats of others take it off the list then, up to a
// hundred at a time.
const forgetAfter = time.Hour

// Worker is what is known of one worker process. All but SeenAt and Alive is what it says of itself, and its
// JSON is what is stored; a release may add fields, and readers of another one leave out what they do not know.
// Times of its own are by its own clock.
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

	// Obeys says that its release knows of holds. One that does not claims what operators hold.
	Obeys bool `json:"obeys_holds,omitempty"`

	Concurrency int       `json:"concurrency"`
	LeaseTTL    string    `json:"lease_ttl"`
	StartedAt   time.Time `json:"started_at"`

	SeenAt time.Time `json:"seen_at"` // last sign of life, by Redis's clock
	Alive  bool      `json:"alive"`
}

// Beat says that the worker is alive, on the connection of renewals. Pools call it every [BeatEvery]. It reads
// the limits, what is held and what is watched again, in three more round trips: so the session finds out what a lost hint did not tell. What
// can't be read is no error, and that of before stays.
func (s *Session) Beat(ctx context.Context) error {
	if err := s.signOn(ctx); err != nil {
		return err
	}
	s.readLimits(ctx)
	s.imposeHolds(ctx)
	return nil
}

// signOn writes the worker's entry, with what it is blamed for now, and the moment of this sign of life by
// Redis's clock (I8).
func (s *Session) signOn(ctx context.Context) error {
	info, err := s.said()
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	at, err := s.beat(ctx, info)
	if err != nil {
		return err
	}
	if watched, err := s.lanes.ReadWatched(ctx, s.renewing, at); err == nil {
		s.watched.Store(&watched)
	}
	return nil
}

// Watched are the subjects of which all attempts are to be told ([Tally.Watch]), as the last sign of life has brought them.
func (s *Session) Watched() map[subject.Key]bool {
	if watched := s.watched.Load(); watched != nil {
		return *watched
	}
	return nil
}

// signOff takes the entry away: an empty text is the script's word for leaving.
func (s *Session) signOff(ctx context.Context) error {
	_, err := s.beat(ctx, "")
	return err
}

func (s *Session) beat(ctx context.Context, info string) (at time.Time, err error) {
	at, err = s.lanes.Beat(ctx, s.beats, s.who.Holder, info, forgetAfter)
	return at, lanes.Wrap("beat", err)
}

// Workers lists the worker processes that gave a sign of life, the latest first, at most a thousand. Those that
// have been silent for an hour are gone from the list as soon as any worker beats. It costs three round trips,
// or two where there is none. An entry that can't be read is listed by its holder alone.
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
		w.Alive = now.Sub(w.SeenAt) < LostAfter
		workers = append(workers, w)
	}
	return workers, nil
}
