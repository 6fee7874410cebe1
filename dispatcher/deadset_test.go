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
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// dies enqueues a job and makes a dead letter of it; nothing else may be ready.
func (h *house) dies(job dispatcher.NewJob, reason string) {
	h.t.Helper()
	h.enqueue(job)
	for _, c := range h.claimedKinds("w", 1, job.Kind) {
		if c.ID != job.ID {
			h.t.Fatalf("claimed %s, want %s", c.ID, job.ID)
		}
		h.ok(h.DeadLetter(bg, c, reason, "boom"))
	}
}

// die makes dead letters of jobs of one lane.
func (h *house) die(lane string, ids ...string) {
	h.t.Helper()
	for _, id := range ids {
		h.dies(dispatcher.NewJob{Subject: key(lane), Kind: "k", ID: id}, "permanent")
	}
}

// matching picks dead letters.
func (h *house) matching(f dispatcher.DeadFilter) *dispatcher.DeadSet {
	h.t.Helper()
	s, err := h.DeadMatching(bg, f)
	h.ok(err)
	return s
}

// inLane are the ids of a lane's jobs, the head first.
func (h *house) inLane(lane string) (ids []string) {
	h.t.Helper()
	for page := (inspect.Page{Limit: 500}); ; {
		_, jobs, next, err := h.Lane(bg, key(lane), page)
		h.ok(err)
		for _, job := range jobs {
			ids = append(ids, job.ID)
		}
		if page.Cursor = next; next == "" {
			return ids
		}
	}
}

func idsOf(letters []dispatcher.DeadLetter) (ids []string) {
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

// A list and a set pick the same letters, whatever the filter and the pages are.
func TestDeadFilter(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		at := func(ms int64) time.Time { return time.UnixMilli(1_000_000 + ms) }
		for i := range 24 { // j0 dies at 0 ms, j1 at 10 ms, and so on
			h.dies(dispatcher.NewJob{
				Subject: key(fmt.Sprint("s", i%5)), Kind: []string{"mail", "sync"}[i%2], ID: fmt.Sprint("j", i), Payload: []byte(strings.Repeat("x", i*100)),
			}, []string{"permanent", "worker lost", "no use"}[i%3])
			h.advance(10 * time.Millisecond)
		}
		for name, c := range map[string]struct {
			filter dispatcher.DeadFilter
			fits   func(i int) bool
		}{
			"all":                {dispatcher.DeadFilter{}, func(int) bool { return true }},
			"kind":               {dispatcher.DeadFilter{Kind: "sync"}, func(i int) bool { return i%2 == 1 }},
			"reason":             {dispatcher.DeadFilter{Reason: "worker lost"}, func(i int) bool { return i%3 == 1 }},
			"part of a reason":   {dispatcher.DeadFilter{Reason: "worker"}, func(int) bool { return false }},
			"subject":            {dispatcher.DeadFilter{Subject: key("s2")}, func(i int) bool { return i%5 == 2 }},
			"before":             {dispatcher.DeadFilter{Before: at(70)}, func(i int) bool { return i < 7 }},
			"after":              {dispatcher.DeadFilter{After: at(70)}, func(i int) bool { return i >= 7 }},
			"between":            {dispatcher.DeadFilter{After: at(71), Before: at(140)}, func(i int) bool { return i > 7 && i < 14 }},
			"nothing so old":     {dispatcher.DeadFilter{Before: at(0)}, func(int) bool { return false }},
			"kind and reason":    {dispatcher.DeadFilter{Kind: "mail", Reason: "permanent"}, func(i int) bool { return i%6 == 0 }},
			"subject and before": {dispatcher.DeadFilter{Subject: key("s1"), Before: at(100)}, func(i int) bool { return i == 1 || i == 6 }},
			"another kind":       {dispatcher.DeadFilter{Kind: "other"}, func(int) bool { return false }},
		} {
			want := []string{}
			for i := range 24 {
				if c.fits(i) {
					want = append(want, fmt.Sprint("j", i))
				}
			}
			set := h.matching(c.filter)
			if got := idsOf(set.First(100)); !slices.Equal(got, want) || set.Len() != len(want) {
				t.Errorf("%s: the set is %v, want %v", name, got, want)
			}
			slices.Reverse(want) // a list has the latest first
			for _, limit := range []int{1, 3, 500} {
				var got []string
				for _, l := range all(t, limit, func(p inspect.Page) ([]inspect.JobInfo, string, error) { return h.DeadLetters(bg, c.filter, p) }) {
					got = append(got, l.ID)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s, pages of %d: listed are %v, want %v", name, limit, got, want)
				}
			}
		}
		counts := h.matching(dispatcher.DeadFilter{Before: at(70)}).Counts()
		if want := []dispatcher.DeadCount{
			{Kind: "mail", Reason: "permanent", Count: 2}, {Kind: "mail", Reason: "no use", Count: 1}, {Kind: "mail", Reason: "worker lost", Count: 1},
			{Kind: "sync", Reason: "no use", Count: 1}, {Kind: "sync", Reason: "permanent", Count: 1}, {Kind: "sync", Reason: "worker lost", Count: 1},
		}; !slices.Equal(counts, want) {
			t.Errorf("counted %+v, want %+v", counts, want)
		}
	})
}

