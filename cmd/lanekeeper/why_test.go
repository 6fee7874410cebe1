package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// 'why' says the right word for each situation that commands can make, ends with 4 when somebody is needed, and the command
// that it names helps. The same sentence stands in 'lane ls' and 'lane show'.
func TestWhy(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	config := filepath.Join(w.dir, "kinds.yaml")
	if err := os.WriteFile(config, []byte("kinds:\n  strict:\n    owner: o\n    on_failure: halt\n  few:\n    owner: o\n    limit: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says := func(word, code string, stuck bool) (text string, next []string) {
		t.Helper()
		exit, out, errOut := w.run("why", word, "-o", "json")
		var said struct {
			Code, Text, Subject, ID string
			Stuck                   bool
			Next                    []struct{ Command string }
		}
		if err := json.Unmarshal([]byte(out), &said); err != nil || said.Code != code || said.Stuck != stuck || (exit == exitFalse) != stuck || exit != 0 && exit != exitFalse {
			t.Errorf("why %s: exit %d, %s%s; want %s, stuck %t", word, exit, out, errOut, code, stuck)
		}
		for _, step := range said.Next {
			next = append(next, step.Command)
		}
		if _, plain, _ := w.run("why", word); !strings.HasPrefix(plain, said.Text+"\n") {
			// a time may have passed; the code is the same
			if first, _, _ := strings.Cut(said.Text, " "); !strings.HasPrefix(plain, first) {
				t.Errorf("why %s prints %q, and as JSON %q", word, plain, said.Text)
			}
		}
		return said.Text, next
	}
	do := func(command string) { t.Helper(); w.must(strings.Fields(command)...) }

	if exit, _, _ := w.run("why", "s:none"); exit != exitNotFound {
		t.Errorf("of nothing: exit %d", exit)
	}
	if exit, _, _ := w.run("why", "none"); exit != exitNotFound {
		t.Errorf("of no job: exit %d", exit)
	}
	w.must("enqueue", "s:a", "k", "--id", "first")
	w.must("enqueue", "s:a", "k", "--id", "second", "--keep", "1h")
	text, next := says("s:a", "no-worker", true)
	if len(next) == 0 || next[0] != "work --handle k=PROGRAM" {
		t.Errorf("it helps with %q", next)
	}
	for _, args := range [][]string{{"lane", "ls"}, {"lane", "show", "s:a"}} {
		if out := w.must(args...); !strings.Contains(out, text) {
			t.Errorf("%v does not say %q:\n%s", args, text, out)
		}
	}
	says("first", "no-worker", true)
	says("second", "behind", true)
	w.must("lane", "suspend", "s:a", "--why", "disk is full")
	text, next = says("s:a", "suspended", true)
	if !strings.Contains(text, "disk is full") {
		t.Errorf("it says %q", text)
	}
	do(next[0])
	says("s:a", "no-worker", true)
	w.must("job", "suspend", "first")
	_, next = says("first", "job-suspended", true)
	says("s:a", "job-suspended", true)
	do(next[0])
	w.must("job", "suspend", "second")
	_, next = says("second", "job-suspended", true)
	do(next[0])
	says("second", "behind", true)

	w.must("enqueue", "s:b", "k", "--id", "later", "--delay", "1h")
	says("later", "scheduled", false)

	// An id that could be a subject is the job's, where no lane has that name.
	w.must("enqueue", "s:c", "k", "--id", "x:1")
	says("x:1", "no-worker", true)

	w.must("work", "--handle", "k=true", "--until-empty")
	says("second", "finished", false)
	w.must("enqueue", "s:d", "bad", "--id", "bad", "--max-attempts", "1")
	w.must("work", "--handle", "bad=false", "--until-empty")
	_, next = says("bad", "dead", true)
	do(next[0])
	says("bad", "no-worker", true)
	w.must("job", "cancel", "bad")

	w.must("enqueue", "s:g", "slow", "--id", "runs")
	p := w.startWith("work", "--handle", "slow=sleep 300")
	w.until("it runs", func() bool { _, out, _ := w.run("job", "show", "runs"); return strings.Contains(out, "leased") })
	text, _ = says("s:g", "running", false)
	if !strings.Contains(text, "Attempt 1 of 25 runs on ") {
		t.Errorf("it says %q", text)
	}
	w.must("job", "cancel", "runs")
	if code, out, _ := w.run("why", "s:g"); code == 0 && !strings.Contains(out, "asked to end it") {
		t.Errorf("a job that is cancelled: %s", out)
	}
	_ = p.cmd.Process.Kill()

	fails := w.startWith("work", "--config", config, "--handle", "strict=false", "--handle", "few=sleep 300")
	w.until("the kind is declared", func() bool { return strings.Contains(w.must("kind", "ls"), "strict") })
	w.must("enqueue", "s:f", "strict", "--id", "h", "--max-attempts", "1")
	halted := func() { // and it stays so
		t.Helper()
		w.until("it is halted", func() bool { return strings.Contains(w.must("lane", "show", "s:f"), "suspended") })
		_, next = says("s:f", "halted", true)
	}
	halted()
	do(next[0])
	halted()
	do(next[1])
	says("h", "dead", true)

	w.must("enqueue", "s:one", "few")
	w.must("enqueue", "s:two", "few")
	w.until("one of them runs", func() bool {
		return strings.Count(w.must("lane", "ls", "--kind", "few"), "leased") == 1
	})
	waits := "s:one"
	if strings.Contains(w.must("lane", "show", "s:one"), "leased") {
		waits = "s:two"
	}
	if text, _ := says(waits, "limit", false); !strings.HasPrefix(text, "The limit of kind few is reached: 1 of 1 run; the oldest has its slot for ") {
		t.Errorf("it says %q", text)
	}
	_ = fails.cmd.Process.Kill()
}
