package move

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// part is the export of one partition.
type part struct {
	*export
	p     int
	keys  subject.Keys
	step  int        // jobs that may be read at once
	ready []standing // found, and not read yet

	// Jobs that were found, by a hash of their ids: one that moves meanwhile is found twice, and may not stand for another that is
	// missing. Two ids have one hash in an export of many millions, and that fails then, and does not when it is repeated.
	seed  maphash.Seed
	found map[uint64]bool
}

// standing is a job and its place: head or behind, on the schedule, or dead.
type standing struct {
	place   string
	subject string // canonical; of the dead "", their bodies say it
	entry   record.Entry
	score   float64 // on the schedule, or among the dead
}

// size finds how many jobs may be read at once, by the largest that the partition has had.
func (x *part) size(ctx context.Context) error {
	said, err := x.n.Fields(ctx, x.keys.Clock(), []string{"largest"})
	if err != nil {
		return err
	}
	text, _ := said[0].(string)
	largest, _ := strconv.Atoi(text)
	x.step = max(1, min(lanes.ScanCount, lanes.MostBytes/max(largest, lanes.Small)))
	return nil
}

// add notes a job to be written, and writes all that are noted when they are enough for one read.
func (x *part) add(ctx context.Context, s standing) error {
	if s.entry.IsTicket() {
		x.totals.LeftOut++
		return nil
	}
	if x.ready = append(x.ready, s); len(x.ready) < x.step {
		return nil
	}
	return x.flush(ctx)
}

