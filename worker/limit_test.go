package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// laneIn returns the name of a lane in a partition, the nth of its sort.
func (s *site) laneIn(partition, nth int) string {
	for i := 0; ; i++ {
		name := fmt.Sprint("p", partition, ".", i)
		if s.Namespace().Partition(subject.Key{Kind: "s", ID: name}) != partition {
			continue
		}
		if nth--; nth < 0 {
			return name
		}
	}
}

// starts records in which order lanes have their turns.
type starts struct {
	mu    sync.Mutex
	order []string
	most  int
	now   int
}

// begin notes the start of an attempt, and returns its end.
func (r *starts) begin(ctx context.Context) (end func()) {
	c, _ := FromContext(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = append(r.order, c.Subject.ID)
	r.now++
	r.most = max(r.most, r.now)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now--
	}
}

// wait waits until there were n starts and returns the lanes that had them.
func (r *starts) wait(t *testing.T, n int) []string {
	t.Helper()
	redistest.Until(t, fmt.Sprint(n, " starts"), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.order) >= n
	})
	r.mu.Lock() // others may start meanwhile
	defer r.mu.Unlock()
	return slices.Clone(r.order)
}

// peak is how many ran at once at most.
func (r *starts) peak() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// patientTTL is so long that no lease ends in a test.
const patientTTL = 10 * time.Minute

// G18: lanes of all partitions take turns under a limit, however deep some are, whatever the limit
// is of and however attempts end.
func TestG18_LimitsTakeTurns(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	finish := func(context.Context) error { return nil }
	for name, c := range map[string]struct {
		cfg   dispatcher.Config
		limit int
		end   func(ctx context.Context) error
	}{
		"kind":      {dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}}, 1, finish},
		"kind of 3": {dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 3}}}, 3, finish},
		"pool": {dispatcher.Config{
			Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}, {Name: "k2", Owner: "o"}}, PoolLimits: map[string]int{"default": 1},
		}, 1, finish},
		"kind and pool": {dispatcher.Config{
			Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}, {Name: "k2", Owner: "o"}}, PoolLimits: map[string]int{"default": 1},
		}, 1, finish},
		"rate":        {dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Every: 5 * time.Millisecond}}}, 1, finish},
		"retry":       {dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}}, 1, func(context.Context) error { return RetryAfter(0, errors.New("boom")) }},
		"dead letter": {dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}}, 1, func(context.Context) error { return Permanent(errors.New("boom")) }},
		"cancel":      {dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}}, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := declare(t, rdb, c.cfg)
			var deep []string
			for i := range c.limit { // as many deep lanes as may run at once, all in one partition
				deep = append(deep, s.laneIn(2, i))
				s.put(deep[i], "k", 40)
			}
			single := s.laneIn(3, 0)
			s.put(single, "k", 1)
			end := c.end
			if end == nil { // an operator cancels what runs
				end = func(ctx context.Context) error {
					job, _ := FromContext(ctx)
					if _, err := s.Cancel(context.WithoutCancel(ctx), dispatcher.JobRef{ID: job.ID}); err != nil {
						return err
					}
					<-ctx.Done()
					return ctx.Err()
				}
			}
			var r starts
			handler := func(ctx context.Context, _ []byte) error {
				defer r.begin(ctx)()
				pauseFor(ctx, time.Millisecond)
				return end(ctx)
			}
			handlers := make(map[string]Handler)
			for _, k := range c.cfg.Kinds {
				handlers[k.Name] = handler
			}
			s.pool(Config{Concurrency: 20, LeaseTTL: patientTTL}, handlers)
			begin := time.Now()
			order := r.wait(t, 40)
			if took := time.Since(begin); took > 10*time.Second { // pools look again every second
				t.Errorf("40 starts took %s: a slot that comes back is found by looking, not by hints", took)
			}
			at := -1
			for i, lane := range order {
				if lane == single && at < 0 {
					at = i
				}
			}
			// The deep ones may have begun before it was seen; from then on it has to wait for one
			// turn of each other ready lane.
			if at < 0 || at >= 2*c.limit+3 {
				t.Errorf("the lane of one job starts as number %d of %v", at, order)
			}
			if c.cfg.Kinds[0].Every == 0 && r.peak() > c.limit {
				t.Errorf("%d ran at once under a limit of %d", r.peak(), c.limit)
			}
		})
	}
}

