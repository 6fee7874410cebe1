package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverQueue is River on PostgreSQL. Its open-source version has no order per subject.
type riverQueue struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx] // inserts
}

type riverArgs struct {
	Subject string `json:"s"`
	Payload []byte `json:"p"`
}

func (riverArgs) Kind() string { return jobKind }

type riverWorker struct {
	river.WorkerDefaults[riverArgs]
	handle func(context.Context, job)
}

func (w *riverWorker) Work(ctx context.Context, j *river.Job[riverArgs]) error {
	w.handle(ctx, job{j.Args.Subject, j.Args.Payload})
	return nil
}

func newRiver(ctx context.Context, at *venue) (contender, error) {
	if at.postgres == nil {
		return nil, errNotApplicable
	}
	pool, err := pgxpool.New(ctx, at.postgres.url)
	if err != nil {
		return nil, err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: quiet()})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, "TRUNCATE river_job"); err != nil {
		return nil, err
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: quiet()})
	return &riverQueue{pool, client}, err
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (r *riverQueue) enqueue(ctx context.Context, jobs []job) error {
	if len(jobs) == 1 {
		_, err := r.client.Insert(ctx, riverArgs{jobs[0].subject, jobs[0].payload}, nil)
		return err
	}
	params := make([]river.InsertManyParams, len(jobs))
	for i, j := range jobs {
		params[i].Args = riverArgs{j.subject, j.payload}
	}
	_, err := r.client.InsertManyFast(ctx, params)
	return err
}

func (r *riverQueue) work(concurrency int, handle func(context.Context, job)) (func() error, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{handle: handle})
	client, err := river.NewClient(riverpgxv5.New(r.pool), &river.Config{
		Logger: quiet(), Workers: workers,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: concurrency}},
		FetchCooldown:     time.Millisecond, // the shortest that it allows; the default is 100 ms
		FetchPollInterval: pollIdle,
	})
	if err != nil {
		return nil, err
	}
	if err := client.Start(context.Background()); err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		return client.StopAndCancel(ctx)
	}, nil
}

func (r *riverQueue) close() error { r.pool.Close(); return nil }
