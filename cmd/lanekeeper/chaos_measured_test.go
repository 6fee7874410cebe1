package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Workers are killed while they work: how long until their jobs start again.
func TestChaos_Takeover(t *testing.T) {
	redistest.Beside(t)
	s := redistest.Own(t)
	c := newCrew(t, s.URL(), 2)
	rdb := redistest.ClientOf(t, s)
	c.sleepMS = 400
	c.produce(rdb, "p", 30*time.Millisecond)
	var took []time.Duration
	var kills []time.Time
	for range redistest.Rounds(4, 2) {
		n := c.logged("start")
		c.until("work goes on", func() bool { return c.logged("start") > n+20 })
		kills = append(kills, time.Now())
		c.any().signal(syscall.SIGKILL)
		time.Sleep(1500 * time.Millisecond)
	}
	c.apart(c.finish(rdb))
	starts := make(map[string][]line)
	for _, l := range c.log() {
		if l.what == "start" {
			starts[l.job] = append(starts[l.job], l)
		}
	}
	for _, all := range starts {
		for i, l := range all[1:] {
			for _, at := range kills { // the job was running when a worker was killed
				if all[i].at.Before(at) && l.at.After(at) && l.at.Sub(at) < time.Minute {
					took = append(took, l.at.Sub(at))
					break
				}
			}
		}
	}
	const ttl = time.Second
	p99 := quantile(took, 0.99)
	if len(took) == 0 || p99 > redistest.Bound(ttl+time.Second) {
		t.Errorf("%d takeovers, p99 %s, want some and at most %s", len(took), p99, ttl+time.Second)
	}
	redistest.Figure(t, "takeover after kill -9 of a worker, lease TTL 1s", "p50 %s, p99 %s, longest %s (%d jobs, %d kills)",
		quantile(took, 0.5).Round(time.Millisecond), p99.Round(time.Millisecond), quantile(took, 1).Round(time.Millisecond), len(took), len(kills))
}

