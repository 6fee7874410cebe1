package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// interrupted is the cause of a context that a signal has ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "interrupted by " + unix.SignalName(i.signal) }

// Is makes errors.Is(err, context.Canceled) true, as for any other end of a context.
func (i interrupted) Is(target error) bool { return target == context.Canceled }

// code is the exit code of a process that the signal has ended, as shells have it.
func (i interrupted) code() int { return 128 + int(i.signal) }

// ending are the signals that tell a process to end. A hang-up is one: the end of an ssh
// session must not cost a worker its attempts.
var ending = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// stopping are the signals that stop a process, and what it leaves running would go on without it.
var stopping = []os.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU}

// signals are those that the process gets. The first that tells it to end ends the context,
// the second ends the process at once; 'exec' takes them all over for its command.
type signals struct {
	heard, pipes chan os.Signal
	quit, gone   chan struct{}
	end          context.CancelCauseFunc

	mu   sync.Mutex
	hear func(syscall.Signal)
	halt func() // for those that stop
}

// listen returns signals that end a context by end.
func listen(end context.CancelCauseFunc) *signals {
	s := &signals{
		heard: make(chan os.Signal, 16), pipes: make(chan os.Signal, 1), quit: make(chan struct{}), gone: make(chan struct{}), end: end,
	}
	s.notify(ending...)
	go s.pass()
	return s
}

// notify asks for signals, but not for those that the process is to ignore: a hang-up by nohup.
func (s *signals) notify(all ...os.Signal) {
	for _, one := range all {
		if one == syscall.SIGINT || one == syscall.SIGTERM || !signal.Ignored(one) {
			signal.Notify(s.heard, one)
		}
	}
}

func (s *signals) pass() {
	defer close(s.gone)
	for {
		select {
		case <-s.quit:
			return
		case got := <-s.heard:
			s.mu.Lock()
			number := got.(syscall.Signal)
			switch {
			case s.hear != nil:
				s.hear(number)
			case slices.Contains(stopping, got):
				s.halt()
			default:
				s.end(interrupted{number})
				s.once()
			}
			s.mu.Unlock()
		}
	}
}

// once leaves the signals that end a process to the kernel from here on: the next one does.
func (s *signals) once() {
	signal.Stop(s.heard)
	if s.halt != nil {
		s.notify(stopping...)
	}
}

// haltBy has halt called for signals that stop the process.
func (s *signals) haltBy(halt func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt = halt
	s.notify(stopping...)
}

// heedStops asks again for a stop that was ignored for a while.
func (s *signals) heedStops() { signal.Notify(s.heard, syscall.SIGTSTP) }

// take hands all that come from now on to hear, and those besides that are named, until back
// is called.
func (s *signals) take(hear func(syscall.Signal), besides ...os.Signal) (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hear = hear
	s.notify(besides...)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hear = nil
	}
}

// outlivePipes lets the process go on when whoever reads its output or its log is gone: the
// write fails then, and no signal comes. Whoever is asked for is not ignored, so
// programs that it starts die of a broken pipe as ever.
func (s *signals) outlivePipes() { signal.Notify(s.pipes, syscall.SIGPIPE) }

func (s *signals) stop() {
	signal.Stop(s.heard)
	signal.Stop(s.pipes)
	close(s.quit)
	<-s.gone
}
