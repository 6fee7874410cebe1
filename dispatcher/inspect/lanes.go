package inspect

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// LaneFilter picks lanes. The zero value picks all that have jobs. A State walks one index alone,
// and lists what is in it without jobs too: leased subjects on which a section runs, suspended
// ones that are empty. Slots of limits are no lanes: [Inspector.KindLimit] has them. A Kind without a State walks the four states one after the other.
type LaneFilter struct {
	State State  // Ready, Leased, Delayed, Suspended or Barred
	Kind  string // of the head
}

// Lanes lists lanes and returns the cursor of the next page. They come in no order but that ready
// ones of one kind and partition come in the order of their turns.
//
// Its cost depends on the page, not on the number of lanes; a page of leased lanes,
// or with a filter by kind of delayed ones, may be short or even empty and still have a next one. Each part of a
// page, which is of one partition and one index, takes a command or two that find subjects, and
// two round trips that read them at one moment, with one LLEN for each lane among them.
//
// Lanes that move meanwhile may be listed twice or not. Without a filter a page may be an eighth shorter than asked
// for, and all are listed that are there from the first page to the last, and some twice when Redis gives the hash of all
// lanes another size meanwhile; but pages of a handful may miss one then. A total comes from [Inspector.Stats], which
// counts and lists nothing.
//
// A state that is none of the five is an error that wraps [dispatcher.ErrInvalid]. A
// [dispatcher.IncompleteError] may come beside the list, which goes on then with the partition
// that follows.
func (in *Inspector) Lanes(ctx context.Context, f LaneFilter, page Page) ([]Lane, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	switch f.State {
	case "", Ready, Leased, Delayed, Suspended, Barred:
	default:
		return nil, "", lanes.Invalid("state", f.State, "must be ready, leased, delayed, suspended or barred")
	}
	at, err := parseCursor(page.Cursor, in.lanes.Partitions)
	if err != nil {
		return nil, "", err
	}
	all := []Lane{}
	var missing *dispatcher.IncompleteError
	spare := 0 // what a page may stay short of
	if f == (LaneFilter{}) {
		spare = limit / 8
	}
	for scanned := 0; at.partition < in.lanes.Partitions && limit-scanned > spare; {
		subjects, next, err := in.scanLanes(ctx, f, at, limit-scanned)
		var found []Lane
		if err == nil {
			scanned += len(subjects)
			found, err = in.describe(ctx, at.partition, subjects)
		}
		if err != nil {
			if !connect.IsCluster(in.lanes.Redis) {
				return nil, "", err
			}
			if missing, err = missing.Without(in.lanes.PartitionName(at.partition), err); err != nil {
				return nil, "", err
			}
			found, next = nil, cursor{partition: at.partition + 1}
		}
		for _, lane := range found {
			if (f.Kind == "" || lane.Kind == f.Kind) && (f.State == "" || lane.State == f.State) && lane.Subject.Kind != subject.SlotKind {
				all = append(all, lane)
			}
		}
		at = next
	}
	if missing.All(in.lanes.Partitions) {
		return nil, "", missing.Err
	}
	if at.partition >= in.lanes.Partitions {
		return all, "", missing.OrNil()
	}
	return all, at.String(), missing.OrNil()
}

// cursor is a place in the walk over a namespace. For lanes by state it is partition, list within
// it, place within the list. For all lanes it is partition, the rank up to which a bucket was shown, if it was shown in
// part, and HSCAN's own cursor.
type cursor struct {
	partition, list int
	place           uint64
}

func (c cursor) String() string { return fmt.Sprintf("%d.%d.%d", c.partition, c.list, c.place) }

// parseCursor takes only what String writes. A place that is no longer there is no error: the
// list goes on behind it.
func parseCursor(text string, partitions int) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	n, err := fmt.Sscanf(text, "%d.%d.%d", &c.partition, &c.list, &c.place)
	if err != nil || n != 3 || c.String() != text || c.partition < 0 || c.partition >= partitions || c.list < 0 {
		return c, lanes.Invalid("cursor", text, "is not one that an earlier page returned")
	}
	return c, nil
}

