package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/check"
)

// firstRuns is the log as runs, with only the first start of each job.
func firstRuns(lines []line) []check.Run {
	var runs []check.Run
	open := make(map[string]int)
	for _, l := range lines {
		switch {
		case l.what == "start" && l.attempt == 1:
			open[l.job] = len(runs)
			runs = append(runs, check.Run{Subject: l.subject, Seq: int(l.seq), Start: l.at, End: l.at})
		case l.what == "end" && l.attempt == 1:
			runs[open[l.job]].End = l.at
		}
	}
	return runs
}

// Two workers, one killed with -9 in the middle of its jobs: nothing is lost, order
// is kept, its lanes go on within the lease TTL + 1 s with the crashed jobs first, its
// programs die with it, and the doctor finds nothing.
//
// It measures a time against a bound, so it does not run beside other tests.
func TestI5I6_KillOneOfTwoWorkers(t *testing.T) {
	w := newTown(t)
	const lanes, perLane = 12, 10
	var in strings.Builder
	for i := range lanes * perLane {
		fmt.Fprintf(&in, `{"subject":"s:%d","kind":"k","payload":{"sleep_ms":80}}`+"\n", i%lanes)
	}
	if code, out, errOut := w.runWith(in.String(), "enqueue", "--from", "-"); code != 0 {
		t.Fatal(out, errOut)
	}
	const ttl = 2 * time.Second
	victim := w.start("--concurrency", "4", "--lease-ttl", ttl.String())
	w.until("the victim works", func() bool { return w.logged("start") >= 8 })
	survivor := w.start("--concurrency", "4", "--lease-ttl", ttl.String(), "--until-empty")
	w.until("both work, and more run than the survivor has places for", func() bool {
		return w.logged("end") >= 30 && w.logged("start")-w.logged("end") > 5
	})
	victim.signal(syscall.SIGKILL)
	killed := time.Now()
	<-victim.done

	if code := survivor.exit(); code != 0 {
		t.Fatalf("survivor ended with %d:\n%s", code, survivor.out.String())
	}
	lines := w.log()
	starts := make(map[string][]line)
	ended := make(map[string]bool)
	pids := make(map[int]bool)
	for _, l := range lines {
		if l.what == "start" {
			starts[l.job] = append(starts[l.job], l)
		} else {
			ended[l.job] = true
		}
		pids[l.pid] = true
	}
	if len(ended) != lanes*perLane {
		t.Errorf("%d of %d jobs ended", len(ended), lanes*perLane)
	}
	again := 0
	for job, s := range starts {
		if len(s) == 1 {
			continue
		}
		again++
		if took := s[1].at.Sub(killed); took > ttl+time.Second {
			t.Errorf("job %s was taken over after %s, want at most %s", job, took, ttl+time.Second)
		}
		if s[1].attempt != 2 || s[1].token <= s[0].token {
			t.Errorf("job %s: attempt %d with token %d after %d", job, s[1].attempt, s[1].token, s[0].token)
		}
	}
	if again == 0 || again > 4 {
		t.Errorf("%d jobs ran again, want those that the victim was running, at most 4", again)
	}
	if r := check.Check(firstRuns(lines)); r.OutOfOrder > 0 || r.Overlaps > 0 {
		t.Errorf("%+v", r)
	}
	w.must("doctor")
	for pid := range pids {
		if pid != os.Getpid() && syscall.Kill(pid, 0) == nil && !reaped(pid) {
			t.Errorf("program %d outlived its worker", pid)
		}
	}
}

