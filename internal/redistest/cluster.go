package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Cluster is a Redis Cluster of three masters, each with a replica: six processes on
// loopback. Which is master changes; Nodes does not.
type Cluster struct {
	t     testing.TB
	Nodes []*Server
	ids   map[*Server]string
}

// NodeTimeout is how long a node of a [Cluster] may be silent before the others act.
const NodeTimeout = time.Second

// OwnCluster starts a cluster for one test, with an append-only file, and waits until
// it serves.
func OwnCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t, ids: make(map[*Server]string)}
	for i := range 6 {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("node", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		bus, err := freeAddr()
		if err != nil {
			t.Fatal(err)
		}
		_, busPort, _ := net.SplitHostPort(bus)
		s, err := Start(dir, "--cluster-enabled", "yes", "--cluster-node-timeout", fmt.Sprint(NodeTimeout.Milliseconds()),
			"--cluster-port", busPort, "--appendonly", "yes", "--enable-debug-command", "local", "--cluster-migration-barrier", "99",
			"--repl-diskless-sync-delay", "0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Kill)
		c.Nodes = append(c.Nodes, s)
		c.ids[s] = c.must(s, "cluster", "myid").(string)
	}
	host, port, _ := net.SplitHostPort(c.Nodes[0].Addr)
	busPort := c.Nodes[0].busPort()
	for i, s := range c.Nodes {
		if i > 0 {
			c.must(s, "cluster", "meet", host, port, busPort)
		}
		if i < 3 {
			slots := []any{"cluster", "addslots"} // ranges of them came with Redis 7
			for slot := i * 16384 / 3; slot < (i+1)*16384/3; slot++ {
				slots = append(slots, slot)
			}
			c.must(s, slots...)
		}
	}
	for i, s := range c.Nodes[3:] {
		Until(c.t, "the nodes know each other", func() bool {
			return strings.Count(c.must(s, "cluster", "nodes").(string), "connected") == 6
		})
		c.must(s, "cluster", "replicate", c.ids[c.Nodes[i]])
	}
	Until(c.t, "the cluster serves", c.Healthy)
	return c
}

// paired reports whether all nodes know a replica of each master.
func (c *Cluster) paired() bool {
	for _, s := range c.Nodes {
		if !s.Running() {
			continue
		}
		slots, err := s.Do("cluster", "slots")
		if err != nil {
			return false
		}
		for _, row := range slots.([]any) {
			if len(row.([]any)) < 4 {
				return false
			}
		}
	}
	return true
}

// busPort is the port on which a node talks to others.
func (s *Server) busPort() string {
	if before7() {
		_, port, _ := net.SplitHostPort(s.Addr)
		n, _ := strconv.Atoi(port)
		return strconv.Itoa(n + 10000) // one over 65535 does not start, and another is tried
	}
	return s.args[slices.Index(s.args, "--cluster-port")+1]
}

// Healthy reports whether all nodes that run agree that all slots are served, each by a
// master with a replica that is in step.
func (c *Cluster) Healthy() bool {
	if !c.paired() {
		return false
	}
	for _, s := range c.Nodes {
		if !s.Running() {
			continue
		}
		info, err := s.Do("cluster", "info")
		if err != nil || !strings.Contains(fmt.Sprint(info), "cluster_state:ok") {
			return false
		}
		repl, err := s.Do("info", "replication")
		text := fmt.Sprint(repl)
		switch {
		case err != nil:
			return false
		case strings.Contains(text, "role:slave") && !strings.Contains(text, "master_link_status:up"):
			return false
		}
	}
	return true
}

// IsMaster reports whether a node takes writes for some slots.
func (c *Cluster) IsMaster(s *Server) bool {
	info, err := s.Do("cluster", "nodes")
	if err != nil {
		return false
	}
	for _, line := range strings.Split(fmt.Sprint(info), "\n") {
		if strings.Contains(line, "myself,master") {
			return len(strings.Fields(line)) > 8
		}
	}
	return false
}

// MasterOf returns the node that serves a key, and a replica of it that runs, or nil. It
// waits until just one node says of itself that it is the one: after a failover
// the others learn of it later.
func (c *Cluster) MasterOf(key string) (master, replica *Server) {
	c.t.Helper()
	slot := c.Slot(key)
	Until(c.t, "one node serves "+key, func() bool {
		serving := 0
		for _, s := range c.Nodes {
			if is, at := c.serves(s, slot); is {
				master, replica = s, at
				serving++
			}
		}
		return serving == 1
	})
	return master, replica
}

// serves reports whether a node says that it serves a slot itself, and a replica that it
// knows of and that runs.
func (c *Cluster) serves(s *Server, slot int) (is bool, replica *Server) {
	if !s.Running() {
		return false, nil
	}
	slots, err := s.Do("cluster", "slots")
	if err != nil {
		return false, nil
	}
	for _, row := range slots.([]any) {
		r := row.([]any)
		if int(r[0].(int64)) > slot || int(r[1].(int64)) < slot || r[2].([]any)[2] != c.ids[s] {
			continue
		}
		for _, n := range r[3:] {
			for node, id := range c.ids {
				if n.([]any)[2] == id && node.Running() {
					replica = node
				}
			}
		}
		return true, replica
	}
	return false, nil
}

// Slot is a key's hash slot.
func (c *Cluster) Slot(key string) int {
	for _, s := range c.Nodes {
		if n, err := s.Do("cluster", "keyslot", key); err == nil {
			return int(n.(int64))
		}
	}
	c.t.Fatal("no node answers")
	return 0
}

// MoveSlot gives a slot to another master, key by key with a pause after each, as
// redis-cli's reshard does.
func (c *Cluster) MoveSlot(slot int, from, to *Server, pause time.Duration) {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(to.Addr)
	c.must(to, "cluster", "setslot", slot, "importing", c.ids[from])
	c.must(from, "cluster", "setslot", slot, "migrating", c.ids[to])
	for {
		keys := c.must(from, "cluster", "getkeysinslot", slot, 1).([]any)
		if len(keys) == 0 {
			break
		}
		c.must(from, "migrate", host, port, keys[0], 0, 5000)
		time.Sleep(pause) // a reshard takes its time; what the test waits for is its end
	}
	for _, s := range []*Server{to, from} {
		c.must(s, "cluster", "setslot", slot, "node", c.ids[to])
	}
}

// URL returns the cluster's address for --redis.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range c.Nodes[:3] {
		addrs = append(addrs, s.Addr)
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// Client returns a client of the cluster.
func (c *Cluster) Client() redis.UniversalClient {
	c.t.Helper()
	rdb, err := connect.Parse(c.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func (c *Cluster) must(s *Server, args ...any) any {
	c.t.Helper()
	v, err := s.Do(args...)
	if err != nil {
		c.t.Fatalf("%v on %s: %v", args, s.Addr, err)
	}
	return v
}

// Do sends one command to the server on a connection of its own.
func (s *Server) Do(args ...any) (any, error) {
	rdb := connect.New(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer rdb.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return rdb.Do(ctx, args...).Result()
}

// Running reports whether the process of s has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to the process: SIGSTOP freezes it, SIGCONT wakes it.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }
