package dispatcher

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Config says where a namespace lives and what it may hold.
type Config struct {
	// Redis is the server, or the cluster: a *redis.Client, also one that follows
	// Sentinels, or a *redis.ClusterClient. Required. The dispatcher does not close it.
	Redis redis.UniversalClient

	// Namespace keeps lanes of different applications apart. Defaults to "lanekeeper".
	Namespace string

	// Partitions is fixed when a namespace is first opened, and checked after.
	// Defaults to what the namespace has, or to [DefaultPartitions] for a new one.
	Partitions int

	// MaxPayload is the most bytes a payload may have. Defaults to [DefaultMaxPayload].
	MaxPayload int

	// MaxLane is the most jobs a lane may hold. Defaults to 1,000,000.
	MaxLane int

	// MaxBacklog is the most jobs the namespace may hold, dead letters among
	// them. Each partition takes its even share. Defaults to 100,000,000.
	MaxBacklog int

	// Durability is what an enqueue waits for before it is acknowledged. By default the
	// master alone has the job then, and a failover may lose it: docs/guarantees.md
	// has measured how much.
	Durability Durability

	// SectionTTL is how long a subject stays closed after the process died that ran a
	// section on it ([Dispatcher.Do]), and how long its ticket stays in the lane. Live ones
	// renew at a third of it. Defaults to 30 s, must be at least 100 ms.
	SectionTTL time.Duration

	// Kinds are declared and registered: see [Kind]. With none, and none registered by
	// anybody, kinds need no declaration.
	Kinds []Kind

	// PoolLimits is, by name of a pool, the most jobs that run at once in all pools of that
	// name, in all processes.
	PoolLimits map[string]int

	// Look opens the namespace for one who only looks: it is not created when it
	// does not exist yet, and appears empty.
	Look bool

	// Now replaces Redis's clock in tests. Nil in production.
	Now func() time.Time
}

// Durability asks for replicas that have a job before its enqueue is acknowledged.
type Durability struct {
	Replicas int           // how many
	Within   time.Duration // how long to wait for them at most; defaults to 1 s
}

// DefaultPartitions is how finely a new namespace is cut; docs/design.md has the
// measurement behind it.
const DefaultPartitions = 4

// DefaultMaxPayload is the most bytes that a payload may have unless told otherwise: 1 MiB.
const DefaultMaxPayload = 1 << 20

// MaxBatch is the most jobs that one call may carry. It bounds how long a script
// keeps Redis from other work.
const MaxBatch = 250

func (c Config) withDefaults() Config {
	c.Namespace = cmp.Or(c.Namespace, "lanekeeper")
	c.MaxPayload = cmp.Or(c.MaxPayload, DefaultMaxPayload)
	c.MaxLane = cmp.Or(c.MaxLane, 1_000_000)
	c.MaxBacklog = cmp.Or(c.MaxBacklog, 100_000_000)
	c.SectionTTL = cmp.Or(c.SectionTTL, 30*time.Second)
	c.Durability.Within = cmp.Or(c.Durability.Within, time.Second)
	return c
}

func (c Config) validate() error {
	switch {
	case c.Redis == nil:
		return invalid("Config.Redis", nil, "must be set")
	case !connect.Known(c.Redis):
		return invalid("Config.Redis", fmt.Sprintf("%T", c.Redis), "must be a *redis.Client or a *redis.ClusterClient")
	case c.Partitions < 0 || c.Partitions > subject.MaxPartitions:
		return invalid("Config.Partitions", c.Partitions,
			fmt.Sprintf("must be 1 to %d", subject.MaxPartitions))
	case c.MaxPayload < 0:
		return invalid("Config.MaxPayload", c.MaxPayload, "must not be negative")
	case c.MaxLane < 0:
		return invalid("Config.MaxLane", c.MaxLane, "must not be negative")
	case c.MaxBacklog < 0:
		return invalid("Config.MaxBacklog", c.MaxBacklog, "must not be negative")
	case c.SectionTTL < 100*time.Millisecond || c.SectionTTL > 24*time.Hour:
		return invalid("Config.SectionTTL", c.SectionTTL, "must be 100ms to 24h")
	case c.Durability.Replicas < 0:
		return invalid("Config.Durability.Replicas", c.Durability.Replicas, "must not be negative")
	case c.Durability.Within < time.Millisecond || c.Durability.Within > time.Minute:
		return invalid("Config.Durability.Within", c.Durability.Within, "must be 1ms to 1m")
	}
	return subject.CheckName(c.Namespace)
}

