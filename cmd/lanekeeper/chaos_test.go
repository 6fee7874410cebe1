package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// These tests hold real processes to bounds, so they do not run beside other tests.

// chaos is what can happen to a server, the way to it, and workers. Each returns once
// it is over.
type chaos struct {
	name string
	do   func(c *crew, s *redistest.Server, p *redistest.Proxy, rdb *redis.Client)
}

var chaoses = []chaos{
	{"worker killed", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		c.any().signal(syscall.SIGKILL)
	}},
	{"worker frozen past its leases", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		p := c.any()
		p.freeze()
		time.Sleep(2500 * time.Millisecond)
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}},
	{"worker told to stop", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		c.any().signal(syscall.SIGTERM)
	}},
	{"Redis killed and restarted", func(c *crew, s *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		s.Kill()
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		if err := s.Restart(); err != nil {
			c.t.Error(err)
		}
	}},
	{"connections cut", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		for range 5 {
			p.Cut()
			time.Sleep(50 * time.Millisecond)
		}
	}},
	{"black hole", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		p.BlackHole(true)
		time.Sleep(1500 * time.Millisecond)
		p.BlackHole(false)
	}},
	{"slow replies", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		p.Slow(100 * time.Millisecond)
		time.Sleep(time.Second)
		p.Slow(0)
	}},
	{"replies lost", func(_ *crew, _ *redistest.Server, p *redistest.Proxy, _ *redis.Client) {
		for range 10 {
			p.LoseReplies(2)
			time.Sleep(50 * time.Millisecond)
		}
		p.LoseReplies(0)
	}},
	{"memory full", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "config", "set", "maxmemory", "1")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "config", "set", "maxmemory", "0")
	}},
	{"poison", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
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
	{"script cache flushed", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		for range 10 {
			c.redis(rdb, "script", "flush")
			time.Sleep(50 * time.Millisecond)
		}
		info := rdb.Info(context.Background(), "errorstats").Val() // since the server's last start
		c.noScript.Add(redistest.InfoNumber(info, "errorstat_NOSCRIPT:count="))
	}},
	{"Redis frozen", func(c *crew, s *redistest.Server, _ *redistest.Proxy, _ *redis.Client) {
		_ = s.Signal(syscall.SIGSTOP)
		time.Sleep(1500 * time.Millisecond)
		_ = s.Signal(syscall.SIGCONT)
	}},
	{"Redis busy", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "debug", "sleep", "0.5")
	}},
	{"writes paused", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "client", "pause", "1200", "write")
		time.Sleep(1200 * time.Millisecond)
	}},
	{"clients killed", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "client", "kill", "type", "normal", "skipme", "yes")
	}},
	{"Redis read-only", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "replicaof", "127.0.0.1", "1")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "replicaof", "no", "one")
	}},
	{"too few replicas", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "config", "set", "min-replicas-to-write", "1")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "config", "set", "min-replicas-to-write", "0")
	}},
	{"rights taken away", func(c *crew, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
		c.redis(rdb, "acl", "setuser", "default", "-eval", "-evalsha", "-bzpopmin")
		time.Sleep(700 * time.Millisecond)
		c.redis(rdb, "acl", "setuser", "default", "+eval", "+evalsha", "+bzpopmin")
	}},
}

// Every fault of the list at real workers and a real server, one after the other. What was
// acknowledged runs, in order; nothing stays stuck; and each fault did happen.
func TestChaos_OneServer(t *testing.T) {
	redistest.Beside(t)
	s := redistest.Own(t, "--appendonly", "yes", "--appendfsync", "everysec", "--enable-debug-command", "local")
	proxy, through := redistest.NewProxy(t, s)
	straight := redistest.ClientOf(t, s)
	c := newCrew(t, proxy.URL(), 3)
	c.sleepMS = 100 // so that most faults meet jobs that run
	for i := range 2 {
		c.produce(through, fmt.Sprint("p", i), 8*time.Millisecond)
	}
	c.until("jobs run, so the namespace is there, which full memory would not let be made", func() bool { return c.logged("start") > 0 })
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

	lost := c.said("lease lost;") + c.said("lease over before")
	for what, n := range map[string]int64{
		"job that ran again after a takeover": int64(report.Repeats), "end refused for a stale token": int64(lost),
		"reply lost": proxy.Lost.Load(), "enqueue refused for want of memory": c.refused.Load(),
		"enqueue tried again": c.tries.Load(), "poison in the dead letters": int64(c.dead), "NOSCRIPT": c.noScript.Load(),
	} {
		if n == 0 {
			t.Errorf("there was no %s", what)
		}
	}
	if c.dead != met["poison"] {
		t.Errorf("%d dead letters, %d poisoned jobs", c.dead, met["poison"])
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
