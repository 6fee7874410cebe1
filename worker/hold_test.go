package worker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/control"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// eachWay runs a test with news and without them: they are hints.
func eachWay(t *testing.T, test func(t *testing.T, s *site)) {
	for name, deaf := range map[string]bool{"news": false, "no news": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, redistest.Client(t))
			s.Engine().News.Deaf = deaf
			test(t, s)
		})
	}
}

// held sets a hold, which is released when the test ends.
func (s *site) held(scope control.Scope, name string) (c *control.Control, hold control.Hold) {
	s.t.Helper()
	c = control.New(s.Dispatcher)
	hold, err := c.Hold(context.Background(), control.Hold{Scope: scope, Name: name, Reason: "test"})
	if err != nil {
		s.t.Fatal(err)
	}
	return c, hold
}

// U1, U15. When a hold has returned, no pool starts anything in its scope until its release, and then all goes on within a
// second; what is not in its scope goes on all the time.
func TestU1_PoolsObeyHolds(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, s *site) {
		var mu sync.Mutex
		starts := make(map[string]int)
		handler := func(ctx context.Context, _ []byte) error {
			c, _ := FromContext(ctx)
			mu.Lock()
			defer mu.Unlock()
			starts[c.Kind]++
			return nil
		}
		started := func(kind string) int {
			mu.Lock()
			defer mu.Unlock()
			return starts[kind]
		}
		for range 2 {
			s.pool(Config{Concurrency: 3}, map[string]Handler{"bad": handler, "good": handler})
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var producing sync.WaitGroup
		producing.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				for _, kind := range []string{"bad", "good"} {
					if in, _ := s.Stats(ctx); in.InLanes < 200 {
						_, _ = s.Enqueue(ctx, dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: fmt.Sprint(kind, i%17)}, Kind: kind})
					}
				}
			}
		})
		defer producing.Wait()
		defer stop()
		for round := range 3 {
			more := func(kind string, n int) {
				t.Helper()
				from := started(kind)
				redistest.Until(t, fmt.Sprintf("round %d: %d more of %s", round, n, kind), func() bool { return started(kind) >= from+n })
			}
			more("bad", 20)
			c, hold := s.held(control.Kind, "bad")
			redistest.Until(t, "what ran has ended", func() bool {
				leased, _, err := s.Lanes(t.Context(), inspect.LaneFilter{State: inspect.Leased, Kind: "bad"}, inspect.Page{})
				return err == nil && len(leased) == 0
			})
			before := started("bad")
			more("good", 50)
			if n := started("bad"); n != before {
				t.Fatalf("round %d: %d started under the hold", round, n-before)
			}
			if _, err := c.Release(t.Context(), hold.ID); err != nil {
				t.Fatal(err)
			}
			more("bad", 20)
		}
	})
}

// U22. What was claimed ahead, or along with a job that runs, and has not begun is back in its lane when a hold comes, and has no
// attempt less; the job that runs stays.
func TestU22_NotBegunGoesBack(t *testing.T) {
	t.Parallel()
	for name, scope := range map[string]control.Hold{"kind": {Scope: control.Kind, Name: "k"}, "lanes": {Scope: control.Lanes, Name: "s:*"}} {
		eachWay(t, func(t *testing.T, s *site) {
			first, goOn := make(chan struct{}), make(chan struct{})
			ran := make(chan string, 10)
			var once sync.Once
			s.pool(Config{Concurrency: 1, LaneBatch: map[string]int{"k": 3}}, map[string]Handler{"k": func(ctx context.Context, _ []byte) error {
				c, _ := FromContext(ctx)
				ran <- c.ID
				once.Do(func() { close(first) })
				<-goOn
				return nil
			}})
			s.put("a", "k", 3)
			<-first
			c, hold := s.held(scope.Scope, scope.Name)
			p := s.Namespace().Partition(subject.Key{Kind: "s", ID: "a"})
			redistest.Until(t, name+": what is along goes back", func() bool {
				record := s.Engine().Redis.HGet(t.Context(), s.Namespace().Keys(p).Leases(), subject.Key{Kind: "s", ID: "a"}.Canonical()).Val()
				return strings.Contains(record, " job ")
			})
			close(goOn)
			redistest.Until(t, "the lane is free", func() bool {
				lanes, _, err := s.Lanes(t.Context(), inspect.LaneFilter{}, inspect.Page{})
				return err == nil && len(lanes) == 1 && lanes[0].State != inspect.Leased
			})
			lane, err := s.Lane(t.Context(), subject.Key{Kind: "s", ID: "a"}, inspect.Page{})
			if err != nil || lane.Depth != 2 || lane.Attempt != 0 {
				t.Fatalf("%s: %+v, %v", name, lane, err)
			}
			if len(ran) != 1 {
				t.Errorf("%s: %d have begun", name, len(ran))
			}
			if _, err := c.Release(t.Context(), hold.ID); err != nil {
				t.Fatal(err)
			}
			redistest.Until(t, "the rest runs", func() bool { return len(ran) == 3 })
			got := []string{<-ran, <-ran, <-ran}
			if !slices.Equal(got, []string{"a-k-0", "a-k-1", "a-k-2"}) {
				t.Errorf("%s: ran %v", name, got)
			}
		})
	}
}

