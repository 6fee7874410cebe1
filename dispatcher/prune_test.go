package dispatcher_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// prune prunes in a session of the moment.
func (h *house) prune() map[string]int {
	h.t.Helper()
	s, err := session.Bare(bg, h.Dispatcher, session.Claimant{Holder: "w", TTL: time.Second})
	h.ok(err)
	gone, err := s.Prune(bg)
	h.ok(err)
	return gone
}

// Of each kind the newest dead letters stay, and those that are young enough, in the whole namespace; and of what goes
// nothing is left.
func TestPrune(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		kind := func(name string, keep time.Duration, most int) dispatcher.Kind {
			return dispatcher.Kind{Name: name, Owner: "o", DeadKeep: keep, DeadMax: most}
		}
		h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{
			kind("few", 0, 3), kind("young", 10*time.Second, 0), kind("both", 20*time.Second, 12), kind("all", 0, 0),
		}})
		const each = 25 // of each kind, over all partitions, one a second: the last dies now
		for i := range each {
			if i > 0 {
				h.advance(time.Second)
			}
			for _, name := range []string{"few", "young", "both", "all"} {
				h.dies(dispatcher.NewJob{
					Subject: key(fmt.Sprint("s", i%7)), Kind: name, ID: fmt.Sprint(name, i), Payload: []byte("x"), Headers: map[string]string{"h": "x"},
					Unique: &dispatcher.Unique{Key: fmt.Sprint("u", i)},
				}, "x")
			}
		}
		if gone, want := h.prune(), map[string]int{"few": 22, "young": 14, "both": 13}; !maps.Equal(gone, want) {
			t.Errorf("gone are %v, want %v", gone, want)
		}
		for name, kept := range map[string]int{"few": 3, "young": 11, "both": 12, "all": 25} {
			left := idsOf(h.matching(dispatcher.DeadFilter{Kind: name}).First(100))
			if len(left) != kept || left[0] != fmt.Sprint(name, each-kept) || left[kept-1] != fmt.Sprint(name, each-1) {
				t.Errorf("of %s %v are left, want the newest %d", name, left, kept)
			}
		}
		stats, err := h.Stats(bg)
		h.ok(err)
		if stats.Dead != 3+11+12+25 {
			t.Errorf("stats count %d dead letters", stats.Dead)
		}
		h.clean()
		if gone := h.prune(); gone != nil {
			t.Errorf("another worker has no turn so soon, and %v are gone", gone)
		}
		h.advance(session.PruneEvery)
		if gone, want := h.prune(), map[string]int{"young": 11, "both": 12}; !maps.Equal(gone, want) {
			t.Errorf("later %v are gone, want %v", gone, want)
		}
		_, err = h.matching(dispatcher.DeadFilter{}).Discard(bg, nil)
		h.ok(err)
		h.empty()
	})
}

// What a repair has saved stays, however many of the kind may, and takes no other letter's room.
func TestPruneKeepsWhatWasSaved(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", DeadMax: 1, DeadKeep: time.Minute}}})
		for i, reason := range []string{"x", doctor.LostAndFound, "x", doctor.LostAndFound} {
			h.dies(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: fmt.Sprint("j", i)}, reason)
			h.advance(time.Second)
		}
		if gone := h.prune(); gone["k"] != 1 {
			t.Errorf("gone are %v", gone)
		}
		if left := idsOf(h.matching(dispatcher.DeadFilter{}).First(9)); fmt.Sprint(left) != "[j1 j2 j3]" {
			t.Errorf("left are %v", left)
		}
	})
}

// More go than one call removes, and one that died anew while it was looked at stays.
func TestPruneManyAndOneThatDiesAnew(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", DeadMax: 2}}, Partitions: 1})
	var ids []string
	for i := range 230 {
		ids = append(ids, fmt.Sprint("j", i))
	}
	h.die("a", ids...)
	died := false
	rdb.AddHook(before(func(cmd redis.Cmder) { // what is over is looked at once more
		if died || cmd.Name() != "zmscore" || !slices.Contains(cmd.Args(), any("ij0")) {
			return
		}
		died = true
		_, err := h.Replay(bg, ref("j0"), false)
		h.ok(err)
		h.advance(time.Second)
		h.ok(h.DeadLetter(bg, h.head("w", "j0", 1), "anew", ""))
	}))
	gone := h.prune()
	if left := idsOf(h.matching(dispatcher.DeadFilter{}).First(9)); gone["k"] != 227 || !slices.Equal(left, []string{"j228", "j229", "j0"}) {
		t.Errorf("%v are gone, left are %v", gone, left)
	}
	h.clean()
}

// L3: retention comes back with its kind, counts as a change of it, and stays when a release declares the kind that
// knows nothing of it; with the declaration it goes.
func TestL3_RetentionStandsBesideTheDeclaration(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		k := dispatcher.Kind{Name: "k", Owner: "o", DeadKeep: time.Hour, DeadMax: 5}
		h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{k}})
		is := func(version int, keep time.Duration, most int) {
			t.Helper()
			kinds, err := h.Kinds(bg)
			h.ok(err)
			if len(kinds) != 1 || kinds[0].Version != version || kinds[0].DeadKeep != keep || kinds[0].DeadMax != most {
				t.Errorf("declared is %+v, want version %d with %s and %d", kinds, version, keep, most)
			}
		}
		open := func(k dispatcher.Kind) {
			t.Helper()
			_, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: h.cfg.Namespace, Kinds: []dispatcher.Kind{k}})
			h.ok(err)
		}
		is(1, time.Hour, 5)
		open(k)
		is(1, time.Hour, 5)
		registry := h.Namespace().Registry()
		text := rdb.HGet(bg, registry, "k").Val()
		if strings.Contains(text, "dead") {
			t.Errorf("an old release would take it away: %s", text)
		}
		h.ok(rdb.HSet(bg, registry, "k", strings.Replace(text, "1 o", "2 o", 1)).Err()) // as its script declares
		h.ok(rdb.HSet(bg, h.Namespace().Versions(), "k", 2).Err())
		is(2, time.Hour, 5)
		k.DeadMax = 6
		open(k)
		is(3, time.Hour, 6)
		open(dispatcher.Kind{Name: "k", Owner: "o"})
		is(4, 0, 0)
		open(k)
		h.ok(h.Undeclare(bg, "k"))
		if left := rdb.HGetAll(bg, h.Namespace().Versions()).Val(); len(left) != 1 {
			t.Errorf("left is %v", left)
		}
	})
}

// before calls something before each command of a pipeline.
type before func(cmd redis.Cmder)

func (f before) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f before) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (f before) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			f(cmd)
		}
		return next(ctx, cmds)
	}
}
