package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// batchJobs and batchBytes bound what one round trip of --from carries, and soon how long a
// line waits for company: where they come slowly, as from 'tail -F', each is sent at once.
const (
	batchJobs  = 200
	batchBytes = dispatcher.MaxBatchBytes
	soon       = 50 * time.Millisecond
)

// maxLine is the most bytes of a line: a payload of the largest size, of which JSON may write
// each byte with six, and as much besides as all the other fields can need.
const maxLine = 6*dispatcher.DefaultMaxPayload + 1<<16

// lastWords is how long a command that was interrupted may go on telling Redis what it has read.
const lastWords = 2 * time.Second

// feed is the state of a --from run.
type feed struct {
	o        *enqueueOptions
	d        *dispatcher.Dispatcher
	bar      *progress
	batch    []dispatcher.NewJob
	lines    []int // of the batch's jobs
	bytes    int
	due      *time.Timer // when the batch is to be sent, if it has any
	read     int         // lines, as far as they were looked at
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
	o.app.signals.outlivePipes() // who reads what is said may go; what is read is still to be sent
	reading, done := context.WithCancelCause(ctx)
	defer done(nil)
	in := inputOf(reading, o.app.in)
	if o.from != "-" {
		if info, err := os.Stat(o.from); err != nil {
			return usage("--from: %w", err)
		} else if info.IsDir() {
			return usage("--from %s is a directory", o.from)
		}
		in = inputFrom(reading, o.from)
	}
	d, err := o.open(ctx)
	if err != nil {
		return err
	}
	f := &feed{o: o, d: d, bar: o.app.progress("jobs enqueued:", 0), due: time.NewTimer(soon)}
	f.due.Stop()
	err = f.run(ctx, in)
	f.bar.done()
	if o.app.machine() {
		if e := o.app.show(map[string]int{"enqueued": f.enqueued, "existed": f.existed, "bad_lines": f.bad}, nil); e != nil {
			return e
		}
	} else {
		o.app.say("%s enqueued, %d existed already, %s", count(f.enqueued, "job"), f.existed, count(f.bad, "bad line"))
	}
	switch {
	case err == nil && f.bad > 0:
		err = fmt.Errorf("%s not enqueued", count(f.bad, "line")+oneOr(f.bad, " was", " were"))
	case err == nil && f.unsafe > 0:
		err = fmt.Errorf("%d of the jobs are %w: they run all the same, so do not enqueue them again under other ids",
			f.unsafe, dispatcher.ErrNotReplicated)
	}
	return err
}

// run sends what the lines say. When ctx ends, what was looked at until then is still sent.
func (f *feed) run(ctx context.Context, in *input) error {
	sending, enough := context.WithCancel(context.WithoutCancel(ctx))
	defer enough()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, enough) })
	defer stop()
	for l := (&lines{in: in, most: maxLine}); ; {
		text, err := l.next(f.due.C)
		switch {
		case errors.Is(err, errPause):
			if err := f.send(sending); err != nil {
				return err
			}
			continue
		case errors.Is(err, io.EOF):
			return f.send(sending)
		case err != nil && !errors.Is(err, errTooLong):
			return f.breakOff(sending, err)
		}
		f.read++
		if err := f.line(sending, text, err); err != nil {
			return err
		}
	}
}

// breakOff ends where the input ended: what was read before it is sent, and said.
func (f *feed) breakOff(ctx context.Context, why error) error {
	if err := f.send(ctx); err != nil {
		return errors.Join(why, err)
	}
	return fmt.Errorf("after line %d: %w; that line and those before it were dealt with, none behind it", f.read, why)
}

// line deals with one line: its text, or what was wrong with reading it.
func (f *feed) line(ctx context.Context, text []byte, err error) error {
	var job dispatcher.NewJob
	if err == nil && blank(text) {
		return nil
	}
	if err == nil {
		job, err = parseLine(text)
	}
	if err == nil {
		err = f.d.Check(job)
	}
	if err != nil {
		return f.refuse(ctx, f.read, err)
	}
	return f.add(ctx, job, f.read)
}

func blank(text []byte) bool {
	for _, b := range text {
		if b != ' ' && b != '\t' && b != '\r' {
			return false
		}
	}
	return true
}

// refuse reports a line that can't be enqueued. What came before it is enqueued
// either way.
func (f *feed) refuse(ctx context.Context, line int, err error) error {
	if f.o.onError == "stop" {
		if e := f.send(ctx); e != nil {
			return e
		}
		return usage("line %d: %w (%s enqueued, lines further down were not all looked at; "+
			"--on-error skip goes on)", line, err, count(f.enqueued, "job")+oneOr(f.enqueued, " was", " were"))
	}
	f.bad++
	fmt.Fprintln(f.o.app.err, f.o.app.text("line %d: %s", line, err))
	return nil
}

func (f *feed) add(ctx context.Context, job dispatcher.NewJob, line int) error {
	if len(f.batch) == batchJobs || f.bytes+len(job.Payload) > batchBytes {
		if err := f.send(ctx); err != nil {
			return err
		}
	}
	if len(f.batch) == 0 {
		f.due.Reset(soon)
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
	f.due.Stop()
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
			case errors.Is(r.Err, dispatcher.ErrTooLarge): // in this company
				r, err := f.d.Enqueue(ctx, batch[i])
				if errors.Is(err, dispatcher.ErrUnavailable) || ctx.Err() != nil {
					return fmt.Errorf("line %d: %w", lines[i], err)
				}
				if err != nil {
					refused = append(refused, bad{lines[i], err})
				} else if r.Created {
					f.enqueued++
				} else {
					f.existed++
				}
			case errors.Is(r.Err, dispatcher.ErrRefused):
				f.batch, f.lines = append(f.batch, batch[i]), append(f.lines, lines[i])
			case errors.Is(r.Err, dispatcher.ErrLaneFull), errors.Is(r.Err, dispatcher.ErrConflict), errors.Is(r.Err, dispatcher.ErrTaken),
				errors.Is(r.Err, dispatcher.ErrBacklogFull):
				refused = append(refused, bad{lines[i], r.Err})
			default: // not the line's fault: Redis is away or refuses
				return fmt.Errorf("line %d: %w; of lines %d to %d it is not known whether they were enqueued", lines[i], r.Err, lines[0], lines[len(lines)-1])
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
