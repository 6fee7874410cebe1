package lanekeepertest

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/embedded"
)

// Kit is a namespace for one test, with a clock and a network that the test decides about.
type Kit struct {
	// Dispatcher is for the code under test.
	*dispatcher.Dispatcher

	t     testing.TB
	clock *clock
	net   *network

	dead  int                    // workers of ClaimAndDie
	plain *dispatcher.Dispatcher // the same namespace, whatever the network does to the other one
	look  *inspect.Inspector
}

// New opens a namespace for t, and removes it when t ends.
//
// Of cfg the kit sets Now and Namespace, which must be left out. A nil Redis is a server in the process, which t starts and
// ends. On another one the kit uses a client of its own with the options of that one, without its hooks, and waits a minute
// at most for the removal. The kinds of cfg are declared, and only of declared kinds the rules count; with none, any kind goes.
//
// t fails at once when the namespace can't be opened.
func New(t testing.TB, cfg dispatcher.Config) *Kit {
	t.Helper()
	if cfg.Namespace != "" || cfg.Now != nil || cfg.Look {
		t.Fatalf("lanekeepertest: Config.Namespace (%q), Now and Look must be left out: a kit has a new namespace and a clock of its own", cfg.Namespace)
	}
	if cfg.Redis == nil {
		server, err := embedded.Start("127.0.0.1:0")
		if err != nil {
			t.Fatalf("lanekeepertest: %v", err)
		}
		t.Cleanup(server.Close)
		rdb := server.Client()
		t.Cleanup(func() { _ = rdb.Close() })
		cfg.Redis = rdb
	}
	if !connect.Known(cfg.Redis) {
		t.Fatalf("lanekeepertest: Config.Redis (%T) must be a *redis.Client or a *redis.ClusterClient", cfg.Redis)
	}
	k := &Kit{t: t, clock: &clock{now: time.Now().UTC().Truncate(time.Millisecond)}, net: newNetwork()}
	cfg.Namespace, cfg.Now = "lanekeepertest-"+rand.Text(), k.clock.read
	direct := cfg.Redis
	cfg.Redis = k.net.client(direct)
	t.Cleanup(func() { k.remove(direct, cfg.Redis, cfg.Namespace) })
	k.Dispatcher = k.open(cfg)
	k.plain = k.open(dispatcher.Config{Redis: direct, Namespace: cfg.Namespace, Now: cfg.Now, Look: true})
	k.look = inspect.New(k.plain)
	return k
}

// open opens the namespace, or fails the test.
func (k *Kit) open(cfg dispatcher.Config) *dispatcher.Dispatcher {
	k.t.Helper()
	d, err := dispatcher.Open(k.t.Context(), cfg)
	if err != nil {
		k.t.Fatalf("lanekeepertest: %v", err)
	}
	return d
}

// remove closes the kit's client and removes all keys of its namespace. Of a cluster each master is walked, because a
// walk is of one server; what t has left running may still write, so the client goes first.
func (k *Kit) remove(direct, own redis.UniversalClient, namespace string) {
	k.Back()
	_ = own.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t's own has ended
	defer cancel()
	err := connect.Masters(ctx, direct, func(node *redis.Client) error {
		keys := node.Scan(ctx, 0, "{"+namespace+"*", 1000).Iterator()
		for keys.Next(ctx) {
			if err := node.Unlink(ctx, keys.Val()).Err(); err != nil {
				return err
			}
		}
		return keys.Err()
	})
	if err != nil {
		k.t.Errorf("lanekeepertest: the namespace %s is not removed: %v", namespace, err)
	}
}

// clock is the time of a namespace: it stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Now is the time of the namespace, in UTC. It begins with the machine's, in whole milliseconds, and stands still until
// Advance. Delays, backoffs, rates and leases go by it. Timeouts of handlers, contexts, and waits
// such as that of Do do not: they are real.
func (k *Kit) Now() time.Time { return k.clock.read() }

// Advance moves the time by d, rounded up to whole milliseconds, in which Redis counts. What is due by then runs with the
// next Drain. Pools that run by themselves (worker.Pool.Run) are told at once. Leases end too: a handler that runs
// meanwhile loses its lane when d is over the lease's TTL, as it would after a silence as long.
func (k *Kit) Advance(d time.Duration) {
	k.t.Helper()
	if d < 0 {
		k.t.Fatalf("lanekeepertest: Advance(%s) must not be negative: Redis's clock does not go back", d)
	}
	whole := (d + time.Millisecond - 1).Truncate(time.Millisecond)
	k.clock.mu.Lock()
	k.clock.now = k.clock.now.Add(whole)
	k.clock.mu.Unlock()
	k.hint()
}

// hint tells all pools that run, in the way of scripts that make something due earlier than was known. An idle pool would
// find it out by itself, but only when as much of its own time has passed.
func (k *Kit) hint() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.t.Context()), 10*time.Second)
	defer cancel()
	workers, err := session.Workers(ctx, k.plain)
	engine := k.plain.Engine()
	for _, w := range workers {
		for _, kind := range w.Kinds {
			for p := range engine.Partitions {
				if err == nil {
					err = engine.Redis.ZAdd(ctx, engine.Keys(p).Wake(kind), redis.Z{Member: "due"}).Err()
				}
			}
		}
	}
	if err != nil {
		k.t.Fatalf("lanekeepertest: tell pools of the time: %v", err)
	}
}
