package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Each refused line is named by its own number, however many of one call are refused: what was
// sent again after the first one had the numbers of other lines.
func TestFromNamesTheRefusedLines(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:c", "k", "--id", "c1")
	bad := conflicting(t, w)
	var in strings.Builder
	for i := range 12 { // all in one call, with some of each partition before, between and behind
		fmt.Fprintf(&in, `{"subject":"s:%d","kind":"k","id":"x%d"}`+"\n", i, i)
		if i%4 == 3 {
			in.WriteString("\n" + bad) // lines 6, 12 and 18; an empty one counts
		}
	}
	code, out, errOut := w.runWith(in.String(), "enqueue", "--from", "-", "--on-error", "skip")
	named := regexp.MustCompile(`line \d+: `).FindAllString(errOut, -1)
	if want := []string{"line 6: ", "line 12: ", "line 18: "}; code != exitFailed || !slices.Equal(named, want) {
		t.Errorf("exit %d, lines %q are named, want %q\n%s", code, named, want, errOut)
	}
	if !strings.Contains(out, "12 jobs enqueued, 0 existed already, 3 bad lines") {
		t.Error(out)
	}
	if code, _, errOut := w.runWith(in.String(), "enqueue", "--from", "-"); code != exitUsage || !strings.Contains(errOut, "line 6: ") {
		t.Errorf("stopped: exit %d\n%s", code, errOut)
	}
}

// No call of --from has more than one may have, jobs or bytes; and one that may have as much has.
func TestFromFillsItsCalls(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb)})
	if err != nil {
		t.Fatal(err)
	}
	const mib = 1 << 20
	for name, c := range map[string]struct{ size, jobs, fits int }{
		"jobs":                  {1, 450, batchJobs},
		"bytes, to the last":    {mib, 5, 2},
		"bytes, one too many":   {mib - 1, 5, 2},
		"bytes, a third of all": {dispatcher.MaxBatchBytes/3 + 1, 5, 2},
	} {
		a := &app{out: &outlet{Writer: io.Discard}, err: io.Discard, quiet: true}
		f := &feed{o: &enqueueOptions{app: a}, d: d, bar: a.progress("", 0), due: time.NewTimer(soon)}
		most := 0
		for i := range c.jobs {
			job := dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: fmt.Sprint(i)}, Kind: "k", Payload: make([]byte, c.size)}
			if err := f.add(t.Context(), job, i); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			bytes := 0
			for _, job := range f.batch {
				bytes += len(job.Payload)
			}
			if len(f.batch) > dispatcher.MaxBatch || bytes > dispatcher.MaxBatchBytes {
				t.Fatalf("%s: a call has %d jobs with %d bytes", name, len(f.batch), bytes)
			}
			most = max(most, len(f.batch))
		}
		if err := f.send(t.Context()); err != nil || most != c.fits || f.enqueued != c.jobs {
			t.Errorf("%s: %d of %d enqueued in calls of up to %d, want %d: %v", name, f.enqueued, c.jobs, most, c.fits, err)
		}
	}
}

