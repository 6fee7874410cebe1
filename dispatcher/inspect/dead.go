package inspect

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// DeadLetters lists the dead letters of all lanes, the latest first, and returns the cursor of
// the next page. They are jobs that are out of attempts or were given up, with payload, reason
// and last error, and stay until somebody calls [dispatcher.Dispatcher.Replay] or Discard.
//
// Letters that are made while a list is read stand before its first page, and are not seen by it;
// those that are replayed or discarded meanwhile drop out. A loop over all pages may replay what
// it has read.
//
// Each page costs the same however many there are, and reads 16 MiB of jobs at most, so it may be
// shorter than it was asked to be. It takes one ZRANGE in each partition, as a rule, and two
// round trips for what was found. A [dispatcher.IncompleteError] may come beside the list:
// letters of the partitions that it names are missing then, and a later page brings only those of
// them that are older than its cursor.
func (in *Inspector) DeadLetters(ctx context.Context, page Page) ([]JobInfo, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	before, err := parseDeadCursor(page.Cursor)
	if err != nil {
		return nil, "", err
	}
	// The latest of every partition, of which the page takes the latest of all.
	parts := in.lanes.EveryPartition()
	graves := make([][]grave, len(parts))
	missing, _, err := in.lanes.Across(parts, func(i int) (err error) {
		graves[i], err = in.graves(ctx, parts[i], before, limit+1)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	all := slices.Concat(graves...) // those that could not be asked have none
	slices.SortFunc(all, func(a, b grave) int {
		return -cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.id, b.id))
	})
	next := ""
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].cursor()
	}
	places := make([]jobPlace, len(all))
	for i, g := range all {
		places[i] = jobPlace{g.partition, g.id}
	}
	sizes, err := in.sizes(ctx, places)
	if err != nil {
		return nil, "", err
	}
	if n := upTo(pageBytes, sizes); n < len(all) {
		all = all[:n]
		next = all[n-1].cursor()
	}
	letters, err := in.exhume(ctx, all)
	return letters, next, cmp.Or(err, missing.OrNil())
}

// grave is a dead letter's place in the order of deaths, which is that of the list turned round.
// No two of one partition die at the same time: see bury. Between partitions the id decides.
type grave struct {
	partition int
	at        float64 // ms
	id        string
}

// cursor is the place as a text, in characters that need no quotes in a shell or a URL: the id is
// any bytes, so it is in hexadecimal.
func (g grave) cursor() string {
	return strconv.FormatFloat(g.at, 'f', -1, 64) + "." + hex.EncodeToString([]byte(g.id))
}

// before reports whether the letter died before another one, and so comes after it in the list.
func (g grave) before(c grave) bool {
	return g.at < c.at || g.at == c.at && g.id < c.id
}

// parseDeadCursor reads a cursor: it takes only what cursor writes, for two texts of one place
// would be two names of a page. The empty one is a time after all others, in ms, that a float64
// still counts by ones.
func parseDeadCursor(text string) (grave, error) {
	if text == "" {
		return grave{at: 1 << 52}, nil
	}
	dot := max(0, strings.LastIndexByte(text, '.'))
	at, err := strconv.ParseFloat(text[:dot], 64)
	id, bad := hex.DecodeString(strings.TrimPrefix(text[dot:], "."))
	g := grave{at: at, id: string(id)}
	if err != nil || bad != nil || !(at >= 0 && at < 1<<53) || g.cursor() != text {
		return g, lanes.Invalid("cursor", text, "is not one that an earlier page returned")
	}
	return g, nil
}

// graves reads up to n dead letters of a partition that come before a cursor. The cursor's own
// letter comes again, and those of its very time in other partitions, and are passed over;
// therefore a second command may be needed, and hardly ever a third.
func (in *Inspector) graves(ctx context.Context, p int, before grave, n int) ([]grave, error) {
	var found []grave
	for offset := int64(0); len(found) < n; offset += int64(n) {
		zs, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.Z, error) {
			return in.lanes.Redis.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
				Key: in.lanes.Keys(p).Dead(), Start: strconv.FormatFloat(before.at, 'f', -1, 64), Stop: "-inf",
				ByScore: true, Rev: true, Offset: offset, Count: int64(n),
			}).Result()
		})
		if err != nil {
			return nil, lanes.Wrap("list dead letters", err)
		}
		for _, z := range zs {
			g := grave{p, z.Score, z.Member.(string)}
			if g.before(before) {
				found = append(found, g)
			}
		}
		if len(zs) < n {
			break
		}
	}
	return found, nil
}

// exhume reads dead letters in one round trip, leaving out those that were replayed or discarded
// meanwhile. A body that can't be read is no error here: the letter is shown with what is stored
// as its payload, for this is the one place from which it can be discarded.
func (in *Inspector) exhume(ctx context.Context, graves []grave) ([]JobInfo, error) {
	bodies := make([]*redis.StringCmd, len(graves))
	reasons := make([]*redis.StringCmd, len(graves))
	err := in.lanes.Together(ctx, func(pipe redis.Pipeliner) {
		for i, g := range graves {
			keys := in.lanes.Keys(g.partition)
			bodies[i] = pipe.HGet(ctx, keys.Jobs(), g.id)
			reasons[i] = pipe.HGet(ctx, keys.Reasons(), g.id)
		}
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, lanes.Wrap("read dead letters", err)
	}
	letters := make([]JobInfo, 0, len(graves))
	for i, g := range graves {
		if bodies[i].Err() != nil {
			continue
		}
		id, stored, _ := lanes.Decode(g.id, bodies[i].Val())
		info := JobInfo{Job: dispatcher.JobOf(id, stored)}
		info.die(g.at, reasons[i].Val())
		letters = append(letters, info)
	}
	return letters, nil
}