// A worker and its program are frozen past the lease, as a paused virtual machine is, and
// woken while another works on the subject: for how long both run, and that the late
// end is refused.
func TestChaos_Frozen(t *testing.T) {
	redistest.Beside(t)
	w := newTown(t)
	var overlaps []time.Duration
	refused, n := 0, redistest.Rounds(2, 0.5)
	for i := range n {
		w.must("enqueue", fmt.Sprint("frozen:", i), "k", `{"sleep_ms":4000}`, "--id", fmt.Sprint("f", i))
		before := len(w.log())
		first := w.start("--lease-ttl", "1s", "--concurrency", "1")
		w.until("it starts", func() bool { return len(w.log()) == before+1 })
		program := w.log()[before].pid
		guard := first.guard()
		first.freezeAll(program)
		second := w.start("--lease-ttl", "1s", "--concurrency", "1", "--until-empty")
		w.until("another takes over", func() bool { return len(w.log()) == before+2 })
		// The program wakes first: it must not have longer than its worker gives it.
		if err := syscall.Kill(-program, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		woken := time.Now()
		_ = first.cmd.Process.Signal(syscall.SIGCONT)
		_ = syscall.Kill(guard, syscall.SIGCONT)
		w.until("the stale program is gone", func() bool { return syscall.Kill(program, 0) != nil || reaped(program) })
		overlaps = append(overlaps, time.Since(woken))
		if code := second.exit(); code != 0 {
			t.Errorf("the second worker ended with %d:\n%s", code, second.out.String())
		}
		first.signal(syscall.SIGTERM)
		first.exit()
		if strings.Contains(first.out.String(), "1 lease lost") {
			refused++
		}
	}
	w.must("doctor")
	longest, grace := quantile(overlaps, 1), 200*time.Millisecond // TTL/5
	if refused != n || longest > redistest.Bound(grace+time.Second) {
		t.Errorf("%d of %d stale ends refused, overlap of up to %s, want at most the grace of %s and a second for this machine", refused, n, longest, grace)
	}
	redistest.Figure(t, "overlap of two handlers after SIGSTOP past the lease (cancel grace 200ms)", "longest %s; stale ends refused: %d of %d",
		longest.Round(time.Millisecond), refused, n)
}

// A worker is told to stop while Redis hangs.
func TestChaos_StopWithRedisBlackHoled(t *testing.T) {
	redistest.Beside(t)
	s := redistest.Own(t)
	proxy, _ := redistest.NewProxy(t, s)
	w := &town{t: t, url: proxy.URL(), namespace: "hole", dir: t.TempDir()}
	direct := &town{t: t, url: s.URL(), namespace: "hole", dir: w.dir}
	const stopTimeout = time.Second
	var took []time.Duration
	for i := range redistest.Rounds(2, 0.5) {
		direct.must("enqueue", fmt.Sprint("s:", i), "k", `{"block":true}`, "--max-attempts", "50")
		before := w.logged("start")
		p := w.start("--lease-ttl", "2s", "--stop-timeout", stopTimeout.String())
		w.until("it works", func() bool { return w.logged("start") > before })
		proxy.BlackHole(true)
		begin := time.Now()
		p.signal(syscall.SIGTERM)
		p.exit()
		took = append(took, time.Since(begin))
		proxy.BlackHole(false)
	}
	// What run.go allows: the stop timeout, the cancel grace (TTL/5) and a second, and 5 s
	// for what is still said to Redis.
	limit := stopTimeout + 400*time.Millisecond + time.Second + 5*time.Second
	if p99 := quantile(took, 0.99); p99 > redistest.Bound(limit+time.Second) {
		t.Errorf("stopping took up to %s, want at most %s", p99, limit)
	}
	redistest.Figure(t, "graceful stop with Redis black-holed, stop timeout 1s", "p99 %s, limit %s (%d stops)",
		quantile(took, 0.99).Round(time.Millisecond), limit, len(took))
}

// Redis restarts: how long until jobs start again after it serves.
// It is about time, and not about loss: with everysec Redis may answer up to two seconds before it has written, when a
// disk is slow to sync, and then even a kill of the process alone loses what it has acknowledged.
func TestChaos_RedisRestart(t *testing.T) {
	redistest.Beside(t)
	s := redistest.Own(t, "--appendonly", "yes", "--appendfsync", "always")
	c := newCrew(t, s.URL(), 2)
	rdb := redistest.ClientOf(t, s)
	c.produce(rdb, "p", 10*time.Millisecond)
	var took []time.Duration
	for range redistest.Rounds(2, 1) {
		n := c.logged("start")
		c.until("work goes on", func() bool { return c.logged("start") > n+20 })
		s.Kill()
		time.Sleep(time.Second)
		n = c.logged("start")
		begin := time.Now()
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		c.until("work goes on", func() bool { return c.logged("start") > n })
		took = append(took, time.Since(begin))
	}
	c.apart(c.finish(rdb))
	if longest := quantile(took, 1); longest > redistest.Bound(5*time.Second) {
		t.Errorf("work goes on only %s after Redis is back, want at most 5s", longest)
	}
	redistest.Figure(t, "recovery after Redis was killed and restarted (AOF)", "p50 %s, longest %s (%d restarts)",
		quantile(took, 0.5).Round(time.Millisecond), quantile(took, 1).Round(time.Millisecond), len(took))
}

// After many jobs the server holds no more keys than before the first, and no more memory
// but what its allocator keeps.
func TestChaos_SoakLeavesNothing(t *testing.T) {
	redistest.Beside(t)
	jobs := 20_000
	if redistest.ChaosTime() >= time.Minute {
		jobs = 1_000_000
	}
	s := redistest.Own(t)
	rdb := redistest.ClientOf(t, s)
	ctx := context.Background()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: "soak"})
	if err != nil {
		t.Fatal(err)
	}
	run := func(n int) {
		var enqueuing sync.WaitGroup
		enqueuing.Go(func() {
			for i := 0; i < n; i += dispatcher.MaxBatch {
				batch := make([]dispatcher.NewJob, 0, dispatcher.MaxBatch)
				for j := i; j < min(n, i+dispatcher.MaxBatch); j++ {
					batch = append(batch, dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: fmt.Sprint(j % 5003)}, Kind: "k", Payload: make([]byte, 100)})
				}
				if _, err := d.EnqueueMany(ctx, batch); err != nil {
					t.Error(err)
				}
			}
		})
		s, err := session.Join(ctx, d, session.Claimant{Holder: "soaker", Kinds: []string{"k"}, TTL: time.Minute}, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close(ctx)
		for p, done := 0, 0; done < n && !t.Failed(); p = (p + 1) % s.Partitions() {
			claimed := s.Turns(ctx, []session.Turn{{Partition: p, Claim: true, Want: session.MaxClaim}})[0]
			if claimed.Err != nil {
				t.Fatal(claimed.Err)
			}
			var all sync.WaitGroup
			for i := range claimed.Claims {
				all.Go(func() { // each by itself, so that there are many callers
					finished := []session.End{{Claim: &claimed.Claims[i]}}
					if ended := s.Turns(ctx, []session.Turn{{Partition: p, Ends: finished}})[0].Ended[0]; ended.Err != nil {
						t.Error(ended.Err)
					}
				})
			}
			all.Wait()
			done += len(claimed.Claims)
		}
		enqueuing.Wait()
	}
	held := func() (keys, memory int64) {
		_ = rdb.Do(ctx, "memory", "purge").Err()
		// What is remembered of requests expires in a minute, and is as much as were ever under way at once.
		expires := redistest.InfoNumber(rdb.Info(ctx, "keyspace").Val(), "expires=")
		return rdb.DBSize(ctx).Val() - expires, redistest.InfoNumber(rdb.Info(ctx, "memory").Val(), "used_memory:")
	}
	run(2000) // connections and scripts are there now
	keys, memory := held()
	run(jobs)
	keysAfter, memoryAfter := held()
	if keysAfter > keys+8 || memoryAfter > memory+(1<<20) {
		t.Errorf("%d keys and %d bytes before, %d keys and %d bytes after", keys, memory, keysAfter, memoryAfter)
	}
	redistest.Figure(t, fmt.Sprintf("what %d jobs leave behind", jobs), "%+d keys that don't expire, and %+d bytes, against before (%d bytes and %d keys then)",
		keysAfter-keys, memoryAfter-memory, memory, keys)
}

// quantile returns the value below which a share q of the durations lies.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[int(q*float64(len(all)-1)+0.5)]
}
