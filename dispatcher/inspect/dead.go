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
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// DeadLetters lists the dead letters of all lanes that a filter picks, the latest first, and returns the cursor of
// the next page. They are jobs that are out of attempts or were given up, with payload, reason
// and last error, and stay until somebody calls [dispatcher.Dispatcher.Replay] or Discard, or their kind keeps them
// no longer. Whoever acts on all that fit has [dispatcher.Dispatcher.DeadMatching].
//
// Letters that are made while a list is read stand before its first page, and are not seen by it;
// those that are replayed or discarded meanwhile drop out. A loop over all pages may replay what
// it has read.
//
// Each page costs the same however many there are, and reads 16 MiB of jobs at most, so it may be
// shorter than it was asked to be; with a kind, a reason or a subject it looks at 2000 letters at most, and may be
// empty and still have a next one. It takes one ZRANGE in each partition, as a rule, and two
// round trips for what was found, and with such a filter as much for each 500 that it looks at. A
// [dispatcher.IncompleteError] may come beside the list:
// letters of the partitions that it names are missing then, and a later page brings only those of
// them that are older than its cursor.
func (in *Inspector) DeadLetters(ctx context.Context, f dispatcher.DeadFilter, page Page) ([]JobInfo, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	from, err := parseDeadCursor(page.Cursor)
	if err != nil {
		return nil, "", err
	}
	if err := f.Validate(); err != nil {
		return nil, "", err
	}
	since, before := f.Bounds()
	w := deadWalk{in: in, filter: f, since: since, at: from, parts: in.lanes.EveryPartition()}
	if w.at.at > before {
		w.at = grave{at: before}
	}
	if f.Subject != (subject.Key{}) {
		w.parts = []int{in.lanes.Partition(f.Subject)}
	}
	step := limit
	if f.Kind != "" || f.Reason != "" || f.Subject != (subject.Key{}) {
		step = mostGraves
	}
	letters := []JobInfo{} // it becomes JSON
	for looked := 0; len(letters) < limit && looked < mostLooked && !w.over && !w.heavy; looked += step {
		more, err := w.step(ctx, step, limit-len(letters))
		if err != nil {
			return nil, "", err
		}
		letters = append(letters, more...)
		if step == limit {
			break // what dropped out meanwhile is not made up for
		}
	}
	next := ""
	if !w.over {
		next = w.at.cursor()
	}
	return letters, next, w.missing.OrNil()
}

// How many letters a step of a list with a filter looks at, and how many a page of it does.
const mostGraves, mostLooked = 500, 2000

// deadWalk goes through dead letters for one page, the latest first.
type deadWalk struct {
	in      *Inspector
	filter  dispatcher.DeadFilter
	parts   []int   // partitions to look at
	since   float64 // ms; the walk ends before older ones
	at      grave   // the last that was looked at
	bytes   int     // of jobs that were read
	over    bool    // there is none behind at
	heavy   bool    // the page has as many bytes as it may
	missing *dispatcher.IncompleteError
}

// step looks at the next n letters and returns those that the filter picks, up to a limit.
func (w *deadWalk) step(ctx context.Context, n, limit int) ([]JobInfo, error) {
	// The latest of every partition, of which the step takes the latest of all.
	graves := make([][]grave, len(w.parts))
	missing, _, err := w.in.lanes.Across(w.parts, func(i int) (err error) {
		graves[i], err = w.in.graves(ctx, w.parts[i], w.at, w.since, n+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	w.missing = cmp.Or(w.missing, missing)
	all := slices.Concat(graves...) // those that could not be asked have none
	slices.SortFunc(all, func(a, b grave) int {
		return -cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.id, b.id))
	})
	w.over = len(all) <= n
	all = all[:min(n, len(all))]
	read, all, err := w.light(ctx, all)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	found, err := w.in.exhume(ctx, read)
	if err != nil {
		return nil, err
	}
	letters, last := []JobInfo{}, all[len(all)-1]
	for i, job := range found {
		if job == nil || !w.filter.Picks(job.Kind, job.Subject, job.Reason) {
			continue
		}
		if letters = append(letters, *job); len(letters) == limit && read[i] != last {
			w.over, last = false, read[i]
		}
		if len(letters) == limit {
			break
		}
	}
	w.at = last
	return letters, nil
}

// light returns those of some letters whose jobs are to be read, and how far the page gets with them: to the first that
// would make it too heavy. With a filter by reason only those that fit are read.
func (w *deadWalk) light(ctx context.Context, all []grave) (read, upTo []grave, err error) {
	places := make([]jobPlace, len(all))
	for i, g := range all {
		places[i] = jobPlace{g.partition, g.id}
	}
	sizes, err := w.in.sizes(ctx, places)
	if err != nil {
		return nil, nil, err
	}
	var reasons []string
	if w.filter.Reason != "" {
		if reasons, err = w.in.reasons(ctx, all); err != nil {
			return nil, nil, err
		}
	}
	for i, g := range all {
		if reasons != nil {
			if _, reason, _ := record.ParseReason(reasons[i]); reason != w.filter.Reason {
				continue
			}
		}
		if w.bytes+sizes[i] > pageBytes && w.bytes > 0 {
			w.over, w.heavy = false, true
			return read, all[:i], nil
		}
		w.bytes += sizes[i]
		read = append(read, g)
	}
	return read, all, nil
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

// graves reads up to n dead letters of a partition that come before a cursor and died at a time, ms, or later. The cursor's own
// letter comes again, and those of its very time in other partitions, and are passed over;
// therefore a second command may be needed, and hardly ever a third.
func (in *Inspector) graves(ctx context.Context, p int, before grave, since float64, n int) ([]grave, error) {
	var found []grave
	for offset := int64(0); len(found) < n; offset += int64(n) {
		zs, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.Z, error) {
			return in.lanes.Redis.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
				Key: in.lanes.Keys(p).Dead(), Start: lanes.Score(before.at), Stop: lanes.Score(since),
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

// reasons reads why letters died, in one round trip.
func (in *Inspector) reasons(ctx context.Context, graves []grave) ([]string, error) {
	found := make([]*redis.StringCmd, len(graves))
	err := in.lanes.Together(ctx, func(pipe redis.Pipeliner) {
		for i, g := range graves {
			found[i] = pipe.HGet(ctx, in.lanes.Keys(g.partition).Reasons(), g.id)
		}
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, lanes.Wrap("read dead letters", err)
	}
	reasons := make([]string, len(graves))
	for i, one := range found {
		reasons[i] = one.Val()
	}
	return reasons, nil
}

// exhume reads dead letters in one round trip, with nil for those that were replayed or discarded
// meanwhile. A body that can't be read is no error here: the letter is shown with what is stored
// as its payload, for this is the one place from which it can be discarded.
func (in *Inspector) exhume(ctx context.Context, graves []grave) ([]*JobInfo, error) {
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
	letters := make([]*JobInfo, len(graves))
	for i, g := range graves {
		if bodies[i].Err() != nil {
			continue
		}
		id, stored, _ := lanes.Decode(g.id, bodies[i].Val())
		letters[i] = &JobInfo{Job: dispatcher.JobOf(id, stored)}
		letters[i].die(g.at, reasons[i].Val())
	}
	return letters, nil
}
