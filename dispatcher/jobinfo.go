package dispatcher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Lane shows one lane and a page of its jobs in their order, the head first: no more than have 16 MiB
// together, so a page may be shorter than it was asked to be. A
// subject that has no jobs but is held has a lane of depth 0. Jobs have estimates of when they
// start and end, for the first thousand, as far as their kinds' durations are known. It returns
// [ErrNotFound] when there is neither, and an [IncompleteError] beside a lane whose estimates are missing.
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
		ids = append(ids, record.PackID(lane.HeadID))
	}
	tickets := make(map[string]bool)
	if from == 0 && lane.Kind == SectionKind {
		ids, tickets[lane.ticket] = append(ids, lane.ticket), true
	}
	var entries []string
	if start := max(from-1, 0); len(ids) < limit { // an end before the start would mean: to the last
		entries, err = d.members(ctx, d.keys[p].Tail(canonical), int64(start), int64(start+limit-len(ids)-1))
		if err != nil {
			return Lane{}, nil, "", wrap("read lane", err)
		}
	}
	for _, entry := range entries {
		if e, ok := record.ParseEntry(entry); ok {
			ids = append(ids, e.ID)
			tickets[e.ID] = e.IsTicket()
		}
	}
	notes, err := d.notes(ctx, p, ids)
	if err != nil {
		return Lane{}, nil, "", err
	}
	ahead, err := d.ahead(ctx, p, canonical, &lane, from)
	if err != nil {
		return Lane{}, nil, "", err
	}
	jobs, read, err := d.bodies(ctx, p, ids)
	if err != nil {
		return Lane{}, nil, "", err
	}
	ids = ids[:read]
	there := make(map[string]Job, len(jobs))
	for _, job := range jobs {
		there[record.PackID(job.ID)] = job
	}
	var infos []JobInfo
	for i, id := range ids {
		job, ok := there[id]
		switch {
		case tickets[id]:
			infos = append(infos, JobInfo{Job: Job{Subject: key, Kind: SectionKind}, State: Waiting, Position: from + i + 1})
			continue
		case !ok:
			continue // it has ended meanwhile
		}
		infos = append(infos, JobInfo{})
		info := &infos[len(infos)-1]
		*info = JobInfo{Job: job, State: Waiting, Position: from + i + 1}
		if notes[i].Suspended {
			info.State = Suspended
		}
		if job.ID == lane.HeadID {
			*info = lane.head(job, notes[i])
			info.Position = 1
		}
	}
	var missing *IncompleteError
	if from <= maxAhead {
		if missing, err = missing.without("estimates", d.estimate(ctx, &lane, infos, ahead)); err != nil {
			return Lane{}, nil, "", err
		}
	}
	next := ""
	if from+len(ids) < lane.Depth && len(ids) > 0 {
		next = strconv.Itoa(from + len(ids))
	}
	return lane, infos, next, missing.orNil()
}

