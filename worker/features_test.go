package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/check"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// declare makes a site whose kinds are declared.
func declare(t *testing.T, rdb *redis.Client, cfg dispatcher.Config) *site {
	t.Helper()
	s := newSite(t, rdb)
	cfg.Redis, cfg.Namespace = rdb, s.Namespace().Name
	d, err := dispatcher.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Dispatcher = d
	return s
}

// gauge counts how many run at once, and the most that ever did.
type gauge struct{ now, most, done atomic.Int64 }

func (g *gauge) handler(d time.Duration) Handler {
	return func(context.Context, []byte) error {
		n := g.now.Add(1)
		for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
		}
		time.Sleep(d)
		g.now.Add(-1)
		g.done.Add(1)
		return nil
	}
}

// G12: never more than the limit run at once, in three pools, while a backlog is worked off, and
// after a holder of slots has died; and all of it is worked off.
func TestG12_LimitsAreStrict(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := declare(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "slow", Owner: "o", Limit: 3}, {Name: "quick", Owner: "o"}}})
		const n = 60
		for i := range n {
			s.put(fmt.Sprint("slow", i), "slow", 1)
			s.put(fmt.Sprint("quick", i), "quick", 1)
		}
		dead, err := session.Join(t.Context(), s.Dispatcher, session.Claimant{Holder: "dead", Kinds: []string{"slow"}, TTL: time.Second}, 1)
		if err != nil {
			t.Fatal(err)
		}
		for p := range s.Namespace().Partitions {
			dead.Turns(t.Context(), []session.Turn{{Partition: p, Claim: true, Want: 1}})
		}
		if err := dead.Close(t.Context()); err != nil { // it takes nothing back
			t.Fatal(err)
		}
		var slow, quick gauge
		for range 3 {
			s.pool(Config{Concurrency: 8, LeaseTTL: time.Second}, map[string]Handler{
				"slow": slow.handler(3 * time.Millisecond), "quick": quick.handler(time.Millisecond),
			})
		}
		redistest.Until(t, "all have run", func() bool { return slow.done.Load() >= n && quick.done.Load() >= n })
		if most := slow.most.Load(); most > 3 {
			t.Errorf("%d ran at once, the limit is 3", most)
		}
		t.Logf("at most %d slow and %d quick at once", slow.most.Load(), quick.most.Load())
	})
}

// G5, G12: who loses a slot is told like who loses a lane.
func TestG12_SlotLost(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := declare(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}})
	causes := make(chan error, 10)
	s.pool(Config{LeaseTTL: 300 * time.Millisecond}, map[string]Handler{"k": func(ctx context.Context, _ []byte) error {
		c, _ := FromContext(ctx)
		if len(causes) == 0 {
			keys := s.Namespace().Keys(s.Namespace().Partition(c.Slots[0].Subject))
			rdb.HDel(ctx, keys.Leases(), c.Slots[0].Subject.Canonical())
			<-ctx.Done()
			causes <- context.Cause(ctx)
		}
		return nil
	}})
	s.put("a", "k", 1)
	if cause := <-causes; !errors.Is(cause, lease.ErrLost) {
		t.Errorf("cause %v", cause)
	}
}

// C6: a slow kind takes no places of another pool, and a kind runs in the pool that it is
// declared for only.
func TestC6_PoolsHaveTheirOwnPlaces(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := declare(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "git", Owner: "o", Pool: "git"}, {Name: "mail", Owner: "o"}}})
	block := make(chan struct{})
	var git, mail gauge
	s.pool(Config{Name: "git", Concurrency: 1}, map[string]Handler{"git": func(ctx context.Context, p []byte) error {
		<-block
		return git.handler(0)(ctx, p)
	}})
	s.pool(Config{Concurrency: 2}, map[string]Handler{"mail": mail.handler(0)})
	for i := range 20 {
		s.put(fmt.Sprint("g", i), "git", 1)
		s.put(fmt.Sprint("m", i), "mail", 1)
	}
	redistest.Until(t, "the other pool is done", func() bool { return mail.done.Load() == 20 })
	if git.done.Load() != 0 {
		t.Error("a git job ran elsewhere")
	}
	close(block)
	redistest.Until(t, "git is done", func() bool { return git.done.Load() == 20 })

	p, err := New(s.Dispatcher, Config{Name: "git"})
	if err != nil {
		t.Fatal(err)
	}
	p.Handle("mail", mail.handler(0))
	if err := p.Run(t.Context()); !errors.Is(err, dispatcher.ErrInvalid) || !strings.Contains(err.Error(), "pool default") {
		t.Errorf("a kind of another pool: %v", err)
	}
	p, _ = New(s.Dispatcher, Config{})
	p.Handle("mial", mail.handler(0))
	if err := p.Run(t.Context()); !errors.Is(err, dispatcher.ErrUndeclared) {
		t.Errorf("a misspelt kind: %v", err)
	}
}

