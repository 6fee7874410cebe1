package lanes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// What may be done with a whole namespace. As long as it is, that stands in the schema behind the number: so every
// release refuses to open the namespace meanwhile, those too that know nothing of this.
const (
	Removing  = "removing"
	Importing = "importing"
	Migrating = "migrating"
)

// Holding stands there too, since a hold was set for the first time: this release opens such a namespace, and those that
// know of no holds do not.
const Holding = "holding"

// Meta is what a namespace says of itself, whichever release made it.
type Meta struct {
	subject.Namespace        // Partitions is 0 when that can't be read
	Schema            string // the number alone
	Doing             string // Removing, Importing, Migrating; "" of one that is open
	Holds             bool   // releases that know of no holds may not open it
	Import            string // how far an import has come: the caller's own text
	Migrated          int    // partitions that a migration is through with

	mover string // the last run that has moved it, as it stands there
}

// ReadMeta reads it; found is false where there is no such namespace. A key of that name that is no hash is none.
func ReadMeta(ctx context.Context, rdb redis.UniversalClient, name string) (m Meta, found bool, err error) {
	m.Name = name
	stored, err := connect.Ask(ctx, func(ctx context.Context) ([]any, error) {
		return rdb.HMGet(ctx, m.Meta(), "partitions", "schema", "import", "migrated", "mover").Result()
	})
	var answered redis.Error
	if errors.As(err, &answered) && strings.HasPrefix(answered.Error(), "WRONGTYPE") {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read namespace %s: %w", name, err)
	}
	text := func(i int) string { s, _ := stored[i].(string); return s }
	m.Schema, m.Doing, _ = strings.Cut(text(1), " ")
	if m.Doing == Holding {
		m.Doing, m.Holds = "", true
	}
	m.Import, m.mover = text(2), text(4)
	m.Migrated, _ = strconv.Atoi(text(3)) // 0 before the first
	if n, err := strconv.Atoi(text(0)); err == nil && n >= 1 && n <= subject.MaxPartitions {
		m.Partitions = n
	}
	return m, stored[0] != nil || stored[1] != nil, nil
}

// Mark is what its schema says.
func (m Meta) Mark() string {
	if m.Holds {
		return MarkOf(m.Schema, Holding)
	}
	return MarkOf(m.Schema, m.Doing)
}

// MarkOf is what the schema of a namespace says while something is done with it; "" is nothing.
func MarkOf(number, doing string) string { return strings.TrimSuffix(number+" "+doing, " ") }

// Refusal is why this release can't open the namespace, and which command helps; nil of one that it can.
func (m Meta) Refusal() error { return refusal(m.Name, m.Mark()) }

// Schema is the number of the present one.
func Schema() string { return schema }

// refusal says why a namespace can't be opened whose schema says mark, and which command helps. It is nil of one that
// this release may open.
func refusal(name, mark string) error {
	number, doing, _ := strings.Cut(mark, " ")
	helps := ""
	switch {
	case mark == schema, mark == MarkOf(schema, Holding):
		return nil
	case doing == Removing:
		helps = "is being removed: 'lanekeeper namespace rm " + name + "' goes on with that"
	case doing == Importing:
		helps = "is being imported: 'lanekeeper import --namespace " + name + " FILE' goes on with that, given the same file; 'lanekeeper namespace rm " + name + "' gives it up"
	case doing == Migrating:
		helps = "is being migrated: 'lanekeeper migrate --namespace " + name + "' goes on with that"
	default:
		helps = fmt.Sprintf("has data of schema %s, this release reads %s: ", number, schema) + wayFrom(name, number)
	}
	return fmt.Errorf("%w: namespace %s %s", ErrMismatch, name, helps)
}

// OldestSchema is the first one that package move leads on from.
const OldestSchema = 6

// wayFrom says what leads from the data of another schema to this release.
func wayFrom(name, number string) string {
	is, err := strconv.Atoi(number)
	ours, _ := strconv.Atoi(schema)
	if err == nil && is > ours {
		return "a later release made it, which is the one to use"
	}
	if err == nil && is >= OldestSchema {
		return "stop its workers and what enqueues, then run 'lanekeeper migrate --namespace " + name + "'"
	}
	return "let workers of the release that made it finish its jobs, then 'lanekeeper namespace rm " + name + "', or use another namespace"
}

// Closed returns a namespace that is not open to anybody, or of another schema, for who moves all of it. The caller
// knows that nobody else works there.
func Closed(rdb redis.UniversalClient, ns subject.Namespace) *Namespace {
	return of(Config{Redis: rdb}, ns)
}

// of makes a namespace that is cut in a known way.
func of(cfg Config, ns subject.Namespace) *Namespace {
	n := &Namespace{
		Namespace: ns, Redis: cfg.Redis, now: cfg.Now,
		Scripts: script.NewRunner(cfg.Redis, ns, cfg.Now),
		Leases:  lease.NewStore(cfg.Redis, ns, cfg.Now),
		Share:   (cfg.Backlog + ns.Partitions - 1) / max(1, ns.Partitions),
	}
	n.News.rdb = cfg.Redis
	for p := range ns.Partitions {
		n.keys = append(n.keys, ns.Keys(p))
	}
	return n
}
