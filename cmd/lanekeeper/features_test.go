package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// config writes a work.yaml and returns its path.
func (w *town) config(text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, "work.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// L3: kinds that a worker's file declares are refused elsewhere when they are misspelt, and
// belong to one owner.
func TestL3_KindsInYAML(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	path := w.config(`
kinds:
  expire: {owner: storage, subject: artifact, max_attempts: 5, timeout: 30s, loggable: [why], description: drops old ones}
  move: {owner: storage, pool: slow, limit: 3, on_failure: halt, unique: {scope: waiting, on_conflict: reject}}
pools: {default: 3, slow: 1}
pool_limits: {slow: 4}
handlers: {expire: "true", move: "true"}
`)
	w.must("work", "--config", path, "--until-empty")
	out := w.must("kind", "ls")
	for _, want := range []string{"expire", "storage", "slow", "halt", "3 at once"} {
		if !strings.Contains(out, want) {
			t.Errorf("kind ls without %q:\n%s", want, out)
		}
	}
	fails := func(code int, says string, args ...string) {
		t.Helper()
		if got, _, errOut := w.run(args...); got != code || !strings.Contains(errOut, says) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s", args, got, code, says, errOut)
		}
	}
	defer func() {
		w.must("kind", "rm", "expire")
		fails(3, "not declared", "kind", "rm", "expire")
	}()
	if out := w.must("kind", "show", "expire"); !strings.Contains(out, "drops old ones") || !strings.Contains(out, "unknown how long") {
		t.Errorf("kind show:\n%s", out)
	}
	fails(2, "declared are expire, move", "enqueue", "artifact:1", "expier")
	fails(2, `subject "build:1"`, "enqueue", "build:1", "expire")
	fails(2, "expier", "work", "--handle", "expier=true")
	fails(3, "not declared", "kind", "show", "none")
	thief := w.config("kinds: {expire: {owner: billing}}\nhandlers: {expire: \"true\"}")
	fails(1, "expire belongs to storage, not to billing", "work", "--config", thief)
	fails(2, "owner", "work", "--config", w.config("kinds: {k: {}}\nhandlers: {k: \"true\"}"))
	fails(2, "on_failur", "work", "--config", w.config("kinds: {k: {owner: o, on_failur: skip}}\nhandlers: {k: \"true\"}"))
	fails(2, "not among the pools", "work", "--config", w.config("kinds: {expire: {owner: storage}}\npools: {fast: 1}\nhandlers: {expire: \"true\"}"))
	fails(2, "no program is for the pool fast", "work", "--config", w.config("kinds: {expire: {owner: storage}}\npools: {default: 1, fast: 1}\nhandlers: {expire: \"true\"}"))
}

// G14: no output of any command, no log and no stored error shows a payload, but for the
// fields that its kind lists.
func TestG14_Canary(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	const canary, listed = "CANARY-7f3a", "LISTED-19c2"
	path := w.config(`
kinds:
  open: {owner: o, loggable: [why], keep: 1h, max_attempts: 1}
  closed: {owner: o, keep: 1h, max_attempts: 1, on_failure: halt}
handlers: {open: "sh -c 'cat >/dev/null; exit 3'", closed: "sh -c 'cat >/dev/null; exit 3'"}
`)
	payload := fmt.Sprintf(`{"why": %q, "card": %q}`, listed, canary)
	var all strings.Builder
	do := func(args ...string) {
		t.Helper()
		code, out, errOut := w.run(args...)
		fmt.Fprintf(&all, "$ %s: %d\n%s%s\n", args[0], code, out, errOut)
	}
	do("work", "--config", path, "--until-empty") // registers
	for _, kind := range []string{"open", "closed"} {
		do("enqueue", "s:"+kind, kind, payload, "--id", kind, "--unique", "u")
		do("enqueue", "s:"+kind, kind, payload+"x", "--unique", "u", "-o", "json")
		do("enqueue", "s:"+kind, kind, payload, "--id", kind, "--timeout", "-1s")
		do("enqueue", "s:"+kind, kind, payload, "--id", kind+"-later", "--delay", "1h")
	}
	looks := [][]string{
		{"lane", "show"}, {"job", "show"}, {"dead", "show"}, {"kind", "show"},
	}
	look := func() {
		for _, o := range []string{"table", "wide", "json", "jsonl"} {
			for _, kind := range []string{"open", "closed"} {
				for _, l := range looks {
					arg := kind
					if l[0] == "lane" {
						arg = "s:" + kind
					}
					do(append(l, arg, "-o", o)...)
				}
				do("job", "show", kind+"-later", "-o", o)
			}
			for _, l := range [][]string{{"lane", "ls"}, {"dead", "ls"}, {"stats"}, {"worker", "ls"}, {"doctor"}, {"kind", "ls"}} {
				do(append(l, "-o", o)...)
			}
		}
	}
	look()
	p := w.startWith("work", "--config", path)
	w.until("both have failed", func() bool {
		return strings.Contains(w.must("dead", "ls"), "open") && strings.Contains(w.must("lane", "ls", "--state", "suspended"), "s:closed")
	})
	look()
	do("enqueue", "--from", w.config(`{"subject":"s:a","kind":"open","payload":`+payload+`,"nope":1}`))
	p.signal(syscall.SIGTERM)
	p.exit()
	all.WriteString(p.out.String())
	if strings.Contains(all.String(), canary) {
		for _, l := range strings.Split(all.String(), "\n") {
			if strings.Contains(l, canary) {
				t.Errorf("shown: %s", l)
			}
		}
	}
	text := all.String()
	if !strings.Contains(text, listed) || !strings.Contains(text, digest([]byte(payload))) || !strings.Contains(text, "exit status 3") {
		t.Error("the listed field, the digest or the error is not shown at all: nothing was tested")
	}
}

