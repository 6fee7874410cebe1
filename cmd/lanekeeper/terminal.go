package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is the one that this process was started on. A command that is run has its foreground when this
// process has it, as from a shell: the keys go to it alone, and when it is stopped, by them or because it
// reads in the background, lanekeeper stops too.
type terminal struct {
	*os.File
	own int // group of this process
}

// terminalOf returns the terminal that in is, or nil when it is none.
func terminalOf(in any) *terminal {
	if !isTerminal(in) {
		return nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return &terminal{tty, unix.Getpgrp()}
}

func (t *terminal) foreground() int {
	group, _ := unix.IoctlGetInt(int(t.Fd()), unix.TIOCGPGRP)
	return group
}

// pass hands the terminal from one group to another, unless it is a third one's by now.
func (t *terminal) pass(from, to int) {
	if t.foreground() == from {
		_ = unix.IoctlSetPointerInt(int(t.Fd()), unix.TIOCSPGRP, to)
	}
}

// stopTogether stops who stands in a pipe with this process, and so is a job of the shell with it.
func stopTogether() {
	signal.Ignore(syscall.SIGTSTP) // this process stops last
	_ = syscall.Kill(0, syscall.SIGTSTP)
}
