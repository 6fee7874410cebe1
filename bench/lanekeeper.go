package main

import (
	"context"
	"log/slog"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

type lanekeeper struct {
	rdb   *redis.Client
	d     *dispatcher.Dispatcher
	batch int // lane batch; 0 is none
}

const (
	subjectKind = "s"
	jobKind     = "noop"
)

func newLanekeeper(ctx context.Context, at *venue) (contender, error) {
	return openLanekeeper(ctx, at.redis.client())
}

func openLanekeeper(ctx context.Context, rdb *redis.Client) (*lanekeeper, error) {
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: "bench"})
	return &lanekeeper{rdb: rdb, d: d}, err
}

func (l *lanekeeper) enqueue(ctx context.Context, jobs []job) error {
	if len(jobs) == 1 {
		_, err := l.d.Enqueue(ctx, newLaneJob(jobs[0]))
		return err
	}
	batch := make([]dispatcher.NewJob, len(jobs))
	for i, j := range jobs {
		batch[i] = newLaneJob(j)
	}
	done, err := l.d.EnqueueMany(ctx, batch)
	for _, e := range done {
		if e.Err != nil {
			return e.Err
		}
	}
	return err
}

func newLaneJob(j job) dispatcher.NewJob {
	return dispatcher.NewJob{Subject: subject.Key{Kind: subjectKind, ID: j.subject}, Kind: jobKind, Payload: j.payload}
}

func (l *lanekeeper) work(concurrency int, handle func(context.Context, job)) (func() error, error) {
	cfg := worker.Config{Concurrency: concurrency, Logger: slog.New(slog.DiscardHandler)}
	if l.batch > 0 {
		cfg.LaneBatch = map[string]int{jobKind: l.batch}
	}
	pool, err := worker.New(l.d, cfg)
	if err != nil {
		return nil, err
	}
	pool.Handle(jobKind, func(ctx context.Context, payload []byte) error {
		claim, _ := worker.FromContext(ctx)
		handle(ctx, job{claim.Subject.ID, payload})
		return nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- pool.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}, nil
}

func (l *lanekeeper) close() error { return l.rdb.Close() }
