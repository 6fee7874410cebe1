package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestExitCodes(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "j")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{0, "", []string{"lane", "ls"}},
		{0, "", []string{"dead", "ls"}}, // an empty list is no failure
		{0, "", []string{"version"}},
		{0, "", []string{"stats", "-o", "json"}},
		{0, "", []string{"completion", "bash"}},
		{2, "no colon", []string{"enqueue", "nocolon", "k"}},
		{2, `kind "a b"`, []string{"enqueue", "s:a", "a b"}},
		{2, "--max-attempts", []string{"enqueue", "s:a", "k", "--max-attempts", "-3"}},
		{2, "--at", []string{"enqueue", "s:a", "k", "--at", "tomorrow"}},
		{2, "--header", []string{"enqueue", "s:a", "k", "--header", "x"}},
		{2, "arg", []string{"enqueue", "s:a"}},
		{2, "unknown flag", []string{"lane", "ls", "--nonsense"}},
		{2, "unknown command", []string{"nonsense"}},
		{2, "--output", []string{"stats", "-o", "xml"}},
		{2, "state", []string{"lane", "ls", "--state", "odd"}},
		{2, "limit", []string{"lane", "ls", "--limit", "5000"}},
		{2, "cursor", []string{"lane", "ls", "--cursor", "x"}},
		{2, "--handle", []string{"work"}},
		{2, "--handle", []string{"work", "--handle", "k"}},
		{2, "no-such-program", []string{"work", "--handle", "k=no-such-program"}},
		{2, "twice", []string{"work", "--handle", "k=sh", "--handle", "k=sh"}},
		{2, "--lease-ttl (1ms)", []string{"work", "--handle", "k=sh", "--lease-ttl", "1ms"}},
		{2, "lane batch k=0", []string{"work", "--handle", "k=sh", "--lane-batch", "k=0"}},
		{2, "no handler for kind other", []string{"work", "--handle", "k=sh", "--lane-batch", "other=5"}},
		{2, "--redis", []string{"--redis", "http://secret@x", "stats"}},
		{3, "no job", []string{"job", "show", "none"}},
		{3, "no lane", []string{"lane", "show", "s:none"}},
		{3, "not a dead letter", []string{"dead", "show", "j"}},
		{3, "not a dead letter", []string{"dead", "replay", "j"}},
		{3, "no job", []string{"dead", "discard", "none"}},
		{6, "LANEKEEPER_REDIS", []string{"--redis", "redis://127.0.0.1:1", "stats"}},
	} {
		code, out, errOut := w.run(c.args...)
		if code != c.code || !strings.Contains(errOut, c.says) {
			t.Errorf("lanekeeper %s: exit %d, want %d, and %q in:\n%s%s", strings.Join(c.args, " "), code, c.code, c.says, out, errOut)
		}
		if code != 0 && out != "" && c.code != 2 {
			t.Errorf("lanekeeper %s: a failure prints on stdout: %s", strings.Join(c.args, " "), out)
		}
		if strings.Contains(errOut, "secret") {
			t.Errorf("an address is shown: %s", errOut)
		}
	}
}

func TestLookAround(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "artifact:42", "expire", "a secret payload", "--id", "e1", "--header", "trace=abc")
	w.must("enqueue", "artifact:42", "move", "--id", "m1")
	w.must("enqueue", "artifact:43", "move", "--id", "later", "--delay", "1h")

	if out := w.must("enqueue", "artifact:42", "expire", "--id", "e1"); !strings.Contains(out, "exists already") {
		t.Errorf("the same id again: %s", out)
	}
	out := w.must("lane", "ls")
	if !strings.Contains(out, "artifact:42") || !strings.Contains(out, "ready") || !strings.Contains(out, "No living worker handles expire") {
		t.Errorf("lane ls:\n%s", out)
	}
	out = w.must("lane", "show", "artifact:42")
	if e, m := strings.Index(out, "e1"), strings.Index(out, "m1"); e < 0 || m < e || strings.Contains(out, "secret") {
		t.Errorf("lane show:\n%s", out)
	}
	if out := w.must("job", "show", "e1"); strings.Contains(out, "secret") || !strings.Contains(out, "trace=abc") {
		t.Errorf("job show:\n%s", out)
	}
	if out := w.must("job", "show", "later"); !strings.Contains(out, "scheduled") || !strings.Contains(out, "run at") {
		t.Errorf("a scheduled job:\n%s", out)
	}
	if out := w.must("stats"); !strings.Contains(out, "jobs scheduled  1") || !strings.Contains(out, "No living worker handles") {
		t.Errorf("stats:\n%s", out)
	}
}

