package lanekeepertest_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lanekeepertest"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

// enqueue enqueues one note within a tenth of a second.
func enqueue(t *testing.T, k *lanekeepertest.Kit, key subject.Key) error {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := write.Enqueue(ctx, k.Dispatcher, key, note{})
	return err
}

// A server that is away, or hangs, is unavailable to whoever asks, also over connections that were open before; and when it
// is back, it is so at once for all who had asked in vain, and for those who wait.
func TestAwayAndSlow(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		k := lanekeepertest.New(t, dispatcher.Config{Redis: rdb})
		many := func(each func(i int)) {
			var all sync.WaitGroup
			for i := range 50 {
				all.Go(func() { each(i) })
			}
			all.Wait()
		}
		works := func(when string) {
			many(func(i int) {
				if _, err := write.Enqueue(t.Context(), k.Dispatcher, subject.Of("lane", i), note{}); err != nil {
					t.Errorf("%s: %v", when, err)
				}
			})
		}
		works("before")
		k.Away()
		k.Back()
		works("back from a moment that nobody saw")
		for name, begin := range map[string]func(){"away": k.Away, "slow": func() { k.Slow(time.Hour) }} {
			begin()
			many(func(i int) {
				if err := enqueue(t, k, subject.Of("lane", i)); !errors.Is(err, dispatcher.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) && name == "slow" {
					t.Errorf("%s: %v", name, err)
				}
			})
			k.Back()
			works("back from " + name)
		}
		begun := time.Now()
		k.Slow(20 * time.Millisecond)
		if _, err := write.Enqueue(t.Context(), k.Dispatcher, a, note{}); err != nil || time.Since(begun) < 20*time.Millisecond {
			t.Errorf("a late answer came after %s: %v", time.Since(begun), err)
		}
		k.Slow(time.Hour)
		late := make(chan error)
		go func() {
			_, err := write.Enqueue(t.Context(), k.Dispatcher, a, note{})
			late <- err
		}()
		k.Back()
		if err := <-late; err != nil {
			t.Errorf("who waited: %v", err)
		}
	})
}

// A full server refuses enqueues in the words of a real one, and nothing else; nothing is stored.
func TestFull(t *testing.T) {
	t.Parallel()
	full := redistest.ClientOf(t, redistest.Own(t, "--maxmemory-policy", "noeviction"))
	real := lanekeepertest.New(t, dispatcher.Config{Redis: full})
	if err := full.ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil { // less than it has
		t.Fatal(err)
	}
	_, want := write.Enqueue(t.Context(), real.Dispatcher, a, note{})
	if err := full.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		k := lanekeepertest.New(t, dispatcher.Config{Redis: rdb})
		put(t, k.Dispatcher, a, "before")
		k.Full()
		_, one := write.Enqueue(t.Context(), k.Dispatcher, a, note{})
		_, many := k.EnqueueMany(t.Context(), []dispatcher.NewJob{{Subject: a, Kind: "write"}, {Subject: b, Kind: "write"}})
		if want == nil || one == nil || !words(one, want) || !words(many, want) || errors.Is(one, dispatcher.ErrUnavailable) {
			t.Errorf("it says %v, and %v; a real one says %v", one, many, want)
		}
		k.LaneOrder(a, "write")
		p := pool(t, k.Dispatcher, quiet, func(ctx context.Context, n note) error {
			if _, err := write.Enqueue(t.Context(), k.Dispatcher, b, note{}); !words(err, want) {
				t.Errorf("a handler's enqueue: %v", err)
			}
			return nil
		})
		if ran, left := k.Drain(t.Context(), p); len(ran) != 1 || ran[0].Became != dispatcher.JobFinished || len(left) != 0 {
			t.Errorf("ran %v, left %v", ran, left)
		}
		k.NothingEnqueued()
		k.Back()
		put(t, k.Dispatcher, a, "after")
	})
}

// words reports whether an error says OOM as another one does.
func words(err, like error) bool {
	const oom = "OOM command not allowed when used memory > 'maxmemory'"
	return err != nil && strings.Contains(err.Error(), oom) && strings.Contains(like.Error(), oom) && redis.HasErrorPrefix(err, "OOM")
}

// Pools on the kit's Dispatcher meet the outage too, on connections of their own, and go on after it.
func TestPoolsMeetOutages(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	p := pool(t, k.Dispatcher, quiet, func(context.Context, note) error { return nil })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	runs := func(id string) {
		job, err := write.Job(a, note{})
		if job.ID, job.Keep = id, time.Hour; err == nil {
			_, err = k.Enqueue(t.Context(), job)
		}
		if err != nil {
			t.Fatal(err)
		}
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			o, err := k.WaitFor(ctx, dispatcher.JobRef{ID: id})
			cancel()
			if errors.Is(err, context.DeadlineExceeded) { // the outage took the answer of a claim that came late: its lease has to end
				k.Advance(time.Minute)
				continue
			}
			if err != nil || o.State != dispatcher.JobFinished {
				t.Errorf("%s ended as %v, %v", id, o, err)
			}
			return
		}
	}
	runs("before")
	k.Away()
	if err := enqueue(t, k, a); !errors.Is(err, dispatcher.ErrUnavailable) {
		t.Error(err)
	}
	k.Back()
	runs("after")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A pool that has seen an outage stops without a word about connections that the kit has broken.
func TestAwayIsNotSeenAtTheStop(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		k := lanekeepertest.New(t, dispatcher.Config{Redis: rdb})
		said := &lines{}
		p := pool(t, k.Dispatcher, worker.Config{Logger: slog.New(slog.NewTextHandler(said, nil))}, func(context.Context, note) error { return nil })
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		for _, text := range []string{"a", "b"} {
			put(t, k.Dispatcher, subject.Of("lane", text), text)
			redistest.Until(t, "it ran", func() bool { return p.Counts().Finished == map[string]int64{"a": 1, "b": 2}[text] })
			if text == "a" {
				k.Away()
				redistest.Until(t, "the outage is told", func() bool { return said.have("redis is away") })
				k.Back()
				redistest.Until(t, "its end is told", func() bool { return said.have("redis is back") })
			}
		}
		k.Away() // and its connections are broken when it stops
		k.Back()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if said.have("sign off") || said.have("not recorded") {
			t.Errorf("it says\n%s", said.text())
		}
	})
}

// lines are what a pool has logged.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(line)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *lines) have(text string) bool { return strings.Contains(l.text(), text) }
