package dispatcher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// laneVerbs are the verbs that act on the head that was seen.
func laneVerbs(h *house) map[string]func(lane string, conditions ...dispatcher.Condition) error {
	return map[string]func(string, ...dispatcher.Condition) error{
		"suspend": func(lane string, c ...dispatcher.Condition) error {
			_, err := h.Suspend(bg, key(lane), "", c...)
			return err
		},
		"resume": func(lane string, c ...dispatcher.Condition) error { return h.Resume(bg, key(lane), c...) },
		"skip":   func(lane string, c ...dispatcher.Condition) error { return h.Skip(bg, key(lane), c...) },
		"retry":  func(lane string, c ...dispatcher.Condition) error { return h.RetryNow(bg, key(lane), c...) },
	}
}

// readyFor brings lane a, with j1 and j2, to where a verb acts on it.
func (h *house) readyFor(verb string) {
	h.t.Helper()
	h.enqueued("a", "j 1", "j2")
	switch verb {
	case "resume", "skip":
		h.suspends()
	case "retry":
		_, err := h.Retry(bg, h.head("w", "j 1", 1), time.Hour, "boom")
		h.ok(err)
	}
}

// A verb that names the head which its operator saw acts on it, and on no other: then it changes nothing, and says which is there.
func TestVerbsActOnTheHeadThatWasSeen(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for verb := range laneVerbs(nil) {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			h.readyFor(verb)
			do, before := laneVerbs(h)[verb], dump(t, rdb, h.cfg.Namespace)
			for _, other := range []string{"j2", "", "*", "none"} {
				err := do("a", dispatcher.IfHead(other))
				var moved *dispatcher.MovedError
				if !errors.As(err, &moved) || !errors.Is(err, dispatcher.ErrMoved) || moved.Head != "j 1" || moved.Seen != other || moved.Subject != key("a") ||
					!strings.Contains(err.Error(), `the head of s:a is "j 1", not `) {
					t.Errorf("%s of %q: %v", verb, other, err)
				}
			}
			if after := dump(t, rdb, h.cfg.Namespace); after != before {
				t.Errorf("%s of another head has changed\n%s\nto\n%s", verb, before, after)
			}
			h.ok(do("a", dispatcher.IfHead("j 1")))
			if after := dump(t, rdb, h.cfg.Namespace); after == before {
				t.Errorf("%s of the head did nothing", verb)
			}
			h.clean()
		}
	})
}

// An empty lane, and one at whose head somebody waits for a section, have no job as head.
func TestNoJobAtTheHead(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		_, err := h.Suspend(bg, key("a"), "", dispatcher.IfHead(""))
		h.ok(err)
		if err := h.Resume(bg, key("a"), dispatcher.IfHead("j1")); !errors.Is(err, dispatcher.ErrMoved) || !strings.Contains(err.Error(), "is no job, not j1") {
			t.Errorf("a job that is gone: %v", err)
		}
		h.ok(h.Resume(bg, key("a"), dispatcher.IfHead("j1"), dispatcher.IfHead("")))
		h.enqueued("a", "j1")
		c := h.head("w", "j1", 1)
		h.deadTicket("a", 0)
		h.ok(h.Finish(bg, c))
		if _, err := h.Suspend(bg, key("a"), "", dispatcher.IfHead("1000")); !errors.Is(err, dispatcher.ErrMoved) {
			t.Errorf("a ticket is no job: %v", err)
		}
		_, err = h.Suspend(bg, key("a"), "", dispatcher.IfHead(""))
		h.ok(err)
	})
}

// What is asked of a holder is about the job that it runs.
func TestSuspendOfTheJobThatRuns(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.enqueued("a", "j1", "j2")
		h.ok(h.Finish(bg, h.head("w", "j1", 1)))
		h.head("w", "j2", 1)
		if holder, err := h.Suspend(bg, key("a"), "", dispatcher.IfHead("j1")); !errors.Is(err, dispatcher.ErrMoved) || holder != "" {
			t.Errorf("suspended behind j1: %q, %v", holder, err)
		}
		if holder, err := h.Suspend(bg, key("a"), "", dispatcher.IfHead("j2")); err != nil || holder != "w" {
			t.Errorf("suspended behind j2: %q, %v", holder, err)
		}
		if err := h.Resume(bg, key("a"), dispatcher.IfHead("j1")); !errors.Is(err, dispatcher.ErrMoved) {
			t.Errorf("resumed behind j1: %v", err)
		}
		h.ok(h.Resume(bg, key("a"), dispatcher.IfHead("j2")))
	})
}

