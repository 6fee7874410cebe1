package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// JobFilter picks jobs of one state. State is [Scheduled], [Leased] for those that run, or [Dead]. Since leaves out letters that
// died before it, and running jobs whose lease was given before it; scheduled ones have no such time.
type JobFilter struct {
	State   State
	Kind    string
	Subject subject.Key
	Since   time.Time
}

// mostJobs is how many places a page of jobs looks at, where a filter leaves most of them out.
const mostJobs = 1000

// Jobs lists the jobs of a state, and returns the cursor of the next page: scheduled ones as they fall due, partition by partition;
// dead letters as [Inspector.DeadLetters] does; those that run in no order. Jobs that wait in lanes are
// listed by [Inspector.Lane], attempts that have ended by [Inspector.Trail].
//
// A page looks at a thousand places at most, so with a filter it may be short or empty and still have a next one. Of jobs
// themselves it reads dead letters alone; of the others it has what their places say, which is not when they were enqueued and
// not their payload. Another state is an error that wraps [dispatcher.ErrInvalid]; a [dispatcher.IncompleteError] may
// come beside a list.
func (in *Inspector) Jobs(ctx context.Context, f JobFilter, page Page) ([]JobInfo, string, error) {
	limit, err := page.limit()
	if err != nil {
		return nil, "", err
	}
	steps := map[State]func(context.Context, *JobFilter, Page) (jobStep, error){Scheduled: in.scheduled, Leased: in.running, Dead: in.letters}
	step, ok := steps[f.State]
	if !ok {
		return nil, "", lanes.Invalid("state", f.State, "must be scheduled, leased or dead")
	}
	all := []JobInfo{}
	var missing *dispatcher.IncompleteError
	for looked := 0; ; {
		found, err := step(ctx, &f, Page{Cursor: page.Cursor, Limit: limit - len(all)})
		var part *dispatcher.IncompleteError
		if err != nil && !errors.As(err, &part) {
			return nil, "", err
		}
		if part != nil {
			for _, what := range part.Missing {
				missing, _ = missing.Without(what, part.Err)
			}
		}
		for _, job := range found.jobs {
			if f.takes(&job) {
				all = append(all, job)
			}
		}
		looked += found.looked
		if page.Cursor = found.next; page.Cursor == "" || len(all) >= limit || looked >= mostJobs {
			break
		}
	}
	if missing.All(in.lanes.Partitions) {
		return nil, "", missing.Err
	}
	return all, page.Cursor, missing.OrNil()
}

// takes reports whether a job is among those that are looked for.
func (f *JobFilter) takes(j *JobInfo) bool {
	since := j.DiedAt
	if f.State == Leased {
		since = given(j.Token)
	}
	return (f.Kind == "" || j.Kind == f.Kind) && (f.Subject == subject.Key{} || j.Subject == f.Subject) &&
		(f.State == Scheduled || !since.Before(f.Since))
}

// jobStep is what one step of a list has looked at, what it has found there, and where the next one goes on.
type jobStep struct {
	jobs   []JobInfo
	looked int
	next   string
}

// letters looks at dead letters, the latest first. A page of those looks at as many as one of jobs may.
func (in *Inspector) letters(ctx context.Context, f *JobFilter, page Page) (jobStep, error) {
	letters, next, err := in.DeadLetters(ctx, dispatcher.DeadFilter{Kind: f.Kind, Subject: f.Subject, After: f.Since}, page)
	return jobStep{letters, mostJobs, next}, err
}

// running looks at leases. Those of sections and of slots have no job that runs.
func (in *Inspector) running(ctx context.Context, f *JobFilter, page Page) (jobStep, error) {
	leased, next, err := in.Lanes(ctx, LaneFilter{State: Leased, Kind: f.Kind}, page)
	step := jobStep{looked: max(1, page.Limit), next: next}
	for i := range leased {
		if l := &leased[i]; l.HeadID != "" && !l.Section {
			job := dispatcher.Job{ID: l.HeadID, Subject: l.Subject, Kind: l.Kind, MaxAttempts: l.MaxAttempts}
			step.jobs = append(step.jobs, l.head(job, record.Note{}))
		}
	}
	return step, err
}

// mostPlaces is how many members of a schedule are read at once: one that is left out costs no more than that.
const mostPlaces = 200

