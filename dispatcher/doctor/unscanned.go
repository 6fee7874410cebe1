package doctor

import (
	"context"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// A right to SCAN shows the names of all keys of a database, those of other namespaces and
// programs too, and no rule for keys restricts it. So not everybody who examines lanes has it,
// and without it all is found but what no index names (H2).

// namedKeys returns the keys of a partition that others name: those that are there always, the
// ready lists of known kinds and the tails of lanes.
func (d *Doctor) namedKeys(ctx context.Context, keys subject.Keys) ([]string, error) {
	names := slices.Collect(maps.Keys(types(keys)))
	kinds, err := connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return d.lanes.Redis.SMembers(ctx, keys.Kinds()).Result() })
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, err
	}
	for _, kind := range kinds {
		names = append(names, keys.Ready(kind), keys.Wake(kind))
	}
	err = d.lanes.ScanHash(ctx, keys.Heads(), func(lane, _ string) { names = append(names, keys.Tail(lane)) })
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil, err
	}
	return names, nil
}

// checkScan says when keys can't be listed, so that nobody takes such an examination for a whole
// one. It asks for one step of a scan: what a user may do is told by doing it, and by no command
// that every user may send.
func checkScan(ctx context.Context, rdb *redis.Client) []Finding {
	if err := rdb.Scan(ctx, 0, "", 1).Err(); redis.HasErrorPrefix(err, "NOPERM") {
		return []Finding{{Warning, "server", "SCAN", "this user may not list keys: lists that no index names are not looked for"}}
	}
	return nil
}
