package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// eachFrom calls f with the numbers below n from several goroutines.
func eachFrom(goroutines, n int, f func(i int) error) error {
	var next atomic.Int64
	var wait sync.WaitGroup
	errs := make([]error, goroutines)
	for g := range goroutines {
		wait.Go(func() {
			for errs[g] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[g] = f(i)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// fill enqueues jobs in batches, round-robin over subjects, and returns the rate.
func fill(ctx context.Context, c contender, jobs, subjects int) (perSecond float64, err error) {
	return fillBy(ctx, c, producers, jobs, 0, subjects)
}

// fillBy does it with a number of producers, of which one alone keeps the jobs in
// order, and with subjects from a number on.
func fillBy(ctx context.Context, c contender, producers, jobs, from, subjects int) (perSecond float64, err error) {
	start := time.Now()
	err = eachFrom(producers, (jobs+enqueueBy-1)/enqueueBy, func(b int) error {
		batch := make([]job, 0, enqueueBy)
		for i := b * enqueueBy; i < min(jobs, (b+1)*enqueueBy); i++ {
			batch = append(batch, newJob(fmt.Sprint(from+i%subjects), i/subjects))
		}
		return c.enqueue(ctx, batch)
	})
	return float64(jobs) / time.Since(start).Seconds(), err
}

// drain runs workers until jobs handlers have ended, and returns the rate.
func drain(c contender, concurrency, jobs int, handle func(context.Context, job)) (perSecond float64, err error) {
	var done atomic.Int64
	all := make(chan struct{})
	start := time.Now()
	stop, err := c.work(concurrency, func(ctx context.Context, j job) {
		if handle != nil {
			handle(ctx, j)
		}
		if done.Add(1) == int64(jobs) {
			close(all)
		}
	})
	if err != nil {
		return 0, err
	}
	select {
	case <-all:
	case <-time.After(3 * time.Minute):
		err = fmt.Errorf("only %d of %d jobs ran in 3 minutes", done.Load(), jobs)
	}
	took := time.Since(start)
	return float64(jobs) / took.Seconds(), errors.Join(err, stop())
}

// usage is what this process has used so far.
type usage struct {
	cpu              time.Duration
	mallocs, mallocd uint64
}

func use() usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // of oneself it can't fail
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{time.Duration(r.Utime.Nano() + r.Stime.Nano()), m.Mallocs, m.TotalAlloc}
}

// since adds what it has used since then, for each of so many jobs.
func (u usage) since(f figures, jobs int) {
	now := use()
	f["worker_cpu_us"] = float64((now.cpu - u.cpu).Nanoseconds()) / 1000 / float64(jobs)
	f["worker_allocations"] = float64(now.mallocs-u.mallocs) / float64(jobs)
	f["worker_bytes"] = float64(now.mallocd-u.mallocd) / float64(jobs)
}