func TestDeadFilterIsChecked(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	now := time.UnixMilli(1_000_000)
	for field, f := range map[string]dispatcher.DeadFilter{
		"kind": {Kind: "a b"}, "subject": {Subject: subject.Key{Kind: "s"}}, "before": {After: now, Before: now},
	} {
		_, err := h.DeadMatching(bg, f)
		_, _, listed := h.DeadLetters(bg, f, inspect.Page{})
		if err == nil || listed == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v, %v", field, err, listed)
		}
	}
}

// Letters come back in the order of their lane, whichever died first, to the tail as to the front.
func TestDeadSetKeepsTheOrderOfLanes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, front := range []bool{false, true} {
			h := newHouse(t, rdb, dispatcher.Config{})
			// j1 is replayed to the front, and dies again after j2 and j3.
			h.enqueued("a", "j1", "j2", "j3")
			h.ok(h.DeadLetter(bg, h.head("w", "j1", 1), "x", ""))
			h.ok(h.DeadLetter(bg, h.head("w", "j2", 1), "x", ""))
			_, err := h.Replay(bg, ref("j1"), true)
			h.ok(err)
			h.ok(h.DeadLetter(bg, h.head("w", "j1", 1), "x", ""))
			h.ok(h.DeadLetter(bg, h.head("w", "j3", 1), "x", ""))
			h.die("b", "b1", "b2")
			h.enqueued("a", "w1", "w2")

			report, err := h.matching(dispatcher.DeadFilter{}).Replay(bg, dispatcher.DeadReplay{Front: front})
			h.ok(err)
			want := []string{"w1", "w2", "j1", "j2", "j3"}
			if front {
				want = []string{"j1", "j2", "j3", "w1", "w2"}
			}
			if got := h.inLane("a"); !slices.Equal(got, want) || report != (dispatcher.DeadReport{Replayed: 5}) {
				t.Errorf("front %t: the lane is %v, want %v, and %+v", front, got, want, report)
			}
			if got := h.inLane("b"); !slices.Equal(got, []string{"b1", "b2"}) {
				t.Errorf("front %t: the other lane is %v", front, got)
			}
			h.clean()
		}
	})
}

// So they do where a lane, and several, have more than one chunk takes; and behind what a holder has.
func TestDeadSetInManyChunks(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, front := range []bool{false, true} {
			h := newHouse(t, rdb, dispatcher.Config{})
			want := make(map[string][]string)
			for i := range 100 {
				lane := []string{"a", "a", "b", "c"}[i%4]
				want[lane] = append(want[lane], fmt.Sprint("j", i))
				h.die(lane, fmt.Sprint("j", i))
			}
			h.enqueued("a", "held", "waits")
			h.head("w", "held", 1)
			var told []int
			report, err := h.matching(dispatcher.DeadFilter{}).Replay(bg, dispatcher.DeadReplay{Front: front, Progress: func(n int) { told = append(told, n) }})
			h.ok(err)
			if report.Replayed != 100 || !slices.IsSorted(told) || told[len(told)-1] != 100 || len(told) < 4 {
				t.Errorf("%+v, told of %v", report, told)
			}
			want["a"] = append([]string{"held", "waits"}, want["a"]...)
			if front {
				want["a"] = append(append([]string{"held"}, want["a"][2:]...), "waits")
			}
			for lane := range want {
				if got := h.inLane(lane); !slices.Equal(got, want[lane]) {
					t.Errorf("front %t: lane %s is %v, want %v", front, lane, got, want[lane])
				}
			}
			h.clean()
		}
	})
}

