package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/bsm/redislock"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// asynqQueue is asynq, alone or with a lock for each subject, which is what people
// build when they need one job at a time.
type asynqQueue struct {
	opt    asynq.RedisClientOpt
	client *asynq.Client
	rdb    *redis.Client // for locks; nil without
}

func newAsynq(_ context.Context, at *venue) (contender, error) {
	opt := asynq.RedisClientOpt{Addr: at.redis.addr, PoolSize: 64}
	return &asynqQueue{opt: opt, client: asynq.NewClient(opt)}, nil
}

func newAsynqLock(_ context.Context, at *venue) (contender, error) {
	opt := asynq.RedisClientOpt{Addr: at.redis.addr, PoolSize: 64}
	return &asynqQueue{opt: opt, client: asynq.NewClient(opt), rdb: at.redis.client()}, nil
}

// enqueue puts jobs in one by one: asynq has no batches.
func (a *asynqQueue) enqueue(ctx context.Context, jobs []job) error {
	for _, j := range jobs {
		payload := append([]byte(j.subject+"\n"), j.payload...)
		if _, err := a.client.EnqueueContext(ctx, asynq.NewTask(jobKind, payload), asynq.MaxRetry(100_000)); err != nil {
			return err
		}
	}
	return nil
}

var errBusy = errors.New("subject is busy")

// pollIdle is how often asynq and River look for work when they found none. The default
// is a second, for which they would be measured by chance alone.
const pollIdle = 100 * time.Millisecond

// retryBusy is how long a job waits whose subject is locked, and how often asynq looks
// for jobs whose wait is over.
const retryBusy = 100 * time.Millisecond

func (a *asynqQueue) work(concurrency int, handle func(context.Context, job)) (func() error, error) {
	server := asynq.NewServer(a.opt, asynq.Config{
		Concurrency: concurrency, LogLevel: asynq.FatalLevel, ShutdownTimeout: time.Second,
		DelayedTaskCheckInterval: retryBusy, TaskCheckInterval: pollIdle,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return retryBusy },
		IsFailure:      func(err error) bool { return !errors.Is(err, errBusy) },
	})
	err := server.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		subject, payload, _ := bytes.Cut(task.Payload(), []byte("\n"))
		j := job{string(subject), payload}
		if a.rdb == nil {
			handle(ctx, j)
			return nil
		}
		lock, err := redislock.New(a.rdb).Obtain(ctx, "lock:"+strings.Clone(j.subject), 30*time.Second, nil)
		if errors.Is(err, redislock.ErrNotObtained) {
			return errBusy
		}
		if err != nil {
			return err
		}
		handle(ctx, j)
		return lock.Release(ctx)
	}))
	return func() error { server.Shutdown(); return nil }, err
}

func (a *asynqQueue) close() error {
	err := a.client.Close()
	if a.rdb != nil {
		err = errors.Join(err, a.rdb.Close())
	}
	return err
}