// scanLanes reads up to n subjects at a cursor, with one command, and says where to go on. It
// reads the one index that has the state: a list for each kind of ready lanes, or a sorted set
// whose score is a time, which is infinite for suspended lanes.
func (in *Inspector) scanLanes(ctx context.Context, f LaneFilter, at cursor, n int) ([]string, cursor, error) {
	keys := in.lanes.Keys(at.partition)
	done := cursor{partition: at.partition + 1}
	from, to := int64(at.place), int64(at.place)+int64(n)-1
	further := cursor{at.partition, at.list, at.place + uint64(n)}
	var subjects []string
	var err error
	state := f.State
	if state == "" && f.Kind != "" { // by their states: few lanes of one kind are found among many
		state = []State{Ready, Leased, Delayed, Suspended}[min(at.list, 3)]
		done = cursor{partition: at.partition, list: at.list + 1}
		if at.list >= 3 {
			done = cursor{partition: at.partition + 1}
		}
	}
	switch state {
	case Ready:
		kinds := []string{f.Kind}
		if f.Kind == "" {
			if kinds, err = in.kinds(ctx, at.partition); err != nil {
				return nil, at, err
			}
		}
		if at.list >= len(kinds) {
			return nil, done, nil
		}
		subjects, err = in.lanes.Members(ctx, keys.Ready(kinds[at.list]), from, to)
		if len(subjects) < n {
			further = cursor{at.partition, at.list + 1, 0}
		}
	case Leased:
		subjects, err = in.lanes.InRange(ctx, redis.ZRangeArgs{
			Key: keys.Deadlines(), ByScore: true, Start: "-inf", Stop: "(inf", Offset: from, Count: to - from + 1,
		})
		if len(subjects) < n {
			further = done
		}
	case Delayed, Suspended, Barred: // whom a hold bars waits for its end as for that of a backoff
		start, stop := "-inf", "(inf"
		if state == Suspended {
			start, stop = "+inf", "+inf"
		}
		subjects, err = in.lanes.InRange(ctx, redis.ZRangeArgs{
			Key: keys.Parked(), ByScore: true, Start: start, Stop: stop, Offset: from, Count: to - from + 1,
		})
		if len(subjects) < n {
			further = done
		}
	default:
		subjects, further, err = in.scanHeads(ctx, at, n)
	}
	return subjects, further, lanes.Wrap("list lanes", err)
}

// scanHeads reads up to n subjects of all lanes, with a few steps of HSCAN, and ends where a step does: Redis fills a step up to
// its COUNT, in an order that changes while it resizes the hash, so within one there is no place where a list could go on. A step
// that is more than a page is asked for again as one bucket of the hash, which has the same lanes as long as they are there; that
// is cut, in an order of our own.
func (in *Inspector) scanHeads(ctx context.Context, at cursor, n int) (subjects []string, further cursor, err error) {
	for {
		room, one := n-len(subjects), at.list > 0
		count := max(1, min(64, room/2))
		if one {
			count = 1
		}
		part, err := lanes.Scan(ctx, at.place, func(ctx context.Context, from uint64) *redis.ScanCmd {
			return in.lanes.Redis.HScan(ctx, in.lanes.Keys(at.partition).Heads(), from, "", int64(count))
		})
		if err != nil {
			return nil, at, err
		}
		var step []string
		for i := 0; i+1 < len(part.Found); i += 2 {
			if rank(part.Found[i]) > at.list {
				step = append(step, part.Found[i])
			}
		}
		switch {
		case len(step) > room && len(subjects) > 0:
			return subjects, at, nil
		case len(step) > room && count > 1:
			at.list = 1 // below each rank: one bucket
			continue
		case len(step) > room:
			slices.SortFunc(step, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
			for room < len(step) && rank(step[room]) == rank(step[room-1]) {
				room++ // those of one rank come together
			}
			if room < len(step) {
				return step[:room], cursor{at.partition, rank(step[room-1]), at.place}, nil
			}
		}
		subjects = append(subjects, step...)
		if part.Next == 0 {
			return subjects, cursor{partition: at.partition + 1}, nil
		}
		if at = (cursor{at.partition, 0, part.Next}); n-len(subjects) <= n/8 {
			return subjects, at, nil
		}
	}
}

// rank is the place of a subject in a bucket, above 1.
func rank(subject string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject))
	return int(h.Sum32()>>1) + 2
}

