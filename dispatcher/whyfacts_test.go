package dispatcher_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// why is the answer about a lane, as a word and a sentence.
func (h *house) why(lane string, want inspect.Code, says string) {
	h.t.Helper()
	w, err := h.WhyLane(bg, key(lane))
	if err != nil || w.Code != want || !strings.Contains(w.Text, says) {
		h.t.Errorf("why %s: %s %q, %v; want %s, %q", lane, w.Code, w.Text, err, want, says)
	}
}

// Limits that keep a lane waiting are named, with who has the slots, and are read from where they are enforced.
func TestWhyNamesLimits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{
			Kinds:      []dispatcher.Kind{{Name: "few", Owner: "o", Limit: 2}, {Name: "slow", Owner: "o", Every: time.Hour}, {Name: "git", Owner: "o", Pool: "git"}},
			PoolLimits: map[string]int{"git": 1},
		})
		few, git := h.member("w", "", "few", "slow"), h.member("g", "git", "git")
		for _, kind := range []string{"few", "slow", "git"} {
			for _, n := range []string{"1", "2", "3"} {
				h.enqueue(dispatcher.NewJob{Subject: key(kind + n), Kind: kind, ID: kind + n})
			}
		}
		if use, err := h.KindLimit(bg, "few"); err != nil || use.Most != 2 || use.Held != 0 || use.Full() {
			t.Errorf("before a job runs: %+v, %v", use, err)
		}
		few.turn(10)
		git.turn(10)
		if use, err := h.KindLimit(bg, "few"); err != nil || use.Held != 2 || use.Holder != "w" || !use.Full() {
			t.Errorf("when both slots are taken: %+v, %v", use, err)
		}
		if list := all(t, 1, func(p inspect.Page) ([]inspect.Lane, string, error) {
			return h.Lanes(bg, inspect.LaneFilter{State: inspect.Leased}, p)
		}); len(list) != 4 { // two, one and one; their slots are no lanes
			t.Errorf("leased lanes: %+v", list)
		}
		if use, err := h.KindLimit(bg, "git"); err != nil || use != (inspect.LimitUse{}) {
			t.Errorf("a kind without a limit: %+v, %v", use, err)
		}
		h.why("few3", inspect.WhyLimit, "limit of kind few is reached: 2 of 2 run")
		h.why("slow3", inspect.WhyRate, "the rate of kind slow lets nothing start")
		h.why("git3", inspect.WhyPoolLimit, "The limit of pool git is reached: 1 of 1 run")
	})
}

// Of a lane whose holder waits for another subject the chain is told, to its end.
func TestWhyNamesWhatAHolderWaitsFor(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	ctx, giveUp := context.WithCancel(bg)
	over := make(chan error, 2)
	hold := func(has, wants string) {
		go func() {
			over <- h.Do(ctx, key(has), 0, func(ctx context.Context) error {
				return h.Do(ctx, key(wants), time.Minute, nothing)
			})
		}()
	}
	end := make(chan struct{})
	go func() { over <- h.Do(bg, key("last"), 0, func(context.Context) error { <-end; return nil }) }()
	held := func(lane string) func() bool {
		return func() bool {
			l, err := h.WhyLane(bg, key(lane))
			return err == nil && l.Code == inspect.WhySection
		}
	}
	redistest.Until(t, "the last one is held", held("last"))
	hold("middle", "last")
	redistest.Until(t, "it waits", func() bool { return rdb.HLen(bg, h.Namespace().Waits()).Val() == 1 })
	hold("first", "middle")
	redistest.Until(t, "both wait", func() bool { return rdb.HLen(bg, h.Namespace().Waits()).Val() == 2 })
	h.why("first", inspect.WhyWaits, "waits for s:middle, which ")
	h.why("first", inspect.WhyWaits, " has, and that one for s:last, which ")
	h.why("last", inspect.WhySection, "A section of")
	giveUp()
	<-over
	<-over
	close(end)
	<-over
}
