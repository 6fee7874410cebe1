package move

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Namespace is what can be said of one without opening it, whichever release made it. Counts are of one moment in each
// partition.
type Namespace struct {
	Name       string   `json:"namespace"`
	Partitions int      `json:"partitions"` // 0 when that can't be read: then nothing was counted
	Schema     string   `json:"schema"`     // of what is stored
	Doing      string   `json:"doing,omitempty"`
	Jobs       int      `json:"jobs"`          // that wait, run, or are scheduled
	Dead       int      `json:"dead"`          // dead letters
	Outcomes   int      `json:"outcomes"`      // that can be read
	Alive      []string `json:"alive"`         // holders of workers that gave a sign of life within 15 s
	Why        string   `json:"why,omitempty"` // it can't be opened, or not be read
}

// Find lists the namespaces of a server, or of all masters of a cluster, by name. It looks at the names of all keys there,
// a thousand a step, whoever they belong to; progress, if not nil, is told how many it has seen. A namespace that the
// user may not read is listed with the reason. A [dispatcher.IncompleteError] beside them names servers and namespaces
// that could not be asked.
func Find(ctx context.Context, rdb redis.UniversalClient, progress func(keys int)) ([]Namespace, error) {
	names, missing, err := findNames(ctx, rdb, progress)
	if err != nil {
		return nil, err
	}
	found := []Namespace{}
	for _, name := range names {
		one, err := Look(ctx, rdb, name)
		var answered redis.Error
		switch {
		case errors.Is(err, dispatcher.ErrNotFound): // gone meanwhile
			continue
		case errors.As(err, &answered) && !connect.Passing(err):
			one.Why = answered.Error() // as that this user may not read it
		case err != nil:
			if missing, err = missing.Without("namespace "+name, err); err != nil {
				return nil, err
			}
			continue
		}
		found = append(found, one)
	}
	return found, missing.OrNil()
}

// scanKeys is how many keys one step of a walk over all names asks for.
const scanKeys = 1000

// findNames returns the names of which there is a marker. What only looks like one has something in its braces that no
// name of a namespace may have.
func findNames(ctx context.Context, rdb redis.UniversalClient, progress func(keys int)) ([]string, *lanes.IncompleteError, error) {
	var names []string
	var missing *lanes.IncompleteError
	seen := 0
	err := connect.Masters(ctx, rdb, func(node *redis.Client) error {
		err := lanes.ScanAll(ctx, func(ctx context.Context, from uint64) *redis.ScanCmd {
			return node.Scan(ctx, from, subject.Namespace{Name: "*"}.Meta(), scanKeys)
		}, func(keys []string) error {
			if seen += scanKeys; progress != nil {
				progress(seen)
			}
			for _, key := range keys {
				name := strings.TrimSuffix(strings.TrimPrefix(key, "{"), "}:meta")
				if subject.CheckName(name) == nil {
					names = append(names, name)
				}
			}
			return nil
		})
		if connect.IsCluster(rdb) {
			missing, err = missing.Without("server "+node.Options().Addr, err)
		}
		return lanes.Wrap("look for namespaces", err)
	})
	slices.Sort(names)
	return slices.Compact(names), missing, err
}

// Look says what there is of one namespace, without opening it. An error wraps [dispatcher.ErrNotFound] where there is none.
// Beside any other error the name alone is set.
func Look(ctx context.Context, rdb redis.UniversalClient, name string) (Namespace, error) {
	if err := subject.CheckName(name); err != nil {
		return Namespace{}, err
	}
	meta, found, err := lanes.ReadMeta(ctx, rdb, name)
	if err == nil && !found {
		err = fmt.Errorf("%w: there is no namespace %s", dispatcher.ErrNotFound, name)
	}
	if err != nil {
		return Namespace{Name: name}, err
	}
	one := Namespace{Name: name, Partitions: meta.Partitions, Schema: meta.Schema, Doing: meta.Doing}
	if refused := meta.Refusal(); refused != nil {
		one.Why = strings.TrimPrefix(refused.Error(), dispatcher.ErrMismatch.Error()+": ")
	}
	n := lanes.Closed(rdb, meta.Namespace)
	if err := one.count(ctx, n); err != nil {
		return Namespace{Name: name}, err
	}
	one.Alive, err = alive(ctx, n)
	return one, err
}

// count adds up what the partitions have. The names of these keys are those of all releases.
func (one *Namespace) count(ctx context.Context, n *lanes.Namespace) error {
	all := n.EveryPartition()
	counts := make([][3]*redis.IntCmd, len(all))
	missing, without, err := n.AcrossTogether(ctx, all, func(i int, pipe redis.Pipeliner) {
		k := n.Keys(all[i])
		counts[i] = [3]*redis.IntCmd{pipe.HLen(ctx, k.Jobs()), pipe.ZCard(ctx, k.Dead()), pipe.HLen(ctx, k.Outcomes())}
	})
	if err = cmp.Or(err, missing.OrNil()); err != nil {
		return lanes.Wrap("count jobs of namespace "+n.Name, err)
	}
	for i := range all {
		if !without[i] {
			one.Jobs += int(counts[i][0].Val() - counts[i][1].Val())
			one.Dead += int(counts[i][1].Val())
			one.Outcomes += int(counts[i][2].Val())
		}
	}
	return nil
}

// alive returns the holders of workers that live, by the clock of the server that notes their signs of life. What a worker
// of another release says of itself is not read; a caller of another process that runs a section is no worker.
func alive(ctx context.Context, n *lanes.Namespace) ([]string, error) {
	now, err := n.Time(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := n.InRange(ctx, redis.ZRangeArgs{
		Key: n.Seen(), ByScore: true, Start: now.Add(-session.LostAfter + time.Millisecond).UnixMilli(), Stop: "+inf", Count: 1000,
	})
	if err != nil {
		return nil, lanes.Wrap("look for workers of namespace "+n.Name, err)
	}
	return append([]string{}, seen...), nil
}

// refuseWorkers returns an error that names the workers that live, if any do; what is what they would be in the way of.
func refuseWorkers(what string, holders []string) error {
	if len(holders) == 0 {
		return nil
	}
	shown := holders[:min(len(holders), 5)]
	more := ""
	if n := len(holders) - len(shown); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	live := fmt.Sprintf("%d workers live", len(holders))
	if len(holders) == 1 {
		live = "1 worker lives"
	}
	return fmt.Errorf("%w: %s: %s: %s%s; stop them, a worker that was killed counts as alive for 15 s",
		ErrAlive, what, live, strings.Join(shown, ", "), more)
}

// ErrAlive is returned for what may not be done while workers live.
var ErrAlive = errors.New("dispatcher: workers are in the way")

// MarshalJSON makes sure that a list is never null.
func (one Namespace) MarshalJSON() ([]byte, error) {
	type plain Namespace
	if one.Alive == nil {
		one.Alive = []string{}
	}
	return json.Marshal(plain(one))
}