// ahead returns the kinds of the jobs before position from, if they are not too many.
func (d *Dispatcher) ahead(ctx context.Context, p int, canonical string, lane *Lane, from int) ([]string, error) {
	if from == 0 || from > maxAhead {
		return nil, nil
	}
	kinds := []string{lane.Kind}
	if from > 1 {
		entries, err := d.members(ctx, d.keys[p].Tail(canonical), 0, int64(from-2))
		if err != nil {
			return nil, wrap("read lane", err)
		}
		for _, entry := range entries {
			e, _ := record.ParseEntry(entry)
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds, nil
}

// head is the lane's head job, with what the lane knows about it.
func (l Lane) head(job Job, note record.Note) JobInfo {
	if l.Section {
		info := JobInfo{Job: job, State: Waiting, Attempt: l.Attempt, Error: l.Error}
		if note.Suspended {
			info.State = Suspended
		}
		return info
	}
	return JobInfo{
		Job: job, State: l.State, Attempt: l.Attempt, Token: l.Token, Holder: l.Holder,
		ExpiresAt: l.ExpiresAt, RunAt: l.RunAt, Error: l.Error, Why: l.Why, Halted: l.Halted, Cancelling: l.Cancelling,
	}
}

// pageBytes is the most that a page of a list reads of jobs, unless its first one alone has more.
const pageBytes = 16 << 20

// sizes returns how many bytes are stored of jobs; 0 of those that ended meanwhile.
func (d *Dispatcher) sizes(ctx context.Context, places []jobPlace) ([]int, error) {
	lengths := make([]*redis.IntCmd, len(places))
	err := d.together(ctx, func(pipe redis.Pipeliner) {
		for i, at := range places {
			lengths[i] = pipe.HStrLen(ctx, d.keys[at.partition].Jobs(), at.id)
		}
	})
	if err != nil {
		return nil, wrap("measure jobs", err)
	}
	sizes := make([]int, len(places))
	for i, n := range lengths {
		sizes[i] = int(n.Val())
	}
	return sizes, nil
}

// jobPlace is where a job is stored.
type jobPlace struct {
	partition int
	id        string // packed
}

// bodies reads jobs, leaving out those that ended meanwhile. It reads pageBytes at most, or one job:
// n is how many of the ids that were. No command reads more than a script may.
func (d *Dispatcher) bodies(ctx context.Context, partition int, ids []string) (jobs []Job, n int, err error) {
	if len(ids) == 0 {
		return nil, 0, nil
	}
	places := make([]jobPlace, len(ids))
	for i, id := range ids {
		places[i] = jobPlace{partition, id}
	}
	sizes, err := d.sizes(ctx, places)
	if err != nil {
		return nil, 0, err
	}
	ids = ids[:upTo(pageBytes, sizes)]
	for from := 0; from < len(ids); {
		to := from + upTo(MaxBatchBytes, sizes[from:len(ids)])
		stored, err := d.fields(ctx, d.keys[partition].Jobs(), ids[from:to])
		if err != nil {
			return nil, 0, wrap("read jobs", err)
		}
		for i, id := range ids[from:to] {
			if body, ok := stored[i].(string); ok {
				job, err := decode(id, body)
				if err != nil {
					return nil, 0, err
				}
				jobs = append(jobs, job)
			}
		}
		from = to
	}
	return jobs, len(ids), nil
}

// upTo returns how many of some things, from the first on, have no more than so many bytes together,
// and one in any case.
func upTo(bytes int, sizes []int) int {
	for i, size := range sizes {
		if bytes -= size; bytes < 0 && i > 0 {
			return i
		}
	}
	return len(sizes)
}

// Job shows one job. It returns [ErrNotFound] for a job that never was, or has finished. On a
// cluster with a master away a ref without a subject may find one job and an [IncompleteError]:
// others may have its id too.
func (d *Dispatcher) Job(ctx context.Context, ref JobRef) (JobInfo, error) {
	at, err := d.find(ctx, ref)
	if err != nil && !(errors.Is(err, ErrIncomplete) && at.text != "") {
		return JobInfo{}, err
	}
	info, failed := d.standing(ctx, ref.ID, at)
	return info, cmp.Or(failed, err)
}

// standing says where a stored job stands.
func (d *Dispatcher) standing(ctx context.Context, id string, at stored) (JobInfo, error) {
	packed, keys := record.PackID(id), d.keys[at.partition]
	job, unread := decode(packed, at.text)
	if unread != nil {
		job = unreadable(packed, at.text)
	}
	info := JobInfo{Job: job, State: Waiting}
	var died *redis.FloatCmd
	var runAt *redis.FloatCmd
	var noted, reason *redis.StringCmd
	err := d.atomically(ctx, func(tx redis.Pipeliner) {
		died = tx.ZScore(ctx, keys.Dead(), packed)
		reason = tx.HGet(ctx, keys.Reasons(), packed)
		runAt = tx.ZScore(ctx, keys.Scheduled(), record.Scheduled(job.Subject.Canonical(), job.order, job.entry().String()))
		noted = tx.HGet(ctx, keys.Notes(), packed)
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return JobInfo{}, wrap("read job", err)
	}
	switch {
	case died.Err() == nil:
		info.die(died.Val(), reason.Val())
		return info, nil
	case unread != nil:
		return JobInfo{}, fmt.Errorf("%w; 'lanekeeper doctor --fix' sets it aside", unread)
	}
	note, _ := record.ParseNote(noted.Val())
	if note.Suspended {
		info.State = Suspended
	}
	if due := runAt.Val(); runAt.Err() == nil {
		info.Attempt, info.Error = note.Attempts, note.Error
		if !note.Suspended {
			info.State = Scheduled
		}
		if !math.IsInf(due, 1) {
			info.RunAt = time.UnixMilli(int64(due)).UTC()
		}
		return info, nil
	}
	lanes, err := d.describe(ctx, at.partition, []string{job.Subject.Canonical()})
	if err == nil && len(lanes) == 1 && lanes[0].HeadID == id {
		info = lanes[0].head(job, note)
	}
	return info, err
}

// notes reads what has come of jobs so far, in their order.
func (d *Dispatcher) notes(ctx context.Context, partition int, ids []string) ([]record.Note, error) {
	notes := make([]record.Note, len(ids))
	if len(ids) == 0 {
		return notes, nil
	}
	texts, err := d.fields(ctx, d.keys[partition].Notes(), ids)
	for i, text := range texts {
		if text, ok := text.(string); ok {
			notes[i], _ = record.ParseNote(text)
		}
	}
	return notes, wrap("read what has come of jobs", err)
}

// die fills in what is known of a dead letter.
func (j *JobInfo) die(at float64, reason string) {
	j.State, j.DiedAt = Dead, time.UnixMilli(int64(at)).UTC()
	j.Attempt, j.Reason, j.Error = record.ParseReason(reason)
}
