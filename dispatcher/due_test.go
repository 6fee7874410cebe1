package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// later enqueues a job that falls due after a delay.
func (h *house) later(lane, kind, id string, delay time.Duration) dispatcher.EnqueueResult {
	h.t.Helper()
	return h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: kind, ID: id, Delay: delay})
}

func (h *house) wantOrder(want string, kinds ...string) {
	h.t.Helper()
	if got := h.run(kinds, nil); got != want {
		h.t.Errorf("started %s\nwant    %s", got, want)
	}
}

// G17: a job takes its place when it falls due, though nobody reaps then.
func TestG17_DueBeforeWhatCameLater(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb)
		h.later("a", "k", "second-due", 2*time.Second)
		h.later("a", "k2", "first-due", time.Second)
		h.later("a", "k", "not-yet", 4*time.Second)
		h.advance(3 * time.Second)
		now := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "now"})
		for id, seq := range map[string]int64{"first-due": now.Seq - 2, "second-due": now.Seq - 1} {
			if job, err := h.Job(bg, ref(id)); err != nil || job.Seq != seq || job.State == inspect.Scheduled {
				t.Errorf("%s: %+v, %v; want a place before %d", id, job, err, now.Seq)
			}
		}
		h.clean()
		h.wantOrder("first-due second-due now not-yet", "k", "k2")
	})
}

// G17: jobs that fall due at the same moment keep the order of their enqueues, whatever their
// ids, and however they came to wait for it.
func TestG17_EqualTimes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb)
		ids := []string{"z", "a", "month-10", "month-9", "b"}
		for _, id := range ids {
			h.later("one", "k", id, time.Second)
		}
		h.wantOrder(strings.Join(ids, " "), "k")

		var jobs []dispatcher.NewJob
		for _, id := range ids {
			jobs = append(jobs, dispatcher.NewJob{Subject: key("two"), Kind: "k", ID: id, Delay: time.Second})
		}
		_, err := h.EnqueueMany(bg, jobs)
		h.ok(err)
		h.wantOrder(strings.Join(ids, " "), "k")

		// Those that failed and are set aside stand where their enqueues put them: before one
		// that was enqueued after them for the same moment, behind one from before.
		h.later("three", "k", "scheduled-before", 2*time.Second)
		for _, id := range ids {
			h.enqueuedKind("skip", "three", id)
		}
		h.later("three", "k", "scheduled-after", 2*time.Second)
		h.advance(time.Second)
		for range ids {
			claims := h.claimedKinds("w", 1, "skip")
			c := claims["three"]
			_, err := h.Retry(bg, c, time.Second, "boom")
			h.ok(err)
		}
		h.clean()
		h.wantOrder("scheduled-before "+strings.Join(ids, " ")+" scheduled-after", "k", "skip")
		h.empty()
	})
}

// G17: when more is due than an enqueue places, its jobs line up behind on the schedule.
func TestG17_MoreDueThanOneCallPlaces(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		var want []string
		for i := range 250 {
			h.later("a", "k", fmt.Sprint("due", 250-i), time.Second)
			want = append(want, fmt.Sprint("due", 250-i))
		}
		h.advance(2 * time.Second)
		for i := range 4 { // 100, 100, 50 are placed, and then there is room
			done := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: fmt.Sprint("now", i)})
			if placed := done.Seq > 0; placed != (i >= 2) {
				t.Errorf("enqueue %d has the sequence number %d", i, done.Seq)
			}
			want = append(want, fmt.Sprint("now", i))
		}
		h.clean()
		var got []string
		for range want {
			for _, c := range h.claimed("w", 1) {
				got = append(got, c.ID)
				h.ok(h.Finish(bg, c))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("started %v\nwant %v", got, want)
		}
		h.empty()
	})
}

