package dispatcher_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// position is where a look at a job sees it.
func (h *house) position(id string) int {
	h.t.Helper()
	job, err := h.Job(bg, ref(id))
	h.ok(err)
	return job.Position
}

// A job's place in its lane is found wherever it stands, and also when the lane goes on.
func TestPositionInADeepLane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		const deep = 4000
		h := newHouse(t, rdb, dispatcher.Config{})
		h.batches(deep, func(i int) dispatcher.NewJob {
			if i%40 == 0 { // a probe reads none of these
				return dispatcher.NewJob{Subject: key("a"), Payload: make([]byte, 70<<10)}
			}
			return dispatcher.NewJob{Subject: key("a")}
		})
		look := func(gone int) {
			t.Helper()
			for _, i := range []int{0, 1, 2, 999, 1000, 1001, 1002, 1003, 1257, 2040, 2600, deep - 2, deep - 1} {
				if got := h.position(fmt.Sprint("j", i)); i >= gone && got != i-gone+1 {
					t.Errorf("j%d of a lane that has lost %d is at %d", i, gone, got)
				}
			}
		}
		look(0)
		if _, err := h.Cancel(bg, ref("j0")); err != nil {
			t.Fatal(err)
		}
		if got := h.position("j2600"); got != 2600 {
			t.Errorf("j2600 is at %d when the head has gone", got)
		}
	})
}

// Of a job that was put back at the front of a deep lane, and is not near it any more, no place is shown; near it, it is.
func TestPositionOfWhatWasPutBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	h.batches(3000, func(int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a")} })
	h.ok(h.DeadLetter(bg, h.claimed("w", 1)["a"], "broken", ""))
	_, err := h.Replay(bg, ref("j0"), true)
	h.ok(err)
	if got := h.position("j0"); got != 1 {
		t.Errorf("a job that was put back as the head is at %d", got)
	}
	h.ok(h.DeadLetter(bg, h.claimed("w", 1)["a"], "broken", ""))
	_, err = h.Replay(bg, ref("j0"), false)
	h.ok(err)
	if got := h.position("j0"); got != 3000 {
		t.Errorf("a job that was put back at the tail is at %d", got)
	}
}

// A job has no position when it waits for its time, or is a dead letter.
func TestPositionOutsideOfALane(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	h.enqueued("a", "one", "two")
	h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "later", Delay: time.Hour})
	h.ok(h.DeadLetter(bg, h.claimed("w", 1)["a"], "broken", ""))
	for id, want := range map[string]int{"one": 0, "later": 0, "two": 1} {
		if got := h.position(id); got != want {
			t.Errorf("%s is at %d, want %d", id, got, want)
		}
	}
	h.ok(h.SuspendJob(bg, ref("later")))
	if got := h.position("later"); got != 0 {
		t.Errorf("a suspended job of the schedule is at %d", got)
	}
}

// Jobs deep in a lane are cancelled and suspended wherever they stand, and nothing else goes with them.
func TestReachDeepIntoALane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		const deep = 2200
		h := newHouse(t, rdb, dispatcher.Config{})
		h.batches(deep, func(int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a")} })
		gone := []int{1, 2, 700, 1099, 1100, 1101, 1102, 1700, deep - 2, deep - 1}
		for n, i := range gone {
			id := fmt.Sprint("j", i)
			h.ok(h.SuspendJob(bg, ref(id)))
			if job, err := h.Job(bg, ref(id)); err != nil || job.State != inspect.Suspended || job.Position != i-n+1 {
				t.Errorf("%s is %s at %d, %v", id, job.State, job.Position, err)
			}
			_, err := h.Cancel(bg, ref(id))
			h.ok(err)
		}
		lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{Limit: 1})
		h.ok(err)
		if lane.Depth != deep-len(gone) {
			t.Errorf("the lane has %d jobs, want %d", lane.Depth, deep-len(gone))
		}
		h.clean()
	})
}

// A search for a job in a tail starts at the end that is nearer: of two entries of one job, which no lane has, that one goes.
func TestReachFromTheNearerEnd(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.batches(1200, func(int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a")} })
		tail := h.Engine().Keys(0).Tail(key("a").Canonical())
		for _, c := range [][2]int64{{900, 0}, {300, 1197}} { // the job, and where the one that stays stands then
			n, left, id := c[0], c[1], fmt.Sprint("j", c[0])
			entry := rdb.LIndex(bg, tail, n-1).Val()
			rdb.LRem(bg, tail, 1, entry)
			rdb.LPush(bg, tail, entry)
			rdb.RPush(bg, tail, entry)
			_, err := h.Cancel(bg, ref(id))
			h.ok(err)
			if got := rdb.LPos(bg, tail, entry, redis.LPosArgs{}).Val(); got != left {
				t.Errorf("of %s the entry stays that is at %d, want %d", id, got, left)
			}
			rdb.LRem(bg, tail, 0, entry)
		}
	})
}