// G6: 'exec' runs a command in turn with the subject's jobs, ends as it does, and with 75 when
// it could not.
func TestG6_Exec(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	code, out, errOut := w.run("exec", "s:a", "--", "sh", "-c", "echo $LANEKEEPER_SUBJECT; test $LANEKEEPER_TOKEN -gt 1000000 && exit 9")
	if code != 9 || out != "s:a\n" || errOut != "" {
		t.Errorf("exit %d, output %q, %q", code, out, errOut)
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{0, "", []string{"exec", "s:a", "--", "true"}},
		{143, "", []string{"exec", "s:a", "--", "sh", "-c", "kill $$"}},
		{2, "then --", []string{"exec", "s:a", "true"}},
		{2, "both", []string{"exec", "s:a", "--no-wait", "--wait", "1s", "--", "true"}},
		{127, "no-such-program", []string{"exec", "s:a", "--", "no-such-program"}},
		{2, "colon", []string{"exec", "sa", "--", "true"}},
	} {
		if code, out, errOut := w.run(c.args...); code != c.code || !strings.Contains(errOut, c.says) {
			t.Errorf("%v: exit %d, want %d and %q\n%s%s", c.args, code, c.code, c.says, out, errOut)
		}
	}
	gate := filepath.Join(w.dir, "gate")
	first := w.startWith("exec", "s:a", "--", "sh", "-c", "while ! test -e "+gate+"; do sleep 0.01; done; echo first >>"+w.dir+"/order")
	w.until("the first holds it", func() bool {
		return strings.Contains(w.must("lane", "ls"), "s:a") || strings.Contains(w.must("stats"), "leased") && w.leased()
	})
	if code, _, errOut := w.run("exec", "s:a", "--no-wait", "--", "true"); code != exitBusy || !strings.Contains(errOut, "held by") {
		t.Errorf("--no-wait: exit %d, %s", code, errOut)
	}
	if code, _, errOut := w.run("exec", "s:a", "--wait", "1s", "--", "true"); code != exitBusy || !strings.Contains(errOut, "within 1s") {
		t.Errorf("--wait 1s: exit %d, %s", code, errOut)
	}
	w.must("enqueue", "s:a", "k", "--id", "job")
	worker := w.startWith("work", "--handle", "k=sh -c 'echo job >>"+w.dir+"/order'")
	second := w.startWith("exec", "s:a", "--", "sh", "-c", "echo second >>"+w.dir+"/order")
	w.until("the second waits", func() bool { return strings.Contains(w.must("lane", "show", "s:a"), "2") && w.depth("s:a") == 2 })
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if a, b := first.exit(), second.exit(); a != 0 || b != 0 {
		t.Errorf("exit codes %d and %d\n%s%s", a, b, first.out.String(), second.out.String())
	}
	order, _ := os.ReadFile(filepath.Join(w.dir, "order"))
	if string(order) != "first\njob\nsecond\n" {
		t.Errorf("they ran as %q", order)
	}
	worker.signal(syscall.SIGTERM)
	worker.exit()

	// A killed lanekeeper takes its command along, and the subject is free after its lease.
	p := w.startWith("exec", "s:b", "--lease-ttl", "300ms", "--", "sh", "-c", "echo $$ >"+w.dir+"/pid; exec sleep 600")
	w.until("it runs", func() bool { b, _ := os.ReadFile(filepath.Join(w.dir, "pid")); return len(b) > 1 })
	p.signal(syscall.SIGKILL)
	p.exit()
	pid, _ := os.ReadFile(filepath.Join(w.dir, "pid"))
	w.until("the command is gone", func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	w.must("exec", "s:b", "--wait", "10s", "--", "true")
}

func (w *town) leased() bool {
	var s struct{ Leased int }
	_ = json.Unmarshal([]byte(w.must("stats", "-o", "json")), &s)
	return s.Leased > 0
}

func (w *town) depth(lane string) int {
	var l struct{ Depth int }
	_ = json.Unmarshal([]byte(w.must("lane", "show", lane, "-o", "json")), &l)
	return l.Depth
}

// B10: 'enqueue --wait' ends as the job does.
func TestB10_EnqueueWait(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	p := w.startWith("work", "--handle", "good=sh -c 'echo the result'", "--handle", "bad=sh -c 'echo nonsense; exit 65'")
	if code, out, errOut := w.run("enqueue", "s:a", "good", "--id", "g", "--wait"); code != 0 || !strings.Contains(out, "finished") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if code, out, errOut := w.run("enqueue", "s:a", "bad", "--id", "b", "--wait"); code != exitNotFinished || !strings.Contains(out, "nonsense") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if code, _, errOut := w.run("enqueue", "s:a", "nobody", "--wait", "--wait-for", "1s"); code != exitNotFinished || !strings.Contains(errOut, "within 1s") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	if out := w.must("job", "show", "g"); !strings.Contains(out, "finished") {
		t.Errorf("job show of one that has finished:\n%s", out)
	}
	p.signal(syscall.SIGTERM)
	p.exit()
	if out := w.must("kind", "show", "good"); !strings.Contains(out, "1 finished") || !strings.Contains(out, "p95") {
		t.Errorf("kind show:\n%s", out)
	}
}

// L9: a cancelled program gets SIGTERM, its lane stays held until it is gone, and then goes on.
func TestL9_CancelledProgram(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.startWith("work", "--lease-ttl", "30s", "--handle",
		`k=sh -c 'echo start $LANEKEEPER_JOB >>`+w.dir+`/log2; test $LANEKEEPER_JOB = next && exit 0; trap "echo term >>`+w.dir+`/log2; exit 1" TERM; while :; do sleep 0.01; done'`)
	w.must("enqueue", "s:a", "k", "--id", "long", "--keep", "1h")
	w.must("enqueue", "s:a", "k", "--id", "next")
	w.must("enqueue", "s:a", "k", "--id", "gone")
	log := func() string { b, _ := os.ReadFile(filepath.Join(w.dir, "log2")); return string(b) }
	w.until("it runs", func() bool { return strings.Contains(log(), "start long") })
	w.must("job", "cancel", "gone")
	begin := time.Now()
	if out := w.must("job", "cancel", "long"); !strings.Contains(out, "was asked") {
		t.Errorf("cancel of a running job says %q", out)
	}
	w.until("the next one has run", func() bool { return strings.Contains(log(), "start next") })
	if log() != "start long\nterm\nstart next\n" {
		t.Errorf("log:\n%s", log())
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("it took %s: the worker learnt of it only from a renewal", took)
	}
	if out := w.must("job", "show", "long"); !strings.Contains(out, "cancelled") {
		t.Errorf("job show:\n%s", out)
	}
	if code, _, _ := w.run("job", "show", "gone"); code != exitNotFound {
		t.Errorf("a cancelled job that waited is there: %d", code)
	}
}

// L10, C4: the operator's verbs on lanes.
func TestL10_LaneVerbs(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "one")
	w.must("enqueue", "s:a", "k", "--id", "two")
	if out := w.must("lane", "suspend", "s:a", "--why", "disk full"); !strings.Contains(out, "s:a suspended") {
		t.Error(out)
	}
	if out := w.must("lane", "ls", "--state", "suspended"); !strings.Contains(out, "disk full") {
		t.Error(out)
	}
	if out := w.must("lane", "show", "s:a"); !strings.Contains(out, "unknown") || !strings.Contains(out, "disk full") {
		t.Error(out)
	}
	w.must("lane", "skip", "s:a")
	if out := w.must("dead", "ls"); !strings.Contains(out, "skipped") {
		t.Error(out)
	}
	for _, verb := range []string{"resume", "skip"} {
		if code, _, errOut := w.run("lane", verb, "s:a"); code != 1 || !strings.Contains(errOut, "not suspended") {
			t.Errorf("%s of a lane that goes: %d %s", verb, code, errOut)
		}
	}
	w.must("job", "suspend", "two")
	if out := w.must("lane", "show", "s:a"); !strings.Contains(out, "head was suspended") {
		t.Error(out)
	}
	w.must("job", "resume", "two")
	w.must("doctor")
}
