package dispatcher_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// keep ends a job that leaves a result of n bytes.
func (h *house) keep(id string, n int) {
	h.t.Helper()
	h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: id, Keep: time.Hour})
	h.ok(finishWith(bg, h.Dispatcher, h.head("w", id, 1), []byte(strings.Repeat("r", n))))
}

// H16: outcomes and windows are counted; when outcomes have as many bytes as they may, the oldest go
// and not the new ones; and when all of their time is over nothing of them is left.
func TestH16_OutcomesAreBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		clock := h.Namespace().Keys(0).Clock()
		for i := range 3 {
			h.keep(fmt.Sprint("old", i), 1000)
			h.advance(time.Second)
		}
		h.keep("old2", 500) // the same id again: one outcome, and its bytes are those of the last
		stats, err := h.Stats(bg)
		h.ok(err)
		if stats.Outcomes != 3 || stats.OutcomeBytes < 3100 || stats.OutcomeBytes > 3300 {
			t.Errorf("%d outcomes of %d bytes are counted, want 3 of some 3200", stats.Outcomes, stats.OutcomeBytes)
		}
		h.clean()

		// The partition is all but full: 64 MiB less a little.
		h.ok(rdb.HIncrBy(bg, clock, "kept", 64<<20-stats.OutcomeBytes-500).Err())
		h.keep("new", 1000)
		for id, want := range map[string]bool{"old0": false, "new": true} {
			if _, err := h.Outcome(bg, ref(id)); (err == nil) != want {
				t.Errorf("the outcome of %s: %v, want it there: %t", id, err, want)
			}
		}
		for name, spoil := range map[string]func() error{
			"wrong": func() error { return rdb.HSet(bg, clock, "kept", 1).Err() },
			"no":    func() error { return rdb.HDel(bg, clock, "kept").Err() },
		} {
			h.ok(spoil())
			if found := h.findings(); len(found) != 1 || found[0].What != "clock" {
				t.Errorf("%s count of bytes: the doctor finds %v", name, found)
			}
			_, err = h.Repair(bg, nil)
			h.ok(err)
			h.clean()
		}

		h.advance(2 * time.Hour)
		h.reaped()
		h.clean()
		h.empty()
		if stats, err = h.Stats(bg); err != nil || stats.Outcomes != 0 || stats.OutcomeBytes != 0 {
			t.Errorf("after their time there are %d outcomes of %d bytes, %v", stats.Outcomes, stats.OutcomeBytes, err)
		}
	})
}

// H16: an id that is used again counts once, also when its old outcome makes room for its new one; and
// small outcomes make room for a large one, as many as it takes.
func TestH16_OutcomesAreCountedOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		clock := h.Namespace().Keys(0).Clock()
		kept := func() int64 {
			stats, err := h.Stats(bg)
			h.ok(err)
			return stats.OutcomeBytes
		}
		h.keep("x", 10000)
		h.advance(time.Second)
		h.ok(rdb.HIncrBy(bg, clock, "kept", lanes.MostKept-kept()).Err())
		h.keep("x", 9000)
		h.ok(rdb.HIncrBy(bg, clock, "kept", 9000+1000-lanes.MostKept).Err())
		_, err := h.Repair(bg, nil) // the part that was made up
		h.ok(err)
		h.clean()
		if n := kept(); n < 9000 || n > 9500 {
			t.Errorf("one outcome of 9000 bytes counts as %d", n)
		}
		for i := range 300 {
			h.keep(fmt.Sprint("small", i), 1)
			h.advance(time.Millisecond)
		}
		h.ok(rdb.HIncrBy(bg, clock, "kept", lanes.MostKept-kept()).Err())
		h.keep("large", dispatcher.MaxResult)
		if n := kept(); n > lanes.MostKept {
			t.Errorf("%d bytes are kept, %d may be", n, lanes.MostKept)
		}
		for id, want := range map[string]bool{"x": false, "small0": false, "small299": true, "large": true} {
			if _, err := h.Outcome(bg, ref(id)); (err == nil) != want {
				t.Errorf("the outcome of %s: %v, want it there: %t", id, err, want)
			}
		}
	})
}

// H16: windows of unique keys are counted and bounded, whatever became of their jobs.
func TestH16_WindowsAreBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, MaxBacklog: 3})
		job := func(i int) dispatcher.NewJob {
			return dispatcher.NewJob{
				Subject: key("a"), Kind: "k", ID: fmt.Sprint(i),
				Unique: &dispatcher.Unique{Key: fmt.Sprint(i), Scope: dispatcher.ForWindow, Window: time.Hour},
			}
		}
		for i := range 3 {
			h.enqueue(job(i))
			h.ok(h.Finish(bg, h.head("w", fmt.Sprint(i), 1)))
		}
		if stats, err := h.Stats(bg); err != nil || stats.Windows != 3 || stats.Jobs != 0 {
			t.Errorf("%d windows and %d jobs are counted, %v", stats.Windows, stats.Jobs, err)
		}
		if _, err := h.Enqueue(bg, job(4)); !errors.Is(err, dispatcher.ErrBacklogFull) || !strings.Contains(err.Error(), "windows") {
			t.Errorf("one window more than may be: %v", err)
		}
		h.enqueued("a", "without")
		h.ok(h.Finish(bg, h.head("w", "without", 1)))
		h.clean()
		h.advance(2 * time.Hour)
		h.reaped()
		h.enqueue(job(5))
		h.clean()
	})
}

// The doctor tells of a partition whose outcomes or windows are about to reach what they may have.
func TestH16_DoctorWatches(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, MaxBacklog: 1})
	h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", Unique: &dispatcher.Unique{Key: "u", Scope: dispatcher.ForWindow, Window: time.Hour}})
	h.ok(rdb.HSet(bg, h.Namespace().Keys(0).Clock(), "kept", lanes.MostKept).Err())
	findings, err := h.Doctor(bg, nil)
	h.ok(err)
	seen := make(map[string]bool)
	for _, f := range findings {
		if f.Severity == doctor.Warning {
			seen[f.What] = true
		}
	}
	if !seen["outcomes"] || !seen["windows"] {
		t.Errorf("the doctor warns of %v", seen)
	}
}

// What Go says of bounds that scripts keep is what they keep.
func TestBoundsAreThoseOfTheScripts(t *testing.T) {
	t.Parallel()
	text := lanes.Lua
	for name, want := range map[string]int{`MOST_KEPT, MOST_FORGOTTEN`: lanes.MostKept, "SMALL": lanes.Small, "MOST_BYTES": dispatcher.MaxBatchBytes} {
		found := regexp.MustCompile(`local ` + name + ` = (\d+)`).FindStringSubmatch(text)
		if found == nil || found[1] != strconv.Itoa(want) {
			t.Errorf("Lua has %s = %q, Go %d", name, found, want)
		}
	}
}
