package move

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// item is what one line says, in the forms in which it is stored. One of its fields is set.
type item struct {
	subject subject.Key // says in which partition it belongs
	job     *lanes.Brought
	outcome *lanes.BroughtOutcome
	lane    *record.Park
	window  *windowLine
	kind    *kindLine
	limit   *limitLine
	floor   *floorLine
}

// item reads a line, counts it, and checks all that it says: what is wrong is found before anything of it is written.
func (l *lineReader) item(text []byte) (it item, err error) {
	kind, _ := typeOf(text)
	switch kind {
	case typeJob:
		var line jobLine
		if err = l.read(text, &line); err == nil {
			it, err = line.item()
		}
		l.totals.count(line.Place)
	case typeLane:
		var line laneLine
		if err = l.read(text, &line); err == nil {
			err = line.check()
		}
		it = item{subject: line.Subject, lane: line.park()}
	case typeOutcome:
		var line outcomeLine
		if err = l.read(text, &line); err == nil {
			it, err = line.item()
		}
		l.totals.Outcomes++
	case typeWindow:
		it.window = new(windowLine)
		if err = l.read(text, it.window); err == nil {
			err = it.window.check()
		}
		it.subject = it.window.Subject
		l.totals.Windows++
	case typeKind:
		it.kind = new(kindLine)
		if err = l.read(text, it.kind); err == nil {
			err = it.kind.check()
		}
		l.totals.Kinds++
	case typeLimit:
		it.limit = new(limitLine)
		if err = l.read(text, it.limit); err == nil {
			err = it.limit.check()
		}
	case typeFloor:
		it.floor = new(floorLine)
		if err = l.read(text, it.floor); err == nil {
			err = it.floor.check(time.Now())
		}
	default:
		err = fmt.Errorf("its type %q is not known: a later release wrote it", kind)
	}
	if err != nil && !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w: line %d: %w", ErrDamaged, l.totals.Lines, err)
	}
	return it, err
}

// count counts a job by its place.
func (t *Totals) count(place string) {
	switch place {
	case "lane":
		t.Jobs++
	case "scheduled":
		t.Scheduled++
	case "dead":
		t.Dead++
	}
}

// item checks a job and puts it into its stored forms.
func (line *jobLine) item() (item, error) {
	id, err := subject.ParseID(line.ID)
	if err != nil {
		return item{}, err
	}
	j := &lanes.Brought{Place: line.Place, Entry: record.Entry{ID: record.PackID(id), Kind: lanes.Unreadable, Max: 1}}
	it := item{job: j}
	if line.Raw != nil {
		err = line.raw(&it)
	} else {
		err = line.readable(&it)
	}
	if err != nil {
		return item{}, err
	}
	switch line.Place {
	case "dead":
		j.When, j.Said = line.DiedAt, record.Reason(line.Attempts, string(line.Reason), string(line.Error))
	case "lane", "scheduled":
		j.When, j.Said = line.RunAt, line.note().String()
	default:
		return item{}, lanes.Invalid("place", line.Place, "must be lane, scheduled or dead")
	}
	return it, line.stand(j)
}

// stand checks where a job stands, and what has come of it.
func (line *jobLine) stand(j *lanes.Brought) error {
	most := line.MaxAttempts
	if line.Place == "dead" {
		most = math.MaxInt32
	}
	switch {
	case (line.Place == "lane") != (j.When == "") || j.When != "" && !isScore(j.When, line.Place == "scheduled"):
		return lanes.Invalid("time", j.When, "must be ms since 1970 for what is scheduled or dead, or inf for what is scheduled, and be left out for what is in a lane")
	case line.Attempts < 0 || line.Attempts > most:
		return lanes.Invalid("attempts", line.Attempts, fmt.Sprintf("must be 0 to %d", most))
	case bytes.ContainsRune(line.Reason, '\n'):
		return lanes.Invalid("reason", string(line.Reason), "must be one line")
	}
	for _, worker := range line.FailedOn {
		if len(worker) == 0 || bytes.ContainsRune(worker, '\n') {
			return lanes.Invalid("failed_on", string(worker), "must be one line, and not empty")
		}
	}
	return nil
}

// raw takes a dead letter that can't be read as it is.
func (line *jobLine) raw(it *item) error {
	if line.Place != "dead" {
		return lanes.Invalid("place", line.Place, "must be dead for a job that can't be read")
	}
	it.job.Body = *line.Raw
	if line.Name != nil {
		it.job.Name = string(*line.Name)
	}
	if line.Subject == nil {
		return nil
	}
	it.subject = *line.Subject
	return dispatcher.CheckSubject(it.subject)
}

