package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/boot"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// pair is a script of two processes in its group, which write their numbers into a file and go on.
func (w *town) pair(name string) (script string, pids func() []int) {
	path := filepath.Join(w.dir, name)
	script = path + ".sh"
	const ends = "exec sleep 300 >/dev/null 2>&1"
	text := fmt.Sprintf("sh -c 'echo $$ >>%s; %s' &\necho $$ >>%s\n%s\n", path, ends, path, ends)
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return script, func() (pids []int) {
		w.t.Helper()
		w.until(name+" runs", func() bool {
			text, _ := os.ReadFile(path)
			return strings.Count(string(text), "\n") == 2
		})
		text, _ := os.ReadFile(path)
		for word := range strings.FieldsSeq(string(text)) {
			var pid int
			_, _ = fmt.Sscan(word, &pid)
			pids = append(pids, pid)
		}
		w.t.Cleanup(func() { // where it failed
			for _, pid := range pids {
				if !gone([]int{pid}) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		})
		return pids
	}
}

func gone(pids []int) bool {
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil && !reaped(pid) {
			return false
		}
	}
	return true
}

// loseLease takes the lease of s:a away, as an operator could by force.
func (w *town) loseLease() {
	w.t.Helper()
	ns := subject.Namespace{Name: w.namespace, Partitions: 1}
	key := subject.Key{Kind: "s", ID: "a"}
	n, err := redistest.Client(w.t).HDel(w.t.Context(), ns.Keys(ns.Partition(key)).Leases(), key.Canonical()).Result()
	if n != 1 || err != nil {
		w.t.Fatalf("the lease was not there: %d, %v", n, err)
	}
}

// onTerminal runs a command as the first of a session on a terminal, and returns the terminal's end.
func (w *town) onTerminal(cmd *exec.Cmd) (*process, *os.File) {
	own, program := pseudoTerminal(w.t)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	p := w.process(cmd)
	_ = program.Close() // with the last who has it open the terminal ends, and so does the wait for its words
	return p, own
}

// On a terminal too a lost lease ends all that the command has started.
func TestH10_ExecOnATerminalEndsWithItsLease(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	script, pids := w.pair("pids")
	p, own := w.onTerminal(w.command("exec", "s:a", "--lease-ttl", "2s", "--", "sh", script))
	all := pids()
	w.loseLease()
	if code := p.exit(); code != exitFailed {
		text, _ := bufio.NewReader(own).ReadString('\n')
		t.Errorf("exit %d, %v\n%s", code, p.cmd.ProcessState, text)
	}
	if !gone(all) {
		t.Error("children of the command outlive the lease")
	}
}

