package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// oldest is the oldest server version whose commands the scripts use: LPOP with a count, ZMSCORE
// and LPOS came with 6.2.
const oldest = "6.2"

// checkServers says what about the servers loses data: each master of a cluster is asked by
// itself, with five commands at most. A server that does not tell its settings, as managed and
// embedded ones do, gets one warning.
func (d *Doctor) checkServers(ctx context.Context) ([]Finding, error) {
	return connect.Ask(ctx, func(ctx context.Context) ([]Finding, error) {
		var findings []Finding
		err := connect.Masters(ctx, d.lanes.Redis, func(node *redis.Client) error {
			found, err := checkServer(ctx, node)
			for _, f := range found {
				if connect.IsCluster(d.lanes.Redis) {
					f.What = "server " + node.Options().Addr
				}
				findings = append(findings, f)
			}
			return err
		})
		return findings, err
	})
}

// checkServer asks one server for its version, its memory, and what it keeps on disk. A refusal
// to tell is a warning; only a server that can't be reached is an error.
func checkServer(ctx context.Context, rdb *redis.Client) ([]Finding, error) {
	info, err := rdb.Info(ctx, "server").Result()
	if err != nil {
		return []Finding{{Warning, "server", "INFO", "the server does not tell its version: " + err.Error()}},
			networkOnly(err)
	}
	var findings []Finding
	if v := lanes.InfoField(info, "redis_version"); older(v, oldest) {
		findings = append(findings, Finding{Wrong, "server", "redis_version",
			fmt.Sprintf("%s is too old, at least %s is needed", v, oldest)})
	}
	findings = append(findings, checkScan(ctx, rdb)...)
	// The first refusal stands for the rest: such a user may not send INFO at all.
	memory, err := rdb.Info(ctx, "memory").Result()
	if err == nil {
		findings = append(findings, judgeMemory(memory)...)
		info, err = rdb.Info(ctx, "persistence").Result()
	}
	if err != nil {
		return append(findings, Finding{Warning, "server", "INFO",
			"the server does not tell what it keeps: " + err.Error()}), networkOnly(err)
	}
	return append(findings, judgePersistence(info, func(name string) string {
		return rdb.ConfigGet(ctx, name).Val()[name] // of a user who may not ask it is not known
	})...), nil
}

// judgeMemory says whether a server throws keys away when its memory is full. Lanekeeper wants a
// refusal then, which producers see, and never a lane without its lease or a job without its
// lane.
func judgeMemory(info string) []Finding {
	limit, policy := lanes.InfoField(info, "maxmemory"), lanes.InfoField(info, "maxmemory_policy")
	if policy == "" || policy == "noeviction" {
		return nil
	}
	severity := Warning // with no limit nothing is evicted yet
	if lanes.Evicts(limit, policy) {
		severity = Wrong
	}
	return []Finding{{severity, "server", "maxmemory-policy",
		policy + " throws jobs and leases away when memory is full; set it to noeviction"}}
}

// judgePersistence says whether a restart or a power cut loses jobs. setting reads one parameter
// of the server's, and no more: all of CONFIG has passwords in it. docs/guarantees.md has measured
// what is lost under each of these settings.
func judgePersistence(info string, setting func(name string) string) []Finding {
	switch lanes.InfoField(info, "aof_enabled") {
	case "0":
		return []Finding{{Warning, "server", "appendonly",
			"off: a restart loses all jobs since the last snapshot; set it to yes"}}
	case "1":
		if setting("appendfsync") == "no" {
			return []Finding{{Warning, "server", "appendfsync",
				"no: a power cut loses what the kernel had not written; set it to everysec or always"}}
		}
	}
	return nil
}

// networkOnly drops errors that the server answered with: a managed server that refuses INFO
// serves lanes well.
func networkOnly(err error) error {
	if errors.As(err, new(redis.Error)) {
		return nil
	}
	return fmt.Errorf("ask the server for its settings: %w", err)
}

// older compares the first two numbers of versions; what can't be read is not older, because a
// wrong alarm about a server that works would be believed.
func older(version, than string) bool {
	var a, b [2]int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a[0], &a[1]); n != 2 {
		return false
	}
	_, _ = fmt.Sscanf(than, "%d.%d", &b[0], &b[1])
	return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
}
