package dispatcher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// LaneFilter picks lanes. The zero value picks all.
type LaneFilter struct {
	State State  // Ready, Leased, Delayed or Suspended
	Kind  string // of the head
}

// Lanes lists lanes, in no order but that ready ones of one kind and partition
// come in the order of their turns. What it costs depends on the page, not on the
// number of lanes; with a filter by kind a page of leased or delayed lanes may be short
// or even empty and still have a next one. Lanes that move meanwhile may be listed twice or not, and so may any of a list without a filter
// while Redis gives the hash of all lanes another size. An
// [IncompleteError] may come beside the list, which goes on then with the partition that follows.
func (d *Dispatcher) Lanes(ctx context.Context, f LaneFilter, page Page) ([]Lane, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	switch f.State {
	case "", Ready, Leased, Delayed, Suspended:
	default:
		return nil, "", invalid("state", f.State, "must be ready, leased, delayed or suspended")
	}
	at, err := parseCursor(page.Cursor, d.ns.Partitions)
	if err != nil {
		return nil, "", err
	}
	var lanes []Lane
	var missing *IncompleteError
	for scanned := 0; at.partition < d.ns.Partitions && scanned < limit; {
		subjects, next, err := d.scanLanes(ctx, f, at, limit-scanned)
		var found []Lane
		if err == nil {
			scanned += len(subjects)
			found, err = d.describe(ctx, at.partition, subjects)
		}
		if err != nil {
			if !connect.IsCluster(d.rdb) {
				return nil, "", err
			}
			if missing, err = missing.without(d.partitionName(at.partition), err); err != nil {
				return nil, "", err
			}
			found, next = nil, cursor{partition: at.partition + 1}
		}
		for _, lane := range found {
			if (f.Kind == "" || lane.Kind == f.Kind) && (f.State == "" || lane.State == f.State) {
				lanes = append(lanes, lane)
			}
		}
		at = next
	}
	if missing.all(d.ns.Partitions) {
		return nil, "", missing.Err
	}
	if at.partition >= d.ns.Partitions {
		return lanes, "", missing.orNil()
	}
	return lanes, at.String(), missing.orNil()
}

// cursor is a place in the walk over a namespace. For lanes by state it is
// partition, list within it, place within the list. For all lanes it is partition,
// how many of a batch of HSCAN were shown, and HSCAN's own cursor: Redis gives a small
// hash in one batch, however few are asked for.
type cursor struct {
	partition, list int
	place           uint64
}

func (c cursor) String() string { return fmt.Sprintf("%d.%d.%d", c.partition, c.list, c.place) }

func parseCursor(text string, partitions int) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	n, err := fmt.Sscanf(text, "%d.%d.%d", &c.partition, &c.list, &c.place)
	if err != nil || n != 3 || c.String() != text || c.partition < 0 || c.partition >= partitions || c.list < 0 {
		return c, invalid("cursor", text, "is not one that an earlier page returned")
	}
	return c, nil
}

// scanLanes reads up to n subjects at a cursor, and says where to go on.
func (d *Dispatcher) scanLanes(ctx context.Context, f LaneFilter, at cursor, n int) ([]string, cursor, error) {
	keys := d.keys[at.partition]
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
			if kinds, err = d.kinds(ctx, at.partition); err != nil {
				return nil, at, err
			}
		}
		if at.list >= len(kinds) {
			return nil, done, nil
		}
		subjects, err = d.members(ctx, keys.Ready(kinds[at.list]), from, to)
		if len(subjects) < n {
			further = cursor{at.partition, at.list + 1, 0}
		}
	case Leased:
		subjects, err = d.inRange(ctx, redis.ZRangeArgs{
			Key: keys.Deadlines(), ByScore: true, Start: "-inf", Stop: "(inf", Offset: from, Count: to - from + 1,
		})
		if len(subjects) < n {
			further = done
		}
	case Delayed, Suspended:
		start, stop := "-inf", "(inf"
		if state == Suspended {
			start, stop = "+inf", "+inf"
		}
		subjects, err = d.inRange(ctx, redis.ZRangeArgs{
			Key: keys.Parked(), ByScore: true, Start: start, Stop: stop, Offset: from, Count: to - from + 1,
		})
		if len(subjects) < n {
			further = done
		}
	default:
		var part scanned
		part, err = scan(ctx, at.place, func(ctx context.Context, from uint64) *redis.ScanCmd {
			return d.rdb.HScan(ctx, keys.Heads(), from, "", int64(n))
		})
		fields, place := part.found, part.next
		for i := 2 * at.list; i+1 < len(fields) && len(subjects) < n; i += 2 {
			subjects = append(subjects, fields[i])
		}
		switch {
		case at.list+len(subjects) < len(fields)/2:
			further = cursor{at.partition, at.list + len(subjects), at.place}
		case place != 0:
			further = cursor{at.partition, 0, place}
		default:
			further = done
		}
	}
	return subjects, further, wrap("list lanes", err)
}

