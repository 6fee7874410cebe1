package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// These tests hold real processes to bounds, so they do not run beside other tests.

// crew is a town with producers and supervised workers, and a record of what they do.
type crew struct {
	*town
	h       history.History
	args    []string // of workers
	sleepMS int      // the longest that a job takes
	all     sync.WaitGroup
	stop    chan struct{} // ends the producers
	off     chan struct{} // ends the supervisors
	refused atomic.Int64  // enqueues that a full memory refused
	tries   atomic.Int64  // enqueues that were tried again

	missing int // acknowledged jobs that neither ended nor are there, once it is finished

	mu      sync.Mutex
	workers []*process
	outputs []string // of workers that have ended
}

// newCrew starts workers on a server and keeps so many running.
func newCrew(t *testing.T, url string, workers int, args ...string) *crew {
	t.Helper()
	c := &crew{
		town: &town{t: t, url: url, namespace: "chaos", dir: t.TempDir()},
		args: args, sleepMS: 20, stop: make(chan struct{}), off: make(chan struct{}),
	}
	for range workers {
		c.all.Go(c.supervise)
	}
	c.until("the workers run", func() bool { return len(c.running()) == workers })
	t.Cleanup(func() { // when the test gave up in the middle
		c.end(c.stop)
		c.end(c.off)
		for _, p := range c.running() {
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
			_ = p.cmd.Process.Kill()
		}
		c.all.Wait()
	})
	return c
}

func (c *crew) end(ch chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-ch:
	default:
		close(ch)
	}
}

func (c *crew) running() []*process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var up []*process
	for _, p := range c.workers {
		select {
		case <-p.done:
		default:
			up = append(up, p)
		}
	}
	return up
}