// scheduled looks at the schedule of one partition, from a time on. A partition of a cluster that is away keeps
// nobody from the next one.
func (in *Inspector) scheduled(ctx context.Context, f *JobFilter, page Page) (jobStep, error) {
	at, err := parseScheduleCursor(page.Cursor, in.lanes.Partitions)
	if err != nil {
		return jobStep{}, err
	}
	one := f.Subject != (subject.Key{})
	if one {
		at.partition = in.lanes.Partition(f.Subject)
	}
	zs, err := connect.Ask(ctx, func(ctx context.Context) ([]redis.Z, error) {
		return in.lanes.Redis.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
			Key: in.lanes.Keys(at.partition).Scheduled(), ByScore: true, Start: score(at.from), Stop: "+inf", Offset: int64(at.passed), Count: mostPlaces,
		}).Result()
	})
	step := jobStep{looked: max(1, len(zs))}
	if !one && at.partition+1 < in.lanes.Partitions {
		step.next = scheduleCursor{partition: at.partition + 1}.String()
	}
	if err != nil && connect.IsCluster(in.lanes.Redis) {
		var missing *dispatcher.IncompleteError
		missing, err = missing.Without(in.lanes.PartitionName(at.partition), err)
		return step, cmp.Or(lanes.Wrap("list the schedule", err), missing.OrNil())
	}
	for _, z := range zs {
		if z.Score != at.from {
			at.from, at.passed = z.Score, 0
		}
		at.passed++
		if job, ok := scheduledJob(z); ok && f.takes(&job) {
			step.jobs = append(step.jobs, job)
		}
		if len(step.jobs) == page.Limit {
			break
		}
	}
	if len(zs) == mostPlaces || len(step.jobs) == page.Limit {
		step.next = at.String()
	}
	if err == nil {
		err = in.tried(ctx, at.partition, step.jobs)
	}
	return step, lanes.Wrap("list the schedule", err)
}

// scheduledJob is what a member of the schedule says of its job.
func scheduledJob(z redis.Z) (JobInfo, bool) {
	canonical, _, text, _ := record.ParseScheduled(z.Member.(string))
	e, ok := record.ParseEntry(text)
	key, err := subject.FromCanonical(canonical)
	id, bad := record.UnpackID(e.ID)
	info := JobInfo{Job: dispatcher.Job{ID: id, Subject: key, Kind: e.Kind, MaxAttempts: e.Max}, State: Scheduled}
	if !math.IsInf(z.Score, 1) { // else it is suspended besides
		info.RunAt = time.UnixMilli(int64(z.Score)).UTC()
	}
	return info, ok && err == nil && bad == nil
}

// tried fills in what has come so far of jobs of one partition: one that was set aside has failed.
func (in *Inspector) tried(ctx context.Context, p int, jobs []JobInfo) error {
	ids := make([]string, len(jobs))
	for i := range jobs {
		ids[i] = record.PackID(jobs[i].ID)
	}
	notes, err := in.notes(ctx, p, ids)
	for i := range jobs {
		jobs[i].Attempt, jobs[i].Error = notes[i].Attempts, notes[i].Error
	}
	return err
}

// scheduleCursor is a place on the schedule: a partition, a time in ms, and how many of that time were shown.
type scheduleCursor struct {
	partition int
	from      float64
	passed    int
}

func score(ms float64) string { return strings.ToLower(strconv.FormatFloat(ms, 'f', -1, 64)) } // +inf

func (c scheduleCursor) String() string {
	return fmt.Sprintf("%d.%d.%s", c.partition, c.passed, score(c.from))
}

// parseScheduleCursor takes only what String writes.
func parseScheduleCursor(text string, partitions int) (c scheduleCursor, err error) {
	if text == "" {
		return c, nil
	}
	var at string
	n, err := fmt.Sscanf(text, "%d.%d.%s", &c.partition, &c.passed, &at)
	from, bad := strconv.ParseFloat(at, 64)
	c.from = from
	if err != nil || bad != nil || n != 3 || c.String() != text || c.partition < 0 || c.partition >= partitions || c.passed < 0 || !(from >= 0) {
		return c, lanes.Invalid("cursor", text, "is not one that an earlier page returned")
	}
	return c, nil
}