// What a command leaves in its group ends with it; what has left the group stays.
func TestH10_WhatExecLeavesBehind(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	path := filepath.Join(w.dir, "pids")
	w.must("exec", "s:a", "--", "sh", "-c", "sleep 300 & echo $! >"+path+"; exit 0")
	var pid int
	text, _ := os.ReadFile(path)
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	w.until("it is gone", func() bool { return gone([]int{pid}) })
	w.must("exec", "s:a", "--", "sh", "-c", "setsid sh -c 'echo $$ >"+path+"2; exec sleep 300' >/dev/null 2>&1 & while ! test -s "+path+"2; do sleep 0.01; done")
	text, _ = os.ReadFile(path + "2")
	if _, err := fmt.Sscan(string(text), &pid); err != nil || gone([]int{pid}) {
		t.Errorf("a daemon is gone with the command: %v", err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// A worker that stands still, however it was stopped, has no programs that run beyond its lease;
// nor has one that is dead any programs.
func TestH11_ProgramsEndWithTheLease(t *testing.T) {
	t.Parallel()
	for name, freeze := range map[string]func(p *process){
		"ctrl-z": func(p *process) { p.signal(syscall.SIGTSTP) },
		"stop":   func(p *process) { p.freeze() },
		"kill":   func(p *process) { p.signal(syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			script, pids := w.pair("pids")
			w.must("enqueue", "s:a", "k")
			ttl := 2 * time.Second
			if name == "ctrl-z" {
				ttl = 6 * time.Second // in which it is seen that all stand
			}
			p := w.startWith("work", "--lease-ttl", ttl.String(), "--handle", "k=sh "+script, "--handle", "next=touch "+script+".next")
			all := pids()
			if name == "kill" { // programs start one after the other, so when another has, the guard knows of this one
				w.must("enqueue", "s:b", "next")
				w.until("another has started", func() bool { _, err := os.Stat(script + ".next"); return err == nil })
			}
			begin := time.Now()
			freeze(p)
			if name == "ctrl-z" {
				w.until("the worker stands, and its programs", func() bool {
					return stands(p.cmd.Process.Pid) && stands(all[0]) && stands(all[1])
				})
			}
			w.until("the programs are gone", func() bool { return gone(all) })
			if took := time.Since(begin); took > ttl {
				t.Errorf("programs ran for %s after their worker did not any more", took)
			}
		})
	}
}

// A program whose worker was stopped before it could tell the guard of it ends too, alone. Other tests start
// groups from this process as well, so this one runs beside none.
func TestH11_TheGuardEndsWhatItWasNotToldOf(t *testing.T) {
	program := func() *exec.Cmd {
		cmd := exec.Command("sleep", "300")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := start(cmd); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	g, err := newGuard()
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	before := program()
	if strangers := born(0, os.Getpid(), nil); strangers != nil {
		t.Errorf("of a worker that is not its parent it finds %v", strangers)
	}
	aTick := boot.Now() + 20*time.Millisecond // when the kernel says that the other started later
	for boot.Now() < aTick {
		time.Sleep(time.Millisecond)
	}
	if err := g.tell(unborn, boot.Now()+50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := wait(program()); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the program ended with %v", err)
	}
	if gone([]int{before.Process.Pid}) {
		t.Error("a program that ran before ended with it")
	}
}

// The guard knows that a program starts before it has, and until it knows which one.
func TestH11_AStartIsToldOfBefore(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := groups{guard: &guard{pipe: w}, all: make(map[int]*program)}
	cmd := exec.Command("true")
	if err := s.start(t.Context(), cmd, time.Minute); err != nil {
		t.Fatal(err)
	}
	s.forget(cmd.Process.Pid)
	_ = wait(cmd)
	_ = w.Close()
	var told []string
	for in := bufio.NewScanner(r); in.Scan(); {
		var leader int
		var until int64
		_, _ = fmt.Sscan(in.Text(), &leader, &until)
		who := map[int]string{unborn: "one", cmd.Process.Pid: "it"}[leader]
		told = append(told, fmt.Sprint(who, " runs: ", until > 0))
	}
	if want := []string{"one runs: true", "it runs: true", "one runs: false", "it runs: false"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// talk reads and writes a terminal: says waits for a line that has some text, press presses keys.
func talk(t *testing.T, name string, terminal *os.File) (says func(want string) string, press func(keys string)) {
	in := bufio.NewScanner(terminal)
	says = func(want string) string {
		t.Helper()
		seen := ""
		for in.Scan() {
			seen += in.Text() + "\n"
			if strings.Contains(in.Text(), want) {
				return in.Text()
			}
		}
		t.Fatalf("%s: the terminal does not say %q but\n%s", name, want, seen)
		return ""
	}
	return says, func(keys string) {
		t.Helper()
		if _, err := terminal.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
}

// A stop that is over before the lease is costs nothing.
func TestH11_GoOnUnderTheLease(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", `{"release":"go"}`, "--max-attempts", "1", "--keep", "1h", "--id", "j")
	p := w.start("--lease-ttl", "30s")
	w.until("it runs", func() bool { return w.logged("start") == 1 })
	program := w.log()[0].pid
	p.signal(syscall.SIGTSTP)
	w.until("both stand", func() bool { return stands(p.cmd.Process.Pid) && stands(program) })
	p.signal(syscall.SIGCONT)
	if err := os.WriteFile(filepath.Join(w.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.until("it has ended", func() bool { return w.logged("end") == 1 })
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 || !strings.Contains(p.out.String(), "1 finished") {
		t.Errorf("exit %d\n%s", code, p.out.String())
	}
}

// A guard that somebody kills has a successor, which knows of the programs that run.
func TestH11_TheGuardIsReplaced(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	script, pids := w.pair("pids")
	p := w.startWith("exec", "s:a", "--lease-ttl", "5m", "--", "sh", script)
	all := pids()
	first := p.guard()
	if first == 0 {
		t.Fatal("there is no guard")
	}
	_ = syscall.Kill(first, syscall.SIGTERM) // as who stops all of a service does
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("there is another", func() bool { return gone([]int{first}) && p.guard() != 0 })
	p.signal(syscall.SIGKILL)
	w.until("the programs are gone", func() bool { return gone(all) })
}

// Ctrl-Z on a terminal stops the command, all of it, and lanekeeper; 'fg' lets both go on, with the
// terminal the command's again; when the lease is over, it ends instead.
func TestH11_CtrlZ(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for name, ttl := range map[string]string{"in time": "30s", "too late": "1s"} {
		cmd := w.command("exec", "s:"+name[:2], "--lease-ttl", ttl, "--", "sh", "-c", "echo ready; read x; echo got $x; exit 9")
		// The shell of this terminal: it lets lanekeeper go on, in the foreground, when it is told to.
		shell := exec.Command("sh", append([]string{"-mc", `"$@" & fg >/dev/null; echo stopped $?; read y; fg >/dev/null; echo ended $?`, "sh", cmd.Path}, cmd.Args[1:]...)...)
		shell.Env = cmd.Env
		_, own := w.onTerminal(shell)
		says, press := talk(t, name, own)
		says("ready")
		press("\x1a")
		says("stopped")
		if name == "in time" {
			press("\n")
			w.until("it reads again", func() bool { return w.leased() })
			press("x\n")
			says("got x")
			says("ended 9")
			continue
		}
		w.until("its lease is over", func() bool { return w.must("exec", "s:"+name[:2], "--wait", "20s", "--", "true") == "" })
		press("\n")
		if end := says("ended"); strings.Contains(end, "ended 9") || strings.Contains(end, "ended 0") {
			t.Errorf("a command whose lease was over goes on: %s", end)
		}
	}
}

// H10: a command in the background of a terminal that reads from it stops, and lanekeeper with it, as the shell
// would have it; it reads when it is brought to the foreground, and hears signals though it is stopped.
func TestH10_ReadsInTheBackground(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for name, then := range map[string]string{"fg": "fg >/dev/null; echo ended $?", "kill": "kill $!; fg >/dev/null 2>&1; echo ended $?"} {
		cmd := w.command("exec", "s:"+name, "--", "sh", "-c", "read x; echo got $x; exit 9")
		shell := exec.Command("sh", append([]string{"-mc", `"$@" & while ! grep -q ") T" /proc/$!/stat; do sleep 0.05; done; echo stopped; read y; ` + then, "sh", cmd.Path}, cmd.Args[1:]...)...)
		shell.Env = cmd.Env
		_, own := w.onTerminal(shell)
		says, press := talk(t, name, own)
		says("stopped")
		press("\n")
		if name == "fg" {
			w.until("it has the foreground", func() bool { return w.leased() })
			press("x\n")
			says("got x")
			says("ended 9")
		} else {
			says("ended 143")
		}
	}
}
