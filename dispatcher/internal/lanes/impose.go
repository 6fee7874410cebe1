package lanes

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

var imposeScript = verb("impose")

// mostFreed is how many lanes one call lets go on: it bounds the script's time.
const mostFreed = 100

// Imposed says what a partition answered: the version that it obeys, and its clock.
type Imposed struct {
	Version int64
	Clock   time.Time
}

// Impose makes a policy that of partitions, where no later one is, and lets lanes go on that holds had parked which are no more.
// "" changes no policy, and does the second alone. Partitions that could not be asked are missing, and their Version is 0.
func (n *Namespace) Impose(ctx context.Context, policy string, partitions []int) ([]Imposed, *IncompleteError, error) {
	imposed := make([]Imposed, len(partitions))
	missing, _, err := n.Across(partitions, func(i int) (err error) {
		imposed[i], err = n.impose(ctx, policy, partitions[i])
		return err
	})
	return imposed, missing, err
}

// TellOfHolds tells sessions that holds were set or released. It is a hint.
func (n *Namespace) TellOfHolds(ctx context.Context) { n.tell(ctx, n.PolicyNews()) }

func (n *Namespace) impose(ctx context.Context, policy string, p int) (in Imposed, err error) {
	for {
		words, err := n.Ask(ctx, n.Scripts.Plain(p, imposeScript, nil, policy, mostFreed))
		if err != nil {
			return Imposed{}, err
		}
		version, err := strconv.ParseInt(words[1], 10, 64)
		ms, e := strconv.ParseInt(words[3], 10, 64)
		if err != nil || e != nil {
			return Imposed{}, fmt.Errorf("impose: reply %q", words)
		}
		in = Imposed{version, time.UnixMilli(ms).UTC()}
		if words[2] == "done" {
			return in, nil
		}
	}
}

// PolicyVersions reads which version each partition obeys: 0 where there never was a hold, and -1 of those that are missing.
func (n *Namespace) PolicyVersions(ctx context.Context) ([]int64, *IncompleteError, error) {
	parts := n.EveryPartition()
	texts := make([]*redis.StringCmd, len(parts))
	missing, without, err := n.AcrossTogether(ctx, parts, func(i int, pipe redis.Pipeliner) {
		texts[i] = pipe.HGet(ctx, n.keys[parts[i]].Clock(), "policy")
	})
	if err != nil {
		return nil, nil, err
	}
	versions := make([]int64, len(parts))
	for i := range versions {
		if versions[i] = -1; !without[i] {
			versions[i] = record.ParsePolicy(texts[i].Val()).Version
		}
	}
	return versions, missing, nil
}

// PolicyNews is the channel that tells of holds that were set or released.
func (n *Namespace) PolicyNews() string { return n.keys[0].News("policy") }