// U17, U23. A hold that its operator could not bring to every partition is brought there by any worker's next sign of life; so is a
// release.
func TestU17_WorkersFinishIt(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Client(t))
	c, hold := s.held(control.Kind, "k")
	rdb := s.Engine().Redis
	lose := func() {
		for p := range 4 {
			rdb.HDel(t.Context(), s.Namespace().Keys(p).Clock(), "policy")
			rdb.Del(t.Context(), s.Namespace().Keys(p).Policy())
		}
	}
	lose()
	if in, err := c.InForce(t.Context()); err != nil || in != 0 {
		t.Fatalf("in force in %d, %v", in, err)
	}
	s.pool(Config{Concurrency: 1}, map[string]Handler{"k": func(context.Context, []byte) error { return nil }})
	redistest.Until(t, "a worker has brought it everywhere", func() bool {
		in, err := c.InForce(t.Context())
		return err == nil && in == 4
	})
	lose()
	redistest.Until(t, "and once more with its beat", func() bool {
		in, err := c.InForce(t.Context())
		return err == nil && in == 4
	})
	if _, err := c.Release(t.Context(), hold.ID); err != nil {
		t.Fatal(err)
	}
}

// U19. Idle pools send one command a second more, and no more, however many ready lanes of a kind are barred.
func TestU19_BarredLanesCostNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	rdb := redistest.ClientOf(t, server)
	s := newSite(t, rdb)
	commands := func() (n int64) {
		for line := range strings.Lines(rdb.Info(t.Context(), "commandstats").Val()) {
			if name, rest, ok := strings.Cut(strings.TrimSpace(line), ":calls="); ok && name != "cmdstat_info" {
				var calls int64
				_, _ = fmt.Sscanf(rest, "%d,", &calls)
				n += calls
			}
		}
		return n
	}
	s.held(control.Kind, "k")
	var jobs []dispatcher.NewJob
	for i := range 2000 {
		jobs = append(jobs, dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: fmt.Sprint(i)}, Kind: "k"})
	}
	for i := 0; i < len(jobs); i += 250 {
		if _, err := s.EnqueueMany(t.Context(), jobs[i:i+250]); err != nil {
			t.Fatal(err)
		}
	}
	s.pool(Config{Concurrency: 4}, map[string]Handler{"k": func(context.Context, []byte) error { return nil }, "other": func(context.Context, []byte) error { return nil }})
	settled := func() {
		last, since := int64(-1), time.Now()
		redistest.Until(t, "the pool is idle", func() bool {
			if n := commands(); n > last+3 {
				last, since = n, time.Now()
			}
			return time.Since(since) > 700*time.Millisecond
		})
	}
	settled()
	from, began := commands(), time.Now()
	time.Sleep(3 * time.Second) // what is measured is how much is sent in a time
	sent, took := commands()-from, time.Since(began).Seconds()
	// A beat, which comes once in five seconds, sends a few dozen at most: to four partitions, with what it imposes.
	if most := 1.5*took + 120; float64(sent) > most {
		t.Errorf("%d commands in %.1f s", sent, took)
	}
}
