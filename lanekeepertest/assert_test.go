package lanekeepertest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lanekeepertest"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/worker"
)

// What holds is found wherever it stands, and what does not is told with what there was instead.
func TestAssertions(t *testing.T) {
	t.Parallel()
	read := dispatcher.KindOf[note]("read")
	fill := func(t testing.TB) *lanekeepertest.Kit {
		k := lanekeepertest.New(t, dispatcher.Config{Partitions: 3})
		put(t, k.Dispatcher, a, "one", "two")
		if _, err := read.Enqueue(t.Context(), k.Dispatcher, a, note{"three"}); err != nil {
			t.Fatalf("%v", err)
		}
		late, err := write.Job(b, note{"late"})
		if late.Delay, late.ID = time.Hour, "late"; err == nil {
			_, err = k.Enqueue(t.Context(), late)
		}
		if err != nil {
			t.Fatalf("%v", err)
		}
		return k
	}
	k := fill(t)
	k.LaneOrder(a, "write", "write", "read")
	k.LaneOrder(b)
	for _, text := range []string{"one", "two"} {
		if job := lanekeepertest.Enqueued(k, write, a, note{text}); job.ID != text {
			t.Errorf("found %+v", job)
		}
	}
	if job := lanekeepertest.Enqueued(k, write, b, note{"late"}); !job.RunAt.Equal(k.Now().Add(time.Hour)) {
		t.Errorf("found %+v", job)
	}
	all := []string{
		"among 4 jobs:", "\n  write of lane:a, ready, id one, with {\"Text\":\"one\"}", "\n  write of lane:a, waiting, id two",
		"\n  read of lane:a, waiting", "\n  write of lane:b, scheduled until ",
	}
	for name, c := range map[string]struct {
		assert func(k *lanekeepertest.Kit)
		says   string
	}{
		"no such payload": {func(k *lanekeepertest.Kit) { lanekeepertest.Enqueued(k, write, a, note{"three"}) },
			`want write of lane:a with {"Text":"three"} enqueued once, found it 0 times`},
		"no such subject": {func(k *lanekeepertest.Kit) { lanekeepertest.Enqueued(k, write, b, note{"one"}) },
			"want write of lane:b with"},
		"twice": {func(k *lanekeepertest.Kit) {
			if _, err := read.Enqueue(t.Context(), k.Dispatcher, a, note{"three"}); err != nil {
				t.Error(err)
			}
			lanekeepertest.Enqueued(k, read, a, note{"three"})
		}, "found it 2 times"},
		"nothing": {(*lanekeepertest.Kit).NothingEnqueued, "want nothing enqueued, found 4 jobs"},
		"order": {func(k *lanekeepertest.Kit) { k.LaneOrder(a, "read", "write", "write") },
			"want the lane of lane:a to be [read write write], it is [write write read]"},
		"scheduled": {func(k *lanekeepertest.Kit) { k.LaneOrder(b, "write") }, "to be [write], it is []"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := failure(t, func(t testing.TB) { c.assert(fill(t)) })
			says(t, said, c.says)
			if name != "twice" {
				says(t, said, all[1:]...)
			}
		})
	}
}

// Dead letters were enqueued, too, and are in no lane.
func TestAssertionsOfDeadLetters(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	put(t, k.Dispatcher, a, "x")
	k.Drain(t.Context(), deadly(t, k))
	if job := lanekeepertest.Enqueued(k, write, a, note{"x"}); job.Reason != "permanent error" {
		t.Errorf("found %+v", job)
	}
	k.LaneOrder(a)
}

// deadly makes a pool whose handler gives up at once.
func deadly(t *testing.T, k *lanekeepertest.Kit) *worker.Pool {
	return pool(t, k.Dispatcher, quiet, func(context.Context, note) error { return worker.Permanent(errBoom) })
}

// A handler that a test calls finds in its context what an attempt's has, filled in where the test says nothing.
func TestAttempt(t *testing.T) {
	t.Parallel()
	ctx := lanekeepertest.Attempt(t.Context(), session.Claim{Job: dispatcher.Job{Subject: a, Kind: "write"}, Attempt: 3, Lease: lease.Lease{Token: 17}})
	claim, ok := worker.FromContext(ctx)
	if !ok || claim.Subject != a || claim.Kind != "write" || claim.Attempt != 3 || claim.MaxAttempts != 25 || claim.ID != "job" {
		t.Errorf("claim %+v, %t", claim, ok)
	}
	if held, ok := dispatcher.LeaseFrom(ctx); !ok || held.Token != 17 || held.Subject != a || held != claim.Lease || held.Holder == "" || held.TTL == 0 || held.Proven.IsZero() {
		t.Errorf("lease %+v, %t", held, ok)
	}
	if claim, _ := worker.FromContext(lanekeepertest.Attempt(t.Context(), session.Claim{})); claim.Attempt != 1 || claim.Lease.Token != 1 {
		t.Errorf("claim %+v", claim)
	}
	k := lanekeepertest.New(t, dispatcher.Config{})
	do := func(context.Context) error { return nil }
	if err := k.Do(ctx, a, 0, do); !errors.Is(err, dispatcher.ErrWouldDeadlock) {
		t.Errorf("a section on its own subject: %v", err)
	}
	if err := k.Do(ctx, b, 0, do); err != nil {
		t.Errorf("a section on another one: %v", err)
	}
}

// Of several results the last one counts, and what is too large is refused as in a pool.
func TestResult(t *testing.T) {
	t.Parallel()
	ctx := lanekeepertest.Attempt(t.Context(), session.Claim{})
	if left := lanekeepertest.Result(ctx); left != nil {
		t.Errorf("it has left %q before anything", left)
	}
	var all sync.WaitGroup
	for range 4 { // the race detector looks on
		all.Go(func() { _ = worker.SetResult(ctx, []byte("first")) })
	}
	all.Wait()
	text := []byte("last")
	if err := worker.SetResult(ctx, text); err != nil {
		t.Error(err)
	}
	text[0] = 'c'
	if err := worker.SetResult(ctx, make([]byte, dispatcher.MaxResult+1)); !errors.Is(err, dispatcher.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if left := lanekeepertest.Result(ctx); string(left) != "last" {
		t.Errorf("it has left %q", left)
	}
	if left := lanekeepertest.Result(t.Context()); left != nil {
		t.Errorf("without an attempt: %q", left)
	}
}