// What has changed since the set was picked is counted and left as it is.
func TestDeadSetReports(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		unique := func(id string) dispatcher.NewJob {
			return dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: id, Unique: &dispatcher.Unique{Key: "u"}}
		}
		pick := func() *dispatcher.DeadSet {
			h.dies(unique("taken"), "x")
			h.die("b", "discarded", "replayed", "anew", "stays")
			set := h.matching(dispatcher.DeadFilter{})
			h.ok(h.Discard(bg, ref("discarded")))
			for _, id := range []string{"anew", "replayed"} {
				_, err := h.Replay(bg, ref(id), false)
				h.ok(err)
			}
			h.advance(time.Millisecond)
			h.ok(h.DeadLetter(bg, h.claimed("w", 1)["b"], "other", ""))
			h.enqueue(unique("has it"))
			return set
		}
		for _, c := range []struct {
			act  func(s *dispatcher.DeadSet) (dispatcher.DeadReport, error)
			want dispatcher.DeadReport
			left []string
		}{
			{func(s *dispatcher.DeadSet) (dispatcher.DeadReport, error) {
				return s.Replay(bg, dispatcher.DeadReplay{})
			}, dispatcher.DeadReport{Replayed: 1, Taken: 1, Gone: 3}, []string{"taken", "anew"}},
			{func(s *dispatcher.DeadSet) (dispatcher.DeadReport, error) {
				return s.Replay(bg, dispatcher.DeadReplay{Merge: true})
			}, dispatcher.DeadReport{Replayed: 1, Merged: 1, Gone: 3}, []string{"anew"}},
			{func(s *dispatcher.DeadSet) (dispatcher.DeadReport, error) { return s.Discard(bg, nil) },
				dispatcher.DeadReport{Discarded: 2, Gone: 3}, []string{"anew"}},
		} {
			report, err := c.act(pick())
			h.ok(err)
			left := h.matching(dispatcher.DeadFilter{})
			if got := idsOf(left.First(10)); report != c.want || !slices.Equal(got, c.left) {
				t.Errorf("%+v, want %+v; left are %v, want %v", report, c.want, got, c.left)
			}
			h.clean()
			_, err = left.Discard(bg, nil)
			h.ok(err)
			for claims := h.claimed("w", 5); len(claims) > 0; claims = h.claimed("w", 5) {
				for _, claim := range claims {
					h.ok(h.Finish(bg, claim))
				}
			}
			h.empty()
		}
	})
}

// A letter that can't be read is counted, fits no kind, and can only be discarded.
func TestDeadSetOfWhatCantBeRead(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.die("a", "good", "bad")
		h.ok(rdb.HSet(bg, h.Namespace().Keys(0).Jobs(), "ibad", "\xff\xff\xff\xff\xffgarbage\xff\xff\xff\xff\xff").Err())
		if n := h.matching(dispatcher.DeadFilter{Kind: "k"}).Len(); n != 1 {
			t.Errorf("%d letters are of the kind", n)
		}
		set := h.matching(dispatcher.DeadFilter{})
		report, err := set.Replay(bg, dispatcher.DeadReplay{Front: true})
		h.ok(err)
		if report != (dispatcher.DeadReport{Replayed: 1, Unreadable: 1}) {
			t.Errorf("replayed: %+v", report)
		}
		if report, err = h.matching(dispatcher.DeadFilter{}).Discard(bg, nil); err != nil || report.Discarded != 1 {
			t.Errorf("discarded: %+v, %v", report, err)
		}
	})
}

// A twentieth of the time is Redis's: each step is followed by a rest of nineteen times its length, but for the last.
func TestDeadSetIsPaced(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	h.die("a", "first")
	_, err := h.matching(dispatcher.DeadFilter{}).Replay(bg, dispatcher.DeadReplay{}) // so that the scripts are known
	h.ok(err)
	h.ok(h.Finish(bg, h.head("w", "first", 1)))
	for i := range 70 {
		h.die("a", fmt.Sprint("j", i))
	}
	var busy, rested time.Duration
	rdb.AddHook(eachTrip(func() { h.advance(7 * time.Millisecond); busy += 7 * time.Millisecond }))
	h.Engine().Rest = func(_ context.Context, d time.Duration) error { rested += d; return nil }
	set := h.matching(dispatcher.DeadFilter{})
	if set.Len() != 70 || busy != 14*time.Millisecond || rested != 19*7*time.Millisecond {
		t.Errorf("%d letters were picked in %s, with rests of %s", set.Len(), busy, rested)
	}
	busy, rested = 0, 0
	h.Engine().Rest = func(_ context.Context, d time.Duration) error {
		if rested += d; rested > 19*14*time.Millisecond {
			return context.Canceled
		}
		return nil
	}
	report, err := set.Replay(bg, dispatcher.DeadReplay{})
	if !errors.Is(err, context.Canceled) || report.Replayed != 64 || busy != 4*7*time.Millisecond {
		t.Errorf("%+v in %s, with rests of %s: %v", report, busy, rested, err)
	}
}

