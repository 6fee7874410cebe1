package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The deepest lanes, the hottest ones with their share, and one lane over time.
func TestMost(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	if _, out, errOut := w.run("lane", "ls", "--deepest"); out != "" || !strings.Contains(errOut, "No lanes to show") {
		t.Errorf("before all: %q, %q", out, errOut)
	}
	if _, out, errOut := w.run("lane", "ls", "--hot"); out != "" || !strings.Contains(errOut, "nobody has told of an attempt") {
		t.Errorf("before all: %q, %q", out, errOut)
	}
	w.must("enqueue", "s:slow", "sleeps", "--id", "s1")
	w.must("enqueue", "s:fast", "ok", "--id", "f1")
	w.must("work", "--handle", "ok=true", "--handle", "sleeps=sleep 0.5", "--until-empty")
	for i := range 3 {
		w.must("enqueue", "s:slow", "other", "--id", fmt.Sprint("w", i))
	}
	w.must("enqueue", "s:a", "other", "--id", "a1")

	if out := w.must("lane", "ls", "--deepest", "-q"); out != "s:slow\ns:a\n" {
		t.Errorf("the deepest are %q", out)
	}
	if code, out, errOut := w.run("lane", "ls", "--deepest", "--limit", "1"); code != 0 || !regexp.MustCompile(`s:slow +ready +3 +other +0/25 +No living worker`).MatchString(out) || strings.Contains(out, "s:a") || errOut != "" {
		t.Errorf("the deepest: exit %d\n%s%s", code, out, errOut)
	}
	code, out, errOut := w.run("lane", "ls", "--hot")
	if code != 0 || !regexp.MustCompile(`(?s)HANDLERS RAN +SHARE.*s:slow +5\d\dms +9\d\.\d % +ready +3.*s:fast.*% +empty +0 +- +- +-`).MatchString(out) || !strings.Contains(errOut, "which is all known by subject") {
		t.Errorf("the hottest: exit %d\n%s%s", code, out, errOut)
	}
	var lanes []laneView
	if err := json.Unmarshal([]byte(w.must("lane", "ls", "--hot", "--since", "2h", "-o", "json")), &lanes); err != nil || len(lanes) != 2 || lanes[0].Share < 0.9 || lanes[0].Took == "" || lanes[1].State != "empty" {
		t.Errorf("%v: %+v", err, lanes)
	}

	out = w.must("lane", "show", "s:slow", "--timeline")
	for _, want := range []string{"s:slow is ready, 3 jobs. No living worker", `sleeps +F+~?F*|`, `other  .*\| \+3\?`, "F finished", `s1 +sleeps +1 +finished +5\d\dms`, `unknown +w2 +other +0/25 +waiting`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if out := w.must("lane", "show", "s:slow", "--timeline", "-q"); out != "s1\nw0\nw1\nw2\n" {
		t.Errorf("with -q %q", out)
	}
	if _, _, errOut := w.run("lane", "show", "s:slow", "--timeline", "--limit", "2"); !strings.Contains(errOut, "More jobs wait behind these") {
		t.Errorf("of two jobs of three: %q", errOut)
	}
	if out := w.must("lane", "show", "s:fast", "--timeline"); !strings.Contains(out, "s:fast is empty, 0 jobs") || !strings.Contains(out, "f1") {
		t.Errorf("of what has run:\n%s", out)
	}
	var over struct {
		State string
		Past  []attemptView
		Jobs  []jobView
	}
	if err := json.Unmarshal([]byte(w.must("lane", "show", "s:slow", "--timeline", "-o", "json")), &over); err != nil || over.State != "ready" || len(over.Past) != 1 || len(over.Jobs) != 3 {
		t.Errorf("%v: %+v", err, over)
	}
}
