package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/subject"
)

// rude is an error whose methods do what no error should.
type rude struct {
	text             string
	onError          func()
	onIs, onAs, onUn func()
}

func do(f func()) {
	if f != nil {
		f()
	}
}

func (r *rude) Error() string { text := r.text; do(r.onError); return text } // reads r: a nil one panics
func (r *rude) Is(error) bool { do(r.onIs); return false }
func (r *rude) As(any) bool   { do(r.onAs); return false }
func (r *rude) Unwrap() error { do(r.onUn); return nil }

// unprintable panics when it is printed, with a value that does so too.
type unprintable struct{}

func (u unprintable) Error() string { panic(u) }

func ouch() { panic("ouch") }

// rudeErrors are by name, each with what is kept of it.
func rudeErrors() map[string]struct {
	err  error
	says string
} {
	type table = map[string]struct {
		err  error
		says string
	}
	return table{
		"typed nil":              {(*rude)(nil), "a *worker.rude; its Error method: panic: runtime error: invalid memory address"},
		"Error panics":           {&rude{onError: ouch}, "a *worker.rude; its Error method: panic: ouch"},
		"Error panics, and that": {&rude{onError: func() { panic(unprintable{}) }}, "panic: a worker.unprintable that can't be printed"},
		"Error ends":             {&rude{onError: runtime.Goexit}, "the handler called runtime.Goexit"},
		"Is panics":              {&rude{text: "boom", onIs: ouch}, "boom"},
		"As panics":              {&rude{text: "boom", onAs: ouch}, "boom (asked what else it is: panic: ouch)"},
		"Unwrap panics":          {&rude{text: "boom", onUn: ouch}, "boom (asked what else it is: panic: ouch)"},
		"wrapped":                {fmt.Errorf("wrapped: %w", &rude{text: "boom", onAs: ouch}), "wrapped: boom (asked what else it is: panic: ouch)"},
		"after a wait":           {RetryAfter(time.Hour, (*rude)(nil)), "its Error method: panic: runtime error"},
	}
}

// H1: whatever the methods of an error do, the process lives, the job is tried again with a text of
// it, and others go on; also when the error comes after its handler was given up.
func TestH1_ErrorsOfTheUser(t *testing.T) {
	t.Parallel()
	for name, c := range rudeErrors() {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", late ", late), func(t *testing.T) {
				t.Parallel()
				f := newFake()
				_, err := pooled(t, Config{Concurrency: 1, Timeout: time.Second}, f, func(p *Pool) {
					p.Handle("k", func(ctx context.Context, _ []byte) error {
						claim, _ := FromContext(ctx)
						if claim.ID != "j0" {
							return nil
						}
						if late {
							time.Sleep(time.Minute)
						}
						return c.err
					})
				}, func(p *Pool) {
					f.add(jobs(2)...)
					time.Sleep(2 * time.Minute)
				})
				if err != nil {
					t.Error(err)
				}
				says := c.says
				if late {
					says = "the handler did not return within 6s"
				}
				if e, _ := f.end("j0"); e.Outcome != session.Retry || !strings.Contains(e.Error, says) {
					t.Errorf("it has ended with %q, %q; want %q", e.Outcome, e.Error, says)
				}
				if e, ok := f.end("j1"); !ok || e.Outcome != session.Finished {
					t.Error("the next job did not finish")
				}
			})
		}
	}
}

// H1: of a batch each error is asked by itself; one that ends the goroutine fails the whole batch.
func TestH1_ErrorsOfABatch(t *testing.T) {
	t.Parallel()
	for name, c := range rudeErrors() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake()
			_, _ = pooled(t, Config{}, f, func(p *Pool) {
				p.HandleBatch("k", 3, func(context.Context, []dispatcher.Job) []error { return []error{nil, c.err, Permanent(errBoom)} })
			}, func(*Pool) {
				f.addLane(jobs(3)...)
				time.Sleep(time.Minute)
			})
			e, _ := f.end("j0")
			if e.Outcome != session.Several || len(e.Each) != 3 {
				t.Fatalf("%+v", e)
			}
			want := []session.Outcome{session.Finished, session.Retry, session.DeadLettered}
			if strings.Contains(c.says, "Goexit") {
				want = []session.Outcome{session.Retry, session.Retry, session.Retry}
			}
			for i, one := range e.Each {
				if one.Outcome != want[i] {
					t.Errorf("job %d: %s, want %s", i, one.Outcome, want[i])
				}
			}
			if !strings.Contains(e.Each[1].Error, c.says) {
				t.Errorf("%q, want %q", e.Each[1].Error, c.says)
			}
		})
	}
}