// describe reads lanes of one partition, all at one moment. Subjects without a lane and without a
// lease are left out.
func (in *Inspector) describe(ctx context.Context, partition int, subjects []string) ([]Lane, error) {
	looks, err := in.lanes.Look(ctx, partition, subjects)
	if err != nil {
		return nil, err
	}
	all := make([]Lane, 0, len(looks))
	for k := range looks {
		if looks[k].Empty() {
			continue
		}
		lane, err := laneOf(&looks[k])
		if err != nil {
			return nil, err
		}
		all = append(all, lane)
	}
	return all, nil
}

// one reads the lane of a subject, which is [dispatcher.ErrNotFound] when there is none.
func (in *Inspector) one(ctx context.Context, key subject.Key) (Lane, error) {
	found, err := in.describe(ctx, in.lanes.Partition(key), []string{key.Canonical()})
	if err != nil {
		return Lane{}, err
	}
	if len(found) == 0 {
		return Lane{}, fmt.Errorf("%w: %s has no lane: no jobs wait and nobody holds it", dispatcher.ErrNotFound, key)
	}
	return found[0], nil
}

// laneOf is a lane as an operator sees it. The engine has decided what its state is; this names
// it, and leaves out what does not belong to that state.
func laneOf(l *lanes.Lane) (Lane, error) {
	key, err := subject.FromCanonical(l.Subject)
	if err != nil {
		return Lane{}, err
	}
	lane := Lane{Subject: key, State: State(l.State()), Depth: l.Behind, look: l}
	stop, halted := l.Why()
	lane.SuspendedAt, lane.SuspendedBy, lane.Why, lane.Halted = stop.At, stop.By, stop.Why, halted
	switch {
	case l.IsJob():
		lane.Depth++
		lane.Attempt, lane.MaxAttempts, lane.Kind, lane.Error = l.Attempt(), l.Head.Max, l.Head.Kind, l.Note.Error
		lane.HeadID, _ = record.UnpackID(l.Head.ID)
	case l.Head.ID != "":
		lane.Depth++
		lane.Kind = SectionKind
	}
	switch {
	case l.Leased:
		lane.Holder, lane.Token, lane.Along = l.Lease.Holder, lease.Token(l.Lease.Token), l.Lease.Along
		lane.Section, lane.Cancelling = l.InSection(), l.Asks.Cancel
		lane.ExpiresAt = l.Until
	case lane.State == Delayed:
		lane.RunAt = l.Park.Backoff
	}
	return lane, nil
}

// SectionKind is shown as the kind of a lane's head that is no job, but somebody who waits to run
// a section ([dispatcher.Dispatcher.Do]).
const SectionKind = "(section)"

// kinds returns the kinds that a partition has seen, sorted, so that a cursor can count them:
// those that ready lists may exist for, whether they are declared or not.
func (in *Inspector) kinds(ctx context.Context, partition int) ([]string, error) {
	kinds, err := connect.Ask(ctx, func(ctx context.Context) ([]string, error) {
		return in.lanes.Redis.SMembers(ctx, in.lanes.Keys(partition).Kinds()).Result()
	})
	slices.Sort(kinds)
	return kinds, lanes.Wrap("list kinds", err)
}