// Machine output is one valid value with the promised field names, nothing else.
func TestJSON(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	out := w.must("enqueue", "s:a", "k", "x", "--id", "j1", "-o", "json")
	var made map[string]any
	if err := json.Unmarshal([]byte(out), &made); err != nil || made["id"] != "j1" || made["seq"] != 1.0 || made["created"] != true {
		t.Errorf("enqueue: %s", out)
	}
	var job map[string]any
	if err := json.Unmarshal([]byte(w.must("job", "show", "j1", "-o", "json")), &job); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"id", "subject", "kind", "seq", "attempt", "max_attempts", "state", "enqueued_at", "payload_bytes"} {
		if _, ok := job[field]; !ok {
			t.Errorf("job has no field %q: %v", field, job)
		}
	}
	for _, args := range [][]string{
		{"lane", "ls"}, {"lane", "show", "s:a"}, {"dead", "ls"}, {"worker", "ls"}, {"stats"}, {"doctor"}, {"version"},
	} {
		var v any
		out := w.must(append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Errorf("%v: %v in %s", args, err, out)
		}
	}
	w.must("enqueue", "s:b", "k")
	if lines := strings.Split(strings.TrimSpace(w.must("lane", "ls", "-o", "jsonl")), "\n"); len(lines) != 2 {
		t.Errorf("jsonl: %q", lines)
	}
}

func TestEnqueueFromFile(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	in := `{"subject":"s:a","kind":"k","payload":"text","id":"j1"}

{"subject":"s:a","kind":"k","payload":{"n":9007199254740993},"id":"j2","headers":{"a":"b"},"max_attempts":2,"timeout":"5s"}
{"subject":"s:a","kind":"k","payload_base64":"AP8=","id":"j3","delay":"1h"}
{"subject":"nocolon","kind":"k"}
{"subject":"s:a","kind":"k","dealy":"1h"}
not json
{"subject":"s:a","kind":"k","id":"j1"}
{"subject":"s:b","kind":"k","id":"j4"}`
	code, out, errOut := w.runWith(in, "enqueue", "--from", "-", "--on-error", "skip")
	if code != 1 || !strings.Contains(out, "4 jobs enqueued, 1 existed already, 3 bad lines") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	for _, part := range []string{"line 5: ", "line 6: ", `unknown field "dealy"`, "line 7: "} {
		if !strings.Contains(errOut, part) {
			t.Errorf("no %q in %s", part, errOut)
		}
	}
	if out := w.must("job", "show", "j2", "-o", "json"); !strings.Contains(out, digest([]byte(`{"n":9007199254740993}`))) || !strings.Contains(out, `"max_attempts": 2`) {
		t.Errorf("j2 is\n%s", out)
	}
	if out := w.must("job", "show", "j3", "-o", "json"); !strings.Contains(out, `"payload_bytes": 2`) || !strings.Contains(out, "scheduled") {
		t.Errorf("j3 is\n%s", out)
	}
	code, _, errOut = w.runWith(in, "enqueue", "--from", "-")
	if code != 2 || !strings.Contains(errOut, "line 5") {
		t.Errorf("stopping at a bad line: exit %d: %s", code, errOut)
	}
	if code, _, _ := w.run("job", "show", "j4"); code != 0 {
		t.Error("j4 is gone")
	}
	// One bad line takes no other with it, though they share a partition.
	in = `{"subject":"s:c","kind":"k","id":"c1"}` + "\n"
	for i := range 40 {
		in += fmt.Sprintf(`{"subject":"s:%d","kind":"k","id":"x%d"}`+"\n", i, i)
	}
	in += conflicting(t, w) + in
	code, out, errOut = w.runWith(in, "enqueue", "--from", "-", "--on-error", "skip")
	if code != 1 || !strings.Contains(out, "41 jobs enqueued, 41 existed already, 1 bad line") || !strings.Contains(errOut, "line 42: ") {
		t.Errorf("one conflict among many: exit %d: %s%s", code, out, errOut)
	}
	if code, _, errOut := w.run("enqueue", "--from", "/no/such/file"); code != 2 {
		t.Errorf("a file that is not: exit %d: %s", code, errOut)
	}
}