// C7: a batch handler gets jobs of one lane in order, and each ends by itself.
func TestC7_BatchHandler(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		s.put("a", "k", 10)
		s.put("b", "k", 3)
		var mu sync.Mutex
		var sizes []int
		attempts := make(map[string]int)
		finished := 0
		cfg := Config{Concurrency: 2, Backoff: dispatcher.Backoff{Base: time.Millisecond, Cap: time.Millisecond}, Logger: quiet()}
		p, err := New(s.Dispatcher, cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.HandleBatch("k", 4, func(ctx context.Context, jobs []dispatcher.Job) []error {
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, len(jobs))
			errs := make([]error, len(jobs))
			for i, j := range jobs {
				attempts[j.ID]++
				if j.Subject != jobs[0].Subject || i > 0 && j.Seq <= jobs[i-1].Seq {
					t.Errorf("%s after %s", j.ID, jobs[0].ID)
				}
				if j.ID == "a-k-2" && attempts[j.ID] == 1 {
					errs[i] = errors.New("boom")
				} else if finished++; j.ID == "b-k-0" && attempts[j.ID] == 1 {
					finished -= len(jobs)
					panic("a panic fails the batch")
				}
			}
			return errs
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		redistest.Until(t, "all have finished", func() bool { st, _ := s.Stats(ctx); return st.Jobs == 0 })
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if attempts["a-k-2"] != 2 || attempts["a-k-3"] != 1 || attempts["b-k-0"] != 2 {
			t.Errorf("attempts %v", attempts)
		}
		most := 0
		for _, n := range sizes {
			most = max(most, n)
		}
		if most != 4 {
			t.Errorf("batches of %v, want up to 4", sizes)
		}
	})
}

// L5: a busy lane costs its jobs no attempt, no retry and no order.
func TestL5_ContentionIsNotFailure(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := newSite(t, rdb)
	s.put("a", "k", 50)
	for range 2 {
		s.pool(Config{Concurrency: 10}, map[string]Handler{"k": s.work(100 * time.Millisecond)})
	}
	runs := s.ran(50)
	first, last := runs[0].Start, runs[49].End
	redistest.Figure(t, "50 jobs of 100 ms on one lane, two pools", "%s", last.Sub(first).Round(time.Millisecond))
	if r := check.Check(runs); r.OutOfOrder+r.Overlaps > 0 {
		t.Errorf("%+v", r)
	}
	for id, n := range s.attempts {
		if n != 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
}

// L9: a handler hears at once that its job was cancelled; what it returns decides.
func TestL9_HandlerIsAsked(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		started := make(chan string)
		causes := make(chan error, 2)
		p := s.pool(Config{LeaseTTL: time.Hour}, map[string]Handler{ // no renewal would tell it soon
			"k": func(ctx context.Context, _ []byte) error {
				c, _ := FromContext(ctx)
				started <- c.ID
				<-ctx.Done()
				causes <- context.Cause(ctx)
				if c.ID == "a-k-1" {
					return nil // done all the same
				}
				return ctx.Err()
			},
		})
		s.put("a", "k", 2)
		for range 2 {
			holder, err := s.Cancel(t.Context(), dispatcher.JobRef{ID: <-started})
			if err != nil || holder == "" {
				t.Fatalf("%q, %v", holder, err)
			}
			if cause := <-causes; !errors.Is(cause, lease.ErrCancelled) {
				t.Errorf("cause %v", cause)
			}
		}
		redistest.Until(t, "both are gone", func() bool { st, _ := s.Stats(t.Context()); return st.Jobs == 0 })
		redistest.Until(t, "both are counted", func() bool { c := p.Counts(); return c.Cancelled == 1 && c.Finished == 1 })
	})
}

