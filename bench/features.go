package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

// runOneLane has 50 jobs of 100 ms in one lane (L5): their sum is 5 s.
func runOneLane(ctx context.Context, at *venue, c contender, _ string) (figures, error) {
	l := c.(*lanekeeper)
	const jobs = 50
	for i := range jobs {
		if err := l.enqueue(ctx, []job{newJob("one", i)}); err != nil {
			return nil, err
		}
	}
	var mu sync.Mutex
	var slept time.Duration
	start := time.Now()
	_, err := drain(l, 10, jobs, func(context.Context, job) {
		begin := time.Now()
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		slept += time.Since(begin)
		mu.Unlock()
	})
	took := time.Since(start)
	return figures{"one_lane_s": took.Seconds(), "one_lane_share": slept.Seconds() / took.Seconds()}, err
}

// runPools measures how long jobs of one pool wait for their start, by themselves and while the
// other pool has a burst of 10,000 (C6).
func runPools(ctx context.Context, at *venue, c contender, _ string) (figures, error) {
	rdb := c.(*lanekeeper).rdb
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: "pools", Kinds: []dispatcher.Kind{
		{Name: "mail", Owner: "bench"}, {Name: "git", Owner: "bench", Pool: "git"},
	}})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	var pools sync.WaitGroup
	defer pools.Wait()
	defer stop()
	var mu sync.Mutex
	var waits []time.Duration
	started := make(chan struct{}, 1)
	for name, handle := range map[string]worker.Handler{
		"git": func(context.Context, []byte) error { time.Sleep(20 * time.Millisecond); return nil },
		"mail": func(ctx context.Context, payload []byte) error {
			sent, err := time.Parse(time.RFC3339Nano, string(payload))
			mu.Lock()
			waits = append(waits, time.Since(sent))
			mu.Unlock()
			started <- struct{}{}
			return err
		},
	} {
		cfg := worker.Config{Name: name, Concurrency: 10, Logger: slog.New(slog.DiscardHandler)}
		if name == "mail" {
			cfg.Name = dispatcher.DefaultPool
		}
		pool, err := worker.New(d, cfg)
		if err != nil {
			return nil, err
		}
		pool.Handle(name, handle)
		pools.Go(func() { _ = pool.Run(ctx) })
	}
	p95 := func() (float64, error) {
		waits = waits[:0]
		for i := range 300 {
			job := dispatcher.NewJob{
				Subject: subject.Key{Kind: "mail", ID: fmt.Sprint(i)}, Kind: "mail",
				Payload: []byte(time.Now().Format(time.RFC3339Nano)),
			}
			if _, err := d.Enqueue(ctx, job); err != nil {
				return 0, err
			}
			<-started
			time.Sleep(10 * time.Millisecond)
		}
		slices.Sort(waits)
		return float64(waits[len(waits)*95/100].Microseconds()) / 1000, nil
	}
	alone, err := p95()
	if err != nil {
		return nil, err
	}
	for from := 0; from < 10_000; from += dispatcher.MaxBatch {
		batch := make([]dispatcher.NewJob, dispatcher.MaxBatch)
		for i := range batch {
			batch[i] = dispatcher.NewJob{Subject: subject.Key{Kind: "repo", ID: fmt.Sprint(from + i)}, Kind: "git"}
		}
		if _, err := d.EnqueueMany(ctx, batch); err != nil {
			return nil, err
		}
	}
	burst, err := p95()
	return figures{"pool_p95_alone_ms": alone, "pool_p95_burst_ms": burst, "pool_p95_ratio": burst / alone}, err
}