// Dispatcher moves jobs through the lanes of one namespace. It is safe for
// concurrent use.
type Dispatcher struct {
	cfg      Config
	rdb      redis.UniversalClient
	ns       subject.Namespace
	keys     []subject.Keys // by partition
	run      *script.Runner
	leases   *lease.Store
	claims   atomic.Uint32 // counts claim calls
	singles  singles
	registry map[string]Declared // as registered when d was opened
	news     newsroom

	owedLimits owedLimits
	disconnect func() error // of Connect's client; nil when the client is the caller's
}

// schema is the version of what is stored; a release that can't read what
// another one wrote must raise it.
const schema = "7"

// Open returns a Dispatcher after it has checked that the server keeps what it is
// given ([ErrEviction]) and that the namespace is cut as cfg expects
// ([ErrMismatch]). It creates the namespace when it is new, and registers the kinds that cfg
// declares; when one of them belongs to somebody else it returns [ErrOwner].
func Open(ctx context.Context, cfg Config) (*Dispatcher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := refuseEviction(ctx, cfg.Redis); err != nil {
		return nil, err
	}
	ns, err := agree(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d := &Dispatcher{
		cfg: cfg, rdb: cfg.Redis, ns: ns,
		run:    script.NewRunner(cfg.Redis, ns, cfg.Now),
		leases: lease.NewStore(cfg.Redis, ns, cfg.Now),

		owedLimits: owedLimits{limits: make(map[string]record.Limit)},
	}
	for p := range ns.Partitions {
		d.keys = append(d.keys, ns.Keys(p))
	}
	if len(cfg.Kinds)+len(cfg.PoolLimits) > 0 {
		if err := d.register(ctx); err != nil {
			return nil, err
		}
	}
	if d.registry, err = readRegistry(ctx, cfg.Redis, ns); err != nil {
		return nil, err
	}
	d.news.rdb = cfg.Redis
	if cfg.Durability.Replicas > 0 {
		d.singles.most = connect.Bound + cfg.Durability.Within
	}
	d.singles.send = func(jobs []prepared) []Enqueued { return d.send(context.Background(), "each", jobs) }
	return d, nil
}

// openPatience is how long Open waits for a cluster that has just lost a master.
const openPatience = 5 * time.Second

// agree reads how the namespace is cut, or decides it when nobody has yet. It writes
// only then: a worker must be able to start when memory is full.
func agree(ctx context.Context, cfg Config) (subject.Namespace, error) {
	ns := subject.Namespace{Name: cfg.Namespace, Partitions: cmp.Or(cfg.Partitions, DefaultPartitions)}
	ctx, cancel := connect.Bounded(ctx)
	defer cancel()
	read := func() ([]any, error) {
		return connect.Ask(ctx, func(ctx context.Context) ([]any, error) {
			return cfg.Redis.HMGet(ctx, ns.Meta(), "partitions", "schema").Result()
		})
	}
	stored, err := read()
	for begin := time.Now(); err != nil && connect.IsCluster(cfg.Redis) && time.Since(begin) < openPatience && ctx.Err() == nil; {
		connect.Reload(ctx, cfg.Redis) // the master of that key may be about to get a successor
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
			stored, err = read()
		}
	}
	if err == nil && stored[0] == nil {
		if cfg.Look {
			return ns, nil
		}
		partitions := ns.Partitions
		_, err = connect.Ask(ctx, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, connect.Atomically(ctx, cfg.Redis, func(tx redis.Pipeliner) {
				tx.HSetNX(ctx, ns.Meta(), "partitions", partitions)
				tx.HSetNX(ctx, ns.Meta(), "schema", schema)
			})
		})
		if redis.HasErrorPrefix(err, "NOPERM") {
			return ns, fmt.Errorf("namespace %s does not exist, and this user may not make it; 'lanekeeper doctor --fix' of an operator does: %w",
				ns.Name, err)
		}
		if err == nil { // another may have been first
			stored, err = read()
		}
	}
	if err != nil {
		return ns, fmt.Errorf("open namespace %s: %w", ns.Name, err)
	}
	if stored[1] != schema {
		return ns, fmt.Errorf("%w: namespace %s has data of schema %v, this release reads %s: "+
			"let workers of the release that made it finish its jobs, then delete its keys, or use another namespace",
			ErrMismatch, ns.Name, stored[1], schema)
	}
	text, _ := stored[0].(string)
	ns.Partitions, err = strconv.Atoi(text)
	if err != nil || ns.Partitions < 1 || ns.Partitions > subject.MaxPartitions {
		return ns, fmt.Errorf("%w: namespace %s says it has %q partitions", ErrMismatch, ns.Name, text)
	}
	if cfg.Partitions != 0 && cfg.Partitions != ns.Partitions {
		return ns, fmt.Errorf("%w: namespace %s was created with %d partitions, Config.Partitions is %d; "+
			"the number can't be changed, leave it out to use what is stored",
			ErrMismatch, ns.Name, ns.Partitions, cfg.Partitions)
	}
	return ns, nil
}

