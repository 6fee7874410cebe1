package dispatcher

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Config says where a namespace lives and what it may hold.
type Config struct {
	// Redis is the server, or the cluster: a *redis.Client, also one that follows
	// Sentinels, or a *redis.ClusterClient. Required. The dispatcher does not close it.
	Redis redis.UniversalClient

	// Namespace keeps lanes of different applications apart, and experiments from what others use: it has its own
	// jobs, its own declared kinds and its own pools. Defaults to "lanekeeper", which [Connect] opens.
	Namespace string

	// Partitions is fixed when a namespace is first opened, and checked after.
	// Defaults to what the namespace has. A new one gets 1 on one server, and [PartitionsPerMaster] for each
	// master of a cluster.
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
	// anybody, kinds need no declaration. The first one that anybody declares closes the
	// namespace to all kinds that are not declared.
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

// PartitionsPerMaster is how finely a new namespace is cut on a cluster, so that masters that are added later
// take their share. One server works best with one partition: docs/design.md has the measurement.
const PartitionsPerMaster = 4

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
	lanes    *lanes.Namespace
	singles  singles
	registry map[string]DeclaredKind // as registered when d was opened

	disconnect func() error // of Connect's client; nil when the client is the caller's
}

// Open returns a Dispatcher after it has checked that the server keeps what it is
// given ([ErrEviction]) and that the namespace is cut as cfg expects
// ([ErrMismatch]). It creates the namespace when it is new, and registers the kinds that cfg
// declares; when one of them belongs to somebody else it returns [ErrOwner].
func Open(ctx context.Context, cfg Config) (*Dispatcher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ns, err := lanes.Open(ctx, lanes.Config{
		Redis: cfg.Redis, Name: cfg.Namespace, Partitions: cfg.Partitions, PerMaster: PartitionsPerMaster, Backlog: cfg.MaxBacklog, Look: cfg.Look, Now: cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	d := &Dispatcher{cfg: cfg, lanes: ns}
	if len(cfg.Kinds)+len(cfg.PoolLimits) > 0 {
		if err := d.register(ctx); err != nil {
			return nil, err
		}
	}
	if d.registry, err = readRegistry(ctx, d.lanes); err != nil {
		return nil, err
	}
	if cfg.Durability.Replicas > 0 {
		d.singles.most = connect.Bound + cfg.Durability.Within
	}
	d.singles.send = func(jobs []prepared) []EnqueueResult { return d.send(context.Background(), "each", jobs) }
	return d, nil
}

// Namespace returns the namespace that d works on.
func (d *Dispatcher) Namespace() subject.Namespace { return d.lanes.Namespace }

// Engine is for packages dispatcher/session, dispatcher/inspect and dispatcher/doctor alone: it returns what d works with. That can break lanes, when it is asked in the wrong order.
func (d *Dispatcher) Engine() *lanes.Namespace { return d.lanes }

// Leases is for the packages beside this one, and for tests: it returns the store of leases that d's lanes use. An
// application takes a subject for a while with [Dispatcher.Do], and finds its lease with [LeaseFrom].
func (d *Dispatcher) Leases() *lease.Store { return d.lanes.Leases }
