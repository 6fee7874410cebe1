package lanes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Config says which namespace to open. Look is for commands that only look: a namespace that is not there is
// shown as an empty one, and not made.
type Config struct {
	Redis      redis.UniversalClient
	Name       string
	Partitions int // that it must have; 0 is any number
	PerMaster  int // that a new one gets for each master of a cluster; on one server it gets 1
	Backlog    int // the most jobs that it may hold
	Look       bool
	Now        func() time.Time // nil in production
}

// Namespace is an opened namespace: who asks Redis asks through it. It is safe for concurrent use. It keeps
// nothing of the lanes: all that it knows is how the namespace is cut, the names of its keys, and which limits
// are owed.
type Namespace struct {
	subject.Namespace
	Redis   redis.UniversalClient
	Scripts *script.Runner
	Leases  *lease.Store
	News    Newsroom
	Claims  atomic.Uint32 // calls that have claimed: kinds take turns at being first
	Share   int           // how many jobs one partition may hold, and how many windows of unique keys

	Rest func(ctx context.Context, d time.Duration) error // in tests: how a [Pace] rests; nil in production

	keys []subject.Keys
	now  func() time.Time // nil in production
	owed owed
}

// schema is the version of what is stored; a release that can't read what another one wrote must raise it. Then
// [Open] refuses namespaces of other releases with ErrMismatch, and says which way leads on (meta.go).
const schema = "7"

// Open returns a namespace after it has checked that the server keeps what it is given ([ErrEviction]) and that
// the namespace is cut as cfg expects ([ErrMismatch]). It creates one that is new, unless cfg only looks. It
// costs two round trips to one server, and writes nothing where the namespace exists. The share of a partition
// is rounded up, so the partitions together may hold a few jobs more than the backlog says.
func Open(ctx context.Context, cfg Config) (*Namespace, error) {
	if err := refuseEviction(ctx, cfg.Redis); err != nil {
		return nil, err
	}
	ns, err := agree(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return of(cfg, ns), nil
}

// Keys returns the names of a partition's keys.
func (n *Namespace) Keys(p int) subject.Keys { return n.keys[p] }

// tail is the partition that a subject's lane is in, and the list of its jobs behind the head, as the one key
// that a call on that lane declares.
func (n *Namespace) tail(key subject.Key) (p int, tail []string) {
	p = n.Partition(key)
	return p, []string{n.keys[p].Tail(key.Canonical())}
}

// Clock is this machine's time, and in tests the one that they pass: for what nobody else has to agree on.
func (n *Namespace) Clock() time.Time {
	if n.now != nil {
		return n.now()
	}
	return time.Now()
}

// Time is the time by which signs of life are judged: that of the server which keeps them, because they were
// noted by its clock (I8).
func (n *Namespace) Time(ctx context.Context) (time.Time, error) {
	if n.now != nil {
		return n.now(), nil
	}
	now, err := connect.Ask(ctx, func(ctx context.Context) (time.Time, error) {
		node, err := connect.Node(ctx, n.Redis, n.Seen())
		if err != nil {
			return time.Time{}, err
		}
		return node.Time(ctx).Result()
	})
	return now, Wrap("read the server's clock", err)
}

// openPatience is how long Open waits for a cluster that has just lost a master.
const openPatience = 5 * time.Second

// agree reads how the namespace is cut, or decides it when nobody has yet. It writes only then: a worker must
// be able to start when memory is full. HSETNX lets the first of several decide, and the others read what it
// said. The number of partitions can't be changed later: it says where each lane is.
func agree(ctx context.Context, cfg Config) (subject.Namespace, error) {
	ns := subject.Namespace{Name: cfg.Name, Partitions: max(1, cfg.Partitions)}
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
		partitions, cannot := partitionsOfNew(ctx, cfg)
		if cannot != nil {
			return ns, fmt.Errorf("open namespace %s: %w", ns.Name, connect.Judge(ctx, connect.Bound, cannot))
		}
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
	if err != nil { // the last look may have found the time over, after others had asked in vain
		return ns, fmt.Errorf("open namespace %s: %w", ns.Name, connect.Judge(ctx, connect.Bound, err))
	}
	mark, _ := stored[1].(string)
	if err := refusal(ns.Name, mark); err != nil {
		return ns, err
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

// partitionsOfNew is how many partitions a namespace gets that is made now.
func partitionsOfNew(ctx context.Context, cfg Config) (int, error) {
	if cfg.Partitions > 0 || !connect.IsCluster(cfg.Redis) {
		return max(1, cfg.Partitions), nil
	}
	masters := 0
	err := connect.Masters(ctx, cfg.Redis, func(*redis.Client) error { masters++; return nil }) // nobody is asked
	return min(cfg.PerMaster*masters, subject.MaxPartitions), err
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
		if limit, policy := InfoField(memory, "maxmemory"), InfoField(memory, "maxmemory_policy"); Evicts(limit, policy) {
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

// Evicts reports whether keys go when memory is full. A value that a server does not tell is "", and counts as no
// danger.
func Evicts(limit, policy string) bool {
	return limit != "" && limit != "0" && policy != "" && policy != "noeviction"
}

// InfoField returns one field of what INFO says.
func InfoField(info, name string) string {
	for s := bufio.NewScanner(strings.NewReader(info)); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
