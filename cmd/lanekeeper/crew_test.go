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
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/subject"
)

// crew is a town with producers and supervised workers, and a record of what they do.
type crew struct {
	*town
	h       history.History
	args    []string       // of workers
	sleepMS int            // the longest that a job takes
	all     sync.WaitGroup // supervisors
	making  sync.WaitGroup // producers
	stop    chan struct{}  // ends the producers
	off     chan struct{}  // ends the supervisors
	refused atomic.Int64   // enqueues that a full memory refused
	tries   atomic.Int64   // enqueues that were tried again

	dead     int          // dead letters, once it is finished
	noScript atomic.Int64 // NOSCRIPT, as the server counts it

	missing []string // acknowledged jobs that neither ended nor are there, once it is finished

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
		c.making.Wait()
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

// nasty are subjects that a careless system would trip over.
var nasty = []string{"{a}", "a*", "}{:", "a b", "\x00\r\n", "\xff\xfe", "ünï", strings.Repeat("long", 100)}

// produce enqueues jobs in order, beside the caller, until the crew finishes.
func (c *crew) produce(rdb redis.UniversalClient, name string, pause time.Duration) {
	c.making.Go(func() { c.enqueueAll(rdb, name, pause) })
}

// enqueueAll enqueues jobs in order, each until it is acknowledged, with the same id.
func (c *crew) enqueueAll(rdb redis.UniversalClient, name string, pause time.Duration) {
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
			if time.Since(e.Begin) > 3*time.Minute {
				c.t.Errorf("%s is not acknowledged after 3 minutes: %v", job.ID, err)
				return
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
	for _, job := range c.missing {
		c.t.Errorf("%s was acknowledged and is gone; its handlers wrote %v", job, c.linesOf(job))
	}
	return report
}

// finishWith is finish for a server that may have gone back to an earlier state.
func (c *crew) finishWith(rdb redis.UniversalClient, world history.World) history.Report {
	c.t.Helper()
	c.end(c.stop)
	c.making.Wait() // what is being enqueued now has to end too
	ctx := context.Background()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: c.namespace})
	if err != nil {
		c.t.Fatal(err)
	}
	// A lane that has crashed several times waits for a minute or so: see DefaultBackoff.
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		s, err := inspect.New(d).Stats(ctx)
		if err == nil && s.Jobs == s.Dead && c.logged("start") > 0 {
			break
		}
		if time.Since(begin) > 3*time.Minute {
			c.t.Errorf("no end: %+v, %v", s, err)
			break
		}
	}
	findings, err := doctor.New(d).Examine(ctx, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range findings {
		if f.Severity == doctor.Wrong {
			c.t.Errorf("doctor: %s %s: %s", f.What, f.Where, f.Detail)
		}
	}
	c.end(c.off)
	for _, p := range c.running() {
		p.signal(syscall.SIGTERM)
	}
	c.all.Wait()

	stored, ended := make(map[string]bool), make(map[string]bool)
	letters, _, err := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{Limit: 500})
	if err != nil {
		c.t.Fatal(err)
	}
	c.dead = len(letters)
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
			c.missing = append(c.missing, e.Job)
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

// linesOf returns what handlers of one job have written.
func (c *crew) linesOf(job string) []line {
	return slices.DeleteFunc(slices.Clone(c.log()), func(l line) bool { return l.job != job })
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
