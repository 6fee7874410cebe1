package main

import (
	"encoding/json"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"
)

// 'log' has a line of each act that changed something: who, what, on what, before and after, why.
func TestLog(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	type line struct {
		At                                               time.Time
		Who, Face, Verb, Subject, ID, Before, After, Why string
		Kind                                             string
	}
	listed := func(args ...string) (lines []line) {
		t.Helper()
		if err := json.Unmarshal([]byte(w.must(append([]string{"log", "-o", "json"}, args...)...)), &lines); err != nil {
			t.Fatal(err)
		}
		return lines
	}
	if out := w.must("log", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("of nothing it says %s", out)
	}
	w.failed("s:a", "bad", "it's j1")
	w.must("lane", "retry", "s:a", "--head", "it's j1", "--why", "disk is free again")
	w.must("lane", "suspend", "s:a", "--why", "second thoughts")
	if out := w.must("lane", "show", "s:a", "-o", "json"); !strings.Contains(out, `"suspended_by": "`+whoami()+`"`) {
		t.Errorf("the lane does not say who:\n%s", out)
	}
	if out := w.must("lane", "show", "s:a"); !strings.Contains(out, "Suspended by "+whoami()+" ") || !strings.Contains(out, " ago: second thoughts.") {
		t.Errorf("the lane does not say who:\n%s", out)
	}
	w.must("lane", "skip", "s:a")
	w.must("dead", "discard", "it's j1", "--why", "hopeless")
	w.must("enqueue", "s:b", "bad", "--id", "j2")
	w.must("job", "cancel", "j2")
	if code, _, _ := w.run("job", "cancel", "j2"); code != exitNotFound {
		t.Errorf("cancelled twice: exit %d", code)
	}
	all := listed()
	want := []line{
		{Verb: "job cancel", Subject: "s:b", ID: "j2", Before: "waiting", After: "cancelled"},
		{Verb: "dead discard", Subject: "s:a", ID: `"it's j1"`, Before: "dead", After: "gone", Why: "hopeless"},
		{Verb: "lane skip", Subject: "s:a", ID: `"it's j1"`, Before: "suspended", After: "empty"},
		{Verb: "lane suspend", Subject: "s:a", ID: `"it's j1"`, Before: "ready", After: "suspended", Why: "second thoughts"},
		{Verb: "lane retry", Subject: "s:a", ID: `"it's j1"`, Before: "delayed", After: "ready", Why: "disk is free again"},
	}
	if len(all) != len(want) {
		t.Fatalf("listed are %+v", all)
	}
	for i, l := range all {
		if since := time.Since(l.At); since < 0 || since > time.Hour {
			t.Errorf("%s is of %s", l.Verb, l.At)
		}
		want[i].At, want[i].Who, want[i].Face = l.At, whoami(), "cli"
		if l != want[i] {
			t.Errorf("listed is %+v, want %+v", l, want[i])
		}
	}
	for _, c := range []struct {
		args string
		n    int
	}{
		{"--subject s:a", 4}, {"--verb lane", 3}, {"--verb skip", 1}, {"--who nobody@nowhere", 0}, {"--who " + whoami(), 5}, {"--since 1h", 5}, {"--since 1ns", 0},
		{"--subject s:a --verb discard --since 1h", 1}, {"--limit 2", 2},
	} {
		if got := listed(strings.Fields(c.args)...); len(got) != c.n {
			t.Errorf("log %s: %d, want %d: %+v", c.args, len(got), c.n, got)
		}
	}
	out := w.must("log", "--limit", "1")
	if first := strings.Split(out, "\n"); len(first) < 2 || !strings.HasPrefix(first[0], "TIME (UTC)") || !strings.Contains(first[1], "job cancel  j2") {
		t.Errorf("the table is\n%s", out)
	}
	_, _, more := w.run("log", "--limit", "4")
	cursor := strings.Fields(more)
	if got := listed("--cursor", cursor[len(cursor)-1]); len(got) != 1 || got[0] != want[4] {
		t.Errorf("after %q comes %+v", more, got)
	}
}

// Who acts is who has logged in, also behind sudo.
func TestWhoActs(t *testing.T) {
	host, _ := os.Hostname()
	t.Setenv("SUDO_USER", "ada")
	if who := whoami(); who != "ada@"+host {
		t.Errorf("behind sudo it is %s", who)
	}
	t.Setenv("SUDO_USER", "")
	if u, err := user.Current(); err == nil && whoami() != u.Username+"@"+host {
		t.Errorf("it is %s", whoami())
	}
}
