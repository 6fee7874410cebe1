package main

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// clusterCrew is a crew on a cluster.
type clusterCrew struct {
	*crew
	*redistest.Cluster
	rdb redis.UniversalClient
	ns  subject.Namespace
}

func newClusterCrew(t *testing.T) *clusterCrew {
	t.Helper()
	cluster := redistest.OwnCluster(t)
	c := &clusterCrew{
		crew: newCrew(t, cluster.URL(), 3, "--lease-ttl", "3s"), Cluster: cluster, rdb: cluster.Client(),
		ns: subject.Namespace{Name: "chaos", Partitions: 3 * dispatcher.PartitionsPerMaster},
	}
	for i := range 2 {
		c.produce(c.rdb, fmt.Sprint("p", i), 10*time.Millisecond)
	}
	for p := range c.ns.Partitions {
		c.pause("work goes on everywhere", time.Now(), p)
	}
	return c
}

// starts returns when jobs of a partition, or with -1 of any, started, in order.
func (c *clusterCrew) starts(partition int) []time.Time {
	var at []time.Time
	for _, l := range c.log() {
		key, err := subject.Parse(l.subject)
		if err == nil && l.what == "start" && (partition < 0 || c.ns.Partition(key) == partition) {
			at = append(at, l.at)
		}
	}
	return at
}

// pause waits until jobs of a partition start again, and returns the longest time
// without such a start since the one before `since`.
func (c *clusterCrew) pause(what string, since time.Time, partition int) time.Duration {
	c.t.Helper()
	now := time.Now()
	c.until(what, func() bool {
		at := c.starts(partition)
		return len(at) > 0 && at[len(at)-1].After(now)
	})
	at := c.starts(partition)
	longest := time.Duration(0)
	for i := range at[1:] {
		if at[i+1].After(since) {
			longest = max(longest, at[i+1].Sub(at[i]))
		}
	}
	return longest
}

// errorStat counts how often the cluster's servers answered with an error.
func (c *clusterCrew) errorStat(name string) (n int64) {
	for _, s := range c.Nodes {
		if s.Running() {
			info, _ := s.Do("info", "errorstats")
			n += redistest.InfoNumber(fmt.Sprint(info), "errorstat_"+name+":count=")
		}
	}
	return n
}