func (x *part) scheduled(ctx context.Context) error {
	err := x.pages(ctx, x.keys.Scheduled(), lanes.ScanCount, func(some []redis.Z) error {
		for _, z := range some {
			canonical, _, entry, ok := record.ParseScheduled(z.Member.(string))
			e, _ := record.ParseEntry(entry)
			if !ok {
				return fmt.Errorf("%w: the schedule has %q; 'lanekeeper doctor --fix' mends that", record.ErrCorrupt, z.Member)
			}
			if err := x.add(ctx, standing{place: "scheduled", subject: canonical, entry: e, score: z.Score}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = x.flush(ctx)
	}
	return err
}

func (x *part) dead(ctx context.Context) error {
	err := x.pages(ctx, x.keys.Dead(), lanes.ScanCount, func(some []redis.Z) error {
		for _, z := range some {
			if err := x.add(ctx, standing{place: "dead", entry: record.Entry{ID: z.Member.(string)}, score: z.Score}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = x.flush(ctx)
	}
	return err
}

// parked writes the lanes that are kept back, with jobs or without. That its head is suspended by itself is known by the
// job.
func (x *part) parked(ctx context.Context) error {
	return x.hscan(ctx, x.keys.ParkReasons(), func(pairs []string) error {
		for i := 0; i+1 < len(pairs); i += 2 {
			p, ok := record.ParsePark(pairs[i+1])
			if !ok {
				return fmt.Errorf("%w: lane %s is parked for %q; 'lanekeeper doctor --fix' mends that", record.ErrCorrupt, lanes.SubjectText(pairs[i]), pairs[i+1])
			}
			if err := x.lane(pairs[i], p); err != nil {
				return err
			}
		}
		return nil
	})
}

func (x *part) lane(canonical string, p record.Park) error {
	key, err := subject.FromCanonical(canonical)
	line := laneLine{Type: typeLane, Subject: key, Suspended: stopOf(p.Suspended), Halted: stopOf(p.Halted)}
	if !p.Backoff.IsZero() {
		line.BackoffMS = p.Backoff.UnixMilli()
	}
	if err != nil || line.BackoffMS == 0 && line.Suspended == nil && line.Halted == nil {
		return err
	}
	return x.write(line)
}

func stopOf(s *record.Stop) *stopped {
	if s == nil {
		return nil
	}
	return &stopped{s.At.UnixMilli(), blob(s.By), blob(s.Why)}
}

// lanes writes lane after lane, each from its head on.
func (x *part) lanes(ctx context.Context) error {
	err := x.hscan(ctx, x.keys.Heads(), func(pairs []string) error {
		var subjects []string
		heads := make(map[string]string)
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] != record.Filler && heads[pairs[i]] == "" {
				subjects, heads[pairs[i]] = append(subjects, pairs[i]), pairs[i+1]
			}
		}
		for some := range slices.Chunk(subjects, lanes.ScanCount) {
			if err := x.some(ctx, some, heads); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = x.flush(ctx)
	}
	return err
}

// some writes some lanes. The heads are known; how many jobs are behind each is asked in one trip.
func (x *part) some(ctx context.Context, subjects []string, heads map[string]string) error {
	tails := make([]*redis.IntCmd, len(subjects))
	var leases, asks *redis.SliceCmd
	err := x.n.Together(ctx, func(pipe redis.Pipeliner) {
		leases, asks = pipe.HMGet(ctx, x.keys.Leases(), subjects...), pipe.HMGet(ctx, x.keys.Asks(), subjects...)
		for i, s := range subjects {
			tails[i] = pipe.LLen(ctx, x.keys.Tail(s))
		}
	})
	if err != nil {
		return err
	}
	for i, s := range subjects {
		if err := x.leased(s, leases.Val()[i], asks.Val()[i]); err != nil {
			return err
		}
		if err := x.entries(ctx, s, []string{heads[s]}); err != nil {
			return err
		}
		for from := int64(0); from < tails[i].Val(); from += lanes.ScanCount {
			behind, err := x.n.Members(ctx, x.keys.Tail(s), from, from+lanes.ScanCount-1)
			if err == nil {
				err = x.entries(ctx, s, behind)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// leased refuses a job that runs, unless that is wanted. That the lane is to be suspended then stands on its line.
func (x *part) leased(canonical string, lease, asked any) error {
	text, ok := lease.(string)
	l := record.ParseLease(text)
	if !ok || l.Use != record.ForJob {
		return nil
	}
	if !x.WhileRunning {
		return fmt.Errorf("%w: the lease of %s for %s is not over yet; wait until it is, and repeat this", ErrAlive, l.Holder, lanes.SubjectText(canonical))
	}
	said, _ := asked.(string)
	a, _ := record.ParseAsks(said)
	return x.lane(canonical, record.Park{Suspended: a.Suspend})
}

func (x *part) entries(ctx context.Context, canonical string, entries []string) error {
	for _, text := range entries {
		e, ok := record.ParseEntry(text)
		if !ok {
			return fmt.Errorf("%w: lane %s has %q; 'lanekeeper doctor --fix' mends that", record.ErrCorrupt, lanes.SubjectText(canonical), text)
		}
		if err := x.add(ctx, standing{place: "lane", subject: canonical, entry: e}); err != nil {
			return err
		}
	}
	return nil
}

// hscan reads a hash of small values step by step. A field may come twice while Redis enlarges or shrinks the hash.
func (x *part) hscan(ctx context.Context, key string, each func(pairs []string) error) error {
	return lanes.ScanAll(ctx, func(ctx context.Context, from uint64) *redis.ScanCmd {
		return x.n.Redis.HScan(ctx, key, from, "", lanes.ScanCount)
	}, each)
}

// windows writes the unique keys that stay taken whatever becomes of their jobs.
func (x *part) windows(ctx context.Context) error {
	return x.pages(ctx, x.keys.Windows(), lanes.ScanCount, func(some []redis.Z) error {
		fields := make([]string, len(some))
		for i, z := range some {
			fields[i] = z.Member.(string)
		}
		owners, err := x.n.Fields(ctx, x.keys.Unique(), fields)
		if err != nil {
			return err
		}
		for i, z := range some {
			owner, _ := owners[i].(string)
			canonical, kind, name, digest, ok := record.ParseUniqueField(fields[i])
			key, err := subject.FromCanonical(canonical)
			id, err2 := record.UnpackID(owner)
			if !ok || err != nil || err2 != nil {
				return fmt.Errorf("%w: the unique key %q is that of %q; 'lanekeeper doctor --fix' mends that", record.ErrCorrupt, fields[i], owner)
			}
			x.totals.Windows++
			err = x.write(windowLine{
				Type: typeWindow, Subject: key, Kind: kind, Key: blob(name), Digest: digest, ID: subject.IDText(id), UntilMS: int64(z.Score),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// outcomesAtOnce is how many outcomes are read at once: each may have 64 KiB.
const outcomesAtOnce = 30

func (x *part) outcomes(ctx context.Context) error {
	return x.pages(ctx, x.keys.Ended(), outcomesAtOnce, func(some []redis.Z) error {
		ids, members := make([]string, len(some)), make([]string, len(some))
		for i, z := range some {
			ids[i] = z.Member.(string)
			members[i] = record.ExpiringOutcome(ids[i])
		}
		records, err := x.n.Fields(ctx, x.keys.Outcomes(), ids)
		if err != nil {
			return err
		}
		until, err := connect.Ask(ctx, func(ctx context.Context) ([]float64, error) {
			return x.n.Redis.ZMScore(ctx, x.keys.Expiring(), members...).Result()
		})
		if err != nil {
			return err
		}
		for i := range some {
			text, _ := records[i].(string)
			id, err := record.UnpackID(ids[i])
			if err != nil || text == "" {
				continue // it went by itself meanwhile
			}
			o, err := record.ParseOutcome(id, text)
			if err != nil {
				return err
			}
			x.totals.Outcomes++
			err = x.write(outcomeLine{
				Type: typeOutcome, ID: subject.IDText(id), Subject: o.Subject, State: o.State, Attempts: o.Attempts, EndedMS: int64(some[i].Score),
				UntilMS: int64(until[i]), Result: o.Result,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// flush reads the jobs that are noted and writes them.
func (x *part) flush(ctx context.Context) error {
	some := x.ready
	x.ready = nil
	for chunk := range slices.Chunk(some, max(1, x.step)) {
		if err := x.jobs(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// jobs writes jobs whose places are known.
func (x *part) jobs(ctx context.Context, some []standing) error {
	ids := make([]string, len(some))
	for i, s := range some {
		ids[i] = s.entry.ID
	}
	var bodies, notes, reasons, names *redis.SliceCmd
	err := x.n.Together(ctx, func(pipe redis.Pipeliner) {
		bodies, notes = pipe.HMGet(ctx, x.keys.Jobs(), ids...), pipe.HMGet(ctx, x.keys.Notes(), ids...)
		reasons, names = pipe.HMGet(ctx, x.keys.Reasons(), ids...), pipe.HMGet(ctx, x.keys.Names(), ids...)
	})
	if err != nil {
		return err
	}
	has, err := x.keysOf(ctx, names.Val())
	if err != nil {
		return err
	}
	text := func(of *redis.SliceCmd, i int) string { s, _ := of.Val()[i].(string); return s }
	for i, s := range some {
		body, there := bodies.Val()[i].(string)
		if !there && x.WhileRunning {
			continue // it has ended meanwhile
		}
		if !there {
			return fmt.Errorf("%w: of %s there is no job; 'lanekeeper doctor --fix' mends that", record.ErrCorrupt, x.nameOf(s))
		}
		line, err := lineOf(s, body, text(notes, i), text(reasons, i), text(names, i), has[i] == ids[i])
		if err != nil {
			return fmt.Errorf("%w; 'lanekeeper doctor --fix' sets it aside", err)
		}
		x.found[maphash.String(x.seed, ids[i])] = true
		x.totals.count(s.place)
		if err := x.write(line); err != nil {
			return err
		}
	}
	if x.Progress != nil {
		x.Progress(x.totals.Jobs+x.totals.Scheduled+x.totals.Dead, x.all)
	}
	return nil
}

// nameOf is what a standing stands for, as a sentence says it.
func (x *part) nameOf(s standing) string {
	id, err := record.UnpackID(s.entry.ID)
	if err != nil {
		return fmt.Sprintf("%s %q", s.place, s.entry.ID)
	}
	return s.place + " " + subject.IDText(id)
}

// keysOf returns, for what is known of jobs, which job has each one's unique key now.
func (x *part) keysOf(ctx context.Context, names []any) ([]any, error) {
	fields, any := make([]string, len(names)), false
	for i, name := range names {
		text, ok := name.(string)
		fields[i] = record.NameField(text)
		any = any || ok
	}
	if !any {
		return make([]interface{}, len(names)), nil
	}
	return x.n.Fields(ctx, x.keys.Unique(), fields)
}

// lineOf makes the line of a job, of its records, and sees whether an import would take it.
func lineOf(s standing, body, note, reason, name string, has bool) (jobLine, error) {
	line := jobLine{Type: typeJob, Place: s.place}
	id, job, err := record.DecodeJob(s.entry.ID, body)
	if id == "" {
		return line, err
	}
	line.ID = subject.IDText(id)
	line.stands(s, reason)
	if err == nil {
		line.describe(&job)
		if s.place != "dead" {
			err = line.remember(note)
		}
	}
	if merged, _, field, ok := record.ParseName(name); ok {
		_, _, key, digest, _ := record.ParseUniqueField(field)
		line.Unique = &uniqueKey{Key: blob(key), Digest: digest, Merged: merged, Free: !has}
	}
	if err == nil {
		_, err = line.item()
	}
	if err != nil && s.place == "dead" { // it is as it is, and nobody has to read it
		line = jobLine{Type: typeJob, Place: s.place, ID: line.ID, DiedAt: line.DiedAt, Attempts: line.Attempts, Reason: line.Reason, Error: line.Error}
		line.unreadable(s.entry.ID, body, name)
		_, err = line.item()
	}
	if err != nil {
		err = fmt.Errorf("job %s: %w", line.ID, err)
	}
	return line, err
}

// stands says where a job stands.
func (line *jobLine) stands(s standing, reason string) {
	switch s.place {
	case "dead":
		attempts, why, failure := record.ParseReason(reason)
		line.DiedAt, line.Attempts, line.Reason, line.Error = scoreText(s.score), max(0, attempts), blob(why), blob(failure)
	case "scheduled":
		line.RunAt = scoreText(s.score)
	}
}

// remember says what has come of a job.
func (line *jobLine) remember(note string) error {
	n, ok := record.ParseNote(note)
	if !ok && note != "" {
		return fmt.Errorf("%w: the note of %s is %q", record.ErrCorrupt, line.ID, note)
	}
	line.Attempts, line.Suspended, line.Error = n.Attempts, n.Suspended, blob(n.Error)
	for _, w := range n.Workers {
		line.FailedOn = append(line.FailedOn, blob(w))
	}
	return nil
}

// unreadable says what is stored of a dead letter that breaks rules, and its subject where that is one: it says in which partition
// the letter is looked for.
func (line *jobLine) unreadable(packed, body, name string) {
	raw, known := blob(body), blob(name)
	if line.Raw = &raw; name != "" {
		line.Name = &known
	}
	if _, front, err := record.DecodeFront(packed, body); err == nil && dispatcher.CheckSubject(front.Subject) == nil {
		line.Subject = &front.Subject
	}
}

// describe says what was enqueued.
func (line *jobLine) describe(job *record.Job) {
	line.Subject, line.Kind, line.Seq, line.Unplaced = &job.Subject, job.Kind, job.Order, job.Seq == 0
	line.EnqueuedMS, line.MaxAttempts, line.Flags, line.Payload = job.EnqueuedAt.UnixMilli(), job.MaxAttempts, job.Flags, job.Payload
	line.TimeoutMS, line.KeepMS = job.Timeout.Milliseconds(), job.Keep.Milliseconds()
	for _, k := range slices.Sorted(maps.Keys(job.Headers)) {
		line.Headers = append(line.Headers, [2]blob{blob(k), blob(job.Headers[k])})
	}
}

// scoreText is a score as it was: dead letters of one ms are a fraction of it apart.
func scoreText(score float64) string {
	if math.IsInf(score, 1) {
		return "inf"
	}
	return strconv.FormatFloat(score, 'f', -1, 64)
}

// millis is a time in ms.
func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
