package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// jobLine is one line of a --from file.
type jobLine struct {
	Subject       subject.Key       `json:"subject"`
	Kind          string            `json:"kind"`
	Payload       json.RawMessage   `json:"payload"`
	PayloadBase64 []byte            `json:"payload_base64"`
	ID            string            `json:"id"`
	Delay         string            `json:"delay"`
	RunAt         time.Time         `json:"run_at"`
	MaxAttempts   int               `json:"max_attempts"`
	Timeout       string            `json:"timeout"`
	Headers       map[string]string `json:"headers"`
	Keep          string            `json:"keep"`
	Unique        *uniqueLine       `json:"unique"`
}

type uniqueLine struct {
	Key        string              `json:"key"` // none is the payload's digest
	Scope      dispatcher.Scope    `json:"scope"`
	Window     string              `json:"window"`
	OnConflict dispatcher.Conflict `json:"on_conflict"`
}

// parseLine reads one line strictly: a field that is not known is an error, not
// an option that silently does nothing.
func parseLine(text []byte) (dispatcher.NewJob, error) {
	var l jobLine
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&l); err != nil {
		return dispatcher.NewJob{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return dispatcher.NewJob{}, errors.New("more than one JSON value")
	}
	job := dispatcher.NewJob{
		Subject: l.Subject, Kind: l.Kind, ID: l.ID, RunAt: l.RunAt,
		MaxAttempts: l.MaxAttempts, Headers: l.Headers, Payload: l.PayloadBase64,
	}
	if l.Payload != nil {
		if l.PayloadBase64 != nil {
			return job, errors.New("payload and payload_base64 can't both be set")
		}
		job.Payload = l.Payload
		var s string
		if json.Unmarshal(l.Payload, &s) == nil {
			job.Payload = []byte(s)
		}
	}
	var err error
	if job.Delay, err = duration("delay", l.Delay); err != nil {
		return job, err
	}
	if job.Timeout, err = duration("timeout", l.Timeout); err != nil {
		return job, err
	}
	if job.Keep, err = duration("keep", l.Keep); err != nil {
		return job, err
	}
	if u := l.Unique; u != nil {
		job.Unique = &dispatcher.Unique{Key: u.Key, Scope: u.Scope, OnConflict: u.OnConflict}
		if job.Unique.Window, err = duration("window", u.Window); err != nil {
			return job, err
		}
	}
	return job, nil
}

func duration(field, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s %q must be a duration like 90s or 5m", field, text)
	}
	return d, nil
}

// batchJobs and batchBytes bound what one round trip of --from carries.
const (
	batchJobs  = 200
	batchBytes = 4 << 20
)

// feed is the state of a --from run.
type feed struct {
	o        *enqueueOptions
	d        *dispatcher.Dispatcher
	bar      *progress
	batch    []dispatcher.NewJob
	lines    []int // of the batch's jobs
	bytes    int
	bad      int
	enqueued int
	existed  int
	unsafe   int // of both, those that not enough replicas had in time
}

func (o *enqueueOptions) many(ctx context.Context) error {
	if o.onError != "stop" && o.onError != "skip" {
		return usage("--on-error %q must be stop or skip", o.onError)
	}
	if cmp.Or(o.id, o.at) != "" || o.delay != 0 || o.maxAttempts != 0 || o.timeout != 0 || o.headers != nil ||
		o.unique != "" || o.coalesce || o.keep != 0 || o.wait {
		return usage("--from takes all a job's options from its line; the other flags don't go with it")
	}
	in := o.app.in
	if o.from != "-" {
		f, err := os.Open(o.from)
		if err != nil {
			return usage("--from: %w", err)
		}
		defer f.Close()
		in = f
	}
	d, err := o.open(ctx)
	if err != nil {
		return err
	}
	f := &feed{o: o, d: d, bar: o.app.progress("jobs enqueued:", 0)}
	err = f.read(ctx, in)
	f.bar.done()
	if o.app.machine() {
		if e := o.app.show(map[string]int{"enqueued": f.enqueued, "existed": f.existed, "bad_lines": f.bad}, nil); e != nil {
			return e
		}
	} else {
		o.app.say("%d jobs enqueued, %d existed already, %d bad lines", f.enqueued, f.existed, f.bad)
	}
	if err == nil && f.bad > 0 {
		err = fmt.Errorf("%d lines were not enqueued", f.bad)
	}
	if err == nil && f.unsafe > 0 {
		err = fmt.Errorf("%d of the jobs are %w: they run all the same, so do not enqueue them again under other ids",
			f.unsafe, dispatcher.ErrNotReplicated)
	}
	return err
}