// describe reads lanes of one partition, all at one moment. Subjects without a
// lane and without a lease are left out.
func (d *Dispatcher) describe(ctx context.Context, partition int, subjects []string) ([]Lane, error) {
	if len(subjects) == 0 {
		return nil, nil
	}
	facts, err := d.lookAt(ctx, partition, subjects)
	if err != nil {
		return nil, wrap("read lanes", err)
	}
	lanes := make([]Lane, 0, len(subjects))
	for i, s := range subjects {
		key, err := subject.FromCanonical(s)
		if err != nil {
			return nil, err
		}
		head, _ := facts.heads.Val()[i].(string)
		leased, _ := facts.leases.Val()[i].(string)
		reasons, _ := facts.reasons.Val()[i].(string)
		park, _ := record.ParsePark(reasons)
		if head == "" && leased == "" && !park.Stopped() {
			continue
		}
		lane := Lane{Subject: key, State: Ready, Depth: int(facts.tails[i].Val())}
		lane.readHead(head, facts.note(i))
		asks, _ := facts.asks.Val()[i].(string)
		if again := facts.parked.Val()[i]; again > 0 && park == (record.Park{}) { // its reason is lost: only a repair lets it go on
			park.Suspended = &record.Stop{Why: "nobody knows why: 'lanekeeper doctor'"}
		}
		if leased != "" {
			asked, _ := record.ParseAsks(asks)
			lane.readLease(leased, facts.deadlines.Val()[i], asked)
		} else {
			lane.readPark(park)
		}
		lanes = append(lanes, lane)
	}
	return lanes, nil
}

// look is what a partition says of some lanes at one moment.
type look struct {
	heads, leases, asks, reasons, notes *redis.SliceCmd
	deadlines, parked                   *redis.FloatSliceCmd
	tails                               []*redis.IntCmd
}

// note is that of the head of the ith lane.
func (l *look) note(i int) record.Note {
	text, _ := l.notes.Val()[i].(string)
	n, _ := record.ParseNote(text)
	return n
}

// lookAt asks what a partition says of lanes. Which notes are theirs is known only from their heads; so those are read before,
// and all again when one has changed until then. The third look counts in any case.
func (d *Dispatcher) lookAt(ctx context.Context, partition int, subjects []string) (l look, err error) {
	keys := d.keys[partition]
	heads, err := d.fields(ctx, keys.Heads(), subjects)
	for range 3 {
		if err != nil {
			return l, err
		}
		ids := make([]string, len(heads))
		for i, head := range heads {
			text, _ := head.(string)
			e, _ := record.ParseEntry(text)
			ids[i] = e.ID
		}
		l.tails = make([]*redis.IntCmd, len(subjects))
		err = d.atomically(ctx, func(tx redis.Pipeliner) {
			l.heads = tx.HMGet(ctx, keys.Heads(), subjects...)
			l.leases = tx.HMGet(ctx, keys.Leases(), subjects...)
			l.deadlines = tx.ZMScore(ctx, keys.Deadlines(), subjects...)
			l.parked = tx.ZMScore(ctx, keys.Parked(), subjects...)
			l.asks = tx.HMGet(ctx, keys.Asks(), subjects...)
			l.reasons = tx.HMGet(ctx, keys.ParkReasons(), subjects...)
			l.notes = tx.HMGet(ctx, keys.Notes(), ids...)
			for i, s := range subjects {
				l.tails[i] = tx.LLen(ctx, keys.Tail(s))
			}
		})
		if err == nil && slices.Equal(heads, l.heads.Val()) {
			break
		} else if err == nil {
			heads = l.heads.Val()
		}
	}
	return l, err
}

func (l *Lane) readHead(entry string, note record.Note) {
	e, ok := record.ParseEntry(entry)
	switch {
	case ok && e.IsTicket():
		l.Depth++
		l.Kind, l.ticket = SectionKind, e.ID
	case ok:
		l.Depth++
		l.Attempt, l.MaxAttempts, l.Kind, l.Error = note.Attempts, e.Max, e.Kind, note.Error
		l.HeadID, _ = record.UnpackID(e.ID)
	}
}

// SectionKind is shown as the kind of a lane's head that is no job, but somebody who waits to
// run a section ([Dispatcher.Do]).
const SectionKind = "(section)"

func (l *Lane) readLease(text string, deadline float64, asks record.Asks) {
	r := record.ParseLease(text)
	l.State, l.Holder, l.Token, l.Along = Leased, r.Holder, lease.Token(r.Token), r.Along
	l.Section = r.Use == record.ForSection
	l.ExpiresAt = time.UnixMilli(int64(deadline)).UTC()
	l.Cancelling = asks.Cancel
	if s := asks.Suspend; s != nil {
		l.SuspendedAt, l.Why = s.At, s.Why
	}
	if l.HeadID != "" && r.Use == record.ForJob {
		l.Attempt++ // the lease stands for an attempt that is not over
	}
}

func (l *Lane) readPark(p record.Park) {
	switch {
	case p.Stopped():
		l.State = Suspended
	case !p.Backoff.IsZero():
		l.State, l.RunAt = Delayed, p.Backoff
	}
	if p.Job {
		l.Why = "its head is suspended"
	}
	if s := p.Suspended; s != nil {
		l.SuspendedAt, l.Why = s.At, s.Why
	}
	if h := p.Halted; h != nil {
		why := "halted: " + h.Why
		if l.Why != "" {
			why += "; suspended: " + l.Why
		}
		l.SuspendedAt, l.Halted, l.Why = h.At, true, why
	}
}

// kinds returns the kinds that a partition has seen, sorted.
func (d *Dispatcher) kinds(ctx context.Context, partition int) ([]string, error) {
	kinds, err := connect.Ask(ctx, func(ctx context.Context) ([]string, error) {
		return d.rdb.SMembers(ctx, d.keys[partition].Kinds()).Result()
	})
	return sorted(kinds), wrap("list kinds", err)
}