// RetryNow is for a lane in backoff alone; of any other it changes nothing, and names the verb that helps.
func TestRetryNow(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		fails := func(h *house) {
			_, err := h.Retry(bg, h.first(), time.Hour, "boom")
			h.ok(err)
		}
		for name, c := range map[string]struct {
			before func(h *house)
			want   error
			says   string
		}{
			"empty":     {func(*house) {}, dispatcher.ErrNotFound, "no head"},
			"ready":     {func(h *house) { h.of1("k", "j1") }, dispatcher.ErrNotDelayed, "is ready"},
			"leased":    {func(h *house) { h.of1("k", "j1"); h.first() }, dispatcher.ErrNotDelayed, "runs"},
			"suspended": {func(h *house) { h.of1("k", "j1"); fails(h); h.suspends() }, dispatcher.ErrNotDelayed, "'lane resume'"},
			"halted": {func(h *house) {
				h.of1("halt", "j1")
				h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
			}, dispatcher.ErrNotDelayed, "'lane skip'"},
			"halted, and suspended": {func(h *house) {
				h.of1("halt", "j1")
				h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
				h.suspends()
			}, dispatcher.ErrNotDelayed, "'lane skip'"},
			"its head is suspended": {func(h *house) { h.of1("k", "j1"); fails(h); h.ok(h.SuspendJob(bg, ref("j1"))) }, dispatcher.ErrNotDelayed, "'job resume'"},
			"its head too":          {func(h *house) { h.of1("k", "j1"); fails(h); h.ok(h.SuspendJob(bg, ref("j1"))); h.suspends() }, dispatcher.ErrNotDelayed, "'lane resume'"},
		} {
			h := hintHouse(t, rdb)
			c.before(h)
			before := dump(t, rdb, h.cfg.Namespace)
			if err := h.RetryNow(bg, key("a")); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
			if after := dump(t, rdb, h.cfg.Namespace); after != before {
				t.Errorf("%s: it has changed\n%s\nto\n%s", name, before, after)
			}
		}
		h := hintHouse(t, rdb)
		h.of1("k", "j1", "j2")
		h.enqueuedKind("k", "other", "o1")
		fails(h)
		h.ok(h.RetryNow(bg, key("a")))
		h.clean()
		c := h.first() // in front of the others, with the attempts that it had
		if c.ID != "j1" || c.Attempt != 2 {
			t.Errorf("what runs is %s, attempt %d", c.ID, c.Attempt)
		}
		h.clean()
	})
}

// I9: whose answer was lost, and who asks again, gets it, and the lane that has gone on meanwhile stays as it is.
func TestI9_RetryNowOnce(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	for _, id := range []string{"warm", "j1"} { // scripts are loaded by the first
		h.enqueued("a", id)
		_, err := h.Retry(bg, h.head("w", id, 1), time.Hour, "boom")
		h.ok(err)
		if id == "j1" {
			proxy.LoseReplies(1)
		}
		h.ok(h.RetryNow(bg, key("a")))
		h.ok(h.Finish(bg, h.head("w", id, 2)))
	}
	if acts := h.acts(); strings.Count(acts, "lane retry a j1") != 1 {
		t.Errorf("what was done once is listed as\n%s", acts)
	}
}

// A retry wakes who waits for the kind, and no worker has to look by itself.
func TestRetryNowWakesAWorker(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	m := h.member("w", "", "k")
	h.enqueued("a", "j1")
	_, err := h.Retry(bg, h.head("w", "j1", 1), time.Hour, "boom")
	h.ok(err)
	h.ok(h.rdb.Del(bg, h.Namespace().Keys(0).Wake("k")).Err())
	woken := make(chan bool)
	go func() {
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		hint, ok, err := m.s.Wait(ctx, 0)
		woken <- ok && err == nil && !hint.Due
	}()
	h.ok(h.RetryNow(bg, key("a")))
	if !<-woken {
		t.Error("nobody was woken")
	}
}
