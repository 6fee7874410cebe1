package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// State is where a lane or a job is.
type State string

// The states of lanes and jobs. A lane is ready, leased or delayed; its head has
// the lane's state.
const (
	Ready     State = "ready"     // the head can be claimed
	Leased    State = "leased"    // somebody holds the subject
	Delayed   State = "delayed"   // the head failed and waits for its next attempt
	Waiting   State = "waiting"   // a job behind its lane's head
	Scheduled State = "scheduled" // a job whose run-at has not come
	Dead      State = "dead"      // a dead letter
)

// Lane is one lane as an operator sees it.
type Lane struct {
	Subject     subject.Key
	State       State
	Depth       int // jobs in the lane, the head among them
	Kind        string
	HeadID      string
	Attempt     int // of the running attempt, or how many have ended
	MaxAttempts int
	Token       lease.Token // 0 without a lease
	Holder      string
	ExpiresAt   time.Time // end of the lease
	RunAt       time.Time // when a delayed head may run
	Error       string    // of the head's last attempt
}

// JobInfo is one job as an operator sees it.
type JobInfo struct {
	Job
	State     State
	Attempt   int
	Token     lease.Token
	Holder    string
	ExpiresAt time.Time
	RunAt     time.Time // of a delayed or scheduled job
	DiedAt    time.Time
	Reason    string // of a dead letter
	Error     string // of the last attempt
}

// Page asks for a part of a list: at most Limit entries, which defaults to 50 and
// may be 500, from a Cursor that an earlier page returned. An empty cursor starts
// a list, and an empty next cursor ends it.
type Page struct {
	Cursor string
	Limit  int
}

func (p Page) limit() (int, error) {
	if p.Limit < 0 || p.Limit > 500 {
		return 0, invalid("limit", p.Limit, "must be 1 to 500")
	}
	if p.Limit == 0 {
		return 50, nil
	}
	return p.Limit, nil
}

// LaneFilter picks lanes. The zero value picks all.
type LaneFilter struct {
	State State  // Ready, Leased or Delayed
	Kind  string // of the head
}

// Lanes lists lanes, in no order but that ready ones of one kind and partition
// come in the order of their turns. What it costs depends on the page, not on the
// number of lanes; with a filter by kind a page may be short or even empty and
// still have a next one. Lanes that move meanwhile may be listed twice or not.
func (d *Dispatcher) Lanes(ctx context.Context, f LaneFilter, page Page) ([]Lane, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	switch f.State {
	case "", Ready, Leased, Delayed:
	default:
		return nil, "", invalid("state", f.State, "must be ready, leased or delayed")
	}
	at, err := parseCursor(page.Cursor, d.ns.Partitions)
	if err != nil {
		return nil, "", err
	}
	var lanes []Lane
	for scanned := 0; at.partition < d.ns.Partitions && scanned < limit; {
		subjects, next, err := d.scanLanes(ctx, f, at, limit-scanned)
		if err != nil {
			return nil, "", err
		}
		scanned += len(subjects)
		found, err := d.describe(ctx, at.partition, subjects)
		if err != nil {
			return nil, "", err
		}
		for _, lane := range found {
			if (f.Kind == "" || lane.Kind == f.Kind) && (f.State == "" || lane.State == f.State) {
				lanes = append(lanes, lane)
			}
		}
		at = next
	}
	if at.partition >= d.ns.Partitions {
		return lanes, "", nil
	}
	return lanes, at.String(), nil
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
	keys := d.ns.Keys(at.partition)
	done := cursor{partition: at.partition + 1}
	from, to := int64(at.place), int64(at.place)+int64(n)-1
	further := cursor{at.partition, at.list, at.place + uint64(n)}
	var subjects []string
	var err error
	switch f.State {
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
		subjects, err = d.rdb.LRange(ctx, keys.Ready(kinds[at.list]), from, to).Result()
		if len(subjects) < n {
			further = cursor{at.partition, at.list + 1, 0}
		}
	case Leased:
		subjects, err = d.rdb.ZRange(ctx, keys.Deadlines(), from, to).Result()
		if len(subjects) < n {
			further = done
		}
	case Delayed:
		subjects, err = d.rdb.ZRange(ctx, keys.Delayed(), from, to).Result()
		if len(subjects) < n {
			further = done
		}
	default:
		var fields []string
		var place uint64
		fields, place, err = d.rdb.HScan(ctx, keys.Heads(), at.place, "", int64(n)).Result()
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
	keys := d.ns.Keys(partition)
	var heads, leases *redis.SliceCmd
	var deadlines, delayed *redis.FloatSliceCmd
	tails := make([]*redis.IntCmd, len(subjects))
	_, err := d.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		heads = tx.HMGet(ctx, keys.Heads(), subjects...)
		leases = tx.HMGet(ctx, keys.Leases(), subjects...)
		deadlines = tx.ZMScore(ctx, keys.Deadlines(), subjects...)
		delayed = tx.ZMScore(ctx, keys.Delayed(), subjects...)
		for i, s := range subjects {
			tails[i] = tx.LLen(ctx, keys.Tail(s))
		}
		return nil
	})
	if err != nil {
		return nil, wrap("read lanes", err)
	}
	lanes := make([]Lane, 0, len(subjects))
	var ids []string
	for i, s := range subjects {
		key, err := subject.FromCanonical(s)
		if err != nil {
			return nil, err
		}
		head, _ := heads.Val()[i].(string)
		record, _ := leases.Val()[i].(string)
		if head == "" && record == "" {
			continue
		}
		lane := Lane{Subject: key, State: Ready, Depth: int(tails[i].Val())}
		packed := lane.readHead(head)
		lane.readLease(record, deadlines.Val()[i])
		if at := delayed.Val()[i]; at > 0 && record == "" {
			lane.State, lane.RunAt = Delayed, time.UnixMilli(int64(at)).UTC()
		}
		lanes, ids = append(lanes, lane), append(ids, packed)
	}
	return lanes, d.addErrors(ctx, partition, lanes, ids)
}

