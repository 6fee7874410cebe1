package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// workload is one thing that is measured. It is run on an empty store, and returns
// figures by name; a name stands for a row of the results.
type workload struct {
	name       string
	contenders []string // who takes part; the first is us
	rounds     int      // in a full run
	quick      bool     // part of a quick run
	run        func(ctx context.Context, at *venue, c contender, name string) (figures, error)
}

type figures map[string]float64

var all = []string{"lanekeeper", "asynq", "asynq+lock", "river", "raw"}

// workloads run in this order. Slow contenders get fewer jobs: their rates do not
// depend on how many there are.
var workloads = []workload{
	{"enqueue", []string{"lanekeeper", "asynq", "river", "raw"}, 3, false, runEnqueue},
	{"drain", all, 3, true, runDrain},
	{"contention", []string{"lanekeeper", "asynq+lock", "raw"}, 3, true, runContention},
	{"hot lane", []string{"lanekeeper"}, 3, false, runHotLane},
	{"idle", []string{"lanekeeper", "asynq", "asynq+lock", "river"}, 1, true, runIdle},
	{"memory", []string{"lanekeeper", "asynq"}, 1, true, runMemory},
	{"flatness", []string{"lanekeeper"}, 2, false, runFlatness},
	{"scale-out", []string{"lanekeeper"}, 1, false, runScaleOut},
	{"idle cost", []string{"lanekeeper"}, 1, false, runIdleCost},
	{"one lane", []string{"lanekeeper"}, 3, false, runOneLane},
	{"pools", []string{"lanekeeper"}, 3, false, runPools},
	{"uneven", []string{"lanekeeper"}, 3, false, runUneven},
	{"mixed day", []string{"lanekeeper"}, 3, false, runDay},
	{"growth", []string{"lanekeeper"}, 1, false, runGrowth},
	{"instructions", []string{"lanekeeper"}, 1, false, runInstructions},
}

// units of the figures.
var units = map[string]string{
	"enqueue_single": "jobs/s", "enqueue_batch": "jobs/s", "drain": "jobs/s", "redis_cpu_us": "us/job",
	"worker_cpu_us": "us/job", "worker_allocations": "allocations/job", "worker_bytes": "bytes/job",
	"contention": "jobs/s", "contention_share": "of ideal", "contention_inversions": "jobs",
	"hot_lane_1": "jobs/s", "hot_lane_1_share": "of 1/trip", "hot_lane_64": "jobs/s", "trip_us": "us",
	"idle_p50_ms": "ms", "idle_p99_ms": "ms", "memory_1": "bytes/job", "memory_10": "bytes/job",
	"drain_10k_lanes": "jobs/s", "drain_1m_lanes": "jobs/s", "drain_deep_lane": "jobs/s", "flatness": "1m / 10k lanes",
	"slowest_10k_ms": "ms", "slowest_1m_ms": "ms", "slowest_deep_ms": "ms", "over_5ms": "scripts",
	"uneven": "jobs/s", "uneven_share": "of ideal", "uneven_inversions": "jobs", "mixed_day": "jobs/s",
	"growth_10k_cpu_us": "us/job", "growth_1m_cpu_us": "us/job", "growth_3m_cpu_us": "us/job", "growth": "3m / 10k lanes",
	"growth_10k_p999_ms": "ms", "growth_1m_p999_ms": "ms", "growth_3m_p999_ms": "ms",
	"instructions_enqueue_1": "instructions/job", "instructions_enqueue_100": "instructions/job",
	"instructions_hop_1": "instructions/job", "instructions_hop_100": "instructions/job",
	"scale_1": "jobs/s", "scale_2": "jobs/s", "scale_4": "jobs/s",
	"scale_1_cpu_us": "us/job", "scale_2_cpu_us": "us/job", "scale_4_cpu_us": "us/job",
	"one_lane_s": "s", "one_lane_share": "of the time", "pool_p95_alone_ms": "ms", "pool_p95_burst_ms": "ms", "pool_p95_ratio": "burst / alone",
	"idle_1_commands": "commands/s", "idle_50_commands": "commands/s", "idle_1_cpu": "% of a core", "woken_of_50": "processes",
}

