package main

import (
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children are the processes that this one has started and will wait for. Where it is the
// first process of a container, others become its children too: what programs leave
// behind. Nobody waits for those, so they would stay as zombies until there is no
// room for another process.
var children struct {
	sync.Mutex // held while a process starts, so that none is there and not among them
	own        map[int]bool
	reaping    sync.Once
}

// start starts a command as one of the children.
func start(cmd *exec.Cmd) error {
	children.Lock()
	defer children.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	if children.own == nil {
		children.own = make(map[int]bool)
	}
	children.own[cmd.Process.Pid] = true
	return nil
}

// wait waits for a command that start has started.
func wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	children.Lock()
	defer children.Unlock()
	delete(children.own, cmd.Process.Pid)
	return err
}

// reapOrphans waits from now on for all children that are not its own, in a process that
// orphans come to.
func reapOrphans() {
	var subreaper int
	_ = unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0)
	if os.Getpid() != 1 && subreaper == 0 {
		return
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	ended <- syscall.SIGCHLD // there may be some already
	go func() {
		for range ended {
			for reapOne() {
			}
		}
	}()
}

// reapOne takes one orphan that has ended away, and reports whether there may be more. It only
// looks first (WNOWAIT): the end of an own child is for who started it, and as long as that
// one is not taken the kernel shows no other.
func reapOne() bool {
	children.Lock()
	pid := endedChild()
	own := children.own[pid]
	if pid > 0 && !own {
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
	children.Unlock()
	if own {
		time.Sleep(10 * time.Millisecond) // who started it takes it in a moment
	}
	return pid > 0
}

// endedChild is the number of a child that has ended and was not waited for, or 0.
func endedChild() int {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if err != nil || info.Signo == 0 {
		return 0
	}
	// The number stands behind three ints, where a word begins.
	const word = unsafe.Sizeof(uintptr(0))
	at := (unsafe.Offsetof(info.Code) + unsafe.Sizeof(info.Code) + word - 1) / word * word
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), at)))
}