func (l *Lane) readHead(entry string) (packedID string) {
	e, ok := parseEntry(entry)
	if ok {
		l.Depth++
		l.Attempt, l.MaxAttempts, l.Kind = e.attempts, e.max, e.kind
		l.HeadID, _ = unpackID(e.id)
	}
	return e.id
}

func (l *Lane) readLease(record string, deadline float64) {
	if record == "" {
		return
	}
	token, holder, _ := strings.Cut(record, " ")
	l.State, l.Holder = Leased, holder
	l.Token, _ = lease.ParseToken(token)
	l.ExpiresAt = time.UnixMilli(int64(deadline)).UTC()
	if l.HeadID != "" {
		l.Attempt++ // the lease stands for an attempt that is not over
	}
}

func (d *Dispatcher) addErrors(ctx context.Context, partition int, lanes []Lane, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	texts, err := d.rdb.HMGet(ctx, d.ns.Keys(partition).Errors(), ids...).Result()
	if err != nil {
		return wrap("read errors", err)
	}
	for i := range lanes {
		lanes[i].Error, _ = texts[i].(string)
	}
	return nil
}

// kinds returns the kinds that a partition has seen, sorted.
func (d *Dispatcher) kinds(ctx context.Context, partition int) ([]string, error) {
	kinds, err := d.rdb.SMembers(ctx, d.ns.Keys(partition).Kinds()).Result()
	return sorted(kinds), wrap("list kinds", err)
}

// Lane shows one lane and a page of its jobs in their order, the head first. A
// subject that has no jobs but is held has a lane of depth 0. It returns
// [ErrNotFound] when there is neither.
func (d *Dispatcher) Lane(ctx context.Context, key subject.Key, page Page) (Lane, []JobInfo, string, error) {
	limit, err := page.limit()
	if err != nil {
		return Lane{}, nil, "", err
	}
	from := 0
	if page.Cursor != "" {
		if from, err = strconv.Atoi(page.Cursor); err != nil || from < 1 {
			return Lane{}, nil, "", invalid("cursor", page.Cursor, "is not one that an earlier page returned")
		}
	}
	p, canonical := d.ns.Partition(key), key.Canonical()
	lanes, err := d.describe(ctx, p, []string{canonical})
	if err != nil {
		return Lane{}, nil, "", err
	}
	if len(lanes) == 0 {
		return Lane{}, nil, "", fmt.Errorf("%w: %s has no lane: no jobs wait and nobody holds it", ErrNotFound, key)
	}
	lane := lanes[0]
	var ids []string
	if from == 0 && lane.HeadID != "" {
		ids = append(ids, packID(lane.HeadID))
	}
	var entries []string
	if start := max(from-1, 0); len(ids) < limit { // an end before the start would mean: to the last
		entries, err = d.rdb.LRange(ctx, d.ns.Keys(p).Tail(canonical), int64(start), int64(start+limit-len(ids)-1)).Result()
		if err != nil {
			return Lane{}, nil, "", wrap("read lane", err)
		}
	}
	for _, entry := range entries {
		if e, ok := parseEntry(entry); ok {
			ids = append(ids, e.id)
		}
	}
	jobs, err := d.bodies(ctx, p, ids)
	if err != nil {
		return Lane{}, nil, "", err
	}
	infos := make([]JobInfo, len(jobs))
	for i, job := range jobs {
		infos[i] = JobInfo{Job: job, State: Waiting}
		if job.ID == lane.HeadID {
			infos[i] = lane.head(job)
		}
	}
	next := ""
	if from+len(ids) < lane.Depth && len(ids) > 0 {
		next = strconv.Itoa(from + len(ids))
	}
	return lane, infos, next, nil
}