// conflicting is a line whose id is that of a job of another subject, c1 of s:c, in the
// same partition.
func conflicting(t *testing.T, w *town) string {
	t.Helper()
	var s inspect.Stats
	if err := json.Unmarshal([]byte(w.must("stats", "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	ns := subject.Namespace{Partitions: s.Partitions}
	for i := 100; ; i++ {
		k := subject.Key{Kind: "s", ID: fmt.Sprint(i)}
		if ns.Partition(k) == ns.Partition(subject.Key{Kind: "s", ID: "c"}) {
			return fmt.Sprintf(`{"subject":"%s","kind":"k","id":"c1"}`+"\n", k)
		}
	}
}

func TestWorkConfig(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	path := filepath.Join(t.TempDir(), "work.yaml")
	for text, says := range map[string]string{
		"concurency: 3":                "concurency",
		"handlers: {k: no-such-thing}": "no-such-thing",
		"handlers: {'a b': sh}":        "a b",
		"lease_ttl: soon":              "soon",
		"concurrency: 3":               "--handle",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errOut := w.run("work", "--config", path); code != 2 || !strings.Contains(errOut, says) {
			t.Errorf("%s: exit %d: %s", text, code, errOut)
		}
	}
	w.must("enqueue", "s:a", "k", "x")
	text := "concurrency: 2\nlease_ttl: 5s\nhandlers:\n  k: sh -c 'cat >" + filepath.Join(w.dir, "out") + "'\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must("work", "--config", path, "--until-empty")
	if got, _ := os.ReadFile(filepath.Join(w.dir, "out")); string(got) != "x" {
		t.Errorf("the program got %q", got)
	}
}

// The demo sees no violation with lanes, and sees them without: the checker can see.
func TestDemo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code int
		bad  bool
		args []string
	}{
		{0, false, []string{"demo", "-o", "json", "--jobs", "2000"}},
		{4, true, []string{"demo", "-o", "json", "--jobs", "4000", "--without-lanes"}},
	} {
		var out, errOut bytes.Buffer
		code := run(c.args, strings.NewReader(""), &out, &errOut)
		var r demoResult
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%v: %s%s", err, out.String(), errOut.String())
		}
		if code != c.code || r.OutOfOrder > 0 != c.bad || r.Overlaps > 0 != c.bad || r.MostAtOnce < 2 {
			t.Errorf("lanekeeper %s: exit %d, %+v", strings.Join(c.args, " "), code, r)
		}
	}
	w := newTown(t)
	path := filepath.Join(w.dir, "trace.csv")
	if err := os.WriteFile(path, []byte("unix_ts,subject\n1,a\n2,b\n3,a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := w.must("demo", "--trace", path, "--jobs", "5"); !strings.Contains(out, "jobs run                5") {
		t.Errorf("own trace:\n%s", out)
	}
	for _, args := range [][]string{{"demo", "--trace", "/no/such"}, {"demo", "--jobs", "-1"}} {
		if code, _, errOut := w.run(args...); code != 2 {
			t.Errorf("%v: exit %d: %s", args, code, errOut)
		}
	}
}

// Looking into lanes costs what a page costs, not what the backlog does: here by
// counting commands, not seconds.
func TestLooksDoNotGrowWithTheBacklog(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	var in strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&in, `{"subject":"s:%d","kind":"k"}`+"\n", i%1000)
	}
	if code, out, errOut := w.runWith(in.String(), "enqueue", "--from", "-"); code != 0 {
		t.Fatal(out, errOut)
	}
	begin := time.Now()
	if out := w.must("lane", "ls", "--limit", "10", "-q"); strings.Count(out, "\n") > 10 || strings.Count(out, "\n") < 9 { // it ends where a step of the scan does
		t.Errorf("a page of ten lanes:\n%s", out)
	}
	for _, args := range [][]string{{"lane", "ls", "--state", "ready"}, {"lane", "show", "s:1"}, {"dead", "ls"}, {"stats"}} {
		w.must(args...)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("five looks took %s", took)
	}
}

// doctor finds a lane that a lost key has stopped, --fix mends it, and says so once.
func TestDoctorFix(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "stuck")
	w.must("enqueue", "s:a", "k", "--id", "behind")
	rdb := redistest.Client(t)
	key := subject.Key{Kind: "s", ID: "a"}
	stats := w.must("stats", "-o", "json")
	var s struct{ Partitions int }
	if err := json.Unmarshal([]byte(stats), &s); err != nil {
		t.Fatal(err)
	}
	ns := subject.Namespace{Name: w.namespace, Partitions: s.Partitions}
	if err := rdb.Del(t.Context(), ns.Keys(ns.Partition(key)).Ready("k")).Err(); err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := w.run("doctor"); code != 4 || !strings.Contains(out, "stuck") || !strings.Contains(errOut, "--fix") {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
	if out := w.must("doctor", "--fix"); !strings.Contains(out, "listed it as ready") {
		t.Errorf("doctor --fix says:\n%s", out)
	}
	if code, out, errOut := w.run("doctor", "--fix"); code != 0 || !strings.Contains(errOut, "Nothing was wrong") {
		t.Errorf("a second --fix: exit %d:\n%s%s", code, out, errOut)
	}
	// What is left says why it stands still.
	if out := w.must("doctor"); !strings.Contains(out, "No living worker handles") {
		t.Errorf("doctor does not say why the lane waits:\n%s", out)
	}
}
