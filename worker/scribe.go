package worker

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"
)

// A Logger's handler is code of the user's: it may panic, block or call back. So nothing of the
// pool calls it but a goroutine that has nothing else to do, and whoever says something lays it on
// a queue. One that is slow slows the pool, as it would by itself; one that takes nothing for so
// long is waited for no more, and lines are missing, which is the first thing that it is told when
// it goes on (H1).
const (
	scribeQueue    = 1000
	scribePatience = time.Second
)

// scribe hands what a pool says to its Logger, in order.
type scribe struct {
	logger  *slog.Logger
	holder  string
	lines   chan line
	writing atomic.Bool  // there is a goroutine at it
	stuck   atomic.Bool  // the Logger has taken nothing for scribePatience
	missing atomic.Int64 // lines that it did not take
}

// line is something to be said, or, with done, a mark that all before it was.
type line struct {
	slog.Record
	done chan struct{}
}

// newScribe makes a scribe, which has no goroutine until something is said.
func newScribe(logger *slog.Logger, holder string) *scribe {
	return &scribe{logger: logger, holder: holder, lines: make(chan line, scribeQueue)}
}

// debugging reports whether single attempts are to be told of. A Logger that does not say so in
// time is not asked again.
func debugging(log *slog.Logger) bool {
	said := make(chan bool, 1)
	go func() {
		yes := false
		defer func() { said <- yes }()
		_ = safely(func() { yes = log.Enabled(context.Background(), slog.LevelDebug) })
	}()
	select {
	case yes := <-said:
		return yes
	case <-time.After(scribePatience):
		return false
	}
}

func (s *scribe) Debug(msg string, fields ...any) { s.say(slog.LevelDebug, msg, fields) }
func (s *scribe) Info(msg string, fields ...any)  { s.say(slog.LevelInfo, msg, fields) }
func (s *scribe) Warn(msg string, fields ...any)  { s.say(slog.LevelWarn, msg, fields) }
func (s *scribe) Error(msg string, fields ...any) { s.say(slog.LevelError, msg, fields) }

// say makes a record at the place in the code that says it, with the holder, by which one process
// is told from another.
func (s *scribe) say(level slog.Level, msg string, fields []any) {
	var caller [1]uintptr
	runtime.Callers(3, caller[:])
	r := slog.NewRecord(time.Now(), level, msg, caller[0])
	r.Add("holder", s.holder)
	r.Add(fields...)
	s.lay(line{Record: r})
}

// lay puts a line on the queue and sees that somebody writes.
func (s *scribe) lay(l line) {
	if !s.laid(l) {
		s.missing.Add(1)
		return
	}
	if s.writing.CompareAndSwap(false, true) {
		go s.write()
	}
}

// laid waits for room on the queue, but not for a Logger that is stuck.
func (s *scribe) laid(l line) bool {
	select {
	case s.lines <- l:
		return true
	default:
	}
	if s.stuck.Load() {
		return false
	}
	select {
	case s.lines <- l:
		return true
	case <-time.After(scribePatience):
		s.stuck.Store(true)
		return false
	}
}

// write hands lines on until there are none.
func (s *scribe) write() {
	ends := false
	defer func() {
		if !ends { // the Logger has called runtime.Goexit
			go s.write()
		}
	}()
	for {
		select {
		case l := <-s.lines:
			s.hand(l)
			s.stuck.Store(false)
		default:
			s.writing.Store(false)
			if len(s.lines) == 0 || !s.writing.CompareAndSwap(false, true) {
				ends = true
				return
			}
		}
	}
}

// hand tells one line, after how many are missing before it.
func (s *scribe) hand(l line) {
	if l.done != nil {
		close(l.done)
		return
	}
	if n := s.missing.Swap(0); n > 0 {
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "the Logger did not take all lines", 0)
		r.Add("holder", s.holder, "missing", n)
		s.tell(r)
	}
	s.tell(l.Record)
}

// tell calls the Logger. One that panics, or ends the goroutine, has not taken the line.
func (s *scribe) tell(r slog.Record) {
	told := false
	defer func() {
		if !told {
			s.missing.Add(1)
		}
	}()
	told = safely(func() {
		if ctx := context.Background(); s.logger.Enabled(ctx, r.Level) {
			_ = s.logger.Handler().Handle(ctx, r) // as slog.Logger does
		}
	}) == ""
}

// flush waits until all has been handed on that was said, for as long as a stuck Logger is waited
// for.
func (s *scribe) flush() {
	done := make(chan struct{})
	s.lay(line{done: done})
	select {
	case <-done:
	case <-time.After(scribePatience):
	}
}