func runEnqueue(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	jobs := at.scaled(20_000, 5_000)
	start := time.Now()
	err := eachFrom(producers, jobs, func(i int) error {
		return c.enqueue(ctx, []job{newJob(fmt.Sprint(i%2000), i/2000)})
	})
	single := float64(jobs) / time.Since(start).Seconds()
	if err != nil {
		return nil, err
	}
	batch, err := fill(ctx, c, at.scaled(100_000, 20_000), 10_000)
	return figures{"enqueue_single": single, "enqueue_batch": batch}, err
}

// runDrain also takes the server's CPU per job, from enqueue to finish, and what a job costs the worker: it is the only
// thing that this process does meanwhile.
func runDrain(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	jobs := at.scaled(200_000, 50_000)
	if name != "lanekeeper" && name != "raw" {
		jobs = at.scaled(40_000, 10_000)
	}
	before := at.redis.cpu(ctx)
	if _, err := fill(ctx, c, jobs, jobs/10); err != nil {
		return nil, err
	}
	used := use()
	rate, err := drain(c, concurrency, jobs, nil)
	f := figures{"drain": rate}
	used.since(f, jobs)
	if name != "river" {
		f["redis_cpu_us"] = float64((at.redis.cpu(ctx) - before).Microseconds()) / float64(jobs)
	}
	return f, err
}

// runContention has few subjects and handlers of 2 ms; the ideal is what as many
// handlers do that never wait, with the sleep as long as it really was.
func runContention(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	const subjects = 20
	each := at.scaled(250, 100)
	jobs := subjects * each
	if r, ok := c.(*raw); ok {
		return r.contention(ctx, subjects, each)
	}
	if _, err := fillBy(ctx, c, 1, jobs, 0, subjects); err != nil {
		return nil, err
	}
	var naps naps
	var inversions atomic.Int64
	var mu sync.Mutex
	last := make(map[string]int)
	rate, err := drain(c, concurrency, jobs, func(_ context.Context, j job) {
		mu.Lock()
		if n, seen := last[j.subject]; seen && j.number() < n {
			inversions.Add(1)
		}
		last[j.subject] = max(last[j.subject], j.number())
		mu.Unlock()
		naps.take()
	})
	f := naps.figures(rate, subjects)
	f["contention_inversions"] = float64(inversions.Load())
	return f, err
}

// naps are what the handlers of the contention do: 2 ms each, and how long they
// really were.
type naps struct{ slept, n atomic.Int64 }

func (s *naps) take() {
	start := time.Now()
	time.Sleep(2 * time.Millisecond)
	s.slept.Add(int64(time.Since(start)))
	s.n.Add(1)
}

// figures compares a rate with what as many handlers as there are subjects would reach
// if they did nothing but nap.
func (s *naps) figures(rate float64, subjects int) figures {
	mean := time.Duration(s.slept.Load() / s.n.Load())
	return figures{"contention": rate, "contention_share": rate * mean.Seconds() / float64(subjects)}
}

func runHotLane(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	l := c.(*lanekeeper)
	jobs := at.scaled(20_000, 5_000)
	trip, err := l.trip(ctx, 3000)
	if err != nil {
		return nil, err
	}
	f := figures{"trip_us": float64(trip.Nanoseconds()) / 1000}
	for _, batch := range []int{1, 64} {
		if err := at.redis.clear(ctx); err != nil {
			return nil, err
		}
		fresh, err := openLanekeeper(ctx, l.rdb)
		if err != nil {
			return nil, err
		}
		if batch > 1 {
			fresh.batch = batch
		}
		if _, err := fill(ctx, fresh, jobs, 1); err != nil {
			return nil, err
		}
		rate, err := drain(fresh, concurrency, jobs, nil)
		if err != nil {
			return nil, err
		}
		f[fmt.Sprint("hot_lane_", batch)] = rate
	}
	f["hot_lane_1_share"] = f["hot_lane_1"] * trip.Seconds()
	return f, nil
}