func (f *feed) read(ctx context.Context, in io.Reader) error {
	r := bufio.NewReaderSize(in, 1<<16)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", n, err)
		}
		last := err != nil
		if text = bytes.TrimSpace(text); len(text) > 0 {
			job, err := parseLine(text)
			if err == nil {
				err = f.d.Check(job)
			}
			if err == nil {
				err = f.add(ctx, job, n)
			} else {
				err = f.refuse(ctx, n, err)
			}
			if err != nil {
				return err
			}
		}
		if last {
			return f.send(ctx)
		}
	}
}

// refuse reports a line that can't be enqueued. What came before it is enqueued
// either way.
func (f *feed) refuse(ctx context.Context, line int, err error) error {
	if f.o.onError == "stop" {
		if e := f.send(ctx); e != nil {
			return e
		}
		return usage("line %d: %w (%d jobs were enqueued, lines further down were not all looked at; "+
			"--on-error skip goes on)", line, err, f.enqueued)
	}
	f.bad++
	fmt.Fprintf(f.o.app.err, "line %d: %s\n", line, message(err))
	return nil
}

func (f *feed) add(ctx context.Context, job dispatcher.NewJob, line int) error {
	if len(f.batch) == batchJobs || f.bytes+len(job.Payload) > batchBytes {
		if err := f.send(ctx); err != nil {
			return err
		}
	}
	f.batch, f.lines, f.bytes = append(f.batch, job), append(f.lines, line), f.bytes+len(job.Payload)
	return nil
}

// send enqueues the batch. A job that is refused takes the others of its partition
// with it; those are sent again without it.
func (f *feed) send(ctx context.Context) error {
	type bad struct {
		line int
		err  error
	}
	var refused []bad
	for len(f.batch) > 0 {
		batch, lines := f.batch, f.lines
		f.batch, f.lines, f.bytes = nil, nil, 0
		done, err := f.d.EnqueueMany(ctx, batch)
		if done == nil && err != nil { // else each has its own
			return fmt.Errorf("lines %d to %d: %w", lines[0], lines[len(lines)-1], err)
		}
		for i, r := range done {
			unsafe := errors.Is(r.Err, dispatcher.ErrNotReplicated)
			if unsafe {
				f.unsafe++
			}
			switch stored := r.Err == nil || unsafe; {
			case stored && r.Created:
				f.enqueued++
			case stored:
				f.existed++
			case errors.Is(r.Err, dispatcher.ErrRefused):
				f.batch, f.lines = append(f.batch, batch[i]), append(f.lines, lines[i])
			case errors.Is(r.Err, dispatcher.ErrLaneFull), errors.Is(r.Err, dispatcher.ErrConflict), errors.Is(r.Err, dispatcher.ErrTaken),
				errors.Is(r.Err, dispatcher.ErrBacklogFull):
				refused = append(refused, bad{lines[i], r.Err})
			default: // not the line's fault: Redis is away or refuses
				return fmt.Errorf("line %d: %w", lines[i], r.Err)
			}
		}
		f.bar.at(f.enqueued + f.existed)
	}
	for _, b := range refused {
		if err := f.refuse(ctx, b.line, b.err); err != nil {
			return err
		}
	}
	return nil
}