// H1: an error that blocks is given up like a handler that does, after its time and the grace;
// and a stop says that one still runs.
func TestH1_AnErrorThatBlocks(t *testing.T) {
	t.Parallel()
	for _, stops := range []bool{false, true} {
		f := newFake()
		_, err := pooled(t, Config{Concurrency: 1, StopTimeout: time.Second, Timeout: 10 * time.Second}, f, func(p *Pool) {
			p.Handle("k", func(ctx context.Context, _ []byte) error {
				if claim, _ := FromContext(ctx); claim.ID != "j0" {
					return nil
				}
				return &rude{onError: func() { time.Sleep(30 * time.Minute) }}
			})
		}, func(p *Pool) {
			f.add(jobs(2)...)
			if time.Sleep(time.Second); !stops {
				time.Sleep(time.Minute)
			}
		})
		var stop *StopError
		if errors.As(err, &stop) != stops || stops && stop.Abandoned != 1 {
			t.Errorf("stopped early %t: Run returned %v", stops, err)
		}
		e, ended := f.end("j0")
		if _, others := f.end("j1"); ended == stops || others == stops {
			t.Errorf("stopped early %t: ended %t, the next one %t", stops, ended, others)
		}
		if ended && (e.Outcome != session.Retry || !strings.Contains(e.Error, "did not return")) {
			t.Errorf("%+v", e)
		}
	}
}

// picky is a payload that panics when it is read, or returns an error that does.
type picky struct{}

func (*picky) UnmarshalJSON(text []byte) error {
	if string(text) == `"panic"` {
		panic(unprintable{})
	}
	return (*rude)(nil)
}

// H1: decoders of payloads, middleware before and after the handler, panics with values that can't be
// printed, and callbacks into the pool are all within the recover.
func TestH1_HandlersOfTheUser(t *testing.T) {
	t.Parallel()
	f := newFake()
	var pool *Pool
	handlers := map[string]Handler{
		"reads":       JSON(func(context.Context, picky) error { return nil }),
		"unprintable": func(context.Context, []byte) error { panic(unprintable{}) },
		"exits":       func(context.Context, []byte) error { runtime.Goexit(); return nil },
		"calls back":  func(context.Context, []byte) error { return &rude{text: "boom", onError: func() { pool.Counts() }} },
		"before":      func(context.Context, []byte) error { return nil },
		"after":       func(context.Context, []byte) error { return nil },
	}
	_, err := pooled(t, Config{Concurrency: 2}, f, func(p *Pool) {
		pool = p
		p.Use(func(next Handler) Handler {
			return func(ctx context.Context, payload []byte) error {
				claim, _ := FromContext(ctx)
				if claim.ID == "before" {
					panic(unprintable{})
				}
				err := next(ctx, payload)
				if claim.ID == "after" {
					panic(&rude{onError: ouch})
				}
				return err
			}
		})
		p.Handle("k", func(ctx context.Context, payload []byte) error {
			claim, _ := FromContext(ctx)
			return handlers[strings.TrimSuffix(claim.ID, " payload")](ctx, payload)
		})
	}, func(*Pool) {
		for id := range handlers {
			f.add(dispatcher.Job{ID: id, Payload: []byte(`"panic"`)})
		}
		f.add(dispatcher.Job{ID: "reads payload", Payload: []byte(`"error"`)})
		time.Sleep(time.Minute)
	})
	if err != nil {
		t.Error(err)
	}
	for id := range handlers {
		if e, ok := f.end(id); !ok || e.Outcome != session.Retry || e.Error == "" {
			t.Errorf("%s has ended %t: %+v", id, ok, e)
		}
	}
	if e, _ := f.end("reads payload"); e.Outcome != session.DeadLettered {
		t.Errorf("a payload that can't be read: %+v", e)
	}
}

