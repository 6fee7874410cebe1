package main

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What macOS has in place of what system_linux.go has. It was built, and never run by a test: docs/stability.md.

// ownBinary is the path of this binary. One that is replaced meanwhile is another one's guard: its format of lines has
// to stay what it is.
func ownBinary() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// dieTogether does nothing: no setting here has a program die with its worker. The guard ends it, unless the worker is killed
// in the moment between the program's start and the line that tells the guard of it.
func dieTogether(attr *syscall.SysProcAttr) *syscall.SysProcAttr { return attr }

// stopSelf stops this process until somebody lets it go on.
func stopSelf() { _ = unix.Kill(unix.Getpid(), unix.SIGSTOP) }

// reapOrphans has nothing to do: no process is the first one of a container.
func reapOrphans() {}

// What a process's P_stat says of it, in sys/proc.h.
const (
	stopped = 4 // SSTOP
	zombie  = 5 // SZOMB
)

// lookEvery is how often a child is looked at for a stop, of which no event tells here.
const lookEvery = 100 * time.Millisecond

// stops calls halted each time that a child stops, and returns when it has ended. The end is left to who waits
// for it: until then the child is a zombie, and its number nobody else's.
func stops(child int, halted func()) {
	queue, err := unix.Kqueue()
	if err == nil {
		defer unix.Close(queue)
		unix.CloseOnExec(queue)
		ends := unix.Kevent_t{Fflags: unix.NOTE_EXIT}
		unix.SetKevent(&ends, child, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
		if _, err = unix.Kevent(queue, []unix.Kevent_t{ends}, nil, nil); errors.Is(err, unix.ESRCH) {
			return // it has ended already
		}
	}
	for was := false; ; {
		state := stateOf(child)
		if state == zombie || state == 0 {
			return
		}
		if is := state == stopped; is != was {
			if was = is; is {
				halted()
			}
		}
		if err != nil { // without a queue the looks are all there is
			time.Sleep(lookEvery)
			continue
		}
		pause := unix.NsecToTimespec(int64(lookEvery))
		if n, _ := unix.Kevent(queue, nil, make([]unix.Kevent_t, 1), &pause); n > 0 {
			return
		}
	}
}

// stateOf is a process's P_stat, or 0 when there is none.
func stateOf(pid int) int8 {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return 0
	}
	return info.Proc.P_stat
}

// born are the leaders of groups that the worker has started since a time, and that are not known. When it dies meanwhile
// its children are another's, and there are none.
func born(since time.Duration, parent int, known map[int]allowed) (leaders []int) {
	processes, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil
	}
	for _, p := range processes {
		leader := int(p.Proc.P_pid)
		_, told := known[leader]
		// What was started before is known or gone: programs start one after the other. So the time counts for nothing here,
		// where it is one of the wall clock.
		if int(p.Eproc.Ppid) == parent && int(p.Eproc.Pgid) == leader && leader != os.Getpid() && !told {
			leaders = append(leaders, leader)
		}
	}
	if os.Getppid() != parent {
		return nil
	}
	return leaders
}