// failed makes a lane whose head has failed once, and waits for its next attempt.
func (w *town) failed(lane, kind, id string) {
	w.t.Helper()
	w.must("enqueue", lane, kind, "--id", id)
	ctx := w.t.Context()
	rdb, err := connect.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rdb.Close()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: w.namespace})
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := session.Bare(ctx, d, session.Claimant{Holder: "w", Kinds: []string{kind}, TTL: time.Minute})
	if err != nil {
		w.t.Fatal(err)
	}
	for p := range d.Namespace().Partitions {
		for _, c := range s.Turns(ctx, []session.Turn{{Partition: p, Claim: true, Want: 1}})[0].Claims {
			end := session.End{Claim: &c, Outcome: session.Retry, Wait: time.Hour, Error: "boom"}
			if err := s.Turns(ctx, []session.Turn{{Partition: p, Ends: []session.End{end}}})[0].Ended[0].Err; err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// buried makes dead letters of jobs of one lane, in their order.
func (w *town) buried(lane string, ids ...string) {
	w.t.Helper()
	for _, id := range ids {
		w.must("enqueue", lane, "fails", "--id", id, "--max-attempts", "1")
	}
	w.must("work", "--handle", "fails=false", "--until-empty", "-q")
}

// ids are those that a lane shows, the head first.
func (w *town) ids(lane string) []string {
	w.t.Helper()
	return strings.Fields(w.must("lane", "show", lane, "-q"))
}

// Dead letters of a lane come back in the order that they had, to the front as to the tail, in
// whatever order they are named; --front of several reversed it.
func TestReplayOfSeveralKeepsTheirOrder(t *testing.T) {
	t.Parallel()
	for lane, c := range map[string]struct {
		args, want []string
	}{
		"s:tail":  {nil, []string{"waits", "1", "2", "3"}},
		"s:front": {[]string{"--front"}, []string{"1", "2", "3", "waits"}},
	} {
		w := newTown(t)
		w.buried(lane, lane+"1", lane+"2", lane+"3")
		w.must("enqueue", lane, "fails", "--id", lane+"waits")
		w.must(append([]string{"dead", "replay", lane + "2", lane + "3", lane + "1"}, c.args...)...)
		for i := range c.want {
			c.want[i] = lane + c.want[i]
		}
		if got := w.ids(lane); !slices.Equal(got, c.want) {
			t.Errorf("replayed %v: the lane is %v, want %v", c.args, got, c.want)
		}
	}
}

// One wrong id among several keeps a command that can be undone from none of the others, before it or behind it;
// it is named, and its kind of failure is the exit code. TestAllOrNothingOfSeveral has those that can't be undone.
func TestOneWrongIDAmongSeveral(t *testing.T) {
	t.Parallel()
	for verb, c := range map[string]struct{ done, state string }{
		"job suspend": {"suspended", "suspended"},
		"job resume":  {"resumed", "ready"},
		"dead replay": {"replayed", "ready"},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			for _, form := range []string{"table", "json"} {
				w := newTown(t)
				if strings.HasPrefix(verb, "dead") {
					w.buried("s:a", "a")
					w.buried("s:b", "b")
				} else {
					w.must("enqueue", "s:a", "k", "--id", "a")
					w.must("enqueue", "s:b", "k", "--id", "b")
				}
				if verb == "job resume" {
					w.must("job", "suspend", "a", "b")
				}
				args := append(strings.Fields(verb), "a", "none", "b", "-o", form)
				code, out, errOut := w.run(args...)
				if code != exitNotFound || !strings.Contains(errOut, "no") || !strings.Contains(errOut, "none") || !strings.Contains(errOut, "2 of 3") {
					t.Errorf("%v: exit %d, want %d\n%s%s", args, code, exitNotFound, out, errOut)
				}
				if form == "json" {
					var said map[string][]string
					if err := json.Unmarshal([]byte(out), &said); err != nil || !slices.Equal(said[c.done], []string{"a", "b"}) {
						t.Errorf("%v prints %s: %v", args, out, err)
					}
				} else if strings.Count(out, "\n") != 2 || !strings.Contains(out, "a "+c.done) || !strings.Contains(out, "b "+c.done) {
					t.Errorf("%v prints %q", args, out)
				}
				for _, id := range []string{"a", "b"} {
					code, out, _ := w.run("job", "show", id)
					if code != 0 || !strings.Contains(out, c.state) {
						t.Errorf("after %v %s is\n%s", args, id, out)
					}
				}
			}
		})
	}
}

// All lanes are listed once, page by page, though the server gives more of a large hash than a page has room for.
func TestLanePagesMissNone(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	const lanes = 2400 // more than Redis packs together, and gives in one batch
	var in strings.Builder
	for i := range lanes {
		fmt.Fprintf(&in, `{"subject":"s:%d","kind":"k"}`+"\n", i)
	}
	if code, out, errOut := w.runWith(in.String(), "enqueue", "--from", "-"); code != 0 {
		t.Fatal(out, errOut)
	}
	for _, filter := range [][]string{nil, {"--state", "ready"}, {"--kind", "k"}} {
		seen := make(map[string]int)
		for page, args := 0, []string{"--limit", "43"}; page < lanes; page++ {
			code, out, errOut := w.run(append(append([]string{"lane", "ls", "-q"}, args...), filter...)...)
			if code != 0 {
				t.Fatalf("%v: exit %d\n%s", args, code, errOut)
			}
			for _, lane := range strings.Fields(out) {
				seen[lane]++
			}
			_, next, more := strings.Cut(strings.TrimSpace(errOut), "--cursor ")
			if !more {
				break
			}
			args = []string{"--limit", "43", "--cursor", next}
		}
		for lane, n := range seen {
			if n > 1 {
				t.Errorf("%v: %s is listed %d times", filter, lane, n)
			}
		}
		if len(seen) != lanes {
			t.Errorf("%v: %d of %d lanes are listed", filter, len(seen), lanes)
		}
	}
}
