package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// manyBuried makes n dead letters of each of three lanes, and returns the ids of each in their order.
func (w *town) manyBuried(n int) map[string][]string {
	w.t.Helper()
	var in strings.Builder
	ids := make(map[string][]string)
	for i := range 3 * n {
		lane, id := fmt.Sprint("s:", i%3), fmt.Sprintf("j%05d", i)
		ids[lane] = append(ids[lane], id)
		fmt.Fprintf(&in, `{"subject":%q,"kind":"fails","id":%q,"max_attempts":1}`+"\n", lane, id)
	}
	if code, _, errOut := w.runWith(in.String(), "enqueue", "--from", "-", "-q"); code != 0 {
		w.t.Fatal(errOut)
	}
	d, err := dispatcher.Open(w.t.Context(), dispatcher.Config{Redis: redistest.Client(w.t), Namespace: w.namespace})
	if err != nil {
		w.t.Fatal(err)
	}
	buryAll(w.t, d)
	return ids
}

// A bulk replay that is killed goes on where it stopped when it is typed again: nothing is lost, nothing goes back
// twice, and each lane has its jobs in their order.
func TestBulkReplayIsKilled(t *testing.T) {
	t.Parallel()
	for _, flags := range [][]string{nil, {"--front"}} {
		w := newTown(t)
		const each = 500
		want := w.manyBuried(each)
		replay := append([]string{"dead", "replay", "--kind", "fails", "--yes"}, flags...)
		p := w.startWith(replay...)
		left := func() int {
			var plan deadPlan
			if err := json.Unmarshal([]byte(w.must("dead", "replay", "--all", "--dry-run", "-o", "json")), &plan); err != nil {
				t.Fatal(err)
			}
			return plan.Matched
		}
		w.until("some are replayed", func() bool { return left() < 3*each })
		p.signal(syscall.SIGKILL)
		p.exit()
		n := left()
		if n == 0 {
			t.Fatalf("it was over before it was killed:\n%s", p.out.String())
		}
		out := w.must(append(replay, "--expect", itoa(n))...)
		if want := fmt.Sprintf("%d replayed of %d.\n", n, n); out != want || left() != 0 {
			t.Errorf("killed with %d left, then it says %q, want %q", n, out, want)
		}
		for lane := range want {
			if got := strings.Fields(w.must("lane", "show", lane, "-q", "--limit", "500")); !slices.Equal(got, want[lane]) {
				t.Errorf("%v: lane %s is not in its order: %d jobs, %v", flags, lane, len(got), got[:min(5, len(got))])
			}
		}
		w.must("doctor") // 4, where anything is wrong
	}
}

// What a bulk command counts, it says before it acts, to people and to programs.
func TestBulkSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.buried("s:a", "a1", "a2")
	w.buried("s:b", "b1")
	out := w.must("dead", "discard", "--subject", "s:a", "--dry-run")
	for _, want := range []string{"2 dead letters match; nothing was done.", "fails  attempts exhausted  2", "The first 2:", "a1", "a2"} {
		if !strings.Contains(out, want) {
			t.Errorf("--dry-run does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "b1") {
		t.Errorf("of another subject:\n%s", out)
	}
	var plan deadPlan
	if err := json.Unmarshal([]byte(w.must("dead", "replay", "--all", "--dry-run", "-o", "json")), &plan); err != nil ||
		plan.Matched != 3 || !plan.DryRun || len(plan.Counts) != 1 || plan.Counts[0].Count != 3 || len(plan.First) != 3 || plan.First[0].ID != "a1" || plan.First[2].Subject != "s:b" {
		t.Errorf("%+v, %v", plan, err)
	}
	w.must("enqueue", "s:c", "fails", "--id", "c1", "--unique", "u", "--max-attempts", "1")
	w.must("work", "--handle", "fails=false", "--until-empty", "-q")
	w.must("enqueue", "s:c", "fails", "--id", "c2", "--unique", "u")
	code, out, errOut := w.run("dead", "replay", "--all", "--yes")
	if code != exitFailed || out != "3 replayed, 1 whose unique key is taken of 4.\n" || !strings.Contains(errOut, "--merge") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	var done deadDone
	if err := json.Unmarshal([]byte(w.must("dead", "replay", "--all", "--merge", "--yes", "-o", "json")), &done); err != nil || done.Matched != 1 || done.Merged != 1 || done.Replayed != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if out := w.must("dead", "ls"); out != "" {
		t.Error(out)
	}
}

// buryAll makes dead letters of all jobs of the kind fails.
func buryAll(t *testing.T, d *dispatcher.Dispatcher) {
	t.Helper()
	s, err := session.Bare(t.Context(), d, session.Claimant{Holder: "w", Kinds: []string{"fails"}, TTL: time.Minute, LaneBatch: map[string]int{"fails": 250}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		got := s.Turns(t.Context(), []session.Turn{{Claim: true, Want: 1}})[0]
		if got.Err != nil {
			t.Fatal(got.Err)
		}
		if len(got.Claims) == 0 {
			return
		}
		end := session.End{Claim: &got.Claims[0], Outcome: session.Several}
		for i := range 1 + len(got.Claims[0].Along) {
			one := got.Claims[0]
			if i > 0 {
				one.Job = one.Along[i-1]
			}
			end.Each = append(end.Each, session.End{Claim: &one, Outcome: session.DeadLettered, Reason: "attempts exhausted"})
		}
		if done := s.Turns(t.Context(), []session.Turn{{Ends: []session.End{end}}})[0]; done.Err != nil || done.Ended[0].Err != nil {
			t.Fatal(done.Err, done.Ended)
		}
	}
}

// Retention is declared in a file, within its rules, and shown.
func TestRetentionIsDeclaredAndShown(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	declare := func(rule string) (int, string) {
		code, _, errOut := w.run("work", "--until-empty", "-q", "--config", w.config("kinds: {k: {owner: o, "+rule+"}}\nhandlers: {k: \"true\"}"))
		return code, errOut
	}
	for rule, says := range map[string]string{
		"dead_keep: 5": "a duration", "dead_max: 1.5": "a whole number", "dead_max: -1": "must be 0 to", "dead_keep: 1ms": "must be 0s, or 1s to 100 years",
	} {
		if code, errOut := declare(rule); code != exitUsage || !strings.Contains(errOut, says) {
			t.Errorf("%s: exit %d\n%s", rule, code, errOut)
		}
	}
	for rule, says := range map[string]string{
		"dead_keep: 720h": "keep dead letters  720h0m0s\n", "dead_max: 50": "keep dead letters  the newest 50\n", "dead_keep: 24h, dead_max: 7": "keep dead letters  24h0m0s, the newest 7\n",
	} {
		if code, errOut := declare(rule); code != 0 {
			t.Fatalf("%s: exit %d\n%s", rule, code, errOut)
		}
		if out := w.must("kind", "show", "k"); !strings.Contains(out, says) {
			t.Errorf("%s is shown as\n%s", rule, out)
		}
	}
	if code, _ := declare("dead_keep: 0s"); code != 0 || strings.Contains(w.must("kind", "show", "k"), "keep dead letters") {
		t.Errorf("exit %d\n%s", code, w.must("kind", "show", "k"))
	}
}
