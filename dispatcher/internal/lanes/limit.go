package lanes

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

var limitScript = verb("limit")

// A limit of N is N slots, which are leases: whoever starts a job of the kind, or of the pool,
// takes one first, keeps it alive like the lane's, and gives it back at the end. So a limit
// holds across partitions, which no script could count over on a cluster, and after a
// crash; and what it costs is paid by those who have one.

// KindLimit and PoolLimit are the names of limits, and IsPoolLimit tells them apart: a kind and a pool may have
// one name.
func KindLimit(kind string) string { return "kind/" + kind }
func PoolLimit(pool string) string { return "pool/" + pool }
func IsPoolLimit(name string) bool { return strings.HasPrefix(name, PoolLimit("")) }

// LimitHome is the partition that a limit's slots are in, with its record and its line: all of a limit is in
// one, wherever the lanes are that start under it. All slots are subjects whose partition is chosen alike, so
// the first says it.
func (n *Namespace) LimitHome(name string) int { return n.Partition(subject.Slot(name, 1)) }

// limitCall makes the call that writes a limit to where it is enforced. It may be repeated, and come late: a
// later version that is there already stays.
func (n *Namespace) limitCall(name string, l record.Limit) *script.Call {
	return n.Scripts.Plain(n.LimitHome(name), limitScript, nil, name, l.Most, l.Every.Milliseconds(), l.Version)
}

// owed are limits that could not be written yet, by name. A newer declaration of a limit takes the place of an
// older one.
type owed struct {
	mu     sync.Mutex
	limits map[string]record.Limit
}

// WriteLimits writes limits to where they are enforced, in one round trip, and tells the sessions that run. On
// a cluster, those whose home is away are owed: sessions write them later ([Namespace.PayLimits]). Any other
// error is returned, and the rest of the limits is not looked at then.
func (n *Namespace) WriteLimits(ctx context.Context, limits map[string]record.Limit) error {
	names := slices.Sorted(maps.Keys(limits))
	if len(names) == 0 {
		return nil
	}
	calls := make([]*script.Call, len(names))
	for i, name := range names {
		calls[i] = n.limitCall(name, limits[name])
	}
	asking, cancel := connect.Bounded(ctx)
	defer cancel()
	n.Scripts.Run(asking, calls...)
	n.owed.mu.Lock()
	defer n.owed.mu.Unlock()
	for i, name := range names {
		_, err := calls[i].Words()
		switch {
		case err == nil:
			delete(n.owed.limits, name)
		case connect.IsCluster(n.Redis) && errors.Is(err, connect.ErrUnavailable):
			if n.owed.limits == nil {
				n.owed.limits = make(map[string]record.Limit)
			}
			n.owed.limits[name] = limits[name]
		default:
			return Wrap("register limits", err)
		}
	}
	n.tell(ctx, n.LimitNews())
	return nil
}

// OwedLimits are those that could not be written yet, by name. Until they are, sessions go by what stands
// there.
func (n *Namespace) OwedLimits() map[string]record.Limit {
	n.owed.mu.Lock()
	defer n.owed.mu.Unlock()
	return maps.Clone(n.owed.limits)
}

// PayLimits writes what is owed; mostly that is nothing, and costs no round trip.
func (n *Namespace) PayLimits(ctx context.Context) {
	_ = n.WriteLimits(ctx, n.OwedLimits()) // else with the next beat
}

// LimitNews is the channel that tells of limits that were declared or changed.
func (n *Namespace) LimitNews() string { return n.keys[0].News("limits") }

// tell says that there is news. It is a hint: nobody counts on it.
func (n *Namespace) tell(ctx context.Context, channel string) {
	_ = n.Together(ctx, func(pipe redis.Pipeliner) { pipe.Publish(ctx, channel, "") })
}
