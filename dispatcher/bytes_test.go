package dispatcher_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// mebi is the largest payload that a job may have by default.
var mebi = []byte(strings.Repeat("x", 1<<20))

// H9: one turn gives out no more than two MiB, whatever was enqueued, in one lane or in many; what is
// left comes with the next ones, in order, and nothing is lost or stands still.
func TestH9_ClaimsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		for i := range 6 {
			h.enqueue(dispatcher.NewJob{Subject: key("deep"), Kind: "k", ID: fmt.Sprint("deep", i), Payload: mebi})
			h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint("wide", i)), Kind: "k", ID: fmt.Sprint("wide", i), Payload: mebi})
		}
		who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute, LaneBatch: map[string]int{"k": 100}}
		var order []string
		var ends []session.End
		for turns := 0; len(order) < 12; turns++ {
			if turns > 20 {
				t.Fatalf("after %d turns there were only %v", turns, order)
			}
			got, err := h.turn(who, 100, ends)
			h.ok(err)
			bytes := 0
			ends = nil
			for i := range got.Claims {
				for _, c := range got.Claims[i].Each() {
					bytes += len(c.Payload)
					order = append(order, c.ID)
				}
				each := got.Claims[i].Each()
				for k, c := range each {
					ends = append(ends, session.End{Claim: c, Outcome: session.Finished, GoesOn: k < len(each)-1})
				}
			}
			if bytes > 2<<20 {
				t.Errorf("one turn gave out %d bytes", bytes)
			}
			if turns == 0 && got.Ready == 0 {
				t.Error("the turn left lanes, and says that none is")
			}
		}
		_, err := h.turn(who, 0, ends)
		h.ok(err)
		var deep []string
		for _, id := range order {
			if strings.HasPrefix(id, "deep") {
				deep = append(deep, id)
			}
		}
		if !slices.IsSorted(deep) || len(deep) != 6 {
			t.Errorf("the lane's jobs came in the order %v", deep)
		}
		h.clean()
		h.empty()
	})
}

// turn makes one turn in partition 0.
func (h *house) turn(who session.Claimant, n int, ends []session.End) (session.TurnReply, error) {
	got := turns(bg, h.Dispatcher, &who, []session.Turn{{Partition: 0, Claim: n > 0, Want: n, Ends: ends}})[0]
	for _, e := range got.Ended {
		h.ok(e.Err)
	}
	return got, got.Err
}

// H9: a turn that go-redis repeats gives the same jobs again, also when bytes bounded it.
func TestH9_RepeatedTurn(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	for i := range 4 {
		h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k", ID: fmt.Sprint(i), Payload: mebi[:1000000]})
	}
	who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
	first, err := h.turn(who, 1, nil)
	h.ok(err)
	proxy.LoseReplies(1)
	second, err := h.turn(who, 3, nil)
	h.ok(err)
	if len(first.Claims) != 1 || len(second.Claims) != 2 || second.Ready != 1 && proxy.Lost.Load() == 0 {
		t.Errorf("claimed %d and %d, %d replies lost; want 1 and 2", len(first.Claims), len(second.Claims), proxy.Lost.Load())
	}
	if stats, err := h.Stats(bg); err != nil || stats.Leased != 3 || stats.Ready != 1 {
		t.Errorf("%d leased and %d ready, %v", stats.Leased, stats.Ready, err)
	}
	h.clean()
}

// H9, of enqueues: no call carries more than two MiB of payload or makes Redis read more than that
// of what is there; and calls that others share are not refused for it.
func TestH9_EnqueuesAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		var big, again, merges []dispatcher.NewJob
		for i := range 4 {
			job := dispatcher.NewJob{
				Subject: key("a"), Kind: "k", ID: fmt.Sprint(i), Payload: mebi,
				Unique: &dispatcher.Unique{Key: fmt.Sprint(i)},
			}
			big = append(big, job)
			job.Payload = nil
			again = append(again, job)
			job.ID = ""
			merges = append(merges, job)
		}
		if _, err := h.EnqueueMany(bg, big); !errors.Is(err, dispatcher.ErrTooLarge) {
			t.Errorf("4 MiB in one call: %v", err)
		}
		for range 2 { // what was taken can be said again
			_, err := h.EnqueueMany(bg, big[:2])
			h.ok(err)
		}
		for _, job := range big {
			h.enqueue(job)
		}
		for what, jobs := range map[string][]dispatcher.NewJob{"jobs that exist": again, "merges": merges} {
			if done, err := h.EnqueueMany(bg, jobs); !errors.Is(err, dispatcher.ErrTooLarge) || len(done) != 4 {
				t.Errorf("%s of 4 MiB in one call: %v", what, err)
			}
			errs := make(chan error, len(jobs))
			for _, job := range jobs { // which may share a call
				go func() {
					done, err := h.Enqueue(bg, job)
					if err == nil && done.Created {
						err = errors.New("created again")
					}
					errs <- err
				}()
			}
			for range jobs {
				h.ok(<-errs)
			}
		}
		if stats, err := h.Stats(bg); err != nil || stats.Jobs != 4 {
			t.Errorf("%d jobs, %v", stats.Jobs, err)
		}
		h.clean()
	})
}

// H9, of looks: a page reads no more than 16 MiB of jobs, says where it goes on, and misses none.
func TestH9_LooksAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	for i := range 20 {
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: fmt.Sprint("j", 10+i), Payload: mebi})
	}
	list := func(page func(inspect.Page) ([]inspect.JobInfo, string, error)) (ids []string) {
		for p := (inspect.Page{Limit: 500}); ; {
			jobs, next, err := page(p)
			h.ok(err)
			bytes := 0
			for _, j := range jobs {
				ids, bytes = append(ids, j.ID), bytes+len(j.Payload)
			}
			if bytes >= 16<<20 { // more is stored of a job than its payload
				t.Errorf("one page read %d bytes", bytes)
			}
			if p.Cursor = next; next == "" {
				return ids
			}
		}
	}
	waiting := list(func(p inspect.Page) ([]inspect.JobInfo, string, error) {
		_, jobs, next, err := h.Lane(bg, key("a"), p)
		return jobs, next, err
	})
	if len(waiting) != 20 || !slices.IsSorted(waiting) {
		t.Errorf("the lane lists %v", waiting)
	}
	for range 20 {
		h.ok(h.DeadLetter(bg, one(h.claimed("w", 1)), "test", "test"))
	}
	if dead := list(func(p inspect.Page) ([]inspect.JobInfo, string, error) {
		return h.DeadLetters(bg, dispatcher.DeadFilter{}, p)
	}); len(dead) != 20 {
		t.Errorf("%d dead letters are listed: %v", len(dead), dead)
	}
}

// one is the only claim of some.
func one(claims map[string]session.Claim) (c session.Claim) {
	for _, c = range claims {
	}
	return c
}

// H9: what a lost clock said of large jobs is found again: without it claims would have no bound.
func TestH9_LargestIsRepaired(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		for i := range 4 {
			h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k", Payload: mebi[:1000000]})
		}
		h.ok(rdb.HDel(bg, h.Namespace().Keys(0).Clock(), "largest").Err())
		if len(h.findings()) != 1 {
			t.Errorf("the doctor finds %v", h.findings())
		}
		_, err := h.Repair(bg, nil)
		h.ok(err)
		h.clean()
		if got, err := h.turn(session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 10, nil); err != nil || len(got.Claims) != 2 {
			t.Errorf("%d claims after the repair, %v", len(got.Claims), err)
		}
	})
}