// G17: what lines up behind more than one call places, in whatever way, keeps the order and is not
// forgotten: its kind is told, its lane has its bound, and a section takes its turn.
func TestG17_BehindMuchThatIsDue(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, MaxLane: 400})
		h.enqueued("a", "dead")
		h.ok(h.DeadLetter(bg, h.head("w", "dead", 1), "bad", ""))
		var want []string
		for i := range 150 {
			h.later("a", "k", fmt.Sprint("due", i), time.Second)
			want = append(want, fmt.Sprint("due", i))
		}
		h.advance(2 * time.Second)
		seq, err := h.Replay(bg, ref("dead"), false)
		if err != nil || seq != 0 {
			t.Errorf("replayed behind what is due: %d, %v; want no number yet", seq, err)
		}
		var got []string
		for range append(want, "dead") {
			h.reaped()
			for _, c := range h.claimed("w", 1) {
				got = append(got, c.ID)
				h.ok(h.Finish(bg, c))
			}
		}
		if want = append(want, "dead"); !slices.Equal(got, want) {
			t.Errorf("started %v\nwant    %v", got, want)
		}

		for i := range 350 { // of other lanes
			h.later(fmt.Sprint("other", i%7), "k", fmt.Sprint("o", i), time.Second)
		}
		h.advance(2 * time.Second)
		h.rdb.Del(bg, h.Namespace().Keys(0).Wake("k2"))
		if done := h.enqueue(dispatcher.NewJob{Subject: key("b"), Kind: "k2"}); done.Seq != 0 {
			t.Errorf("the job has the number %d though more is due before it", done.Seq)
		}
		if n := h.rdb.ZCard(bg, h.Namespace().Keys(0).Wake("k2")).Val(); n != 1 {
			t.Errorf("%d hints for the kind of a job that lines up, want 1", n)
		}
		ran := false
		h.ok(h.Do(bg, key("free"), 0, func(context.Context) error { ran = true; return nil }))
		if !ran {
			t.Error("a section did not run on a subject that nobody has")
		}
		h.clean()
	})
}

// G17: whoever lines up in a lane without a delay comes behind what was due.
func TestG17_WhatElseLinesUp(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "dead")
		c := h.head("w", "dead", 1)
		h.ok(h.DeadLetter(bg, c, "bad", ""))
		h.later("a", "k", "due", time.Second)
		h.advance(2 * time.Second)
		_, err := h.Replay(bg, ref("dead"), false)
		h.ok(err)
		h.wantOrder("due dead", "k")

		h.later("a", "k", "due", time.Second)
		h.advance(2 * time.Second)
		ran := h.waiting("a", bg, func(context.Context) error { return nil })
		c = h.waitHead("due")
		select {
		case err := <-ran:
			t.Fatalf("a section ran before what was due: %v", err)
		default:
		}
		h.ok(h.Finish(bg, c))
		h.ok(<-ran)
		h.empty()

		// Nor does one that does not wait.
		h.later("a", "k", "due", time.Second)
		h.advance(2 * time.Second)
		never := func(context.Context) error { t.Error("a section ran before what was due"); return nil }
		if err := h.Do(bg, key("a"), 0, never); !errors.Is(err, dispatcher.ErrBusy) {
			t.Errorf("a section that does not wait: %v, want busy", err)
		}
		did, _, err := h.DoOrEnqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "instead"}, never)
		if err != nil || did {
			t.Errorf("ran %t, %v; want enqueued", did, err)
		}
		h.wantOrder("due instead", "k")
		h.empty()
	})
}

// G17: placing what is due is part of an enqueue that a full memory refuses whole.
func TestG17_NothingHalfPlacedInFullMemory(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Own(t))
	h := newHouse(t, rdb, dispatcher.Config{})
	h.later("a", "k", "due", time.Second)
	h.advance(2 * time.Second)
	before := dump(t, rdb, h.cfg.Namespace)
	h.ok(rdb.ConfigSet(bg, "maxmemory", "1").Err())
	if _, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k"}); err == nil {
		t.Error("enqueued in full memory")
	}
	if after := dump(t, rdb, h.cfg.Namespace); after != before {
		t.Errorf("a refused enqueue changed\n%s\nto\n%s", before, after)
	}
	if r := h.reaped(); r.Placed != 1 { // reaping goes on (I10)
		t.Errorf("reaped %+v, want the due job placed", r)
	}
	h.ok(rdb.ConfigSet(bg, "maxmemory", "0").Err())
	h.wantOrder("due", "k")
}

// Dead letters that died within one millisecond are listed, and replayed, in the order of their
// deaths.
func TestDeadLettersOfOneMomentKeepTheirOrder(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		ids := []string{"z", "a", "month-10", "month-9", "b"}
		h.enqueued("a", ids...)
		for _, id := range ids {
			h.ok(h.DeadLetter(bg, h.head("w", id, 1), "bad", ""))
		}
		var got []string
		for page := (inspect.Page{Limit: 2}); ; {
			letters, next, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, page)
			h.ok(err)
			for _, l := range letters {
				got = append(got, l.ID)
				if !l.DiedAt.Equal(h.cfg.Now()) {
					t.Errorf("%s died at %s, want %s", l.ID, l.DiedAt, h.cfg.Now())
				}
			}
			if page.Cursor = next; next == "" {
				break
			}
		}
		slices.Reverse(got)
		if !slices.Equal(got, ids) {
			t.Errorf("listed from the oldest: %v, want %v", got, ids)
		}
	})
}