// refuseEviction fails when the server would throw jobs or leases away to make
// room (BullMQ #2215, asynq #799). It asks INFO: a user who may ask CONFIG for that may ask it for
// passwords too (H2). A server that won't tell is trusted: the embedded one has no limit.
func refuseEviction(ctx context.Context, rdb redis.UniversalClient) error {
	ask := func(ctx context.Context, node *redis.Client) error {
		memory, err := node.Info(ctx, "memory").Result()
		if err != nil {
			refused := errors.As(err, new(redis.Error))
			if refused || connect.IsCluster(rdb) { // of several masters one may be away
				return nil
			}
			return err
		}
		if limit, policy := infoField(memory, "maxmemory"), infoField(memory, "maxmemory_policy"); evicts(limit, policy) {
			return fmt.Errorf("%w: maxmemory is %s and maxmemory-policy is %s; set it to noeviction", ErrEviction, limit, policy)
		}
		return nil
	}
	most := connect.Bound
	if connect.IsCluster(rdb) {
		most = openPatience
	}
	_, err := connect.AskFor(ctx, most, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, connect.Masters(ctx, rdb, func(node *redis.Client) error { return ask(ctx, node) })
	})
	switch {
	case err == nil, errors.Is(err, ErrEviction):
		return err
	case connect.IsCluster(rdb) && ctx.Err() == nil:
		return nil
	}
	return fmt.Errorf("connect to Redis: %w", err)
}

// evicts reports whether keys go when memory is full. What a server does not tell is "".
func evicts(limit, policy string) bool {
	return limit != "" && limit != "0" && policy != "" && policy != "noeviction"
}

// Namespace returns the namespace that d works on.
func (d *Dispatcher) Namespace() subject.Namespace { return d.ns }

// Leases returns the store of leases that d's lanes use.
func (d *Dispatcher) Leases() *lease.Store { return d.leases }

//go:embed parts/*.lua
var partsLua embed.FS

// parts reads those parts of scripts, in this order: each may use those before it.
func parts(names ...string) string {
	var all strings.Builder
	for _, name := range names {
		text, err := partsLua.ReadFile("parts/" + name + ".lua")
		if err != nil {
			panic(err) // it is built in
		}
		all.Write(append(text, '\n'))
	}
	return all.String()
}

// verb makes a script that may change lanes.
func verb(name, source string) *script.Script {
	return script.New(name, source, lease.Lua, laneLua)
}

var laneLua = parts("notes", "lane", "locate", "taken", "kept", "fates", "due", "ending", "lot", "mending")
