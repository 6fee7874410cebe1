package inspect

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// LanePage is a lane and a page of its jobs, the head first. Lane and jobs are read one after the
// other, so under load a job may have ended between the two; it is left out then.
type LanePage struct {
	Lane
	Jobs []JobInfo `json:"jobs"`
	Next string    `json:"next_cursor,omitempty"` // of the next page; "" when there is none
}

// Lane shows one lane and a page of its jobs in their order, the head first: no more than have 16
// MiB together, so a page may be shorter than it was asked to be. A subject that has no jobs but
// is held, or suspended, has a lane of depth 0. Somebody who waits in the lane to run a section
// has an entry of the kind [SectionKind].
//
// Jobs have estimates of when they start and end, for the first thousand, as far as their kinds'
// durations are known. docs/features/estimates.md says what they go by.
//
// Lane returns [dispatcher.ErrNotFound] when there are no jobs and nobody holds the subject, and
// a [dispatcher.IncompleteError] beside a lane whose estimates are missing. It asks the one
// partition of the lane, in six round trips or so for a page, and in some more for the estimates:
// one for each kind of the page, one for the clock, and three for the workers when the lane is
// ready.
func (in *Inspector) Lane(ctx context.Context, key subject.Key, page Page) (LanePage, error) {
	limit, err := page.limit()
	if err != nil {
		return LanePage{}, err
	}
	from := 0
	if page.Cursor != "" {
		if from, err = strconv.Atoi(page.Cursor); err != nil || from < 1 {
			return LanePage{}, lanes.Invalid("cursor", page.Cursor, "is not one that an earlier page returned")
		}
	}
	p, canonical := in.lanes.Partition(key), key.Canonical()
	lane, err := in.one(ctx, key)
	if err != nil {
		return LanePage{}, err
	}
	entries, err := in.entries(ctx, p, &lane, from, limit)
	if err != nil {
		return LanePage{}, err
	}
	ahead, err := in.ahead(ctx, p, canonical, &lane, from)
	if err != nil {
		return LanePage{}, err
	}
	infos, read, err := in.infos(ctx, p, &lane, entries, from)
	if err != nil {
		return LanePage{}, err
	}
	var missing *dispatcher.IncompleteError
	if from <= maxAhead {
		if missing, err = missing.Without("estimates", in.estimate(ctx, &lane, infos, ahead)); err != nil {
			return LanePage{}, err
		}
	}
	next := ""
	if from+read < lane.Depth && read > 0 {
		next = strconv.Itoa(from + read)
	}
	return LanePage{lane, infos, next}, missing.OrNil()
}

// entries reads up to limit entries of a lane, those from a place on.
func (in *Inspector) entries(ctx context.Context, p int, lane *Lane, from, limit int) (entries []record.Entry, err error) {
	if from == 0 && (lane.HeadID != "" || lane.Kind == SectionKind) {
		entries = append(entries, lane.look.Head)
	}
	if len(entries) == limit { // an end before the start would mean: to the last
		return entries, nil
	}
	start, tail := max(from-1, 0), in.lanes.Keys(p).Tail(lane.look.Subject)
	texts, err := in.lanes.Members(ctx, tail, int64(start), int64(start+limit-len(entries)-1))
	for _, text := range texts {
		if e, ok := record.ParseEntry(text); ok {
			entries = append(entries, e)
		}
	}
	return entries, lanes.Wrap("read lane", err)
}

// infos reads the jobs of entries of a lane, the first of which stands at a place. It leaves
// those out that have ended meanwhile, and may read no more than the first so many. A page of
// nothing is empty and not nil: it becomes JSON.
func (in *Inspector) infos(ctx context.Context, p int, lane *Lane, entries []record.Entry, from int) (infos []JobInfo, read int, err error) {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	notes, err := in.notes(ctx, p, ids)
	if err != nil {
		return nil, 0, err
	}
	jobs, read, err := in.bodies(ctx, p, ids)
	if err != nil {
		return nil, 0, err
	}
	infos = make([]JobInfo, 0, len(jobs))
	there := make(map[string]dispatcher.Job, len(jobs))
	for _, job := range jobs {
		there[record.PackID(job.ID)] = job
	}
	for i, e := range entries[:read] {
		job, ok := there[e.ID]
		info, position := JobInfo{Job: job, State: Waiting}, from+i+1
		switch {
		case e.IsTicket():
			info.Job = dispatcher.Job{Subject: lane.Subject, Kind: SectionKind}
		case !ok:
			continue
		case job.ID == lane.HeadID:
			info, position = lane.head(job, notes[i]), 1
		case notes[i].Suspended:
			info.State = Suspended
		}
		info.Position = position
		infos = append(infos, info)
	}
	return infos, read, nil
}

