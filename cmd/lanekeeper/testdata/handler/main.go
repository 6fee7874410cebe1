// Command handler is the program that 'lanekeeper work' starts in tests: it logs its
// start, does what the payload says, and logs its end.
package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func main() { os.Exit(handle(os.Getenv("HANDLER_DIR"))) }

func handle(dir string) int {
	var payload struct {
		SleepMS int    `json:"sleep_ms"`
		Exit    int    `json:"exit"`
		Block   bool   `json:"block"`   // on the first attempt, for ever
		Kill    bool   `json:"kill"`    // the worker, with -9
		Release string `json:"release"` // on the first attempt, until this file is there
		Effect  bool   `json:"effect"`  // write to both stores
		Print   string `json:"print"`   // to standard error
	}
	if err := json.NewDecoder(os.Stdin).Decode(&payload); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	attempt, _ := strconv.Atoi(os.Getenv("LANEKEEPER_ATTEMPT"))
	write(dir, "start")
	if payload.Block && attempt == 1 {
		time.Sleep(time.Hour)
	}
	if payload.Kill {
		_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		time.Sleep(time.Hour) // the kernel ends it with its worker
	}
	for payload.Release != "" && attempt == 1 {
		if _, err := os.Stat(filepath.Join(dir, payload.Release)); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Duration(payload.SleepMS) * time.Millisecond)
	if payload.Effect {
		store(dir)
	}
	write(dir, "end")
	fmt.Fprint(os.Stderr, payload.Print)
	return payload.Exit
}

func write(dir, what string) {
	f, err := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %s %s %s %s %s %d %d\n", what, url.QueryEscape(os.Getenv("LANEKEEPER_SUBJECT")), os.Getenv("LANEKEEPER_JOB"),
		os.Getenv("LANEKEEPER_SEQ"), os.Getenv("LANEKEEPER_ATTEMPT"), os.Getenv("LANEKEEPER_TOKEN"),
		time.Now().UnixNano(), os.Getpid())
}

// store writes the attempt to two stores: one refuses tokens lower than the last it
// saw, the other takes what comes.
func store(dir string) {
	attempt, token := os.Getenv("LANEKEEPER_ATTEMPT"), os.Getenv("LANEKEEPER_TOKEN")
	_ = os.WriteFile(filepath.Join(dir, "unfenced"), []byte(attempt), 0o600)

	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		panic(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		panic(err)
	}
	var last, mine int64
	old, _ := os.ReadFile(filepath.Join(dir, "fenced"))
	_, _ = fmt.Sscan(string(old), &last)
	mine, _ = strconv.ParseInt(token, 10, 64)
	if mine < last {
		write(dir, "refused")
		return
	}
	_ = os.WriteFile(filepath.Join(dir, "fenced"), []byte(token+" "+attempt), 0o600)
}