// long enqueues a job in a partition that takes a while, and waits until it runs.
func (c *clusterCrew) long(partition, n int) (job string) {
	c.t.Helper()
	d, err := dispatcher.Open(context.Background(), dispatcher.Config{Redis: c.rdb, Namespace: c.namespace})
	if err != nil {
		c.t.Fatal(err)
	}
	key := subject.Key{Kind: "long", ID: fmt.Sprint(n)}
	for i := 0; c.ns.Partition(key) != partition; i++ {
		key.ID = fmt.Sprint(n, "-", i)
	}
	job = "long-" + key.ID
	_, err = d.Enqueue(context.Background(), dispatcher.NewJob{Subject: key, Kind: "k", ID: job, MaxAttempts: 50, Payload: []byte(`{"sleep_ms":3000}`)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.until("the long job runs", func() bool { return c.attempts(job) > 0 })
	return job
}

// attempts counts the starts of a job.
func (c *clusterCrew) attempts(job string) (n int) {
	for _, l := range c.log() {
		if l.what == "start" && l.job == job {
			n++
		}
	}
	return n
}

// partitions spread over the masters of a real cluster.
func (c *clusterCrew) checkSpread() {
	count := make(map[*redistest.Server]int)
	for p := range c.ns.Partitions {
		master, _ := c.MasterOf(c.ns.Keys(p).Jobs())
		count[master]++
	}
	if len(count) != 3 {
		c.t.Errorf("%d partitions lie on %d of 3 masters", c.ns.Partitions, len(count))
	}
}

// Masters change by command and slots move, under load: nothing is lost, no lane is
// stuck, an attempt goes on under its lease.
func TestChaos_ClusterMoves(t *testing.T) {
	// Not beside others: a master that gets no time for a second is failed over, and loses jobs by that.
	c := newClusterCrew(t)
	c.checkSpread()
	var failovers, moves, spent []time.Duration
	kept := 0
	n := redistest.Rounds(1, 0.6)
	for i := range n {
		p := i % c.ns.Partitions
		key := c.ns.Keys(p).Jobs()
		job := c.long(p, i)
		_, replica := c.MasterOf(key)
		begin := time.Now()
		if _, err := replica.Do("cluster", "failover"); err != nil {
			t.Fatal(err)
		}
		c.until("the replica is master", func() bool { return c.IsMaster(replica) })
		failovers = append(failovers, c.pause("work goes on after a failover", begin, p))
		c.until("the cluster is well", c.Healthy)

		from, _ := c.MasterOf(key)
		var to *redistest.Server
		for _, s := range c.Nodes {
			if s != from && c.IsMaster(s) {
				to = s
			}
		}
		begin = time.Now()
		c.MoveSlot(c.Slot(key), from, to, 20*time.Millisecond)
		spent = append(spent, time.Since(begin))
		moves = append(moves, c.pause("work goes on after a slot has moved", begin, p))
		c.until("the cluster is well", c.Healthy)
		c.until("the long job ends", func() bool {
			for _, l := range c.log() {
				if l.what == "end" && l.job == job {
					return true
				}
			}
			return false
		})
		if c.attempts(job) == 1 {
			kept++
		}
	}
	tryAgain, moved := c.errorStat("TRYAGAIN"), c.errorStat("MOVED")
	report := c.finish(c.rdb)
	c.apart(report)
	if tryAgain == 0 || moved == 0 || kept == 0 {
		t.Errorf("TRYAGAIN %d times, MOVED %d times, %d of %d attempts went on under their lease; each must have been", tryAgain, moved, kept, n)
	}
	redistest.Figure(t, "cluster: CLUSTER FAILOVER under load", "partition stood still for p50 %s, longest %s (%d failovers, %d of %d attempts went on under their lease)",
		quantile(failovers, 0.5).Round(time.Millisecond), quantile(failovers, 1).Round(time.Millisecond), n, kept, n)
	redistest.Figure(t, "cluster: a partition's slot moved under load", "partition stood still for p50 %s, longest %s, of moves that took p50 %s (%d moves, %d TRYAGAIN, %d MOVED)",
		quantile(moves, 0.5).Round(time.Millisecond), quantile(moves, 1).Round(time.Millisecond), quantile(spent, 0.5).Round(time.Millisecond), len(moves), tryAgain, moved)
	redistest.Figure(t, "cluster: executions while masters changed by command and slots moved", "%d: %d order violations, 0 acknowledged jobs lost, %d ran again",
		report.Executions, len(report.Violations), report.Repeats)
}

// Masters are killed and frozen under load. What Redis loses then it loses; but lanes go
// on, in order, and a stale end is refused.
func TestChaos_ClusterFails(t *testing.T) {
	redistest.Beside(t)
	c := newClusterCrew(t)
	var forgot []time.Time
	var kills, freezes []time.Duration
	n := redistest.Rounds(1, 0.6)
	for i := range n {
		p := i % c.ns.Partitions
		c.long(p, i)
		master, _ := c.MasterOf(c.ns.Keys(p).Jobs())
		begin := time.Now()
		master.Kill()
		kills = append(kills, c.pause("work goes on after a master was killed", begin, p))
		forgot = append(forgot, begin.Add(redistest.NodeTimeout))
		if err := master.Restart(); err != nil {
			t.Fatal(err)
		}
		c.until("the cluster is well", c.Healthy)

		master, replica := c.MasterOf(c.ns.Keys((p + 1) % c.ns.Partitions).Jobs())
		begin = time.Now()
		_ = master.Signal(syscall.SIGSTOP)
		c.until("the replica is master", func() bool { return c.IsMaster(replica) })
		_ = master.Signal(syscall.SIGCONT)
		freezes = append(freezes, c.pause("work goes on after a master was frozen", begin, (p+1)%c.ns.Partitions))
		forgot = append(forgot, time.Now())
		c.until("the cluster is well", func() bool { return c.Healthy() && !c.IsMaster(master) })
	}
	report := c.finishWith(c.rdb, history.World{Forgot: forgot})
	if len(c.missing) > report.Executions/4 {
		t.Errorf("%d acknowledged jobs are gone, of %d executions: more than a failover explains", len(c.missing), report.Executions)
	}
	redistest.Figure(t, "cluster: kill -9 of a master, node timeout 1s", "partition stood still for p50 %s, longest %s (%d kills)",
		quantile(kills, 0.5).Round(time.Millisecond), quantile(kills, 1).Round(time.Millisecond), n)
	redistest.Figure(t, "cluster: SIGSTOP of a master, node timeout 1s", "partition stood still for p50 %s, longest %s (%d freezes)",
		quantile(freezes, 0.5).Round(time.Millisecond), quantile(freezes, 1).Round(time.Millisecond), n)
	redistest.Figure(t, "cluster: executions while masters were killed and frozen", "%d: %d violations, %d acknowledged jobs lost by Redis, %d ran again",
		report.Executions, len(report.Violations), len(c.missing), report.Repeats)
}

// The master of a Sentinel group is killed: the replica takes over, and work goes on.
func TestChaos_Sentinel(t *testing.T) {
	redistest.Beside(t)
	g := redistest.OwnSentinels(t)
	c := newCrew(t, g.URL(), 2)
	rdb := clientFor(t, g.URL())
	c.produce(rdb, "p", 10*time.Millisecond)
	c.until("work goes on", func() bool { return c.logged("start") > 20 })
	begin := time.Now()
	g.Master.Kill()
	c.until("the replica is master", func() bool {
		role, err := g.Replica.Do("role")
		return err == nil && strings.HasPrefix(fmt.Sprint(role), "[master")
	})
	promoted := time.Now()
	var first time.Time
	c.until("work goes on after the failover", func() bool {
		for _, l := range c.log() {
			if l.what == "start" && l.at.After(promoted) {
				first = l.at
				return true
			}
		}
		return false
	})
	report := c.finishWith(rdb, history.World{Forgot: []time.Time{promoted}})
	redistest.Figure(t, "Sentinel: kill -9 of the master, down after 1s", "works again after %s (promoted after %s); %d executions, %d violations, %d acknowledged jobs lost by Redis",
		first.Sub(begin).Round(time.Millisecond), promoted.Sub(begin).Round(time.Millisecond), report.Executions, len(report.Violations), len(c.missing))
}
