package lanekeepertest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lanekeepertest"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

var quiet = worker.Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Backoff: dispatcher.Backoff{Base: time.Minute, Cap: time.Minute}}

var errBoom = errors.New("boom")

// ids are the jobs that ran.
func ids(ran []worker.Ran) (ids []string) {
	for _, r := range ran {
		ids = append(ids, r.ID)
	}
	return ids
}

// codes say why what is left stands.
func codes(left []inspect.Why) (codes []inspect.Code) {
	for _, w := range left {
		codes = append(codes, w.Code)
	}
	return codes
}

// Lanes take turns, one handler at a time, and what handlers enqueue runs too: each time in the same order, though handlers
// of other tests make this one's times vary.
func TestDrainIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for i := range 5 {
			k := lanekeepertest.New(t, dispatcher.Config{Redis: rdb})
			running := 0
			p := pool(t, k.Dispatcher, quiet, func(ctx context.Context, n note) error {
				if running++; running > 1 { // without a lock: the race detector looks on
					t.Error("two handlers run at once")
				}
				defer func() { running-- }()
				if n.Text == "a1" {
					put(t, k.Dispatcher, subject.Of("lane", "c"), "c1", "c2")
				}
				return nil
			})
			put(t, k.Dispatcher, a, "a1", "a2", "a3")
			put(t, k.Dispatcher, b, "b1", "b2")
			ran, left := k.Drain(t.Context(), p)
			if got, want := fmt.Sprint(ids(ran)), "[a1 b1 c1 a2 b2 c2 a3]"; got != want || len(left) != 0 {
				t.Errorf("drain %d ran %s, want %s, left %v", i, got, want, left)
			}
			if n := p.Counts(); n.Started != 7 || n.Finished != 7 {
				t.Errorf("the pool counts %+v", n)
			}
			k.NothingEnqueued()
		}
	})
}

// A lane goes behind one that has become ready, however long it ran alone before; and what becomes ready in a partition that had
// nothing is found.
func TestDrainFindsWhatHandlersMakeReady(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{Partitions: 1})
	spread := lanekeepertest.New(t, dispatcher.Config{Partitions: 8})
	for _, k := range []*lanekeepertest.Kit{k, spread} {
		p := pool(t, k.Dispatcher, quiet, func(_ context.Context, n note) error {
			if n.Text == "100" {
				for i := range 8 {
					put(t, k.Dispatcher, subject.Of("other", i), fmt.Sprint("other", i))
				}
			}
			return nil
		})
		for i := range 200 {
			put(t, k.Dispatcher, a, fmt.Sprint(i))
		}
		ran, left := k.Drain(t.Context(), p)
		if len(ran) != 208 || len(left) != 0 {
			t.Fatalf("%d ran, left %v", len(ran), left)
		}
		if k != spread && ran[101].ID != "other0" {
			t.Errorf("after 100 ran %s", ran[101].ID)
		}
	}
}

