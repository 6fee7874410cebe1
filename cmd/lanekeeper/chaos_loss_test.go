package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// losing is the namespace of these tests.
var losing = subject.Namespace{Name: "loss", Partitions: 4}

// ledger is what producers were told of the jobs that they enqueued.
type ledger struct {
	mu     sync.Mutex
	acked  []dispatcher.NewJob
	warned int // stored, but not on enough replicas
	failed int
	ctx    context.Context // ends the producers
	end    context.CancelFunc
	all    sync.WaitGroup
}

// write enqueues jobs of partition 0 one by one from a few goroutines until the ledger
// is closed.
func write(t *testing.T, rdb redis.UniversalClient, safe dispatcher.Durability) *ledger {
	t.Helper()
	var keys []subject.Key
	for i := 0; len(keys) < 50; i++ {
		if key := (subject.Key{Kind: "s", ID: fmt.Sprint(i)}); losing.Partition(key) == 0 {
			keys = append(keys, key)
		}
	}
	d, err := dispatcher.Open(context.Background(), dispatcher.Config{Redis: rdb, Namespace: losing.Name, Partitions: losing.Partitions, Durability: safe})
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{}
	l.ctx, l.end = context.WithCancel(context.Background())
	for w := range 4 {
		l.all.Go(func() {
			for i := 0; l.ctx.Err() == nil; i++ {
				job := dispatcher.NewJob{Subject: keys[i%len(keys)], Kind: "k", ID: fmt.Sprint(w, "-", i)}
				ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
				_, err := d.Enqueue(ctx, job)
				cancel()
				l.mu.Lock()
				switch {
				case err == nil:
					l.acked = append(l.acked, job)
				case errors.Is(err, dispatcher.ErrNotReplicated):
					l.warned++
				default:
					l.failed++
				}
				l.mu.Unlock()
				if err != nil && !errors.Is(err, dispatcher.ErrNotReplicated) {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// reach waits until so many more enqueues were acknowledged or warned of.
func (l *ledger) reach(t *testing.T, n int) {
	t.Helper()
	count := func() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.acked) + l.warned }
	from := count()
	redistest.Until(t, fmt.Sprint(n, " more are enqueued"), func() bool { return count() >= from+n })
}

func (l *ledger) close() { l.end(); l.all.Wait() }

// lost counts the acknowledged jobs that are not there any more.
func (l *ledger) lost(t *testing.T, rdb redis.UniversalClient) int {
	t.Helper()
	ctx := context.Background()
	ids, err := rdb.HKeys(ctx, losing.Keys(0).Jobs()).Result()
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, id := range ids {
		there[id] = true
	}
	n := 0
	for _, job := range l.acked {
		if !there["i"+job.ID] {
			n++
		}
	}
	return n
}

// loss is one line of the table in docs/guarantees.md.
func loss(t *testing.T, mode, fault string, l *ledger, rdb redis.UniversalClient) int {
	t.Helper()
	lost := l.lost(t, rdb)
	redistest.Figure(t, "lost: "+mode+"; "+fault, "%d of %d acknowledged (%d more were reported as not on a replica, %d refused or unknown)",
		lost, len(l.acked), l.warned, l.failed)
	return lost
}

const written = 2000 // enqueues before and after what happens

// What acknowledged enqueues a server loses in each mode, by the faults that can be made
// on one machine. A power cut, where the kernel's own cache is lost, is not among them.
func TestChaos_LossOnOneServer(t *testing.T) {
	redistest.Beside(t)
	for _, c := range []struct {
		mode string
		args []string
		most int // -1: whatever
	}{
		{"append-only file, every second", []string{"--appendonly", "yes", "--appendfsync", "everysec"}, 0},
		{"append-only file, always", []string{"--appendonly", "yes", "--appendfsync", "always"}, 0},
		{"no persistence", []string{"--appendonly", "no"}, -1},
	} {
		s := redistest.Own(t, c.args...)
		rdb := redistest.ClientOf(t, s)
		l := write(t, rdb, dispatcher.Durability{})
		l.reach(t, written)
		s.Kill()
		l.close()
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		if lost := loss(t, c.mode, "kill -9 and restart", l, rdb); c.most >= 0 && lost > c.most {
			t.Errorf("%s: %d lost", c.mode, lost)
		}
	}

	s := redistest.Own(t, "--appendonly", "yes", "--appendfsync", "always")
	rdb := redistest.ClientOf(t, s)
	l := write(t, rdb, dispatcher.Durability{})
	l.reach(t, written)
	s.Kill()
	l.close()
	if err := os.RemoveAll(filepath.Join(s.Dir, "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if lost := loss(t, "append-only file, always", "restart with an empty folder", l, rdb); lost != len(l.acked) {
		t.Errorf("%d of %d lost: the folder was not empty", lost, len(l.acked))
	}
}

// What a failover to a replica loses, and what waiting for the replica changes.
func TestChaos_LossWithAReplica(t *testing.T) {
	redistest.Beside(t)
	for _, c := range []struct {
		mode   string
		safe   dispatcher.Durability
		behind bool // the replica hangs for a while before the master dies
	}{
		{"replica", dispatcher.Durability{}, false},
		{"replica", dispatcher.Durability{}, true},
		{"replica + Durability 1 within 50ms", dispatcher.Durability{Replicas: 1, Within: 50 * time.Millisecond}, false},
		{"replica + Durability 1 within 50ms", dispatcher.Durability{Replicas: 1, Within: 50 * time.Millisecond}, true},
	} {
		master := redistest.Own(t, "--repl-diskless-sync-delay", "0")
		replica := redistest.Replica(t, master)
		rdb := redistest.ClientOf(t, master)
		l := write(t, rdb, c.safe)
		l.reach(t, written/2)
		fault := "kill -9 of the master, the replica in step"
		if c.behind {
			fault = "kill -9 of the master, the replica stopped before"
			if err := replica.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			// What lies in its socket would reach it all the same.
			if _, err := master.Do("client", "kill", "type", "replica"); err != nil {
				t.Fatal(err)
			}
		}
		n := written / 2
		if c.behind && c.safe.Replicas > 0 {
			n = 20 // each waits in vain
		}
		l.reach(t, n)
		master.Kill()
		l.close()
		_ = replica.Signal(syscall.SIGCONT)
		if _, err := replica.Do("replicaof", "no", "one"); err != nil {
			t.Fatal(err)
		}
		lost := loss(t, c.mode, fault, l, redistest.ClientOf(t, replica))
		switch {
		case c.safe.Replicas > 0 && lost > 0:
			t.Errorf("%d jobs are lost that a replica was said to have", lost)
		case c.safe.Replicas > 0 && c.behind && l.warned == 0:
			t.Error("no enqueue was told that the replica did not have it")
		case c.safe.Replicas == 0 && c.behind && lost == 0:
			t.Error("nothing was lost with the replica behind: the fault did not happen")
		}
	}
}

// A master of a cluster is cut off from the others, with clients on its side: what it
// still acknowledges is gone when its replica has taken over.
func TestChaos_LossUnderACut(t *testing.T) {
	redistest.Beside(t)
	for _, safe := range []dispatcher.Durability{{}, {Replicas: 1, Within: 50 * time.Millisecond}} {
		c := redistest.OwnCluster(t)
		rdb := c.Client()
		l := write(t, rdb, safe)
		l.reach(t, written/2)
		master, replica := c.MasterOf(losing.Keys(0).Jobs())
		// For the master and its clients the others are gone, all at once.
		for _, s := range c.Nodes {
			if s != master {
				_ = s.Signal(syscall.SIGSTOP)
			}
		}
		// What lies in its replica's socket would reach it all the same.
		if _, err := master.Do("client", "kill", "type", "replica"); err != nil {
			t.Fatal(err)
		}
		redistest.Until(t, "the master knows that it is alone", func() bool {
			info, err := master.Do("cluster", "info")
			return err == nil && strings.Contains(fmt.Sprint(info), "cluster_state:fail")
		})
		l.close()
		// And for the others the master is gone, until they have made another one.
		_ = master.Signal(syscall.SIGSTOP)
		for _, s := range c.Nodes {
			if s != master {
				_ = s.Signal(syscall.SIGCONT)
			}
		}
		redistest.Until(t, "the replica is master", func() bool { return c.IsMaster(replica) })
		_ = master.Signal(syscall.SIGCONT)
		redistest.Until(t, "the cluster is well", c.Healthy)
		mode := "cluster"
		if safe.Replicas > 0 {
			mode = "cluster + Durability 1 within 50ms"
		}
		lost := loss(t, mode, "a master cut off with clients on its side, node timeout 1s", l, c.Client())
		if (safe.Replicas > 0) != (lost == 0) {
			t.Errorf("%s: %d jobs are lost; some must be, and none that a replica was said to have", mode, lost)
		}
	}
}