// ahead returns the kinds of the jobs before position from, if they are not too many: an estimate
// begins at the head, whichever page was asked for. Entries have their job's kind with them, so
// no job is read for it.
func (in *Inspector) ahead(ctx context.Context, p int, canonical string, lane *Lane, from int) ([]string, error) {
	if from == 0 || from > maxAhead {
		return nil, nil
	}
	kinds := []string{lane.Kind}
	if from > 1 {
		entries, err := in.lanes.Members(ctx, in.lanes.Keys(p).Tail(canonical), 0, int64(from-2))
		if err != nil {
			return nil, lanes.Wrap("read lane", err)
		}
		for _, entry := range entries {
			e, _ := record.ParseEntry(entry)
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds, nil
}

// head is the lane's head job, with what the lane knows about it. While a section has the lease,
// that is the section's: its job waits.
func (l Lane) head(job dispatcher.Job, note record.Note) JobInfo {
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

// sizes returns how many bytes are stored of jobs, 0 for those that ended meanwhile. It takes one
// round trip, with an HSTRLEN for each, and no job travels: so a page can be cut before it is
// read.
func (in *Inspector) sizes(ctx context.Context, places []jobPlace) ([]int, error) {
	lengths := make([]*redis.IntCmd, len(places))
	err := in.lanes.Together(ctx, func(pipe redis.Pipeliner) {
		for i, at := range places {
			lengths[i] = pipe.HStrLen(ctx, in.lanes.Keys(at.partition).Jobs(), at.id)
		}
	})
	if err != nil {
		return nil, lanes.Wrap("measure jobs", err)
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

// bodies reads jobs, leaving out those that ended meanwhile. It reads pageBytes at most, or one
// job: n is how many of the ids that were. No command reads more than a script may.
func (in *Inspector) bodies(ctx context.Context, partition int, ids []string) (jobs []dispatcher.Job, n int, err error) {
	if len(ids) == 0 {
		return nil, 0, nil
	}
	places := make([]jobPlace, len(ids))
	for i, id := range ids {
		places[i] = jobPlace{partition, id}
	}
	sizes, err := in.sizes(ctx, places)
	if err != nil {
		return nil, 0, err
	}
	ids = ids[:upTo(pageBytes, sizes)]
	for from := 0; from < len(ids); {
		to := from + upTo(dispatcher.MaxBatchBytes, sizes[from:len(ids)])
		stored, err := in.lanes.Fields(ctx, in.lanes.Keys(partition).Jobs(), ids[from:to])
		if err != nil {
			return nil, 0, lanes.Wrap("read jobs", err)
		}
		for i, id := range ids[from:to] {
			if body, ok := stored[i].(string); ok {
				name, stored, err := record.DecodeJob(id, body)
				if err != nil {
					return nil, 0, err
				}
				jobs = append(jobs, dispatcher.JobOf(name, stored))
			}
		}
		from = to
	}
	return jobs, len(ids), nil
}

// upTo returns how many of some things, from the first on, have no more than so many bytes
// together, and one in any case.
func upTo(bytes int, sizes []int) int {
	for i, size := range sizes {
		if bytes -= size; bytes < 0 && i > 0 {
			return i
		}
	}
	return len(sizes)
}

// Job shows one job, wherever it stands: in its lane, on the schedule, or among the dead letters. One
// that is in its lane has its Position there, unless it was put back at the front of a deep lane, and
// estimates as in [Inspector.Lane].
//
// It returns [dispatcher.ErrNotFound] for a job that never was, or has finished: how that one
// ended, [dispatcher.Dispatcher.Outcome] may know. A ref without a subject is looked for in all
// partitions, and [dispatcher.ErrAmbiguous] says that several jobs have the id. On a cluster with
// a master away such a ref may find one job and a [dispatcher.IncompleteError]: others may have
// its id too.
//
// It takes one HGET in each partition where the job may be, one transaction, and for a job that
// is in a lane some ten round trips more; in a lane of a million jobs twenty, none of which keeps
// Redis for long.
func (in *Inspector) Job(ctx context.Context, ref dispatcher.JobRef) (JobInfo, error) {
	partition, text, err := in.d.Find(ctx, ref)
	if err != nil && !(errors.Is(err, dispatcher.ErrIncomplete) && text != "") {
		return JobInfo{}, err
	}
	info, job, failed := in.standing(ctx, ref.ID, partition, text)
	if failed == nil && info.State != Dead && info.State != Scheduled {
		failed = in.stand(ctx, partition, &info, job)
	}
	return info, cmp.Or(failed, err)
}

// stand fills in the place of a job in its lane, and when it starts and ends. A job that leaves the lane
// meanwhile has neither.
func (in *Inspector) stand(ctx context.Context, p int, info *JobInfo, job record.Job) (err error) {
	if info.Position, err = in.lanes.Position(ctx, info.Subject, job, record.PackID(info.ID)); err != nil || info.Position == 0 || info.Position > maxAhead+1 {
		return err
	}
	lane, err := in.one(ctx, info.Subject)
	if errors.Is(err, dispatcher.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ahead, err := in.ahead(ctx, p, info.Subject.Canonical(), &lane, info.Position-1)
	if err != nil {
		return err
	}
	one := []JobInfo{*info}
	var missing *dispatcher.IncompleteError
	if missing, err = missing.Without("estimates", in.estimate(ctx, &lane, one, ahead)); err != nil {
		return err
	}
	*info = one[0]
	return missing.OrNil()
}

// standing shows a stored job: text is what its partition has of it. The engine says where a job
// stands, for outcomes too; this only puts that into an operator's words.
func (in *Inspector) standing(ctx context.Context, id string, partition int, text string) (JobInfo, record.Job, error) {
	s, err := in.lanes.Standing(ctx, partition, record.PackID(id), text)
	if err != nil {
		return JobInfo{}, s.Job, err
	}
	info := JobInfo{Job: dispatcher.JobOf(s.ID, s.Job), State: State(s.State())}
	switch {
	case s.Dead:
		info.die(s.Died, s.Reason)
	case s.Scheduled:
		info.Attempt, info.Error = s.Note.Attempts, s.Note.Error
		if !math.IsInf(s.RunAt, 1) {
			info.RunAt = time.UnixMilli(int64(s.RunAt)).UTC()
		}
	case s.Head != nil:
		lane, err := laneOf(s.Head)
		return lane.head(info.Job, s.Note), s.Job, err
	}
	return info, s.Job, nil
}

// notes reads what has come of jobs so far, in their order, with one HMGET. A job that was never
// attempted has none.
func (in *Inspector) notes(ctx context.Context, partition int, ids []string) ([]record.Note, error) {
	notes := make([]record.Note, len(ids))
	if len(ids) == 0 {
		return notes, nil
	}
	texts, err := in.lanes.Fields(ctx, in.lanes.Keys(partition).Notes(), ids)
	for i, text := range texts {
		if text, ok := text.(string); ok {
			notes[i], _ = record.ParseNote(text)
		}
	}
	return notes, lanes.Wrap("read what has come of jobs", err)
}

// die fills in what is known of a dead letter. at is the time of its death by Redis's clock, in
// ms, which may have a fraction: it keeps the letters of one moment in their order.
func (j *JobInfo) die(at float64, reason string) {
	j.State, j.DiedAt = Dead, time.UnixMilli(int64(at)).UTC()
	j.Attempt, j.Reason, j.Error = record.ParseReason(reason)
}