// L8, H3: a worker that fails what another one does well claims no more of that kind, its failures do not count,
// and the other one does the work. Other kinds go on.
func TestL8_WorkerToBlame(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		failed := make(chan string, 1000)
		bad := s.pool(Config{Concurrency: 1, Blame: true, Backoff: dispatcher.Backoff{Base: time.Minute, Cap: time.Minute}}, map[string]Handler{
			"k": func(ctx context.Context, _ []byte) error {
				c, _ := FromContext(ctx)
				failed <- c.ID
				return errors.New("no disk")
			},
			"other": s.work(0),
		})
		for i := range blameAfter {
			s.put(fmt.Sprint(i), "k", 1)
		}
		redistest.Until(t, "five have failed", func() bool { return len(failed) == blameAfter })
		var good gauge
		s.pool(Config{Blame: true}, map[string]Handler{"k": good.handler(0)})
		blamed := func() (why map[string]string) {
			workers, _ := session.Workers(t.Context(), s.Dispatcher)
			for _, w := range workers {
				if len(w.Blamed) > 0 {
					return w.Blamed
				}
			}
			return nil
		}
		more := 0
		redistest.Until(t, "the worker says so", func() bool {
			s.put(fmt.Sprint("more", more), "k", 1)
			more++
			time.Sleep(20 * time.Millisecond) // work comes all the time
			return blamed() != nil
		})
		if why := blamed(); len(why) != 1 || !strings.Contains(why["k"], "different jobs failed here in a row") {
			t.Errorf("it is blamed for %v", why)
		}
		redistest.Until(t, "the attempts are given back", func() bool {
			for i := range blameAfter {
				if job, err := s.Job(t.Context(), dispatcher.JobRef{ID: fmt.Sprintf("%d-k-0", i)}); err != nil || job.Attempt != 0 {
					return false
				}
			}
			return true
		})
		redistest.Until(t, "all ends are reported", func() bool { st, _ := s.Stats(t.Context()); return st.Ready+st.Leased+st.Slots == 0 })
		started, did := bad.Counts().Started, good.done.Load()
		for i := range 20 {
			s.put(fmt.Sprint("after", i), "k", 1)
			s.put(fmt.Sprint("other", i), "other", 1)
		}
		s.ran(20)
		redistest.Until(t, "the other one runs all that is ready", func() bool { return good.done.Load() == did+20 })
		if n := bad.Counts().Started; n != started+20 {
			t.Errorf("the blamed one has started %d jobs, want the 20 of the other kind", n-started)
		}
		if st, _ := s.Stats(t.Context()); st.Kinds["k"].Workers != 2 || st.Kinds["k"].Blamed != 1 || st.Kinds["other"].Blamed != 0 {
			t.Errorf("kinds: %+v", st.Kinds)
		}
	})
}

// B10: what a handler leaves is there for whoever waits.
func TestB10_Result(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		s.pool(Config{}, map[string]Handler{"k": func(ctx context.Context, payload []byte) error {
			if err := SetResult(ctx, make([]byte, dispatcher.MaxResult+1)); !errors.Is(err, dispatcher.ErrTooLarge) {
				t.Errorf("a large result: %v", err)
			}
			return SetResult(ctx, append([]byte("did "), payload...))
		}})
		job := dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: "a"}, Kind: "k", Payload: []byte("it"), Keep: time.Minute}
		for range 5 {
			done, err := s.Enqueue(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			o, err := s.WaitFor(t.Context(), dispatcher.JobRef{ID: done.ID})
			if err != nil || o.State != dispatcher.JobFinished || string(o.Result) != "did it" {
				t.Errorf("%+v, %v", o, err)
			}
		}
	})
}

