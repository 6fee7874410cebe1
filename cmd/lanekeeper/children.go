package main

import (
	"os/exec"
	"sync"
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
