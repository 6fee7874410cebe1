package dispatcher_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// all walks through the pages of a list.
func all[T any](t *testing.T, limit int, page func(inspect.Page) ([]T, string, error)) []T {
	t.Helper()
	var out []T
	for cursor := ""; ; {
		part, next, err := page(inspect.Page{Cursor: cursor, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if len(part) > limit {
			t.Fatalf("a page of %d has %d entries", limit, len(part))
		}
		out = append(out, part...)
		if next == "" {
			return out
		}
		cursor = next
	}
}

func TestLanesByState(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for i := range 30 {
			h.enqueued(fmt.Sprint("s", i), fmt.Sprint("a", i), fmt.Sprint("b", i))
		}
		h.enqueue(dispatcher.NewJob{Subject: key("other"), Kind: "other", ID: "o"})
		n := 0
		for _, c := range h.claimed("w1", 12) {
			if n++; n <= 5 {
				_, err := h.Retry(bg, c, time.Minute, "boom")
				h.ok(err)
			}
		}
		for state, want := range map[inspect.State]int{"": 31, inspect.Ready: 19, inspect.Leased: 7, inspect.Delayed: 5} {
			for _, limit := range []int{1, 7, 500} {
				seen := make(map[string]bool)
				for _, l := range all(t, limit, func(p inspect.Page) ([]inspect.Lane, string, error) {
					return h.Lanes(bg, inspect.LaneFilter{State: state}, p)
				}) {
					seen[l.Subject.ID] = true
					if state != "" && l.State != state {
						t.Errorf("a list of %s lanes has one that is %s", state, l.State)
					}
					switch {
					case l.State == inspect.Leased && (l.Holder != "w1" || l.Token == 0 || l.Attempt != 1 || l.ExpiresAt.IsZero()),
						l.State == inspect.Delayed && (l.Error != "boom" || l.RunAt.IsZero() || l.Attempt != 1),
						l.Kind == "k" && l.Depth != 2, l.MaxAttempts == 0, l.HeadID == "":
						t.Errorf("lane %+v", l)
					}
				}
				if len(seen) != want {
					t.Errorf("%d lanes of state %q with pages of %d, want %d", len(seen), state, limit, want)
				}
			}
		}
		kind := all(t, 3, func(p inspect.Page) ([]inspect.Lane, string, error) {
			return h.Lanes(bg, inspect.LaneFilter{Kind: "other"}, p)
		})
		if len(kind) != 1 || kind[0].Subject.ID != "other" {
			t.Errorf("lanes of kind other: %+v", kind)
		}
		for _, limit := range []int{1, 7, 500} {
			states := make(map[inspect.State]int)
			for _, l := range all(t, limit, func(p inspect.Page) ([]inspect.Lane, string, error) {
				return h.Lanes(bg, inspect.LaneFilter{Kind: "k"}, p)
			}) {
				states[l.State]++
			}
			if states[inspect.Ready] != 18 || states[inspect.Leased] != 7 || states[inspect.Delayed] != 5 {
				t.Errorf("lanes of kind k with pages of %d: %v", limit, states)
			}
		}
		s, err := h.Stats(bg)
		h.ok(err)
		if s.Jobs != 61 || s.InLanes != 61 || s.Lanes != 31 || s.Ready != 19 || s.Leased != 7 || s.Delayed != 5 || s.Kinds["k"].Ready != 18 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestLaneShowsItsJobsInOrder(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for i := range 25 {
			h.enqueued("a", fmt.Sprint("j", i))
		}
		h.head("w", "j0", 1)
		for _, limit := range []int{1, 4, 25, 100} {
			jobs := all(t, limit, func(p inspect.Page) ([]inspect.JobInfo, string, error) {
				lane, jobs, next, err := h.Lane(bg, key("a"), p)
				if lane.Depth != 25 || lane.State != inspect.Leased {
					t.Errorf("lane %+v", lane)
				}
				return jobs, next, err
			})
			if len(jobs) != 25 {
				t.Fatalf("%d jobs with pages of %d, want 25", len(jobs), limit)
			}
			for i, j := range jobs {
				want := inspect.Waiting
				if i == 0 {
					want = inspect.Leased
				}
				if j.ID != fmt.Sprint("j", i) || j.Seq != int64(i+1) || j.State != want {
					t.Errorf("job %d is %s seq %d %s", i, j.ID, j.Seq, j.State)
				}
			}
		}
		if _, _, _, err := h.Lane(bg, key("none"), inspect.Page{}); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("a lane that is not: %v", err)
		}
		if _, err := h.Job(bg, ref("none")); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("a job that is not: %v", err)
		}
	})
}

