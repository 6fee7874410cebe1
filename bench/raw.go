package main

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// raw is the physical limit: the data commands that a job can't do without, in
// pipelines, and nothing else. A job is put in by HSET and RPUSH, and taken out by
// LPOP and HGET and, once done, HDEL. There is no order, no lease and no repeat.
type raw struct {
	rdb *redis.Client
	ids atomic.Int64
}

func newRaw(_ context.Context, at *venue) (contender, error) {
	return &raw{rdb: at.redis.client()}, nil
}

func (r *raw) enqueue(ctx context.Context, jobs []job) error {
	pipe := r.rdb.Pipeline()
	for _, j := range jobs {
		id := strconv.FormatInt(r.ids.Add(1), 36)
		pipe.HSet(ctx, "jobs", id, j.subject+"\n"+string(j.payload))
		pipe.RPush(ctx, "queue", id)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// work drains with two pipelines in flight, as a pool of ours does.
func (r *raw) work(_ int, handle func(context.Context, job)) (func() error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			var done []string
			for ctx.Err() == nil {
				done = r.round(ctx, done, handle)
			}
		})
	}
	return func() error { cancel(); both.Wait(); return nil }, nil
}

const rawPipeline = 100

func (r *raw) round(ctx context.Context, done []string, handle func(context.Context, job)) []string {
	pipe := r.rdb.Pipeline()
	for _, id := range done {
		pipe.HDel(ctx, "jobs", id)
	}
	ids := make([]*redis.StringCmd, rawPipeline)
	for i := range ids {
		ids[i] = pipe.LPop(ctx, "queue")
	}
	_, _ = pipe.Exec(ctx)
	pipe = r.rdb.Pipeline()
	done = done[:0]
	var bodies []*redis.StringCmd
	for _, id := range ids {
		if id.Err() == nil {
			done = append(done, id.Val())
			bodies = append(bodies, pipe.HGet(ctx, "jobs", id.Val()))
		}
	}
	_, _ = pipe.Exec(ctx)
	for _, body := range bodies {
		text := body.Val()
		if len(text) > payloadBytes {
			at := len(text) - payloadBytes
			handle(ctx, job{text[:at-1], []byte(text[at:])})
		}
	}
	return done
}

// contention is the limit of a system that asks Redis once between two jobs of one
// subject: each goroutine is a subject, and all it asks is a PING.
func (r *raw) contention(ctx context.Context, subjects, each int) (figures, error) {
	var naps naps
	var all sync.WaitGroup
	start := time.Now()
	for range subjects {
		all.Go(func() {
			for range each {
				naps.take()
				_ = r.rdb.Ping(ctx).Err()
			}
		})
	}
	all.Wait()
	return naps.figures(float64(subjects*each)/time.Since(start).Seconds(), subjects), nil
}

func (r *raw) close() error { return r.rdb.Close() }
