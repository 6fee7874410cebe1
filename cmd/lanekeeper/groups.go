package main

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/boot"
	"github.com/lanekeeper/lanekeeper/lease"
)

// groups are the process groups of the programs that run, each under a lease. No program may run
// longer than its lease lasts. While the worker goes on it sees to that itself; for when it
// does not, a guard knows of each group until when its lease is proven.
type groups struct {
	mu    sync.Mutex // held while a program starts, and while all are stopped
	all   map[int]*program
	guard *guard
	tick  *time.Timer
}

// program is one that runs, and what it has started. grace is the time that it has to end, of the last
// part of its lease.
type program struct {
	ctx   context.Context
	grace time.Duration
	told  time.Duration // until when the guard lets it run
}

// start starts a program as the leader of a group, whose number must not become another's before
// forget: nobody may wait for the leader until then.
func (s *groups) start(ctx context.Context, cmd *exec.Cmd, grace time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guardLocked(); err != nil {
		return fmt.Errorf("start the guard of programs: %w", err)
	}
	// Who stops this process between the start and the line that tells of it leaves a program that the
	// guard must know of as well.
	s.tellLocked(unborn, &program{ctx: ctx, grace: grace})
	defer s.untellLocked(unborn)
	if err := start(cmd); err != nil {
		return err
	}
	g := &program{ctx: ctx, grace: grace}
	s.all[cmd.Process.Pid] = g
	s.tellLocked(cmd.Process.Pid, g)
	s.tickLocked()
	return nil
}

func (s *groups) forget(leader int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, leader)
	s.untellLocked(leader)
}

// untellLocked has the guard forget a group.
func (s *groups) untellLocked(leader int) {
	if s.guard != nil {
		_ = s.guard.tell(leader, 0) // one that can't be told is on its way out
	}
}

// guardLocked makes a guard where there is none. One that has ended, which somebody must have killed,
// gets a successor that is told everything.
func (s *groups) guardLocked() (err error) {
	if s.guard != nil {
		return nil
	}
	if s.all == nil {
		s.all = make(map[int]*program)
	}
	g, err := newGuard()
	if err != nil {
		return err
	}
	s.guard = g
	go func() {
		<-g.ended
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.guard != g {
			return
		}
		_ = g.pipe.Close()
		s.guard = nil
		for leader, one := range s.all {
			one.told = 0
			s.tellLocked(leader, one)
		}
	}()
	return nil
}

// tellLocked tells the guard until when a group may run, where that has changed: a little less than its
// lease is proven, so that it is gone when the lease can pass on, and more than the worker
// would let it.
func (s *groups) tellLocked(leader int, g *program) {
	now := boot.Now() // before the rest of the lease is looked at: so it can only be too early
	end, ok := lease.Until(g.ctx)
	until := now + time.Until(end) - g.grace/6
	if !ok && g.told > 0 {
		return // lost: the worker ends it, and what was told before holds
	} else if !ok {
		until = now + g.grace
	}
	if until-g.told < time.Millisecond || s.guardLocked() != nil {
		return // without a guard the next look tries again
	}
	if s.guard.tell(leader, until) == nil {
		g.told = until
	}
}

// tickLocked looks again and again, as long as programs run, until when their leases are proven.
func (s *groups) tickLocked() {
	if s.tick != nil {
		return
	}
	pause := time.Second
	for _, g := range s.all {
		pause = min(pause, max(g.grace/2, 10*time.Millisecond))
	}
	s.tick = time.AfterFunc(pause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tick = nil
		for leader, g := range s.all {
			s.tellLocked(leader, g)
		}
		if len(s.all) > 0 {
			s.tickLocked()
		}
	})
}

// halt stops all programs and then this process, as a terminal's Ctrl-Z does. When somebody lets it go
// on, it calls awake, and those go on whose leases still last; the others are ended.
func (s *groups) halt(awake func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for leader := range s.all {
		_ = syscall.Kill(-leader, syscall.SIGSTOP)
	}
	stopSelf()
	awake()
	for leader, g := range s.all {
		signal := syscall.SIGCONT
		if end, ok := lease.Until(g.ctx); !ok || time.Until(end) < g.grace/6 {
			signal = syscall.SIGKILL
		}
		_ = syscall.Kill(-leader, signal)
	}
}

// close lets the guard end, and with it what was given up and still runs.
func (s *groups) close() {
	s.mu.Lock()
	guard := s.guard
	s.guard, s.all = nil, nil
	s.mu.Unlock()
	if guard != nil {
		guard.close()
	}
}
