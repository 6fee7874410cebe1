package dispatcher_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// The deepest lanes are listed in the order of their depths, with all that is known of them; of few lanes that is all.
func TestDeepest(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 3})
		none, err := h.Deepest(bg, 0)
		if err != nil || len(none.Lanes) != 0 || none.Sampled {
			t.Errorf("of nothing %+v, %v", none, err)
		}
		h.batches(40, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key(fmt.Sprint(i % 8))} })
		h.batches(9, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("deep"), ID: fmt.Sprint("d", i)} })
		h.batches(6, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("less"), ID: fmt.Sprint("l", i)} })
		h.later("scheduled", "k", "later", time.Hour)
		_, err = h.Suspend(bg, key("less"), "because")
		h.ok(err)
		_, err = h.Leases().Acquire(bg, key("section"), "caller", time.Minute)
		h.ok(err)
		all, err := h.Deepest(bg, 3)
		h.ok(err)
		if len(all.Lanes) != 3 || all.Sampled || all.Surely != 0 || all.Lanes[0].Subject != key("deep") || all.Lanes[0].Depth != 9 || all.Lanes[2].Depth != 5 {
			t.Fatalf("%+v", all)
		}
		if l := all.Lanes[1]; l.Subject != key("less") || l.Depth != 6 || l.State != inspect.Suspended || l.Why != "because" || l.HeadID != "l0" {
			t.Errorf("then %+v", l)
		}
		if all, err := h.Deepest(bg, 0); err != nil || len(all.Lanes) != 10 {
			t.Errorf("of ten lanes %+v, %v", all, err)
		}
		if _, err := h.Deepest(bg, 501); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	})
}

// Up to 10,000 lanes all are looked at; with one more it is a sample, which says so, and has the lanes that have much of the jobs.
func TestDeepestOfMany(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	h.batches(10_000, func(i int) dispatcher.NewJob {
		return dispatcher.NewJob{Subject: key(fmt.Sprint(i)), ID: fmt.Sprint("s", i)}
	})
	h.batches(40, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("7"), ID: fmt.Sprint("f", i)} })
	all, err := h.Deepest(bg, 2)
	if err != nil || all.Sampled || all.Lanes[0].Depth != 41 || all.Lanes[1].Depth != 1 {
		t.Errorf("of 10,000 lanes %+v, %v", all, err)
	}
	for lane, deep := range map[string]int{"a": 300, "b": 200, "c": 100} { // 3, 2 and 1 % of all: each is drawn but once in e¹⁰⁰
		h.batches(deep, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key(lane), ID: fmt.Sprint(lane, i)} })
	}
	all, err = h.Deepest(bg, 3)
	if err != nil || !all.Sampled || all.Drawn != 10_000 || all.Surely < 4 || all.Surely > 5 || len(all.Lanes) != 3 {
		t.Fatalf("of 10,003 lanes %+v, %v", all, err)
	}
	for i, want := range []string{"a", "b", "c"} {
		if l := all.Lanes[i]; l.Subject != key(want) || l.Depth != 300-100*i {
			t.Errorf("%d. is %s with %d jobs, want %s", i+1, l.Subject, l.Depth, want)
		}
	}
}

// Of large jobs it reads 16 MiB, and then draws no more.
func TestDeepestOfLargeJobs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	large := func(from, to int) {
		for i := from; i < to; i++ {
			h.enqueue(dispatcher.NewJob{Subject: key("large"), Kind: "k", ID: fmt.Sprint("l", i), Payload: make([]byte, 900<<10)})
		}
	}
	h.batches(10_001, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key(fmt.Sprint(i))} })
	large(0, 1)
	all, err := h.Deepest(bg, 1)
	if err != nil || all.Drawn != 10_000 {
		t.Errorf("with one large job %+v, %v", all, err)
	}
	large(1, 120) // about 120 of 10,000 would be drawn, 105 MB
	all, err = h.Deepest(bg, 1)
	if err != nil || !all.Sampled || all.Drawn < 200 || all.Drawn > 6000 || len(all.Lanes) != 1 || all.Lanes[0].Depth != 120 {
		t.Errorf("with many %+v, %v", all, err)
	}
}

// The same bound holds where no job is large by itself.
func TestDeepestOfMiddlingJobs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	h.batches(10_001, func(i int) dispatcher.NewJob {
		return dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Payload: make([]byte, 4000)}
	})
	all, err := h.Deepest(bg, 1)
	if err != nil || all.Drawn < 4000 || all.Drawn > 4400 { // 16 MiB of 4,000 bytes and some more
		t.Errorf("%+v, %v", all, err)
	}
}