// G18: each lane has its turn before any has another one, however unevenly lanes are spread over
// partitions, and whatever room a pool has. An offer of 100 ms that a process lets pass costs it its place, so a machine that
// stands still for that long tries again.
func TestG18_LanesHaveEqualTurns(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	for _, places := range []int{4, 8, 20} {
		t.Run(fmt.Sprint(places), func(t *testing.T) {
			t.Parallel()
			inThreeTries(t, func() string { return turnsOfEight(t, rdb, places) })
		})
	}
}

// turnsOfEight has a pool of some places work on eight lanes under one limit, and says where one had more turns than its share.
func turnsOfEight(t *testing.T, rdb *redis.Client, places int) (uneven string) {
	s := declare(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}})
	var lanes []string
	for nth, in := range []int{0, 0, 0, 0, 1, 1, 2, 3} {
		lane := s.laneIn(in, nth)
		lanes = append(lanes, lane)
		s.put(lane, "k", 8)
	}
	var r starts
	s.pool(Config{Concurrency: places, LeaseTTL: patientTTL}, map[string]Handler{"k": func(ctx context.Context, _ []byte) error {
		defer r.begin(ctx)()
		pauseFor(ctx, time.Millisecond)
		return nil
	}})
	order := r.wait(t, 64)
	turns := make(map[string]int)
	for i, lane := range order[16:48] { // at first not all partitions have been asked
		turns[lane]++
		least := 8
		for _, l := range lanes {
			least = min(least, turns[l])
		}
		if turns[lane]-least > 2 { // a lane may come to the line just behind the others of a round
			return fmt.Sprintf("start %d is turn %d of %s, while another lane had %d: %v", i+16, turns[lane], lane, least, order)
		}
	}
	return ""
}

// G18: a slot that one process gives back is used by another one whose kinds wait for it, in turn. A process that lets
// an offer of 100 ms pass has lost its place, so a machine that stands still for that long tries again.
func TestG18_LimitsTakeTurnsAcrossProcesses(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		inThreeTries(t, func() string {
			longest, both, order := turnsOfTwo(t, rdb)
			if both >= 10 && longest <= 10 { // turns of a millisecond: a busy machine gives one process some of the other's
				return ""
			}
			return fmt.Sprintf("one process had %d of %d turns in a row: %v", longest, both, order)
		})
	})
}

// inThreeTries fails when something is wrong each time: an offer lapses where a machine stands still for 100 ms.
func inThreeTries(t *testing.T, try func() (wrong string)) {
	t.Helper()
	var tried []string
	for range 3 {
		wrong := try()
		if wrong == "" {
			return
		}
		tried = append(tried, wrong)
	}
	t.Error(strings.Join(tried, "\n"))
}