// U13: every end is recorded, with what it was.
func TestU13_EndsAreRecorded(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := newSite(t, rdb)
	ctx, stop := context.WithCancel(t.Context())
	p, err := New(s.Dispatcher, Config{Concurrency: 4, StopTimeout: time.Millisecond, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	watched := subject.Key{Kind: "s", ID: "finishes"}
	if _, err := s.Watch(ctx, watched, time.Minute); err != nil {
		t.Fatal(err)
	}
	started := make(chan string, 10)
	p.Handle("k", func(ctx context.Context, _ []byte) error {
		c, _ := FromContext(ctx)
		started <- c.ID
		switch c.Subject.ID {
		case "fails":
			return Permanent(errors.New("boom"))
		case "finishes":
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	})
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for _, lane := range []string{"fails", "finishes", "cancelled", "interrupted"} {
		s.put(lane, "k", 1)
		<-started
	}
	if _, err := s.Cancel(ctx, dispatcher.JobRef{ID: "cancelled-k-0"}); err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "three have ended", func() bool { c := p.Counts(); return c.Cancelled+c.Dead+c.Finished == 3 })
	stop()
	if err := <-done; !errors.As(err, new(*StopError)) {
		t.Errorf("stopped with %v", err)
	}
	// A lost one is recorded by who reaps it.
	who := session.Claimant{Holder: "dead", Kinds: []string{"k"}, TTL: time.Second}
	s.claims(who, 1)
	var g gauge
	s.pool(Config{LeaseTTL: 200 * time.Millisecond}, map[string]Handler{"k": g.handler(0)})
	redistest.Until(t, "it runs again", func() bool { return g.done.Load() == 1 })
	ctx, stop = context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	for {
		d, err := s.Durations(ctx, "k")
		if err != nil {
			t.Fatalf("%+v, %v", d, err)
		}
		if d.ByEnding[session.EndLost] == 1 && d.ByEnding[session.EndFailed] == 1 && d.ByEnding[session.EndCancelled] == 1 &&
			d.ByEnding[session.EndInterrupted] == 1 && d.ByEnding[session.EndFinished] >= 1 && d.Max > 0 {
			break
		}
		pauseFor(ctx, 50*time.Millisecond)
	}
	s.leavesATrail()
	if n := rdb.LLen(ctx, s.Namespace().TrailOf(watched.Canonical())).Val(); n != 1 {
		t.Errorf("of a watched subject %d attempts are remembered, want 1", n)
	}
}

// leavesATrail holds the trail to what TestU13_EndsAreRecorded has run: durations are told before it.
func (s *site) leavesATrail() {
	s.t.Helper()
	var all []inspect.Attempt
	redistest.Until(s.t, "the trail has all", func() bool {
		trail, err := s.Trail(s.t.Context(), inspect.TrailFilter{}, inspect.Page{})
		if err != nil {
			s.t.Fatal(err)
		}
		all = trail.Attempts
		return len(all) >= 6
	})
	now := time.Now()
	saw := make(map[session.Ending]inspect.Attempt)
	for _, a := range all {
		saw[a.Ending] = a
		if a.Kind != "k" || a.Attempt.Attempt < 1 || a.StartedAt.After(a.EndedAt) || a.EndedAt.After(now) || now.Sub(a.StartedAt) > time.Hour || a.Of != 1 || a.Holder == "" {
			s.t.Errorf("%+v", a)
		}
		if lost := a.Ending == session.EndLost; lost != (a.Holder == "dead") || lost != a.EnqueuedAt.IsZero() || !lost && a.EnqueuedAt.After(a.StartedAt) {
			s.t.Errorf("%+v", a)
		}
	}
	if f := saw[session.EndFailed]; f.ID != "fails-k-0" || f.Subject.ID != "fails" || f.Error != "boom" {
		s.t.Errorf("%+v", f)
	}
	for how, lane := range map[session.Ending]string{session.EndCancelled: "cancelled", session.EndInterrupted: "interrupted", session.EndLost: "interrupted"} {
		if saw[how].Subject.ID != lane {
			s.t.Errorf("%s: %+v", how, saw[how])
		}
	}
	if n := saw[session.EndFinished].Attempt.Attempt; n < 1 || len(saw) != len(session.Endings) {
		s.t.Errorf("%+v", saw)
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// G14: what is wrong with a payload is said without the payload.
func TestG14_JSONErrorsQuoteNothing(t *testing.T) {
	t.Parallel()
	handler := JSON(func(context.Context, struct{ N int }) error { return nil })
	for _, payload := range []string{`{"N": 4111.1111}`, `{"N": "CANARY"}`, `CANARY`, `{"N": 1`, `{"N": [4111]}`, `4111`} {
		err := handler(context.Background(), []byte(payload))
		if err == nil || strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), "4111") || strings.Contains(err.Error(), "'C'") {
			t.Errorf("%s: %v", payload, err)
		}
	}
}
