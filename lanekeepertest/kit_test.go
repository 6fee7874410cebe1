package lanekeepertest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lanekeepertest"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

func TestMain(m *testing.M) { redistest.Main(m) }

type note struct{ Text string }

var (
	a, b  = subject.Of("lane", "a"), subject.Of("lane", "b")
	write = dispatcher.KindOf[note]("write")
)

// recorder is a test that is expected to fail: it ends its goroutine as testing.T does, and keeps what it was told.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure runs what has to fail its test, with a kit or without, and returns what it says.
func failure(t *testing.T, do func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() { defer close(done); do(r) }()
	<-done
	if r.said == "" {
		t.Error("the test has not failed")
	}
	return r.said
}

// says fails unless a text has all parts.
func says(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
}

// put enqueues notes of the kind write, with their texts as their ids.
func put(t testing.TB, d *dispatcher.Dispatcher, key subject.Key, texts ...string) {
	t.Helper()
	for _, text := range texts {
		job, err := write.Job(key, note{text})
		if job.ID = text; err == nil {
			_, err = d.Enqueue(t.Context(), job)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// pool makes a pool with handlers of texts.
func pool(t testing.TB, d *dispatcher.Dispatcher, cfg worker.Config, handle func(ctx context.Context, n note) error) *worker.Pool {
	t.Helper()
	p, err := worker.New(d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	worker.Handle(p, write, handle)
	return p
}

// Kits on one server do not see each other, and nothing of them is left.
func TestNamespaceIsTheTestsOwn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		var names []string
		t.Run("kits", func(t *testing.T) {
			one := lanekeepertest.New(t, dispatcher.Config{Redis: rdb})
			other := lanekeepertest.New(t, dispatcher.Config{Redis: rdb, Partitions: 3})
			put(t, one.Dispatcher, a, "x")
			other.NothingEnqueued()
			put(t, other.Dispatcher, b, "y", "z")
			lanekeepertest.Enqueued(one, write, a, note{"x"})
			names = []string{one.Namespace().Name, other.Namespace().Name}
			other.Away() // what an outage leaves is removed too
		})
		for _, name := range names {
			if keys, err := rdb.Keys(t.Context(), "{"+name+"*").Result(); err != nil || len(keys) > 0 {
				t.Errorf("left behind: %v, %v", keys, err)
			}
		}
		if err := rdb.Ping(t.Context()).Err(); err != nil {
			t.Errorf("the client of the test is closed: %v", err)
		}
	})
}

// What the kit decides can't be told to it, and what can't be opened fails the test.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	ring := redis.NewRing(&redis.RingOptions{})
	t.Cleanup(func() { _ = ring.Close() })
	for name, c := range map[string]struct {
		cfg  dispatcher.Config
		says string
	}{
		"namespace": {dispatcher.Config{Namespace: "ours"}, `Config.Namespace ("ours")`},
		"now":       {dispatcher.Config{Now: time.Now}, "a clock of its own"},
		"look":      {dispatcher.Config{Look: true}, "Look must be left out"},
		"client":    {dispatcher.Config{Redis: ring}, "must be a *redis.Client"},
		"rule":      {dispatcher.Config{MaxLane: -1}, `Config.MaxLane "-1" must not be negative`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			says(t, failure(t, func(t testing.TB) { lanekeepertest.New(t, c.cfg) }), c.says)
		})
	}
}

// Time stands still, moves by whole milliseconds, up and never back, and is the time of jobs.
func TestClock(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	begun := k.Now()
	put(t, k.Dispatcher, a, "x")
	k.Advance(1)
	k.Advance(time.Millisecond)
	if moved := k.Now().Sub(begun); moved != 2*time.Millisecond {
		t.Errorf("the time moved by %s", moved)
	}
	put(t, k.Dispatcher, a, "y")
	for text, want := range map[string]time.Duration{"x": 0, "y": 2 * time.Millisecond} {
		if at := lanekeepertest.Enqueued(k, write, a, note{text}).EnqueuedAt.Sub(begun); at != want {
			t.Errorf("%s was enqueued at %s", text, at)
		}
	}
	says(t, failure(t, func(tb testing.TB) {
		lanekeepertest.New(tb, dispatcher.Config{}).Advance(-time.Second)
	}), "Advance(-1s) must not be negative")
}

// A pool that runs by itself hears of an Advance: an idle one would look again only after seconds.
func TestAdvanceTellsPools(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{Partitions: 2})
	who := session.Claimant{Holder: session.NewHolder(), Kinds: []string{"write"}, TTL: time.Minute}
	in, err := session.Join(t.Context(), k.Dispatcher, who, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close(context.Background())
	k.Advance(time.Hour)
	heard := make(map[int]bool)
	for range 2 {
		hint, ok, err := in.Wait(t.Context(), 0)
		if err != nil || !ok || !hint.Due {
			t.Fatalf("it heard %v, %t, %v", hint, ok, err)
		}
		heard[hint.Partition] = true
	}
	if len(heard) != 2 {
		t.Errorf("it heard of partitions %v", heard)
	}
}

// A handler that waits for another job has a pool that runs by itself, on the kit's clock.
func TestPoolThatRuns(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	p := pool(t, k.Dispatcher, worker.Config{Logger: quiet.Logger, LeaseTTL: time.Hour}, func(ctx context.Context, n note) error {
		if n.Text != "first" {
			return nil
		}
		_, err := k.WaitFor(ctx, dispatcher.JobRef{ID: "second"})
		return err
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	for i, id := range []string{"second", "first"} {
		job, err := write.Job([]subject.Key{b, a}[i], note{id})
		job.ID, job.Keep, job.Delay = id, time.Hour, time.Duration(1-i)*time.Minute
		if err != nil {
			t.Fatal(err)
		}
		if _, err = k.Enqueue(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	k.Advance(time.Minute)
	if o, err := k.WaitFor(t.Context(), dispatcher.JobRef{ID: "first"}); err != nil || o.State != dispatcher.JobFinished {
		t.Errorf("it ended as %v, %v", o, err)
	}
	said := failure(t, func(tb testing.TB) {
		_, err := worker.RunReady(t.Context(), p, nil)
		tb.Fatalf("%v", err)
	})
	says(t, said, "started with Run already")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