// head is the lane's head job, with what the lane knows about it.
func (l Lane) head(job Job) JobInfo {
	return JobInfo{
		Job: job, State: l.State, Attempt: l.Attempt, Token: l.Token, Holder: l.Holder,
		ExpiresAt: l.ExpiresAt, RunAt: l.RunAt, Error: l.Error,
	}
}

// bodies reads jobs, leaving out those that ended meanwhile.
func (d *Dispatcher) bodies(ctx context.Context, partition int, ids []string) ([]Job, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	stored, err := d.rdb.HMGet(ctx, d.ns.Keys(partition).Jobs(), ids...).Result()
	if err != nil {
		return nil, wrap("read jobs", err)
	}
	var jobs []Job
	for i, id := range ids {
		if body, ok := stored[i].(string); ok {
			job, err := decode(id, body)
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, job)
		}
	}
	return jobs, nil
}

// Job shows one job. Ids are looked up in every partition, in one round trip. It
// returns [ErrNotFound] for a job that never was, or has finished.
func (d *Dispatcher) Job(ctx context.Context, id string) (JobInfo, error) {
	partition, job, err := d.find(ctx, id)
	if err != nil {
		return JobInfo{}, err
	}
	info := JobInfo{Job: job, State: Waiting}
	keys, packed := d.ns.Keys(partition), packID(id)
	var died, runAt *redis.FloatCmd
	var reason *redis.StringCmd
	_, err = d.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		died = tx.ZScore(ctx, keys.Dead(), packed)
		reason = tx.HGet(ctx, keys.Reasons(), packed)
		runAt = tx.ZScore(ctx, keys.Scheduled(), scheduledMember(job))
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return JobInfo{}, wrap("read job", err)
	}
	switch {
	case died.Err() == nil:
		info.die(died.Val(), reason.Val())
		return info, nil
	case runAt.Err() == nil:
		info.State, info.RunAt = Scheduled, time.UnixMilli(int64(runAt.Val())).UTC()
		return info, nil
	}
	lanes, err := d.describe(ctx, partition, []string{job.Subject.Canonical()})
	if err == nil && len(lanes) == 1 && lanes[0].HeadID == id {
		info = lanes[0].head(job)
	}
	return info, err
}

// die fills in what is known of a dead letter: "<attempts> <reason>\n<error>".
func (j *JobInfo) die(at float64, record string) {
	j.State, j.DiedAt = Dead, time.UnixMilli(int64(at)).UTC()
	first, failure, _ := strings.Cut(record, "\n")
	attempts, reason, _ := strings.Cut(first, " ")
	j.Attempt, _ = strconv.Atoi(attempts)
	j.Reason, j.Error = reason, failure
}

// scheduledMember is how a job stands on the schedule.
func scheduledMember(job Job) string {
	canonical := job.Subject.Canonical()
	return fmt.Sprintf("%d %s%s", len(canonical), canonical, entryOf(job))
}

func (d *Dispatcher) find(ctx context.Context, id string) (partition int, job Job, err error) {
	found := make([]*redis.StringCmd, d.ns.Partitions)
	_, err = d.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for p := range found {
			found[p] = pipe.HGet(ctx, d.ns.Keys(p).Jobs(), packID(id))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, Job{}, wrap("find job", err)
	}
	for p, cmd := range found {
		if cmd.Err() == nil {
			job, err := decode(packID(id), cmd.Val())
			return p, job, err
		}
	}
	return 0, Job{}, fmt.Errorf("%w: no job %q; it has finished, or was never enqueued", ErrNotFound, id)
}