// eachTrip calls something for each round trip.
type eachTrip func()

func (f eachTrip) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f eachTrip) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { f(); return next(ctx, cmd) }
}

func (f eachTrip) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { f(); return next(ctx, cmds) }
}

// Redis goes away after each number of requests: what was counted is done, nothing is lost or done twice, and the set
// picked anew is the rest.
func TestI9_DeadSetGoesOn(t *testing.T) {
	t.Parallel()
	const letters = 80
	for _, front := range []bool{false, true} {
		for after := 0; ; after++ {
			h := newHouse(t, redistest.Client(t), dispatcher.Config{})
			var want []string
			for i := range letters {
				want = append(want, fmt.Sprint("j", i))
			}
			h.die("a", want...)
			proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
			cfg := h.cfg
			cfg.Redis = rdb
			d, err := dispatcher.Open(bg, cfg)
			h.ok(err)
			set, err := d.DeadMatching(bg, dispatcher.DeadFilter{})
			h.ok(err)
			proxy.EndAfter(after)
			ctx, cancel := context.WithTimeout(bg, aWhile)
			report, err := set.Replay(ctx, dispatcher.DeadReplay{Front: front})
			cancel()
			whole := err == nil
			left := h.matching(dispatcher.DeadFilter{})
			if done := letters - left.Len(); report.Replayed > done || whole && done != letters || report.Gone > 0 {
				t.Errorf("after %d requests: %d were replayed, and reported is %+v", after, done, report)
			}
			again, err := left.Replay(bg, dispatcher.DeadReplay{Front: front})
			h.ok(err)
			if got := h.inLane("a"); !slices.Equal(got, want) || again.Replayed != left.Len() {
				t.Errorf("front %t, away after %d requests: the lane is %v", front, after, got)
			}
			h.clean()
			if whole {
				if after < 4 {
					t.Errorf("Redis was away after %d requests, and that did not matter", after)
				}
				break
			}
		}
	}
}

// Among workers that take what they can, each lane gets its letters in their order.
func TestI5_DeadSetAmongWorkers(t *testing.T) {
	t.Parallel()
	for _, front := range []bool{false, true} {
		h := newHouse(t, redistest.Client(t), dispatcher.Config{})
		for i := range 60 {
			h.die(fmt.Sprint("s", i%3), fmt.Sprintf("j%02d", i))
		}
		set, ran, over := h.matching(dispatcher.DeadFilter{}), make(chan []string), make(chan bool)
		go func() {
			var ids []string
			for last := false; ; {
				claims, err := h.Claim(bg, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Hour}, 3)
				if err != nil {
					t.Error(err)
				}
				for _, c := range claims {
					ids = append(ids, c.ID)
					if err := h.Finish(bg, c); err != nil {
						t.Error(err)
					}
				}
				if len(claims) == 0 && last {
					ran <- ids
					return
				}
				select {
				case <-over:
					last = true
				default:
				}
			}
		}()
		_, err := set.Replay(bg, dispatcher.DeadReplay{Front: front})
		close(over)
		ids := <-ran
		h.ok(err)
		for lane := range 3 {
			var of []string
			for _, id := range ids {
				if n := 0; id != "" {
					_, _ = fmt.Sscanf(id, "j%d", &n)
					if n%3 == lane {
						of = append(of, id)
					}
				}
			}
			if len(of) != 20 || !slices.IsSorted(of) {
				t.Errorf("front %t: lane %d ran %v", front, lane, of)
			}
		}
		h.empty()
	}
}

// A worker takes all that there is after each chunk: a lane that fits into one is not cut into two.
func TestI5_DeadSetCutsNoLane(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	for i := range 60 {
		h.die(fmt.Sprint("s", i%3), fmt.Sprintf("j%02d", i))
	}
	ran := make(map[string][]string)
	_, err := h.matching(dispatcher.DeadFilter{}).Replay(bg, dispatcher.DeadReplay{Front: true, Progress: func(int) {
		for claims := h.claimed("w", 3); len(claims) > 0; claims = h.claimed("w", 3) {
			for lane, c := range claims {
				ran[lane] = append(ran[lane], c.ID)
				h.ok(h.Finish(bg, c))
			}
		}
	}})
	h.ok(err)
	for lane, ids := range ran {
		if len(ids) != 20 || !slices.IsSorted(ids) {
			t.Errorf("%s ran %v", lane, ids)
		}
	}
}