// rudeLog is a handler of a Logger that does something with each line.
type rudeLog struct {
	do  func(r slog.Record)
	got *atomic.Int64
}

func (r rudeLog) Enabled(context.Context, slog.Level) bool { return true }
func (r rudeLog) WithAttrs([]slog.Attr) slog.Handler       { panic("WithAttrs") }
func (r rudeLog) WithGroup(string) slog.Handler            { panic("WithGroup") }

func (r rudeLog) Handle(_ context.Context, rec slog.Record) error {
	r.got.Add(1)
	r.do(rec)
	return nil
}

// H1: a Logger that panics, ends its goroutine, calls back or blocks keeps no job from its end, and
// no pool from its stop.
func TestH1_LoggersOfTheUser(t *testing.T) {
	t.Parallel()
	var pool *Pool
	var blocks atomic.Int64
	for name, do := range map[string]func(slog.Record){
		"panics":     func(slog.Record) { panic(unprintable{}) },
		"exits":      func(slog.Record) { runtime.Goexit() },
		"calls back": func(slog.Record) { _ = pool.Run(context.Background()); pool.Counts() },
		"blocks":     func(slog.Record) { time.Sleep(time.Duration(blocks.Swap(0))) },
		"is slow":    func(slog.Record) { time.Sleep(time.Millisecond) },
	} {
		blocks.Store(int64(30 * time.Minute))
		f, got := newFake(), new(atomic.Int64)
		took, err := pooled(t, Config{Concurrency: 4, Logger: slog.New(rudeLog{do, got})}, f, func(p *Pool) {
			pool = p
			p.Handle("k", func(context.Context, []byte) error { return errBoom })
		}, func(p *Pool) {
			f.set(func() {
				for _, j := range jobs(3 * scribeQueue) {
					j.Subject, j.Kind = subject.Key{Kind: "s", ID: j.ID}, "k"
					f.queue = append(f.queue, session.Claim{Job: j, Attempt: 1})
				}
			})
			f.add(dispatcher.Job{ID: "last"})
			time.Sleep(time.Minute)
			if c := p.Counts(); c.Retried+c.HandedBack != 3*scribeQueue+1 || c.Retried < 2*scribeQueue {
				t.Errorf("%s: %+v", name, c)
			}
		})
		if err != nil || took > 2*scribePatience {
			t.Errorf("%s: Run returned %v, %s after it was told to", name, err, took)
		}
		if n := got.Load(); name != "blocks" && n < 2*scribeQueue {
			t.Errorf("%s: it was told of %d lines", name, n)
		}
	}
}

// H1: a Logger that goes on is told that lines are missing.
func TestH1_MissingLinesAreTold(t *testing.T) {
	t.Parallel()
	d := &diary{}
	release := make(chan struct{})
	s := newScribe(slog.New(blocked{d.logger(slog.LevelInfo).Handler(), release}), "h")
	const more = 3
	for i := range 1 + scribeQueue + more {
		s.Info(fmt.Sprint("line ", i))
	}
	close(release)
	s.flush()
	s.Info("again")
	s.flush()
	d.once(t, "the Logger did not take all lines", map[string]any{"holder": "h"})
	if n := len(d.says(t, "line ")); n < scribeQueue || n == 1+scribeQueue+more {
		t.Errorf("it has taken %d lines", n)
	}
	d.once(t, "again", map[string]any{"holder": "h"})
}

type blocked struct {
	slog.Handler
	until chan struct{}
}

func (b blocked) Handle(ctx context.Context, r slog.Record) error {
	<-b.until
	return b.Handler.Handle(ctx, r)
}
