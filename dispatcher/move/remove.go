package move

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// unlinked is how many keys go in one round trip: Redis frees them beside its other work.
const unlinked = 100

// passes is how often Remove walks over the server's keys until it believes that somebody else goes on writing.
const passes = 3

// ErrWritten is returned when something of a namespace comes back while it is removed.
var ErrWritten = errors.New("dispatcher: somebody writes")

// Remove takes away all keys of a namespace, whichever release made them, with all jobs; those of others stay, however alike
// their names are. Keys whose marker is gone, as [Left] counts them, go too. The caller has asked whether that is meant. While it runs nobody
// can open the namespace, and when it was interrupted that stays so, until Remove was called again and came to its end: the marker goes
// last. Of two calls at once the one that began first takes away nothing more, so nothing of a namespace that is made under the name after
// the end, and fails with [dispatcher.ErrMismatch].
//
// It returns how many keys went. progress, if not nil, is told of that. It fails with [ErrAlive] while workers live, unless
// under is set: then it removes what they have under them, and with [ErrWritten] when they write anew. A process that
// only enqueues is not known, and may write too: what it enqueues after the end stands in a namespace of that name when it is made again.
func Remove(ctx context.Context, rdb redis.UniversalClient, name string, under bool, progress func(keys int)) (int, error) {
	if err := subject.CheckName(name); err != nil {
		return 0, err
	}
	meta, found, err := lanes.ReadMeta(ctx, rdb, name)
	if err == nil && !found {
		err = isLeft(ctx, rdb, name)
	}
	if err != nil {
		return 0, err
	}
	n := lanes.Closed(rdb, meta.Namespace)
	holders, err := alive(ctx, n)
	if err == nil && !under {
		err = refuseWorkers("remove namespace "+name, holders)
	}
	if err != nil {
		return 0, err
	}
	mover, err := n.TakeOver(ctx, meta, lanes.Removing)
	if err != nil {
		return 0, err
	}
	r := &removal{m: mover, own: keysOf(name), fences: make(map[string]bool), progress: progress}
	if err := r.run(ctx); err != nil {
		return r.gone, lanes.Wrap("remove namespace "+name+"; 'namespace rm' again goes on", err)
	}
	return r.gone, nil
}

// Left counts the keys of a namespace whose marker is gone, as when a master of a cluster was lost: it walks over the names of all keys of
// the server. progress, if not nil, is told how many it has seen.
func Left(ctx context.Context, rdb redis.UniversalClient, name string, progress func(keys int)) (left int, err error) {
	if err := subject.CheckName(name); err != nil {
		return 0, err
	}
	seen := 0
	err = walk(ctx, rdb, name, func(keys []string) error {
		if seen += scanKeys; progress != nil {
			progress(seen)
		}
		for _, key := range keys {
			if keysOf(name).MatchString(key) {
				left++
			}
		}
		return nil
	})
	return left, lanes.Wrap("look for keys of namespace "+name, err)
}

// isLeft fails when there is nothing of a namespace that has no marker.
func isLeft(ctx context.Context, rdb redis.UniversalClient, name string) error {
	left, err := Left(ctx, rdb, name, nil)
	if err == nil && left == 0 {
		err = fmt.Errorf("%w: there is no namespace %s", dispatcher.ErrNotFound, name)
	}
	return err
}

// walk reads the names of all keys that begin like those of a namespace, server by server.
func walk(ctx context.Context, rdb redis.UniversalClient, name string, each func(keys []string) error) error {
	return connect.Masters(ctx, rdb, func(node *redis.Client) error {
		return lanes.ScanAll(ctx, func(ctx context.Context, from uint64) *redis.ScanCmd {
			return node.Scan(ctx, from, "{"+name+"*", scanKeys)
		}, each)
	})
}

// keysOf matches the keys of a namespace, and their hash tags: those of its partitions have the number behind the name, and some a second
// one. Names have no braces and no colons, so no other namespace can have such a key.
func keysOf(name string) *regexp.Regexp {
	return regexp.MustCompile(`^\{(` + regexp.QuoteMeta(name) + `(:\d+(\.\d+)?)?)\}:`)
}

// removal is one under way.
type removal struct {
	m        *lanes.Mover
	own      *regexp.Regexp
	fences   map[string]bool // the hashes that say that this run may take away what has their tags
	gone     int
	progress func(keys int)
}

// run walks over all keys until there are none but its fences, takes these, and at last the marker.
func (r *removal) run(ctx context.Context) error {
	for range passes {
		before := r.gone
		if err := walk(ctx, r.m.Redis, r.m.Name, func(keys []string) error { return r.step(ctx, keys) }); err != nil {
			return err
		}
		if r.gone > before {
			continue
		}
		for fence := range r.fences {
			if err := r.unlink(ctx, map[string][]string{fence: {fence}}, 1); err != nil {
				return err
			}
		}
		return r.unlink(ctx, map[string][]string{r.m.Meta(): {r.m.Meta()}}, 1)
	}
	return fmt.Errorf("%w into namespace %s: after %d walks there are new keys; stop all that use it, and repeat this", ErrWritten, r.m.Name, passes)
}

// fenceOf is the hash that says who may take a key away, "" of a key that is not the namespace's: the clock beside it, which is made where
// there is none, or the marker.
func (r *removal) fenceOf(key string) string {
	tag := r.own.FindStringSubmatch(key)
	switch {
	case tag == nil:
		return ""
	case tag[1] == r.m.Name:
		return r.m.Meta()
	}
	return "{" + tag[1] + "}:clock"
}

// step takes away what one step of a walk has found, but for the fences.
func (r *removal) step(ctx context.Context, keys []string) error {
	var ours, fences []string
	for _, key := range keys {
		fence := r.fenceOf(key)
		if fence == "" {
			continue
		}
		if fence != r.m.Meta() && !r.fences[fence] {
			r.fences[fence], fences = true, append(fences, fence)
		}
		if key != fence {
			ours = append(ours, key)
		}
	}
	if len(fences) > 0 {
		if _, err := r.m.Fence(ctx, fences...); err != nil {
			return err
		}
	}
	for len(ours) > 0 {
		some := ours[:min(len(ours), unlinked)]
		by := make(map[string][]string)
		for _, key := range some {
			by[r.fenceOf(key)] = append(by[r.fenceOf(key)], key)
		}
		if err := r.unlink(ctx, by, len(some)); err != nil {
			return err
		}
		ours = ours[len(some):]
	}
	return nil
}

func (r *removal) unlink(ctx context.Context, by map[string][]string, keys int) error {
	if err := r.m.Unlink(ctx, by); err != nil {
		return err
	}
	if r.gone += keys; r.progress != nil {
		r.progress(r.gone)
	}
	return nil
}