// readable takes a job that keeps the rules of an enqueue.
func (line *jobLine) readable(it *item) error {
	job, err := line.stored()
	if err != nil {
		return err
	}
	j := it.job
	it.subject, j.Subject = job.Subject, job.Subject.Canonical()
	j.Entry, j.Body = job.Entry(j.Entry.ID), job.Stored(j.Subject)
	if u := line.Unique; u != nil {
		j.Name = record.Name(u.Merged, j.Entry.Rules(), record.UniqueField(j.Subject, line.Kind, string(u.Key), u.Digest))
		j.Has = !u.Free
		return checkUnique(u.Key, u.Digest, u.Merged)
	}
	return nil
}

// stored is what was enqueued, once it is known that it keeps the rules of an enqueue.
func (line *jobLine) stored() (*record.Job, error) {
	if line.Subject == nil {
		return nil, lanes.Invalid("subject", "", "must be set")
	}
	if err := line.numbers(); err != nil {
		return nil, err
	}
	job := &record.Job{
		Order: line.Seq, EnqueuedAt: millis(line.EnqueuedMS), Subject: *line.Subject, Kind: line.Kind, MaxAttempts: line.MaxAttempts,
		Timeout: time.Duration(line.TimeoutMS) * time.Millisecond, Keep: time.Duration(line.KeepMS) * time.Millisecond, Flags: line.Flags, Payload: line.Payload,
	}
	if !line.Unplaced {
		job.Seq = job.Order
	}
	headers := 0
	for _, h := range line.Headers {
		if job.Headers == nil {
			job.Headers = make(map[string]string)
		}
		job.Headers[string(h[0])] = string(h[1])
		headers += len(h[0]) + len(h[1])
	}
	if err := dispatcher.CheckSubject(job.Subject); err != nil {
		return nil, err
	}
	if err := dispatcher.CheckKind(job.Kind); err != nil {
		return nil, err
	}
	e, ok := record.ParseEntry(job.Entry("i").String())
	switch {
	case !ok || e.Flags != line.Flags:
		return nil, lanes.Invalid("flags", line.Flags, "may have the letters s, h, u and k")
	case len(line.Payload) > mostPayload:
		return nil, lanes.Invalid("payload", fmt.Sprintf("%d bytes", len(line.Payload)), fmt.Sprintf("must have at most %d", mostPayload))
	case headers > mostHeaders:
		return nil, lanes.Invalid("headers", fmt.Sprintf("%d bytes", headers), fmt.Sprintf("must have at most %d", mostHeaders))
	}
	return job, nil
}

// numbers checks those of what was enqueued.
func (line *jobLine) numbers() error {
	if line.MaxAttempts < 1 || line.MaxAttempts > math.MaxInt32 {
		return lanes.Invalid("max_attempts", line.MaxAttempts, fmt.Sprintf("must be 1 to %d", math.MaxInt32))
	}
	return inRange(
		bound{"seq", line.Seq, mostOfSeq}, bound{"timeout_ms", line.TimeoutMS, mostWait.Milliseconds()}, bound{"keep_ms", line.KeepMS, mostKeep.Milliseconds()},
		bound{"enqueued_ms", line.EnqueuedMS, mostTime},
	)
}

func (line *jobLine) note() record.Note {
	n := record.Note{Attempts: line.Attempts, Suspended: line.Suspended, Error: string(line.Error)}
	for _, w := range line.FailedOn {
		n.Workers = append(n.Workers, string(w))
	}
	return n
}

func (line *laneLine) park() *record.Park {
	p := &record.Park{}
	if line.BackoffMS > 0 {
		p.Backoff = millis(line.BackoffMS)
	}
	for _, s := range []struct {
		from *stopped
		to   **record.Stop
	}{{line.Suspended, &p.Suspended}, {line.Halted, &p.Halted}} {
		if s.from != nil {
			*s.to = &record.Stop{At: millis(s.from.AtMS), By: oneLine(s.from.By), Why: strings.ReplaceAll(string(s.from.Why), "\n", " ")}
		}
	}
	return p
}

func (line *outcomeLine) item() (item, error) {
	id, err := subject.ParseID(line.ID)
	if err == nil {
		err = dispatcher.CheckSubject(line.Subject)
	}
	if err == nil {
		err = inRange(bound{"attempts", int64(line.Attempts), math.MaxInt32}, bound{"ended_ms", line.EndedMS, mostTime}, bound{"until_ms", line.UntilMS, mostTime})
	}
	if err != nil {
		return item{}, err
	}
	if line.State != "finished" && line.State != "cancelled" {
		return item{}, lanes.Invalid("state", line.State, "must be finished or cancelled")
	}
	o := record.Outcome{State: line.State, Attempts: line.Attempts, At: millis(line.EndedMS), Subject: line.Subject, Result: line.Result}
	return item{subject: line.Subject, outcome: &lanes.BroughtOutcome{ID: record.PackID(id), Record: o.String(), Ended: line.EndedMS, Until: line.UntilMS}}, nil
}

// oneLine is a name as a record has it, which has no line break and no tab.
func oneLine(name blob) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(string(name))
}