// reaped reports whether a process is only waiting to be noticed by its parent.
func reaped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// A machine is frozen past its lease and woken [G3, G4]: its worker's finish is refused, a
// store that checks tokens sees no late write, and one that does not shows it.
func TestI3_FrozenWorkerIsFenced(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", `{"release":"go","effect":true}`)
	frozen := w.start("--lease-ttl", "1s", "--concurrency", "1")
	w.until("the frozen one starts", func() bool { return w.logged("start") == 1 })
	program := w.log()[0].pid
	guard := frozen.guard()
	frozen.freezeAll(program)
	other := w.start("--lease-ttl", "1s", "--concurrency", "1", "--until-empty")
	if code := other.exit(); code != 0 {
		t.Fatalf("the other worker ended with %d:\n%s", code, other.out.String())
	}
	// Wake the program first, so that it writes before its worker can stop it.
	if err := os.WriteFile(filepath.Join(w.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-program, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.until("the frozen program has written", func() bool { return w.logged("end") == 2 })
	_ = syscall.Kill(guard, syscall.SIGCONT)
	frozen.signal(syscall.SIGCONT)
	frozen.signal(syscall.SIGTERM)
	frozen.exit()

	if !strings.Contains(frozen.out.String(), "1 lease lost") {
		t.Errorf("the frozen worker's finish was not refused:\n%s", frozen.out.String())
	}
	fenced, _ := os.ReadFile(filepath.Join(w.dir, "fenced"))
	unfenced, _ := os.ReadFile(filepath.Join(w.dir, "unfenced"))
	if w.logged("refused") != 1 || !strings.HasSuffix(string(fenced), " 2") {
		t.Errorf("the store that checks tokens holds %q, %d writes refused", fenced, w.logged("refused"))
	}
	if string(unfenced) != "1" {
		t.Errorf("the store that does not check holds the write of attempt %s, want the lost update of attempt 1", unfenced)
	}
	w.must("doctor")
}

// A worker dies after the effect and before the finish: the job runs again [C1].
func TestI6_CrashAfterTheEffect(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", `{"effect":true,"release":"never"}`)
	first := w.start("--lease-ttl", "1s")
	w.until("it starts", func() bool { return w.logged("start") == 1 })
	first.freeze() // it can't see its program end
	if err := os.WriteFile(filepath.Join(w.dir, "never"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.until("the effect is there", func() bool { return w.logged("end") == 1 })
	first.signal(syscall.SIGKILL)
	second := w.start("--lease-ttl", "1s", "--until-empty")
	if code := second.exit(); code != 0 || w.logged("end") != 2 {
		t.Errorf("exit %d, %d ends, want the effect twice:\n%s", code, w.logged("end"), second.out.String())
	}
}

// SIGTERM: programs finish to a limit, then are stopped and their jobs handed back
// with the attempt refunded [C12].
func TestStopHandsBack(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:slow", "k", `{"block":true}`, "--id", "slow")
	w.must("enqueue", "s:quick", "k", `{"sleep_ms":300}`, "--id", "quick")
	p := w.start("--stop-timeout", "1s", "--lease-ttl", "5s")
	w.until("both run", func() bool { return w.logged("start") == 2 })
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 1 || !strings.Contains(p.out.String(), "1 jobs handed back") {
		t.Errorf("exit %d:\n%s", code, p.out.String())
	}
	out := w.must("job", "show", "slow", "-o", "json")
	if !strings.Contains(out, `"state": "ready"`) || !strings.Contains(out, `"attempt": 0`) {
		t.Errorf("the handed-back job is\n%s", out)
	}
	if code, _, _ := w.run("job", "show", "quick"); code != 3 {
		t.Errorf("the quick job did not finish: exit %d", code)
	}
}

// Exit codes of programs: 0 finishes, 65 is final, any other retries; the end of the
// output is kept.
func TestProgramExitCodes(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", `{}`, "--id", "fine")
	w.must("enqueue", "s:b", "k", `{"exit":65,"print":"no such artifact"}`, "--id", "final")
	w.must("enqueue", "s:c", "k", `{"exit":1,"print":"disk full"}`, "--id", "again", "--max-attempts", "1")
	w.must("enqueue", "s:d", "k", `{"exit":3,"print":"later"}`, "--id", "waits")
	p := w.start()
	w.until("all ended", func() bool { return w.logged("end") == 4 })
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.out.String())
	}
	for id, want := range map[string][]string{
		"final": {`"state": "dead"`, `"reason": "permanent error"`, "exit status 65: no such artifact"},
		"again": {`"state": "dead"`, `"reason": "attempts exhausted"`, "exit status 1: disk full"},
		"waits": {`"state": "delayed"`, "exit status 3: later", `"run_at"`},
	} {
		out := w.must("job", "show", id, "-o", "json")
		for _, part := range want {
			if !strings.Contains(out, part) {
				t.Errorf("%s is\n%swant %s", id, out, part)
			}
		}
	}
	ids := strings.Fields(w.must("dead", "ls", "-q"))
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"again", "final"}) {
		t.Errorf("dead letters %v", ids)
	}
	// One id that is none does not keep the others from it.
	if code, out, errOut := w.run("dead", "replay", "none", "final"); code != 3 ||
		!strings.Contains(out, "final replayed") || !strings.Contains(errOut, "1 of 2 replayed") {
		t.Errorf("replay of one of two: exit %d: %s%s", code, out, errOut)
	}
	w.must("dead", "discard", "again")
	if out := w.must("dead", "ls", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("dead letters %s, want []", out)
	}
	w.must("doctor")
}

func TestParseProgram(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"sh":                    {"sh"},
		`sh -c 'echo "a b"; x'`: {"sh", "-c", `echo "a b"; x`},
		`sh "two words" \$HOME`: {"sh", "two words", "$HOME"},
	} {
		if got, _, err := parseProgram(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("parseProgram(%s) = %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "sh; rm", "sh | cat", "sh > x", "sh 'open", "no-such-program-anywhere"} {
		if got, _, err := parseProgram(text); err == nil {
			t.Errorf("parseProgram(%s) = %q, want an error", text, got)
		}
	}
}

// What a program leaves behind in its process group ends with it: the next job of the
// subject may start. And exit 0 finishes, though a child holds the output open.
func TestProgramLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "left", "--max-attempts", "1")
	pidFile := filepath.Join(w.dir, "pid")
	begin := time.Now()
	w.must("work", "--handle", "left=sh -c 'sleep 300 & echo $! > "+pidFile+"; exit 0'", "--until-empty", "--lease-ttl", "20s")
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %s to notice that the program had ended", took)
	}
	var pid int
	text, _ := os.ReadFile(pidFile)
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	w.until("the child is gone", func() bool { return syscall.Kill(pid, 0) != nil || reaped(pid) })
	if out := w.must("dead", "ls", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("a program that exits 0 became a dead letter: %s", out)
	}
}
