package move

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// unlinked is how many keys go in one round trip: Redis frees them beside its other work.
const unlinked = 100

// passes is how often Remove walks over the server's keys until it believes that somebody else goes on writing.
const passes = 3

// ErrWritten is returned when something of a namespace comes back while it is removed.
var ErrWritten = errors.New("dispatcher: somebody writes")

// Remove takes away all keys of a namespace, whichever release made them, with all jobs; those of others stay, however alike
// their names are. The caller has asked whether that is meant. While it runs nobody can open the namespace, and when
// it was interrupted that stays so, until Remove was called again and came to its end: the marker goes last.
//
// It returns how many keys went. progress, if not nil, is told of that. It fails with [ErrAlive] while workers live, unless
// under is set: then it removes what they have under them, and with [ErrWritten] when they write anew. A process that
// only enqueues is not known, and may write too: what it enqueues after the end stands in a namespace of that name when it is made again.
func Remove(ctx context.Context, rdb redis.UniversalClient, name string, under bool, progress func(keys int)) (int, error) {
	one, err := Look(ctx, rdb, name)
	if err != nil {
		return 0, err
	}
	if err := refuseWorkers("remove namespace "+name, one.Alive); err != nil && !under {
		return 0, err
	}
	meta, _, err := lanes.ReadMeta(ctx, rdb, name)
	if err != nil {
		return 0, err
	}
	n := lanes.Closed(rdb, meta.Namespace)
	if err := n.Mark(ctx, meta.Mark(), lanes.MarkOf(meta.Schema, lanes.Removing)); err != nil {
		return 0, err
	}
	gone := 0
	for range passes {
		before := gone
		err := connect.Masters(ctx, rdb, func(node *redis.Client) error {
			return removeFrom(ctx, node, name, n.Meta(), func(keys int) {
				if gone += keys; progress != nil {
					progress(gone)
				}
			})
		})
		if err != nil {
			return gone, lanes.Wrap("remove namespace "+name+"; 'namespace rm' again goes on", err)
		}
		if gone == before {
			_, err := connect.Ask(ctx, func(ctx context.Context) (int64, error) { return rdb.Unlink(ctx, n.Meta()).Result() })
			return gone + 1, lanes.Wrap("remove namespace "+name, err)
		}
	}
	return gone, fmt.Errorf("%w into namespace %s: after %d walks there are new keys; stop all that use it, and repeat this", ErrWritten, name, passes)
}

// keysOf matches the keys of a namespace: those of its partitions have the number behind the name, and some a second one.
// Names have no braces and no colons, so no other namespace can have such a key.
func keysOf(name string) *regexp.Regexp {
	return regexp.MustCompile(`^\{` + regexp.QuoteMeta(name) + `(:\d+(\.\d+)?)?\}:`)
}

// removeFrom walks over the keys of one server once, and takes away those of the namespace, but for its marker. On a
// cluster each key goes by itself, for they lie in several slots.
func removeFrom(ctx context.Context, node *redis.Client, name, marker string, removed func(keys int)) error {
	own := keysOf(name)
	return lanes.ScanAll(ctx, func(ctx context.Context, from uint64) *redis.ScanCmd {
		return node.Scan(ctx, from, "{"+name+"*", scanKeys)
	}, func(keys []string) error {
		var ours []string
		for _, key := range keys {
			if own.MatchString(key) && key != marker {
				ours = append(ours, key)
			}
		}
		for len(ours) > 0 {
			some := ours[:min(len(ours), unlinked)]
			_, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.Cmder, error) {
				return node.Pipelined(ctx, func(pipe redis.Pipeliner) error {
					for _, key := range some {
						pipe.Unlink(ctx, key)
					}
					return nil
				})
			})
			if err != nil {
				return err
			}
			removed(len(some))
			ours = ours[len(some):]
		}
		return nil
	})
}