// All ends of an attempt are told.
func TestDrainTellsEnds(t *testing.T) {
	t.Parallel()
	halts := dispatcher.KindOf[note]("halts")
	halts.Owner, halts.OnFailure, halts.MaxAttempts = "test", dispatcher.Halt, 1
	writes := write
	writes.Owner, writes.MaxAttempts = "test", 2
	k := lanekeepertest.New(t, dispatcher.Config{Kinds: []dispatcher.Kind{writes.Kind, halts.Kind}})
	handle := func(ctx context.Context, n note) error {
		switch n.Text {
		case "fine":
			return worker.SetResult(ctx, []byte("done"))
		case "permanent":
			return worker.Permanent(errBoom)
		case "later":
			return worker.RetryAfter(time.Hour, errBoom)
		case "panic":
			panic("ouch")
		case "cancel":
			if _, err := k.Cancel(t.Context(), dispatcher.JobRef{ID: "cancel"}); err != nil {
				t.Error(err)
			}
		}
		return errBoom
	}
	p := pool(t, k.Dispatcher, quiet, handle)
	worker.Handle(p, halts, handle)
	for _, text := range []string{"fine", "permanent", "later", "panic", "cancel", "boom"} {
		job, err := write.Job(subject.Of("lane", text), note{text})
		if job.ID, job.Keep = text, time.Hour; err == nil {
			_, err = k.Enqueue(t.Context(), job)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := halts.Enqueue(t.Context(), k.Dispatcher, b, note{"halt"}); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]worker.Ran)
	ran, left := k.Drain(t.Context(), p)
	for _, r := range ran {
		all[r.ID] = r
		if r.Kind == "halts" {
			all["halt"] = r
		}
	}
	for id, want := range map[string]worker.Ran{
		"fine":      {Became: dispatcher.JobFinished, Result: []byte("done")},
		"permanent": {Became: dispatcher.JobDead, Err: errBoom, Reason: "permanent error"},
		"later":     {Wait: time.Hour, Err: errBoom},
		"cancel":    {Became: dispatcher.JobCancelled, Err: errBoom},
		"halt":      {Became: dispatcher.JobHalted, Err: errBoom, Reason: "attempts exhausted"},
	} {
		r := all[id]
		if r.Became != want.Became || string(r.Result) != string(want.Result) || r.Wait != want.Wait || r.Reason != want.Reason || !errors.Is(r.Err, want.Err) {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if r := all["panic"]; !errors.As(r.Err, new(*worker.PanicError)) || r.Became != "" || r.Wait == 0 {
		t.Errorf("panic: %+v", r)
	}
	want := []inspect.Code{inspect.WhyBackoff, inspect.WhyBackoff, inspect.WhyBackoff, inspect.WhyHalted}
	got := codes(left)
	slices.Sort(got)
	if !slices.Equal(got, want) || len(ran) != 7 {
		t.Errorf("%d ran, left %v", len(ran), left)
	}
	k.Advance(time.Minute)
	ran, _ = k.Drain(t.Context(), p)
	if len(ran) != 2 || ran[0].Attempt != 2 || ran[0].Became != dispatcher.JobDead || ran[1].Became != dispatcher.JobDead {
		t.Errorf("after a minute ran %+v", ran)
	}
}

// Each job of a batch is told of, and an error from around the handlers too.
func TestDrainTellsBatches(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	p, err := worker.New(k.Dispatcher, quiet)
	if err != nil {
		t.Fatal(err)
	}
	p.HandleBatch("write", 3, func(_ context.Context, jobs []dispatcher.Job) []error {
		if len(jobs) == 1 {
			panic("alone")
		}
		errs := make([]error, len(jobs))
		errs[1] = worker.Permanent(errBoom)
		return errs
	})
	put(t, k.Dispatcher, a, "1", "2", "3", "4")
	ran, _ := k.Drain(t.Context(), p)
	if got := fmt.Sprint(ids(ran)); got != "[1 2 3 4]" {
		t.Fatalf("ran %s", got)
	}
	for i, want := range []dispatcher.OutcomeState{dispatcher.JobFinished, dispatcher.JobDead, dispatcher.JobFinished, ""} {
		if ran[i].Became != want || (ran[i].Err == nil) != (want == dispatcher.JobFinished) {
			t.Errorf("%s became %q: %v", ran[i].ID, ran[i].Became, ran[i].Err)
		}
	}
	says(t, ran[3].Err.Error(), "alone")
}

// What a lost worker has left stands until its lease is over, and is taken over then.
func TestDrainTakesOver(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{Partitions: 4})
	put(t, k.Dispatcher, a, "x")
	claim := k.ClaimAndDie(t.Context(), "write", time.Minute)
	p := pool(t, k.Dispatcher, quiet, func(context.Context, note) error { return nil })
	ran, left := k.Drain(t.Context(), p)
	if claim.ID != "x" || claim.Attempt != 1 || len(ran) != 0 || len(left) != 1 || left[0].Holder != claim.Lease.Holder {
		t.Fatalf("claim %+v, ran %v, left %v", claim, ran, left)
	}
	k.Advance(time.Minute)
	ran, left = k.Drain(t.Context(), p)
	if len(ran) != 1 || ran[0].Attempt != 2 || ran[0].Lease.Token <= claim.Lease.Token || len(left) != 0 {
		t.Errorf("ran %v, left %v", ran, left)
	}
}

// A rate, a kind that nobody handles, a time that has not come: each is told, with what would help.
func TestDrainSaysWhatStands(t *testing.T) {
	t.Parallel()
	rated := write
	rated.Owner, rated.Every = "test", time.Second
	strange := dispatcher.KindOf[note]("strange")
	strange.Owner = "test"
	k := lanekeepertest.New(t, dispatcher.Config{Kinds: []dispatcher.Kind{rated.Kind, strange.Kind}})
	p := pool(t, k.Dispatcher, quiet, func(context.Context, note) error { return nil })
	put(t, k.Dispatcher, a, "1")
	put(t, k.Dispatcher, b, "2")
	if _, err := strange.Enqueue(t.Context(), k.Dispatcher, subject.Of("lane", "c"), note{}); err != nil {
		t.Fatal(err)
	}
	late, err := write.Job(a, note{"late"})
	if err != nil {
		t.Fatal(err)
	}
	late.RunAt = k.Now().Add(time.Hour)
	if _, err := k.Enqueue(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	ran, left := k.Drain(t.Context(), p)
	got := codes(left)
	slices.Sort(got)
	if len(ran) != 1 || !slices.Equal(got, []inspect.Code{inspect.WhyNoWorker, inspect.WhyRate, inspect.WhyScheduled}) {
		t.Fatalf("ran %v, left %v", ids(ran), left)
	}
	k.Advance(time.Second)
	if ran, _ := k.Drain(t.Context(), p); len(ran) != 1 || ran[0].ID != "2" {
		t.Errorf("ran %v", ids(ran))
	}
}

// A thousand jobs that fall due at once are placed in steps; all run.
func TestDrainGoesOnUntilAllIsPlaced(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	var jobs []dispatcher.NewJob
	for i := range 1000 {
		jobs = append(jobs, dispatcher.NewJob{Subject: subject.Of("lane", i%10), Kind: "write", Payload: []byte(`{}`), Delay: time.Hour})
	}
	for part := range slices.Chunk(jobs, dispatcher.MaxBatch) {
		if _, err := k.EnqueueMany(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	k.Advance(time.Hour)
	p := pool(t, k.Dispatcher, quiet, func(context.Context, note) error { return nil })
	if ran, left := k.Drain(t.Context(), p); len(ran) != 1000 || len(left) != 0 {
		t.Errorf("%d ran, %d left", len(ran), len(left))
	}
}

// A handler that waits for what nobody runs ends with the context; the test fails and is told where it stands. So it is when a
// pool can't start, and when the server is away.
func TestDrainThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	said := failure(t, func(tb testing.TB) {
		k := lanekeepertest.New(tb, dispatcher.Config{})
		ctx, cancel := context.WithCancelCause(t.Context())
		p := pool(tb, k.Dispatcher, quiet, func(ctx context.Context, n note) error {
			if n.Text == "fine" {
				return nil
			}
			cancel(errors.New("enough"))
			<-ctx.Done()
			return context.Cause(ctx)
		})
		put(tb, k.Dispatcher, a, "fine", "stuck", "behind")
		k.Drain(ctx, p)
	})
	says(t, said, "did not come to an end: enough; the handler of write has not returned, in attempt 1 at stuck of lane:a",
		"2 attempts ran", "write fine of lane:a, finished", "lane:a stuck: Attempt 1 of 25 runs on")

	said = failure(t, func(tb testing.TB) {
		lanekeepertest.New(tb, dispatcher.Config{}).ClaimAndDie(t.Context(), "write", time.Minute)
	})
	says(t, said, "no lane is ready whose head is of kind write", "0 lanes or jobs stand")

	said = failure(t, func(tb testing.TB) {
		k := lanekeepertest.New(tb, dispatcher.Config{})
		p := pool(t, k.Dispatcher, quiet, func(context.Context, note) error { return nil })
		k.Away()
		k.Drain(t.Context(), p)
	})
	says(t, said, "Drain did not start: ", "It needs the server", "go pool.Run(ctx)")

	said = failure(t, func(tb testing.TB) {
		k := lanekeepertest.New(tb, dispatcher.Config{})
		p, err := worker.New(k.Dispatcher, quiet)
		if err != nil {
			tb.Fatalf("%v", err)
		}
		k.Drain(t.Context(), p)
	})
	says(t, said, "the pool has no handler")

	said = failure(t, func(tb testing.TB) {
		k := lanekeepertest.New(tb, dispatcher.Config{})
		p := pool(tb, k.Dispatcher, quiet, func(context.Context, note) error { k.Away(); return nil })
		put(tb, k.Dispatcher, a, "x")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		k.Drain(ctx, p)
	})
	says(t, said, "Redis has not taken the end of attempt 1 at x of lane:a", "unavailable")
}

// What Drain returns can be read when a test prints it: no payload, no structs within structs.
func TestWhatRanCanBePrinted(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	p := pool(t, k.Dispatcher, quiet, func(_ context.Context, n note) error {
		if n.Text == "bad" {
			return worker.Permanent(errBoom)
		}
		return worker.RetryAfter(time.Minute, errBoom)
	})
	put(t, k.Dispatcher, a, "bad", "late")
	ran, left := k.Drain(t.Context(), p)
	want := "ran [attempt 1 at write bad of lane:a, dead (permanent error): boom attempt 1 at write late of lane:a, again in 1m0s: boom], " +
		"left [lane:a late: Attempt 1 of 25 failed: boom; "
	if got := fmt.Sprintf("ran %v, left %v", ran, left); !strings.HasPrefix(got, want) {
		t.Errorf("it is\n%s, want\n%s…", got, want)
	}
}