// runIdle measures from enqueue to the start of the handler, one job at a time.
func runIdle(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	started := make(chan time.Time, 1)
	stop, err := c.work(concurrency, func(context.Context, job) { started <- time.Now() })
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // for the workers to fall idle
	var took []float64
	limit := time.Now().Add(time.Duration(at.scaled(20, 6)) * time.Second)
	for i := 0; i < 500 && time.Now().Before(limit); i++ {
		sent := time.Now()
		if err := c.enqueue(ctx, []job{newJob("a", i)}); err != nil {
			return nil, errors.Join(err, stop())
		}
		took = append(took, (<-started).Sub(sent).Seconds()*1000)
		time.Sleep(10 * time.Millisecond)
	}
	slices.Sort(took)
	return figures{"idle_p50_ms": took[len(took)/2], "idle_p99_ms": took[len(took)*99/100]}, stop()
}

func runMemory(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	f := make(figures)
	for _, depth := range []int{1, 10} {
		if err := at.redis.clear(ctx); err != nil {
			return nil, err
		}
		fresh, err := contenderNamed(name)(ctx, at)
		if err != nil {
			return nil, err
		}
		jobs := at.scaled(100_000, 40_000)
		if name != "lanekeeper" {
			jobs /= 4
		}
		before := at.redis.settled(ctx)
		if _, err := fill(ctx, fresh, jobs, jobs/depth); err != nil {
			return nil, errors.Join(err, fresh.close())
		}
		if err := fresh.close(); err != nil { // its connections have buffers
			return nil, err
		}
		f[fmt.Sprint("memory_", depth)] = (at.redis.settled(ctx) - before) / float64(jobs)
	}
	return f, nil
}

// settled is the memory in use once the append-only file's buffer has been written.
func (s *server) settled(ctx context.Context) float64 {
	time.Sleep(1500 * time.Millisecond)
	return s.info(ctx, "memory", "used_memory")
}

// runFlatness drains 100,000 jobs from 10,000 lanes (ten times over) and from a million,
// one job each, and from 10,000 lanes beside one that is 100,000 jobs deep.
func runFlatness(ctx context.Context, at *venue, c contender, name string) (figures, error) {
	l := c.(*lanekeeper)
	f := figures{"over_5ms": 0}
	slow := func(as string) {
		longest, over := at.redis.slowest(ctx)
		f[as] = float64(longest.Microseconds()) / 1000
		f["over_5ms"] += float64(over)
	}
	clear := func() (contender, error) {
		if err := at.redis.clear(ctx); err != nil {
			return nil, err
		}
		return openLanekeeper(ctx, l.rdb)
	}

	fresh, err := clear()
	if err != nil {
		return nil, err
	}
	var seconds float64
	const repeats, few = 10, 10_000
	for range repeats {
		if _, err := fill(ctx, fresh, few, few); err != nil {
			return nil, err
		}
		rate, err := drain(fresh, concurrency, few, nil)
		if err != nil {
			return nil, err
		}
		seconds += few / rate
	}
	f["drain_10k_lanes"] = repeats * few / seconds
	slow("slowest_10k_ms")

	if fresh, err = clear(); err != nil {
		return nil, err
	}
	if _, err := fill(ctx, fresh, few+100_000, 1); err != nil { // one deep lane
		return nil, err
	}
	if _, err := fillBy(ctx, fresh, producers, few, 1, few); err != nil { // many shallow ones
		return nil, err
	}
	rate, err := drain(fresh, concurrency, few, nil)
	if err != nil {
		return nil, err
	}
	f["drain_deep_lane"] = rate
	slow("slowest_deep_ms")

	if fresh, err = clear(); err != nil {
		return nil, err
	}
	if _, err := fill(ctx, fresh, 1_000_000, 1_000_000); err != nil {
		return nil, err
	}
	if f["drain_1m_lanes"], err = drain(fresh, concurrency, repeats*few, nil); err != nil {
		return nil, err
	}
	slow("slowest_1m_ms")
	f["flatness"] = f["drain_1m_lanes"] / f["drain_10k_lanes"]
	return f, nil
}