// supervise runs a worker, and another one when it has died.
func (c *crew) supervise() {
	for {
		select {
		case <-c.off:
			return
		default:
		}
		p := c.start(append([]string{"--lease-ttl", "1s", "--concurrency", "4", "--stop-timeout", "500ms"}, c.args...)...)
		c.mu.Lock()
		c.workers = append(c.workers, p)
		c.mu.Unlock()
		<-p.done
		c.mu.Lock()
		c.outputs = append(c.outputs, p.out.String())
		c.mu.Unlock()
		select { // one that can't start must not be started in a loop
		case <-c.off:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// nasty are subjects that a careless system would trip over (F22).
var nasty = []string{"{a}", "a*", "}{:", "a b", "\x00\r\n", "\xff\xfe", "ünï", strings.Repeat("long", 100)}

// produce enqueues jobs in order, each until it is acknowledged, with the same id.
func (c *crew) produce(rdb redis.UniversalClient, name string, pause time.Duration) {
	ctx := context.Background()
	var d *dispatcher.Dispatcher
	for d == nil {
		var err error
		if d, err = dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: c.namespace}); err != nil {
			c.t.Log(err)
			time.Sleep(100 * time.Millisecond)
		}
	}
	for i := 0; ; i++ {
		key := subject.Key{Kind: name, ID: fmt.Sprint(i % 7)}
		if i%5 == 0 {
			key.ID = nasty[i/5%len(nasty)]
		}
		job := dispatcher.NewJob{
			Subject: key, Kind: "k", ID: fmt.Sprint(name, "-", i), MaxAttempts: 1000,
			Payload: fmt.Appendf(nil, `{"sleep_ms":%d}`, rand.IntN(c.sleepMS)),
		}
		e := history.Event{Op: history.Enqueue, Subject: key.String(), Job: job.ID, Begin: time.Now()}
		for {
			_, err := d.Enqueue(ctx, job)
			if err == nil {
				e.Return = time.Now()
				break
			}
			if strings.Contains(err.Error(), "OOM ") {
				c.refused.Add(1)
			}
			c.tries.Add(1)
			select {
			case <-c.off: // the test gave up
				c.t.Logf("%s was never acknowledged: %v", job.ID, err)
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		c.h.Add(e)
		select {
		case <-c.stop:
			return
		case <-time.After(pause):
		}
	}
}

// finish ends the producers, waits until all that was enqueued has ended, ends the
// workers, and judges what happened. The server must be well by then.
func (c *crew) finish(rdb redis.UniversalClient) history.Report {
	c.t.Helper()
	report := c.finishWith(rdb, history.World{})
	if c.missing > 0 {
		c.t.Errorf("%d acknowledged jobs are gone", c.missing)
	}
	return report
}

// finishWith is finish for a server that may have gone back to an earlier state.
func (c *crew) finishWith(rdb redis.UniversalClient, world history.World) history.Report {
	c.t.Helper()
	c.end(c.stop)
	ctx := context.Background()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: c.namespace})
	if err != nil {
		c.t.Fatal(err)
	}
	// A lane that has crashed several times waits for a minute or so: see DefaultBackoff.
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		s, err := d.Stats(ctx)
		if err == nil && s.Jobs == s.Dead && c.logged("start") > 0 {
			break
		}
		if time.Since(begin) > 3*time.Minute {
			c.t.Errorf("no end: %+v, %v", s, err)
			break
		}
	}
	findings, err := d.Doctor(ctx, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range findings {
		if f.Severity == dispatcher.Wrong {
			c.t.Errorf("doctor: %s %s: %s", f.What, f.Where, f.Detail)
		}
	}
	c.end(c.off)
	for _, p := range c.running() {
		p.signal(syscall.SIGTERM)
	}
	c.all.Wait()

	stored, ended := make(map[string]bool), make(map[string]bool)
	letters, _, err := d.DeadLetters(ctx, dispatcher.Page{Limit: 500})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, l := range letters {
		stored[l.ID] = true
	}
	for _, l := range c.log() {
		e := history.Event{
			Op: history.Start, Subject: l.subject, Job: l.job, Worker: fmt.Sprint(l.pid),
			Token: l.token, Attempt: int(l.attempt), Begin: l.at, Return: l.at,
		}
		switch l.what {
		case "start":
			c.h.Add(e)
		case "end": // the program has done its work; what Redis was told is not known
			ended[l.job] = true
			e.Op = history.Stop
			c.h.Add(e)
			e.Op, e.Outcome, e.Return = history.End, history.Gone, time.Time{}
			c.h.Add(e)
		}
	}
	world.Stored = stored
	for _, e := range c.h.Events() {
		if e.Op == history.Enqueue && !stored[e.Job] && !ended[e.Job] {
			c.missing++
		}
	}
	report := history.Check(c.h.Events(), world)
	for i, v := range report.Violations {
		if i < 5 {
			c.t.Errorf("%s\n%s", v, c.h.Of(v.Subject))
		}
	}
	if n := len(report.Violations); n > 0 {
		c.t.Errorf("%d violations", n)
	}
	return report
}

// apart fails when handlers of one subject ran at one time for longer than a machine that
// is busy explains. For tests that freeze no worker.
func (c *crew) apart(report history.Report) {
	c.t.Helper()
	if report.LongestOverlap > time.Second {
		c.t.Errorf("%d handlers overlapped, for %s at most", report.Overlaps, report.LongestOverlap)
	}
}

// clientFor returns a client for an address.
func clientFor(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	rdb, err := connect.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// said counts how often the workers that have ended printed a text.
func (c *crew) said(text string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, out := range c.outputs {
		n += strings.Count(out, text)
	}
	return n
}

// chaos is what can happen to a server, the way to it, and workers. Each returns once
// it is over.
type chaos struct {
	name string
	do   func(c *crew, s *redistest.Server, p *redistest.Proxy, rdb *redis.Client)
}

var chaoses = []chaos{
	{"F1 worker killed", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		c.any().signal(syscall.SIGKILL)
	}},
	{"F2 worker frozen past its leases", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		p := c.any()
		p.freeze()
		time.Sleep(2500 * time.Millisecond)
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}},
	{"F3 worker told to stop", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		c.any().signal(syscall.SIGTERM)
	}},
	{"F4 Redis killed and restarted", func(c *crew, s *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		s.Kill()
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		if err := s.Restart(); err != nil {
			c.t.Error(err)
		}
	}},
	{"F5 connections cut", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		for range 5 {
			p.Cut()
			time.Sleep(50 * time.Millisecond)
		}
	}},
	{"F5 black hole", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		p.BlackHole(true)
		time.Sleep(1500 * time.Millisecond)
		p.BlackHole(false)
	}},
	{"F5 slow replies", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		p.Slow(100 * time.Millisecond)
		time.Sleep(time.Second)
		p.Slow(0)
	}},
	{"F7 replies lost", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		for range 10 {
			p.LoseReplies(2)
			time.Sleep(50 * time.Millisecond)
		}
		p.LoseReplies(0)
	}},
	{"F8 memory full", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "config", "set", "maxmemory", "1")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "config", "set", "maxmemory", "0")
	}},
	{"F9 poison", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		d, err := dispatcher.Open(context.Background(), dispatcher.Config{Redis: rdb, Namespace: c.namespace})
		if err != nil {
			c.t.Error(err)
			return
		}
		id := fmt.Sprint(rand.Int())
		for range 10 { // the memory may still be full for a moment
			_, err = d.Enqueue(context.Background(), dispatcher.NewJob{
				Subject: subject.Key{Kind: "poison", ID: id}, Kind: "k", ID: id, MaxAttempts: 2, Payload: []byte(`{"kill":true}`),
			})
			if err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		c.t.Error(err)
	}},
	{"F10 script cache flushed", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		for range 10 {
			c.redis(rdb, "script", "flush")
			time.Sleep(50 * time.Millisecond)
		}
	}},
	{"F16 Redis frozen", func(c *crew, s *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		_ = s.Signal(syscall.SIGSTOP)
		time.Sleep(1500 * time.Millisecond)
		_ = s.Signal(syscall.SIGCONT)
	}},
	{"F16 Redis busy", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "debug", "sleep", "0.5")
	}},
	{"F17 writes paused", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "client", "pause", "1200", "write")
		time.Sleep(1200 * time.Millisecond)
	}},
	{"F18 clients killed", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "client", "kill", "type", "normal", "skipme", "yes")
	}},
	{"F21 Redis read-only", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "replicaof", "127.0.0.1", "1")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "replicaof", "no", "one")
	}},
	{"F21 too few replicas", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "config", "set", "min-replicas-to-write", "1")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "config", "set", "min-replicas-to-write", "0")
	}},
	{"F27 rights taken away", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "acl", "setuser", "default", "-eval", "-evalsha", "-bzpopmin")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "acl", "setuser", "default", "+eval", "+evalsha", "+bzpopmin")
	}},
}