func TestDeadLettersComeLatestFirst(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for i := range 20 {
			h.enqueued(fmt.Sprint("s", i), fmt.Sprint("j", i))
			h.ok(h.DeadLetter(bg, h.head("w", fmt.Sprint("j", i), 1), "why", "error\nof two lines"))
			if i%5 == 4 { // five die in the same millisecond
				h.advance(time.Millisecond)
			}
		}
		for _, limit := range []int{1, 3, 20, 500} {
			seen := make(map[string]bool)
			last := time.Now()
			for _, l := range all(t, limit, func(p inspect.Page) ([]inspect.JobInfo, string, error) {
				return h.DeadLetters(bg, dispatcher.DeadFilter{}, p)
			}) {
				if l.DiedAt.After(last) || l.Reason != "why" || l.Error != "error\nof two lines" || l.Attempt != 1 {
					t.Errorf("letter %+v after %s", l, last)
				}
				last = l.DiedAt
				seen[l.ID] = true
			}
			if len(seen) != 20 {
				t.Errorf("%d letters with pages of %d, want 20", len(seen), limit)
			}
		}
		if err := h.Discard(bg, ref("none")); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("discard of nothing: %v", err)
		}
	})
}

func TestBadCursors(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	h.enqueued("a", "j")
	for _, c := range []string{"x", "1", "-1.0.0", "99.0.0", "0.0.0x", "1.2.3.4"} {
		if _, _, err := h.Lanes(bg, inspect.LaneFilter{}, inspect.Page{Cursor: c}); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("lanes from %q: %v", c, err)
		}
		if _, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{Cursor: c}); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("dead letters from %q: %v", c, err)
		}
	}
	if _, _, err := h.Lanes(bg, inspect.LaneFilter{}, inspect.Page{Limit: 501}); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("limit 501: %v", err)
	}
	if _, _, err := h.Lanes(bg, inspect.LaneFilter{State: "odd"}, inspect.Page{}); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("state odd: %v", err)
	}
}

func TestWorkersAliveAndSilent(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j")
		join := func(holder string, kinds ...string) *session.Session {
			s, err := h.Join(bg, session.Claimant{Holder: holder, Kinds: kinds, TTL: time.Second}, 4)
			h.ok(err)
			return s
		}
		silent, alive := join("w1", "k"), join("w2", "k", "other")
		h.advance(session.LostAfter)
		h.ok(alive.Beat(bg))
		workers, err := h.Workers(bg)
		h.ok(err)
		if len(workers) != 2 || workers[0].Holder != "w2" || !workers[0].Alive || workers[1].Alive || workers[0].Concurrency != 4 {
			t.Errorf("workers %+v", workers)
		}
		if s, err := h.Stats(bg); err != nil || s.Kinds["k"].Workers != 1 {
			t.Errorf("stats %+v, %v: a silent worker does not count", s, err)
		}
		h.ok(alive.Close(bg))
		if workers, _ = h.Workers(bg); len(workers) != 1 {
			t.Errorf("after one signed off: %+v", workers)
		}
		h.advance(2 * time.Hour)
		again := join("w3", "k")
		if workers, _ = h.Workers(bg); len(workers) != 1 || workers[0].Holder != "w3" {
			t.Errorf("a worker silent for hours is still listed: %+v", workers)
		}
		h.ok(silent.Close(bg))
		h.ok(again.Close(bg))
	})
}

// When a ready lane starts whose head's kind is limited, nobody knows: others of the kind go first.
func TestEstimatesOfLimitedKinds(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{
		{Name: "free", Owner: "o", Expected: time.Minute}, {Name: "limited", Owner: "o", Expected: time.Minute, Limit: 1},
		{Name: "rated", Owner: "o", Expected: time.Minute, Every: time.Second},
	}})
	m := h.member("w", "", "free", "limited", "rated")
	for _, kind := range []string{"free", "limited", "rated"} {
		h.enqueue(dispatcher.NewJob{Subject: key(kind), Kind: kind, ID: kind})
		_, jobs, _, err := h.Lane(bg, key(kind), inspect.Page{})
		h.ok(err)
		if known := !jobs[0].Starts.IsZero(); known != (kind == "free") {
			t.Errorf("a ready job of the kind %s starts at %s", kind, jobs[0].Starts)
		}
	}
	m.turn(3)
	for _, kind := range []string{"limited", "rated"} { // once it runs all is known
		_, jobs, _, err := h.Lane(bg, key(kind), inspect.Page{})
		h.ok(err)
		if got := jobs[0].Ends.Sub(jobs[0].Starts); got != time.Minute {
			t.Errorf("a running job of the kind %s takes %s, want what is declared", kind, got)
		}
	}
}

// Up to a thousand jobs of a lane have estimates, and those behind have none.
func TestEstimatesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Expected: time.Minute}}})
	h.member("w", "", "k")
	h.batches(1010, func(int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a")} })
	for from, known := range map[int]bool{999: true, 1000: true, 1001: false} {
		_, jobs, _, err := h.Lane(bg, key("a"), inspect.Page{Cursor: fmt.Sprint(from), Limit: 1})
		h.ok(err)
		if len(jobs) != 1 || jobs[0].Position != from+1 || jobs[0].Starts.IsZero() == known {
			t.Errorf("behind %d: %+v", from, jobs)
		}
		if at := jobs[0].Starts.Sub(h.cfg.Now()); known && at != time.Duration(from)*time.Minute {
			t.Errorf("the job behind %d starts in %s", from, at)
		}
	}
}
