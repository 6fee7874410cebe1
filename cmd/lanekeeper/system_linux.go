package main

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What Linux has of its own to end programs with their worker. system_darwin.go has the same names.

// ownBinary is this binary, also when its file was replaced meanwhile.
func ownBinary() string { return "/proc/self/exe" }

// dieTogether has the kernel kill a program when its worker dies (prctl PR_SET_PDEATHSIG), though not what the program has
// started by then. The kernel ties that to the thread that started it; Go ends no thread here, since no
// goroutine of ours exits while locked to one.
func dieTogether(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	attr.Pdeathsig = syscall.SIGKILL
	return attr
}

// stopSelf stops this process until somebody lets it go on. A signal to the own thread has come when
// the call returns, so what follows runs only then: or at once in the first process of a
// container, which can't stop.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP)
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

// stops calls stopped each time that a child stops, and returns when it has ended. It takes the
// news of a stop, and leaves that of the end to who waits for it.
func stops(child int, stopped func()) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, child, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err == nil && info.Code == cldStopped:
			_ = unix.Waitid(unix.P_PID, child, nil, unix.WSTOPPED|unix.WNOHANG, nil)
			stopped()
		default:
			return
		}
	}
}

// cldStopped is CLD_STOPPED of signal.h.
const cldStopped = 5

// born are the leaders of groups that the worker has started since a time, and that are not known. There is one at most:
// programs start one after the other. When the worker dies meanwhile its children are another's, whose other ones are
// strangers; then there are none.
func born(since time.Duration, parent int, known map[int]allowed) (leaders []int) {
	const tick = time.Second / 100 // USER_HZ, in which the kernel tells when a process has started
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, _ := os.ReadFile(path)
		_, facts, ok := bytes.Cut(text, []byte(" ("))
		if !ok {
			continue // it has ended meanwhile
		}
		// What follows the name, which may have anything in it: state, parent, group, …; proc(5).
		fields := strings.Fields(string(facts[bytes.LastIndexByte(facts, ')')+1:]))
		if len(fields) < 20 {
			continue
		}
		leader, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		of, _ := strconv.Atoi(fields[1])
		group, _ := strconv.Atoi(fields[2])
		ticks, _ := strconv.ParseInt(fields[19], 10, 64)
		_, told := known[leader]
		if of == parent && group == leader && leader != os.Getpid() && !told && time.Duration(ticks+1)*tick > since {
			leaders = append(leaders, leader)
		}
	}
	if os.Getppid() != parent {
		return nil
	}
	return leaders
}