// any returns a worker that runs.
func (c *crew) any() *process {
	for {
		if up := c.running(); len(up) > 0 {
			return up[rand.IntN(len(up))]
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// redis sends a command that has to get through.
func (c *crew) redis(rdb *redis.Client, args ...any) {
	for range 50 {
		err := rdb.Do(context.Background(), args...).Err()
		if err == nil || errors.Is(err, redis.Nil) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.t.Errorf("%v does not get through", args)
}

// Every fault of the list at real workers and a real server, one after the other. What was
// acknowledged runs, in order; nothing stays stuck; and each fault did happen.
func TestChaos_OneServer(t *testing.T) {
	s := redistest.Own(t, "--appendonly", "yes", "--appendfsync", "everysec", "--enable-debug-command", "local")
	proxy, through := redistest.NewProxy(t, s)
	straight := redistest.ClientOf(t, s)
	c := newCrew(t, proxy.URL(), 3)
	c.sleepMS = 100 // so that most faults meet jobs that run
	for i := range 2 {
		c.all.Go(func() { c.produce(through, fmt.Sprint("p", i), 8*time.Millisecond) })
	}
	met := make(map[string]int)
	begin := time.Now()
	for time.Since(begin) < redistest.ChaosTime()/3 || len(met) < len(chaoses) {
		for _, i := range rand.Perm(len(chaoses)) {
			chaoses[i].do(c, s, proxy, straight)
			met[chaoses[i].name]++
			time.Sleep(time.Duration(100+rand.IntN(400)) * time.Millisecond)
		}
	}
	report := c.finish(straight)
	took := time.Since(begin)

	stats, err := dispatcher.Open(context.Background(), dispatcher.Config{Redis: straight, Namespace: c.namespace})
	if err != nil {
		t.Fatal(err)
	}
	left, err := stats.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	lost := c.said("lease lost;") + c.said("lease over before")
	flushes := met["F10 script cache flushed"]
	for what, n := range map[string]int64{
		"job that ran again after a takeover": int64(report.Repeats), "end refused for a stale token": int64(lost),
		"reply lost": proxy.Lost.Load(), "enqueue refused for want of memory": c.refused.Load(),
		"enqueue tried again": c.tries.Load(), "poison in the dead letters": int64(left.Dead), "flushed script cache": int64(flushes),
	} {
		if n == 0 {
			t.Errorf("there was no %s", what)
		}
	}
	if left.Dead != met["F9 poison"] {
		t.Errorf("%d dead letters, %d poisoned jobs", left.Dead, met["F9 poison"])
	}
	faults := 0
	for _, n := range met {
		faults += n
	}
	redistest.Figure(t, "chaos on one server (AOF every second)", "%d executions in %s under %d faults of %d sorts: %d order violations, 0 acknowledged jobs lost; "+
		"%d ran again, %d ends refused for a stale token, %d replies lost, %d enqueues refused in full memory",
		report.Executions, took.Round(time.Second), faults, len(met), len(report.Violations), report.Repeats, lost,
		proxy.Lost.Load(), c.refused.Load())
}

// Workers are killed while they work: how long until their jobs start again.
func TestChaos_Takeover(t *testing.T) {
	s := redistest.Own(t)
	c := newCrew(t, s.URL(), 2)
	rdb := redistest.ClientOf(t, s)
	c.sleepMS = 400
	c.all.Go(func() { c.produce(rdb, "p", 30*time.Millisecond) })
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
	if len(took) == 0 || p99 > ttl+time.Second {
		t.Errorf("%d takeovers, p99 %s, want some and at most %s", len(took), p99, ttl+time.Second)
	}
	redistest.Figure(t, "takeover after kill -9 of a worker, lease TTL 1s", "p50 %s, p99 %s, longest %s (%d jobs, %d kills)",
		quantile(took, 0.5).Round(time.Millisecond), p99.Round(time.Millisecond), quantile(took, 1).Round(time.Millisecond), len(took), len(kills))
}

// A worker and its program are frozen past the lease, as a paused virtual machine is, and
// woken while another works on the subject: for how long both run, and that the late
// end is refused.
func TestChaos_Frozen(t *testing.T) {
	w := newTown(t)
	var overlaps []time.Duration
	refused, n := 0, redistest.Rounds(2, 0.5)
	for i := range n {
		w.must("enqueue", fmt.Sprint("frozen:", i), "k", `{"sleep_ms":4000}`, "--id", fmt.Sprint("f", i))
		before := len(w.log())
		first := w.start("--lease-ttl", "1s", "--concurrency", "1")
		w.until("it starts", func() bool { return len(w.log()) == before+1 })
		program := w.log()[before].pid
		first.freeze()
		if err := syscall.Kill(-program, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		second := w.start("--lease-ttl", "1s", "--concurrency", "1", "--until-empty")
		w.until("another takes over", func() bool { return len(w.log()) == before+2 })
		// The program wakes first: it must not have longer than its worker gives it.
		if err := syscall.Kill(-program, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		woken := time.Now()
		_ = first.cmd.Process.Signal(syscall.SIGCONT)
		w.until("the stale program is gone", func() bool { return syscall.Kill(program, 0) != nil || reaped(program) })
		overlaps = append(overlaps, time.Since(woken))
		if code := second.exit(); code != 0 {
			t.Errorf("the second worker ended with %d:\n%s", code, second.out.String())
		}
		first.signal(syscall.SIGTERM)
		first.exit()
		if strings.Contains(first.out.String(), "1 leases lost") {
			refused++
		}
	}
	w.must("doctor")
	longest, grace := quantile(overlaps, 1), 200*time.Millisecond // TTL/5
	if refused != n || longest > grace+time.Second {
		t.Errorf("%d of %d stale ends refused, overlap of up to %s, want at most the grace of %s and a second for this machine", refused, n, longest, grace)
	}
	redistest.Figure(t, "overlap of two handlers after SIGSTOP past the lease (cancel grace 200ms)", "longest %s; stale ends refused: %d of %d",
		longest.Round(time.Millisecond), refused, n)
}

// A worker is told to stop while Redis hangs.
func TestChaos_StopWithRedisBlackHoled(t *testing.T) {
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
	if p99 := quantile(took, 0.99); p99 > limit+time.Second {
		t.Errorf("stopping took up to %s, want at most %s", p99, limit)
	}
	redistest.Figure(t, "graceful stop with Redis black-holed, stop timeout 1s", "p99 %s, limit %s (%d stops)",
		quantile(took, 0.99).Round(time.Millisecond), limit, len(took))
}

// Redis restarts: how long until jobs start again after it serves.
func TestChaos_RedisRestart(t *testing.T) {
	s := redistest.Own(t, "--appendonly", "yes")
	c := newCrew(t, s.URL(), 2)
	rdb := redistest.ClientOf(t, s)
	c.all.Go(func() { c.produce(rdb, "p", 10*time.Millisecond) })
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
	if longest := quantile(took, 1); longest > 5*time.Second {
		t.Errorf("work goes on only %s after Redis is back, want at most 5s", longest)
	}
	redistest.Figure(t, "recovery after Redis was killed and restarted (AOF)", "p50 %s, longest %s (%d restarts)",
		quantile(took, 0.5).Round(time.Millisecond), quantile(took, 1).Round(time.Millisecond), len(took))
}

// After many jobs the server holds no more keys than before the first, and no more memory
// but what its allocator keeps.
func TestChaos_SoakLeavesNothing(t *testing.T) {
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
		who := dispatcher.Claimant{Holder: "soaker", Kinds: []string{"k"}, TTL: time.Minute}
		for done := 0; done < n && !t.Failed(); {
			claims, err := d.Claim(ctx, who, dispatcher.MaxClaim)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for _, c := range claims {
				all.Go(func() {
					if err := d.Finish(ctx, c); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			done += len(claims)
		}
		enqueuing.Wait()
	}
	held := func() (keys, memory int64) {
		_ = rdb.Do(ctx, "memory", "purge").Err()
		return rdb.DBSize(ctx).Val(), infoNumber(rdb.Info(ctx, "memory").Val(), "used_memory:")
	}
	run(2000) // connections and scripts are there now, and requests are remembered
	keys, memory := held()
	run(jobs)
	keysAfter, memoryAfter := held()
	// What is remembered of requests is forgotten after a minute; callers stay the same.
	if keysAfter > keys+64 || memoryAfter > memory+(1<<20) {
		t.Errorf("%d keys and %d bytes before, %d keys and %d bytes after", keys, memory, keysAfter, memoryAfter)
	}
	redistest.Figure(t, fmt.Sprintf("what %d jobs leave behind", jobs), "%+d keys, %+d bytes of %d (before: %d keys, those of remembered requests among them)",
		keysAfter-keys, memoryAfter-memory, memory, keys)
}

func infoNumber(info, name string) (n int64) {
	if _, rest, ok := strings.Cut(info, name); ok {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n
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