// turnsOfTwo has two processes with a lane each work under one limit. It returns how many turns one of them had in a
// row at most while both had jobs, how many turns that was in all, and all turns.
func turnsOfTwo(t *testing.T, rdb *redis.Client) (longest, both int, order []string) {
	s := declare(t, rdb, dispatcher.Config{
		Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}, {Name: "k2", Owner: "o"}}, PoolLimits: map[string]int{"default": 1},
	})
	var r starts
	handler := func(ctx context.Context, _ []byte) error {
		defer r.begin(ctx)()
		pauseFor(ctx, time.Millisecond)
		return nil
	}
	other, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Namespace: s.Namespace().Name})
	if err != nil {
		t.Fatal(err)
	}
	s.pool(Config{Concurrency: 5, LeaseTTL: patientTTL}, map[string]Handler{"k": handler})
	(&site{Dispatcher: other, Inspector: inspect.New(other), t: t}).pool(Config{Concurrency: 5, LeaseTTL: patientTTL}, map[string]Handler{"k2": handler})
	s.put("deep", "k", 1)
	s.put("other", "k2", 1)
	r.wait(t, 2) // both are at work
	s.put("deep", "k", 31)
	s.put("other", "k2", 31)
	order = r.wait(t, 62)[2:]
	if r.peak() > 1 {
		t.Errorf("%d ran at once under a limit of 1", r.peak())
	}
	left, run := map[string]int{"deep": 30, "other": 30}, 0
	for i, lane := range order {
		if run++; i > 0 && lane != order[i-1] {
			run = 1
		}
		left[lane]--
		if left["deep"] > 0 && left["other"] > 0 && left["deep"] < 30 && left["other"] < 30 { // both run, both have more
			both++
			longest = max(longest, min(run, both))
		}
	}
	return longest, both, order
}

// G18: what a start costs does not grow with those who wait for it.
func TestG18_ManyWait(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	rdb := redistest.ClientOf(t, server)
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{
		Redis: rdb, Partitions: 8, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Dispatcher: d, Inspector: inspect.New(d), t: t}
	for i := range 40 {
		s.put(fmt.Sprint("lane", i), "k", 6)
	}
	var r starts
	for range 30 {
		s.pool(Config{Concurrency: 2, LeaseTTL: patientTTL}, map[string]Handler{"k": func(ctx context.Context, _ []byte) error {
			defer r.begin(ctx)()
			pauseFor(ctx, time.Millisecond)
			return nil
		}})
	}
	calls := func() int64 {
		return redistest.InfoNumber(rdb.Info(context.Background(), "commandstats").Val(), "cmdstat_evalsha:calls=")
	}
	r.wait(t, 60) // all have come to the line
	r.mu.Lock()
	before, from := calls(), len(r.order)
	r.mu.Unlock()
	r.wait(t, 220)
	r.mu.Lock()
	each, most := float64(calls()-before)/float64(len(r.order)-from), r.most
	r.mu.Unlock()
	if each > 60 || most > 1 {
		t.Errorf("%.0f scripts a start with 30 pools in line, want 60 at most; %d ran at once", each, most)
	}
}

// A limit that is declared, changed or taken back is seen by sessions that run.
func TestLimitsThatChangeAreSeen(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := declare(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}}})
		var r starts
		handler := func(ctx context.Context, _ []byte) error {
			defer r.begin(ctx)()
			pauseFor(ctx, 30*time.Millisecond)
			return nil
		}
		s.pool(Config{Concurrency: 10, LeaseTTL: patientTTL}, map[string]Handler{"k": handler})
		// round has six lanes worked off, and returns how many ran at once.
		rounds := 0
		round := func() int {
			t.Helper()
			r.mu.Lock()
			before := len(r.order)
			r.most = 0
			r.mu.Unlock()
			rounds++
			for i := range 6 {
				s.put(fmt.Sprint(rounds, "-", i), "k", 1)
			}
			r.wait(t, before+6)
			redistest.Until(t, "all have ended", func() bool {
				r.mu.Lock()
				defer r.mu.Unlock()
				return r.now == 0
			})
			return r.most
		}
		run := func(limit, want int) {
			t.Helper()
			_, err := dispatcher.Open(t.Context(), dispatcher.Config{
				Redis: rdb, Namespace: s.Namespace().Name, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: limit}},
			})
			if err != nil {
				t.Fatal(err)
			}
			redistest.Until(t, fmt.Sprint(want, " run at once"), func() bool { return round() == want }) // it is heard of in a moment
			if most := round(); most > want {
				t.Errorf("with a limit of %d, %d ran at once", limit, most)
			}
		}
		run(2, 2)
		run(1, 1)
		run(0, 6)
		run(3, 3)
	})
}
