package dispatcher_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// counting is a client's hook that counts commands, those of transactions too.
type counting struct{ n atomic.Int64 }

func (c *counting) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { c.n.Add(1); return next(ctx, cmd) }
}
func (c *counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// H15: those who wait for jobs and hear what is said ask nothing meanwhile; and all of them are told.
func TestH15_WaitersAreQuiet(t *testing.T) {
	t.Parallel()
	const waiters = 50
	count := &counting{}
	rdb := redistest.ClientOf(t, redistest.Shared(t))
	rdb.AddHook(count)
	h := newHouse(t, rdb, dispatcher.Config{})
	ended := make(chan error, waiters)
	for i := range waiters {
		done := h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k", ID: fmt.Sprint(i), Keep: time.Minute})
		go func() { _, err := h.WaitFor(bg, done.Ref()); ended <- err }()
	}
	redistest.Until(t, "all hear", func() bool {
		for i := range waiters {
			if h.Pace(of(fmt.Sprint(i), fmt.Sprint(i)), 0) < 20*time.Second {
				return false
			}
		}
		return true
	})
	// The look that hearing has caused may still come, with four commands; two more would be due
	// meanwhile if they looked once a second.
	settled := count.n.Load()
	time.Sleep(2500 * time.Millisecond)
	if asked := count.n.Load() - settled; asked > 5*waiters {
		t.Errorf("%d waiters sent %d commands while nothing happened", waiters, asked)
	}
	for _, c := range h.claimed("w", waiters) {
		h.ok(h.Finish(bg, c))
	}
	within := time.After(10 * time.Second) // none looks by itself before that
	for i := range waiters {
		select {
		case err := <-ended:
			h.ok(err)
		case <-within:
			t.Fatalf("%d of %d waiters wait for their next look", waiters-i, waiters)
		}
	}
}

// H15: without pub/sub a waiter looks less and less often; and a subscription whose connection has
// died without a word is noticed, and made anew.
func TestH15_SilentSubscription(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	far := newHouseIn(t, rdb, dispatcher.Config{Namespace: h.cfg.Namespace})
	far.Quiet(200 * time.Millisecond)
	for waited, want := range map[time.Duration]time.Duration{0: time.Second, time.Minute: 6 * time.Second, time.Hour: 30 * time.Second} {
		if got := far.Pace(of("a", "j"), waited); got != want {
			t.Errorf("deaf, after %s it looks in %s, want %s", waited, got, want)
		}
	}
	done := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", Keep: time.Minute})
	ended := make(chan error, 1)
	go func() { _, err := far.WaitFor(bg, done.Ref()); ended <- err }()
	hears := func() bool { return far.Pace(done.Ref(), 0) >= 20*time.Second }
	redistest.Until(t, "it hears", hears)
	proxy.BlackHole(true)
	redistest.Until(t, "it notices that nothing comes", func() bool { return !hears() })
	proxy.BlackHole(false)
	redistest.Until(t, "it hears again", hears)
	h.ok(h.Finish(bg, h.head("w", "j", 1)))
	h.ok(<-ended)
}
