package move

import (
	"errors"
	"fmt"
	"math"
	"strconv"
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

// item reads a line, counts it, and checks all that it says.
func (l *lineReader) item(text []byte) (it item, err error) {
	kind, _ := typeOf(text)
	switch kind {
	case typeJob:
		var line jobLine
		if err = l.read(text, &line); err == nil {
			it, err = line.item()
		}
		l.count(line.Place)
	case typeLane:
		var line laneLine
		if err = l.read(text, &line); err == nil {
			err = line.Subject.Validate()
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
		err = l.read(text, it.window)
		it.subject = it.window.Subject
		l.totals.Windows++
	case typeKind:
		it.kind = new(kindLine)
		if err = l.read(text, it.kind); err == nil && string(it.kind.Declaration) == "null" {
			err = errors.New("the declaration of a kind is null")
		}
		l.totals.Kinds++
	case typeLimit:
		it.limit = new(limitLine)
		if err = l.read(text, it.limit); err == nil && (it.limit.Most < 0 || it.limit.Most > mostOfLimit || it.limit.EveryMS < 0) {
			err = fmt.Errorf("limit %s: most %d must be 0 to %d, and every_ms %d not negative", it.limit.Limit, it.limit.Most, mostOfLimit, it.limit.EveryMS)
		}
	case typeFloor:
		it.floor = new(floorLine)
		if err = l.read(text, it.floor); err == nil && (it.floor.Token < 0 || it.floor.Token > mostOfFloor || it.floor.Seq < 0 || it.floor.Seq > mostOfFloor) {
			err = fmt.Errorf("floor: token %d and seq %d must be 0 to %d", it.floor.Token, it.floor.Seq, int64(mostOfFloor))
		}
	default:
		err = fmt.Errorf("its type %q is not known: a later release wrote it", kind)
	}
	if err != nil && !strings.Contains(err.Error(), ErrDamaged.Error()) {
		err = fmt.Errorf("%w: line %d: %w", ErrDamaged, l.totals.Lines, err)
	}
	return it, err
}

// A limit has a thousand slots at most; scripts count up to 2⁵³.
const mostOfLimit, mostOfFloor = 1000, 1<<53 - 1

func (l *lineReader) count(place string) {
	switch place {
	case "lane":
		l.totals.Jobs++
	case "scheduled":
		l.totals.Scheduled++
	case "dead":
		l.totals.Dead++
	}
}

// item checks a job and puts it into its stored forms.
func (line *jobLine) item() (item, error) {
	id, err := subject.ParseID(line.ID)
	if err != nil {
		return item{}, err
	}
	j := &lanes.Brought{Place: line.Place, Entry: record.Entry{ID: record.PackID(id), Kind: "?", Max: 1}, Body: line.Raw}
	it := item{job: j}
	if line.Raw == nil {
		job, err := line.stored()
		if err != nil {
			return item{}, err
		}
		it.subject, j.Subject = job.Subject, job.Subject.Canonical()
		j.Entry, j.Body = job.Entry(j.Entry.ID), job.Stored(j.Subject)
	}
	switch line.Place {
	case "dead":
		j.When, j.Said = line.DiedAt, record.Reason(line.Attempts, string(line.Reason), string(line.Error))
	case "lane", "scheduled":
		if line.Raw != nil {
			return item{}, lanes.Invalid("place", line.Place, "must be dead for a job that can't be read")
		}
		j.When, j.Said = line.RunAt, line.note().String()
	default:
		return item{}, lanes.Invalid("place", line.Place, "must be lane, scheduled or dead")
	}
	if (line.Place == "lane") != (j.When == "") || j.When != "" && !isScore(j.When) {
		return item{}, lanes.Invalid("time", j.When, "must be ms since 1970, or inf, for what is scheduled or dead, and for nothing else")
	}
	if u := line.Unique; u != nil {
		j.Name = record.Name(u.Merged, j.Entry.Rules(), record.UniqueField(j.Subject, line.Kind, string(u.Key), u.Digest))
		j.Has = !u.Free
	}
	return it, nil
}

// stored is what was enqueued, once it is known that it keeps the rules of an enqueue.
func (line *jobLine) stored() (*record.Job, error) {
	if line.Subject == nil {
		return nil, lanes.Invalid("subject", "", "must be set")
	}
	job := &record.Job{
		Order: line.Seq, EnqueuedAt: millis(line.EnqueuedMS), Subject: *line.Subject, Kind: line.Kind, MaxAttempts: line.MaxAttempts,
		Timeout: time.Duration(line.TimeoutMS) * time.Millisecond, Keep: time.Duration(line.KeepMS) * time.Millisecond, Flags: line.Flags, Payload: line.Payload,
	}
	if !line.Unplaced {
		job.Seq = job.Order
	}
	for _, h := range line.Headers {
		if job.Headers == nil {
			job.Headers = make(map[string]string)
		}
		job.Headers[string(h[0])] = string(h[1])
	}
	if err := dispatcher.CheckSubject(job.Subject); err != nil {
		return nil, err
	}
	if err := dispatcher.CheckKind(job.Kind); err != nil {
		return nil, err
	}
	e, ok := record.ParseEntry(job.Entry("i").String())
	switch {
	case line.Seq < 0 || line.Seq >= 1<<39:
		return nil, lanes.Invalid("seq", line.Seq, "must be 0 to 2^39-1")
	case line.MaxAttempts < 1 || line.MaxAttempts > math.MaxInt32:
		return nil, lanes.Invalid("max_attempts", line.MaxAttempts, fmt.Sprintf("must be 1 to %d", math.MaxInt32))
	case line.Attempts < 0 || line.Attempts > line.MaxAttempts && line.Place != "dead":
		return nil, lanes.Invalid("attempts", line.Attempts, fmt.Sprintf("must be 0 to max_attempts, %d", line.MaxAttempts))
	case line.TimeoutMS < 0 || line.KeepMS < 0 || line.EnqueuedMS < 0 || line.EnqueuedMS >= 1<<48:
		return nil, lanes.Invalid("timeout_ms, keep_ms or enqueued_ms", line.EnqueuedMS, "must be a time")
	case !ok || e.Flags != line.Flags:
		return nil, lanes.Invalid("flags", line.Flags, "may have the letters s, h, u and k")
	}
	return job, nil
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
	if err != nil {
		return item{}, err
	}
	if line.State != "finished" && line.State != "cancelled" {
		return item{}, lanes.Invalid("state", line.State, "must be finished or cancelled")
	}
	o := record.Outcome{State: line.State, Attempts: line.Attempts, At: millis(line.EndedMS), Subject: line.Subject, Result: line.Result}
	return item{subject: line.Subject, outcome: &lanes.BroughtOutcome{ID: record.PackID(id), Record: o.String(), Ended: line.EndedMS, Until: line.UntilMS}}, nil
}

// isScore reports whether a text can be a score of Redis: no other may get into a script.
func isScore(text string) bool {
	f, err := strconv.ParseFloat(text, 64)
	return text == "inf" || err == nil && f >= 0 && !math.IsInf(f, 0) && strings.Trim(text, "0123456789.") == ""
}

// oneLine is a name as a record has it, which has no line break and no tab.
func oneLine(name blob) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(string(name))
}
