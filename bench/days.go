package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

// runUneven is the contention with more subjects than handlers, whose jobs take 0.5 to 8 ms by their subject: the ideal is
// handlers that never wait, with sleeps as long as they really were.
func runUneven(ctx context.Context, at *venue, c contender, _ string) (figures, error) {
	const subjects = 200
	jobs := subjects * at.scaled(60, 20)
	if _, err := fillBy(ctx, c, 1, jobs, 0, subjects); err != nil {
		return nil, err
	}
	var slept, inversions atomic.Int64
	last := make([]atomic.Int64, subjects)
	rate, err := drain(c, concurrency, jobs, func(_ context.Context, j job) {
		at, _ := strconv.Atoi(j.subject)
		if n := int64(j.number()); last[at].Swap(n) > n {
			inversions.Add(1)
		}
		start := time.Now()
		time.Sleep(time.Millisecond / 2 << (at % 5))
		slept.Add(int64(time.Since(start)))
	})
	if err != nil {
		return nil, err
	}
	took := float64(jobs) / rate
	return figures{
		"uneven": rate, "uneven_share": time.Duration(slept.Load()).Seconds() / concurrency / took,
		"uneven_inversions": float64(inversions.Load()),
	}, nil
}

// runDay is a mixed day as one number: half of the jobs are plain; a tenth is of a kind with a limit of 8, of which every fifth
// fails once; a tenth is urgent, a tenth is due in 50 ms, a tenth keeps its outcome, a tenth is merged by a unique key; and
// meanwhile four callers hold sections. It is the rate from the first enqueue to the last end.
func runDay(ctx context.Context, at *venue, c contender, _ string) (figures, error) {
	const subjects = 499 // no multiple of ten: jobs of all sorts meet in a lane
	jobs := at.scaled(40_000, 10_000)
	kinds := []dispatcher.Kind{
		{Name: "plain", Owner: "bench"}, {Name: "few", Owner: "bench", Limit: 8}, {Name: "urgent", Owner: "bench", Priority: 5},
	}
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: c.(*lanekeeper).rdb, Namespace: "day", Kinds: kinds})
	if err != nil {
		return nil, err
	}
	pool, err := worker.New(d, worker.Config{Concurrency: concurrency, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	var left atomic.Int64
	left.Store(int64(jobs))
	all := make(chan struct{})
	gone := func() {
		if left.Add(-1) == 0 {
			close(all)
		}
	}
	for _, k := range kinds {
		pool.Handle(k.Name, func(ctx context.Context, payload []byte) error {
			claim, _ := worker.FromContext(ctx)
			if k.Name == "few" && claim.Attempt == 1 && (job{payload: payload}).number()/10%5 == 0 {
				return worker.RetryAfter(5*time.Millisecond, errors.New("not today"))
			}
			gone()
			return nil
		})
	}
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	var sections sync.WaitGroup
	start := time.Now()
	go func() { ended <- pool.Run(run) }()
	for n := range 4 {
		sections.Go(func() {
			for i := n; run.Err() == nil; i += 4 {
				_ = d.Do(run, subject.Key{Kind: subjectKind, ID: strconv.Itoa(i % subjects)}, time.Second, func(context.Context) error { return nil })
			}
		})
	}
	err = eachFrom(producers, jobs/enqueueBy, func(b int) error {
		batch := make([]dispatcher.NewJob, enqueueBy)
		for i := range batch {
			n := b*enqueueBy + i
			own := newJob(strconv.Itoa(n%subjects), n)
			j := newLaneJob(own)
			j.Kind = "plain"
			switch n % 10 {
			case 5:
				j.Kind = "few"
			case 6:
				j.Kind = "urgent"
			case 7:
				j.Delay = 50 * time.Millisecond
			case 8:
				j.Keep = time.Minute
			case 9:
				j.Unique = &dispatcher.Unique{Key: "u"}
			}
			batch[i] = j
		}
		done, err := d.EnqueueMany(ctx, batch)
		for _, e := range done {
			if e.Merged > 0 {
				gone()
			}
			err = errors.Join(err, e.Err)
		}
		return err
	})
	if err == nil {
		select {
		case <-all:
		case <-time.After(3 * time.Minute):
			err = fmt.Errorf("%d of %d jobs are left after 3 minutes", left.Load(), jobs)
		}
	}
	took := time.Since(start)
	stop()
	sections.Wait()
	return figures{"mixed_day": float64(jobs) / took.Seconds()}, errors.Join(err, <-ended)
}

// runGrowth is what lanes of one job cost when there are many of them: the server's CPU for a job from enqueue to finish, and
// how long all but a thousandth of the scripts take at most. What took under a millisecond counts as that.
func runGrowth(ctx context.Context, at *venue, c contender, _ string) (figures, error) {
	f := make(figures)
	for _, size := range []struct {
		name  string
		lanes int
		times int
	}{{"10k", 10_000, 20}, {"1m", at.scaled(1_000_000, 200_000), 1}, {"3m", at.scaled(3_000_000, 400_000), 1}} {
		if err := at.redis.clear(ctx); err != nil {
			return nil, err
		}
		l, err := openLanekeeper(ctx, c.(*lanekeeper).rdb)
		if err != nil {
			return nil, err
		}
		before := at.redis.cpu(ctx)
		for range size.times {
			if _, err := fill(ctx, l, size.lanes, size.lanes); err != nil {
				return nil, err
			}
			if _, err := drain(l, concurrency, size.lanes, nil); err != nil {
				return nil, err
			}
		}
		f["growth_"+size.name+"_cpu_us"] = float64((at.redis.cpu(ctx) - before).Microseconds()) / float64(size.lanes*size.times)
		f["growth_"+size.name+"_p999_ms"] = at.redis.scriptsP999(ctx)
	}
	f["growth"] = f["growth_3m_cpu_us"] / f["growth_10k_cpu_us"]
	return f, nil
}
