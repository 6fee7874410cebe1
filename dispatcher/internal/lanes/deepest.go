package lanes

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// Deep is what a look for the deepest lanes of a partition has seen: how many jobs are behind the head of each lane. Drawn is how
// many of all its stored jobs were drawn by chance; 0 is that it has looked at all lanes.
type Deep struct {
	Behind map[string]int // by subject, canonical
	Jobs   int
	Drawn  int
}

// A step draws so many jobs; a look reads so many bytes of them.
const (
	deepStep  = 200
	deepBytes = 16 << 20
)

// LookDeep looks at all lanes of a partition, or, where there are more than most, at those of up to most jobs that it draws by chance.
// The jobs of a lane are drawn as often as there are of them, so a lane that is deep enough is found, however many others there are,
// and nobody keeps a list of them.
func (n *Namespace) LookDeep(ctx context.Context, p, most int) (d Deep, err error) {
	d.Behind = make(map[string]int)
	keys := n.keys[p]
	var heads, jobs *redis.IntCmd
	var largest *redis.StringCmd
	err = n.Together(ctx, func(pipe redis.Pipeliner) {
		heads, jobs, largest = pipe.HLen(ctx, keys.Heads()), pipe.HLen(ctx, keys.Jobs()), pipe.HGet(ctx, keys.Clock(), "largest")
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return d, Wrap("look for deep lanes", err)
	}
	d.Jobs = int(jobs.Val())
	if heads.Val() <= int64(most)+1 { // one is the filler
		err = n.ScanHash(ctx, keys.Heads(), func(subject, _ string) {
			if subject != record.Filler {
				d.Behind[subject] = 0
			}
		})
	} else {
		size, _ := strconv.Atoi(largest.Val())
		d.Drawn, err = n.draw(ctx, p, most, max(size, Small), d.Behind)
	}
	if err == nil {
		err = n.countBehind(ctx, p, d.Behind)
	}
	return d, Wrap("look for deep lanes", err)
}

// draw draws jobs of a partition, none of which has more bytes than the largest, and notes their subjects. One may be drawn twice.
func (n *Namespace) draw(ctx context.Context, p, most, largest int, subjects map[string]int) (drawn int, err error) {
	for bytes := 0; drawn < most && bytes < deepBytes; {
		step := min(deepStep, most-drawn)
		var jobs []redis.KeyValue
		if largest <= Small {
			jobs, err = connect.Ask(ctx, func(ctx context.Context) ([]redis.KeyValue, error) {
				return n.Redis.HRandFieldWithValues(ctx, n.keys[p].Jobs(), -step).Result()
			})
		} else {
			jobs, err = n.drawLarge(ctx, p, step, deepBytes-bytes)
		}
		if err != nil || len(jobs) == 0 {
			return drawn, err
		}
		for _, job := range jobs {
			bytes += len(job.Value)
			if _, stored, err := record.DecodeJob(job.Key, job.Value); err == nil {
				subjects[stored.Subject.Canonical()] = 0
			}
		}
		drawn += len(jobs)
	}
	return drawn, nil
}

// drawLarge draws jobs whose sizes it has to ask for first, so that no trip brings more than MostBytes, or one job; and no more of
// them than have so many bytes.
func (n *Namespace) drawLarge(ctx context.Context, p, step, room int) (jobs []redis.KeyValue, err error) {
	key := n.keys[p].Jobs()
	ids, err := connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return n.Redis.HRandField(ctx, key, -step).Result() })
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	lengths := make([]*redis.IntCmd, len(ids))
	err = n.Together(ctx, func(pipe redis.Pipeliner) {
		for i, id := range ids {
			lengths[i] = pipe.HStrLen(ctx, key, id)
		}
	})
	for from := 0; err == nil && from < len(ids) && room > 0; {
		to, bytes := from, 0
		for to < len(ids) {
			if bytes += int(lengths[to].Val()); to > from && bytes > MostBytes {
				break
			}
			to++
		}
		var bodies []any
		bodies, err = n.Fields(ctx, key, ids[from:to])
		for i, body := range bodies {
			text, _ := body.(string) // "" of one that has gone meanwhile
			jobs, room = append(jobs, redis.KeyValue{Key: ids[from+i], Value: text}), room-len(text)
		}
		from = to
	}
	return jobs, err
}

// countBehind counts what is behind the heads of lanes.
func (n *Namespace) countBehind(ctx context.Context, p int, subjects map[string]int) error {
	names := make([]string, 0, len(subjects))
	for s := range subjects {
		names = append(names, s)
	}
	for at := 0; at < len(names); at += 500 {
		some := names[at:min(at+500, len(names))]
		lengths := make([]*redis.IntCmd, len(some))
		err := n.Together(ctx, func(pipe redis.Pipeliner) {
			for i, s := range some {
				lengths[i] = pipe.LLen(ctx, n.keys[p].Tail(s))
			}
		})
		if err != nil {
			return err
		}
		for i, s := range some {
			subjects[s] = int(lengths[i].Val())
		}
	}
	return nil
}
