package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// sorted sorts lines.
func sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// What ran in a lane is listed with how it ended, and jobs by their states.
func TestHistory(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "ok", "--id", "good")
	w.must("enqueue", "s:a", "fails", "--id", "bad", "--max-attempts", "1")
	w.must("enqueue", "s:b", "ok", "--id", "other")
	w.must("enqueue", "s:later", "ok", "--id", "later", "--delay", "1h")
	if _, out, errOut := w.run("lane", "history", "s:a"); out != "" || !strings.Contains(errOut, "nobody has told of an attempt yet") {
		t.Errorf("before all: %q, %q", out, errOut)
	}
	w.must("work", "--handle", "ok=true", "--handle", "fails=sh -c 'echo first; echo second; exit 3'", "--until-empty")

	code, out, errOut := w.run("lane", "history", "s:a", "-o", "wide")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || !strings.Contains(errOut, "has all that workers told of since") {
		t.Fatalf("exit %d\n%s%s", code, out, errOut)
	}
	// Which of two came first that ended within a round trip, nobody can say: TestTrail has their order.
	for _, want := range []string{"ENDED (UTC)", "bad fails 1 failed", "good ok 1 finished"} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if out := sorted(w.must("lane", "history", "s:a", "-q")); out != "bad\ngood\n" {
		t.Errorf("with -q %q", out)
	}
	if out := w.must("lane", "history", "s:a", "-q", "--kind", "ok", "--ending", "finished"); out != "good\n" {
		t.Errorf("of a kind %q", out)
	}
	code, out, errOut = w.run("lane", "history", "s:a", "-q", "--limit", "1")
	_, cursor, more := strings.Cut(strings.TrimSpace(errOut), "--cursor ")
	if code != 0 || !more || strings.Count(out, "\n") != 1 || sorted(out+w.must("lane", "history", "s:a", "-q", "--cursor", cursor)) != "bad\ngood\n" {
		t.Errorf("a page is %q, %q", out, errOut)
	}
	var views []attemptView
	if err := json.Unmarshal([]byte(w.must("lane", "history", "s:a", "-o", "json", "--limit", "500")), &views); err != nil || len(views) != 2 {
		t.Fatalf("%v: %+v", err, views)
	}
	v := views[slices.IndexFunc(views, func(v attemptView) bool { return v.Ending == "failed" })]
	took, err := time.ParseDuration(v.Took)
	if err != nil || v.ID != "bad" || v.Subject != "s:a" || v.Attempt != 1 || v.Of != 1 || v.EnqueuedAt == nil || v.StartedAt.Before(v.EnqueuedAt.Add(-time.Millisecond)) ||
		v.EndedAt.Sub(v.StartedAt) < took-time.Millisecond || !strings.Contains(v.Error, "exit status 3") || strings.Contains(v.Error, "\n") {
		t.Errorf("%+v, %v", v, err)
	}

	if out := w.must("kind", "show", "fails"); !strings.Contains(out, "/min (1 failed or lost) in the last 10 minutes") {
		t.Errorf("kind show:\n%s", out)
	}
	var kind kindView
	if err := json.Unmarshal([]byte(w.must("kind", "show", "ok", "-o", "json")), &kind); err != nil || kind.Flow == nil || kind.Flow.Hour.ByEnding["finished"] != 2 || kind.Flow.TenMinutes.PerMinute <= kind.Flow.Hour.PerMinute {
		t.Errorf("%v: %+v", err, kind.Flow)
	}
	if out := strings.Join(strings.Fields(w.must("stats", "--flow")), " "); !strings.Contains(out, "FAILED OR LOST, 1 H") || !regexp.MustCompile(`fails 0\.\d 0\.\d 1 0\.\d`).MatchString(out) {
		t.Errorf("stats --flow:\n%s", out)
	}
	var stats struct {
		Lanes *int
		Flow  map[string]flowView
	}
	if err := json.Unmarshal([]byte(w.must("stats", "--flow", "-o", "json")), &stats); err != nil || stats.Lanes == nil || stats.Flow["ok"].Hour.ByEnding["finished"] != 2 {
		t.Errorf("%v: %+v", err, stats)
	}
	if out := w.must("stats", "-o", "json"); strings.Contains(out, `"flow"`) {
		t.Errorf("without --flow:\n%s", out)
	}
	for state, want := range map[string]string{"ended": "other\nbad\ngood\n", "dead": "bad\n", "scheduled": "later\n", "running": ""} {
		out := w.must("job", "ls", "--state", state, "-q")
		if sorted(out) != sorted(want) {
			t.Errorf("%s: %q, want %q", state, out, want)
		}
	}
	for state, column := range map[string]string{"ended": "SUBJECT", "dead": "DIED (UTC)", "scheduled": "DUE (UTC)"} {
		if out := w.must("job", "ls", "--state", state, "--subject", map[string]string{"scheduled": "s:later"}[state]+map[string]string{"ended": "s:a", "dead": "s:a"}[state]); !strings.Contains(out, column) {
			t.Errorf("%s without %q:\n%s", state, column, out)
		}
		if _, out, errOut := w.run("job", "ls", "--state", state, "--subject", "s:none"); out != "" || !strings.Contains(errOut, "No such ") {
			t.Errorf("%s of no subject: %q, %q", state, out, errOut)
		}
	}
	if out := w.must("job", "ls", "--state", "ended", "-q", "--since", "1ns"); out != "" {
		t.Errorf("ended within a nanosecond: %q", out)
	}
}
