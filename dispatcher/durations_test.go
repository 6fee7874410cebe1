package dispatcher_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// traced is how many attempts are in the trail, those that are there twice counted twice.
func traced(h *house) int64 { return h.rdb.LLen(bg, h.Namespace().Trail()).Val() }

// counted waits for nothing: it reads how many attempts of a kind were recorded.
func counted(h *house, kind string) int64 {
	h.t.Helper()
	all, err := h.Durations(bg, kind)
	h.ok(err)
	return all.Count
}

// What could not be recorded goes with the next record, and what was recorded with its
// answer lost is not counted again.
func TestC14_DurationsAreRecordedOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	proxy, rdb := redistest.NewProxy(t, server)
	h := newHouse(t, redistest.ClientOf(t, server), dispatcher.Config{})
	cfg := h.cfg
	cfg.Redis = rdb
	d, err := dispatcher.Open(bg, cfg)
	h.ok(err)
	s, err := session.Join(bg, d, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 1)
	h.ok(err)
	t.Cleanup(func() { _ = s.Close(bg) })
	var tally session.Tally
	ids := 0
	add := func(kind string) {
		tally.Add(kind, session.EndFinished, time.Second)
		ids++
		a := h.attempt(strconv.Itoa(ids), session.EndFinished, 0)
		a.Kind = kind
		tally.Keep(a)
	}

	add("k")
	h.ok(s.Record(bg, &tally))
	if n := counted(h, "k"); n != 1 || !tally.Empty() {
		t.Fatalf("%d recorded, want 1; the tally is empty: %t", n, tally.Empty())
	}
	added := int64(1)
	for lost := 0; lost < 3; added++ { // an answer is lost (of this, or of the subscription), the record is there
		add("k")
		proxy.LoseReplies(1)
		if err := s.Record(bg, &tally); errors.Is(err, dispatcher.ErrUnavailable) {
			lost++
		} else {
			h.ok(err)
		}
		if n, m := counted(h, "k"), traced(h); n > added+1 || m > added+1 {
			t.Fatalf("%d and %d recorded of %d", n, m, added+1)
		}
	}
	ran := time.Duration(0)
	hot := func() time.Duration {
		all, err := h.Hot(bg, time.Minute, 0)
		h.ok(err)
		return all.Took
	}
	for lost := 0; lost < 3; { // the same of what is told by subject, which goes by itself here
		tally.Ran(key("a"), time.Second)
		ran += time.Second
		proxy.LoseReplies(1)
		if err := s.Record(bg, &tally); errors.Is(err, dispatcher.ErrUnavailable) {
			lost++
		} else {
			h.ok(err)
		}
		if took := hot(); took > ran {
			t.Fatalf("handlers ran for %s, and %s is recorded", ran, took)
		}
	}
	proxy.BlackHole(true) // nothing arrives
	ctx, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	add("k")
	add("other")
	if err := s.Record(ctx, &tally); !errors.Is(err, dispatcher.ErrUnavailable) {
		t.Fatalf("with Redis away: %v", err)
	}
	proxy.BlackHole(false)
	h.ok(s.Record(bg, &tally)) // nothing new, and all that was owed
	if k, other := counted(h, "k"), counted(h, "other"); k != added+1 || other != 1 {
		t.Errorf("recorded %d and %d attempts, want %d and 1: each once", k, other, added+1)
	}
	if took := hot(); took != ran {
		t.Errorf("handlers ran for %s, and %s is recorded", ran, took)
	}
	if n := traced(h); n != added+2 {
		t.Errorf("the trail has %d attempts, want %d: each once", n, added+2)
	}
}
