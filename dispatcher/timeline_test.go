package dispatcher_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// A lane over time has what ran, the earliest first, and what waits, as far as either is there.
func TestTimeline(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		if _, err := h.Timeline(bg, key("a"), 0); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("of nothing: %v", err)
		}
		h.enqueued("a", "j3", "j4", "j5")
		only, err := h.Timeline(bg, key("a"), 2)
		h.ok(err)
		if len(only.Past) != 0 || len(only.Jobs) != 2 || !only.More || only.State != inspect.Ready || !only.Since.IsZero() {
			t.Errorf("of what waits alone: %+v", only)
		}
		var tally session.Tally
		for _, id := range []string{"j1", "j2"} {
			tally.Keep(h.attempt(id, session.EndFinished, time.Second))
			h.advance(time.Minute)
		}
		other := h.attempt("other", session.EndFailed, 0)
		other.Subject = key("b")
		tally.Keep(other)
		h.ok(h.member("w", "", "k").s.Record(bg, &tally))
		all, err := h.Timeline(bg, key("a"), 0)
		h.ok(err)
		if len(all.Past) != 2 || all.Past[0].ID != "j1" || all.Past[1].ID != "j2" || len(all.Jobs) != 3 || all.More || all.Sampled || all.Since.IsZero() || !all.AsOf.Equal(time.UnixMilli(h.ms.Load())) {
			t.Errorf("%+v", all)
		}
		past, err := h.Timeline(bg, key("b"), 0)
		h.ok(err)
		if len(past.Past) != 1 || past.State != "" || past.Subject != key("b") || len(past.Jobs) != 0 {
			t.Errorf("of what ran alone: %+v", past)
		}
		if _, err := h.Timeline(bg, key("a"), 501); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	})
}
