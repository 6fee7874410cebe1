package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lanekeeper/lanekeeper/internal/boot"
)

// guardName is what the guard runs under. It is not that of lanekeeper, so who kills all
// processes of that name does not kill the guard too.
const guardName = "guard-of-programs"

// guard is a process that ends programs when their worker can't: at the end of their lease, though the
// worker is stopped, and at once when it has died. It is this binary once more, in a session of
// its own, with a pipe on which it is told of each process group and until when it may run. A
// pipe ends with who writes to it, however that died, so the guard never outlives its worker.
type guard struct {
	pipe  *os.File
	cmd   *exec.Cmd
	ended chan struct{}
}

func newGuard() (*guard, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	g := &guard{pipe: w, ended: make(chan struct{})}
	g.cmd = exec.Command(ownBinary())
	g.cmd.Args, g.cmd.Env, g.cmd.Dir = []string{guardName}, []string{}, "/"
	g.cmd.Stdin, g.cmd.SysProcAttr = r, &syscall.SysProcAttr{Setsid: true}
	if err := start(g.cmd); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	go func() {
		_ = wait(g.cmd)
		close(g.ended)
	}()
	return g, nil
}

// unborn stands for the leader of the group that is about to start, whose number nobody knows yet. Its
// worker may be stopped before it can say more.
const unborn = 0

// allowed is until when a group may run, and since when the guard was to know of it.
type allowed struct{ until, since time.Duration }

// tell sets the time since boot until when a group may run, or with 0 forgets the group. A guard
// that does not listen is of no use.
func (g *guard) tell(leader int, until time.Duration) error {
	_ = g.pipe.SetWriteDeadline(time.Now().Add(time.Second))
	_, err := fmt.Fprintln(g.pipe, leader, int64(until), int64(boot.Now()))
	if err != nil {
		_ = g.cmd.Process.Kill()
	}
	return err
}

// close lets the guard end, which ends what still runs, and waits until it has.
func (g *guard) close() {
	_ = g.pipe.Close()
	late := time.AfterFunc(time.Second, func() { _ = g.cmd.Process.Kill() }) // somebody has stopped it
	defer late.Stop()
	<-g.ended
}

// watchGroups is what the guard does. It looks at the pipe before it kills: a group that was forgotten
// may have another's number by now.
func watchGroups(pipe *os.File) {
	// Who stops all of a service at once sends these to the guard as well.
	signal.Ignore(append(ending, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGUSR1, syscall.SIGUSR2)...)
	parent, groups := os.Getppid(), make(map[int]allowed)
	var text []byte
	for {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(pipe.Fd()), Events: unix.POLLIN}}, pause(groups))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if ready <= 0 {
			endOver(groups, parent)
			continue
		}
		block := make([]byte, 1<<12)
		n, err := pipe.Read(block)
		text = hear(append(text, block[:n]...), groups)
		if errors.Is(err, io.EOF) {
			delete(groups, unborn) // it ends with its parent, where the system does that: dieTogether
			for leader := range groups {
				_ = syscall.Kill(-leader, syscall.SIGKILL)
			}
			return
		}
	}
}

// pause is how many milliseconds the guard may wait for news. They do not go on while the machine
// is suspended, so it looks at the clock once a second.
func pause(groups map[int]allowed) int {
	if len(groups) == 0 {
		return -1
	}
	next := time.Second
	for _, one := range groups {
		next = min(next, one.until-boot.Now())
	}
	return int(max(0, next+time.Millisecond-1) / time.Millisecond)
}

// hear takes whole lines off what was read, and returns the rest.
func hear(text []byte, groups map[int]allowed) []byte {
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return text
		}
		var leader int
		var until, since int64
		if _, err := fmt.Sscan(string(line), &leader, &until, &since); err == nil && (leader > 1 || leader == unborn) {
			groups[leader] = allowed{until: time.Duration(until), since: time.Duration(since)}
			if until == 0 {
				delete(groups, leader)
			}
		}
		text = rest
	}
}

// endOver ends the groups whose time is over.
func endOver(groups map[int]allowed, parent int) {
	for leader, one := range groups {
		if boot.Now() < one.until {
			continue
		}
		leaders := []int{leader}
		if leader == unborn {
			leaders = born(one.since, parent, groups)
		}
		for _, leader := range leaders {
			_ = syscall.Kill(-leader, syscall.SIGKILL)
		}
		delete(groups, leader)
	}
}
