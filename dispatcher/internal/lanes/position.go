package lanes

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

const (
	nearFront  = 1000     // jobs of a tail that are searched one by one: those that were put back at its front are there
	nearby     = 256      // entries that are read to end a search
	probes     = 15       // places that one step of a search looks at
	probeBytes = 64 << 10 // the most of a stored job that a probe reads
)

// Position is the place of a job in its lane, 1 for the head, and 0 when it is not known. Redis would have to look
// at each entry before it; orders rise along a tail, so a few probes find it: one trip for a job near the head, and
// in a lane of a million three trips for each of five steps. It is not known of a job that was put back at the front
// of a deep lane, or stands among jobs that are all very large.
func (n *Namespace) Position(ctx context.Context, key subject.Key, job record.Job, packed string) (int, error) {
	p := n.Partition(key)
	keys, canonical := n.keys[p], key.Canonical()
	tail, entry := keys.Tail(canonical), job.Entry(packed).String()
	var head *redis.StringCmd
	var depth, place *redis.IntCmd
	err := n.Together(ctx, func(pipe redis.Pipeliner) {
		head, depth = pipe.HGet(ctx, keys.Heads(), canonical), pipe.LLen(ctx, tail)
		place = pipe.LPos(ctx, tail, entry, redis.LPosArgs{MaxLen: nearFront})
	})
	switch err = answer(err); {
	case err != nil:
		return 0, Wrap("look for a job", err)
	case head.Val() == entry:
		return 1, nil
	case place.Err() == nil:
		return 2 + int(place.Val()), nil
	}
	from, to := int64(nearFront), depth.Val()
	for to-from > nearby {
		before, behind, err := n.probe(ctx, p, tail, job.Order, from, to)
		if err != nil {
			return 0, Wrap("look for a job", err)
		}
		if before == from && behind == to {
			return 0, nil
		}
		from, to = before, behind
	}
	from = max(0, from-nearby) // the lane has gone on meanwhile
	entries, err := n.Members(ctx, tail, from, to)
	if i := slices.Index(entries, entry); i >= 0 {
		return 2 + int(from) + i, nil
	}
	return 0, Wrap("look for a job", err)
}

// probe looks at some entries between two places of a tail, and returns between which of them a job with an order stands.
func (n *Namespace) probe(ctx context.Context, p int, tail string, order, from, to int64) (before, behind int64, err error) {
	at, entries := make([]int64, probes), make([]*redis.StringCmd, probes)
	err = n.Together(ctx, func(pipe redis.Pipeliner) {
		for i := range at {
			at[i] = from + (to-from)*int64(i+1)/(probes+1)
			entries[i] = pipe.LIndex(ctx, tail, at[i])
		}
	})
	if answer(err) != nil {
		return 0, 0, err
	}
	ids, sizes := make([]string, probes), make([]*redis.IntCmd, probes)
	err = n.Together(ctx, func(pipe redis.Pipeliner) {
		for i := range ids {
			e, _ := record.ParseEntry(entries[i].Val())
			ids[i] = e.ID
			sizes[i] = pipe.HStrLen(ctx, n.keys[p].Jobs(), e.ID)
		}
	})
	if err != nil {
		return 0, 0, err
	}
	for i := range ids { // of one that is too large, or gone, nothing is known
		if size := sizes[i].Val(); size == 0 || size > probeBytes {
			ids[i] = ""
		}
	}
	bodies, err := n.Fields(ctx, n.keys[p].Jobs(), ids)
	before, behind = from, to
	for i, body := range bodies {
		text, ok := body.(string)
		switch {
		case !ok:
		case record.OrderOf(text) <= order:
			before = at[i]
		case at[i] < behind:
			behind = at[i]
		}
	}
	return before, behind, err
}
