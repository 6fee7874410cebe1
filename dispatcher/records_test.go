package dispatcher_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/control"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// With -rewrite testdata/records.txt says what the code stores now: commit it only when the schema is to change.
var rewrite = flag.Bool("rewrite", false, "rewrite testdata/records.txt")

const (
	recordsFile    = "testdata/records.txt"
	emptyNamespace = "an empty namespace"
)

// states are what may become of a lane and who has to do with it, each by one feature or two that meet. Between
// them they use every key and every form that is stored.
var states = map[string]func(h *house){
	emptyNamespace: func(*house) {},
	"jobs that wait": func(h *house) {
		h.of1("k", "j1", "j2", "01a21911-2f3b-750c-b15d-12b344f1a780")
		h.enqueue(dispatcher.NewJob{
			Subject: key("a"), Kind: "other", ID: "all", Payload: []byte("\x00payload"), MaxAttempts: 7, Timeout: time.Minute, Keep: time.Hour,
			Headers: map[string]string{"trace": "x"},
		})
	},
	"a scheduled job":          func(h *house) { h.of1("k", "j1"); h.later("a", "k", "j2", time.Hour) },
	"a running job":            func(h *house) { h.of1("k", "j1", "j2"); h.first() },
	"jobs that run together":   func(h *house) { h.of1("k", "j1", "j2", "j3", "j4"); h.batch("w", 3) },
	"a job that finished":      func(h *house) { h.of1("k", "j1", "j2"); h.ends(h.first(), session.End{}, false) },
	"a lane that is handed on": func(h *house) { h.of1("k", "j1", "j2"); h.ends(h.first(), session.End{}, true) },
	"a job that failed and waits": func(h *house) {
		h.of1("k", "j1", "j2")
		h.ends(h.first(), session.End{Outcome: session.Retry, Wait: time.Hour, Error: "boom"}, false)
	},
	"a job that failed twice and is ready": func(h *house) {
		h.of1("k", "j1", "j2")
		for range 2 {
			h.ends(h.first(), session.End{Outcome: session.Retry, Error: "boom", Workers: 5}, false)
		}
	},
	"a batch that failed": func(h *house) { h.of1("k", "j1", "j2", "j3"); h.batchFails(time.Hour) },
	"a job that is set aside": func(h *house) {
		h.of1("skip", "j1", "j2")
		h.ends(h.first(), session.End{Outcome: session.Retry, Wait: time.Hour, Error: "boom"}, false)
	},
	"a job that is handed back": func(h *house) {
		h.of1("k", "j1")
		h.ends(h.first(), session.End{Outcome: session.HandedBack}, false)
	},
	"a job whose worker was lost": func(h *house) {
		h.of1("k", "j1", "j2")
		h.first()
		h.advance(time.Minute)
		h.reaped()
	},
	"a job whose worker was lost again": func(h *house) {
		h.of1("k", "j1")
		for range 2 {
			h.first()
			h.advance(time.Minute)
			h.reaped()
		}
	},
	"dead letters that were pruned": func(h *house) {
		d, err := dispatcher.Open(bg, dispatcher.Config{
			Redis: h.rdb, Namespace: h.cfg.Namespace, Now: h.cfg.Now, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", DeadKeep: time.Hour, DeadMax: 1}},
		})
		h.ok(err)
		h.Dispatcher = d
		h.of1("k", "j1", "j2")
		for range 2 {
			h.ends(h.first(), session.End{Outcome: session.DeadLettered, Reason: "permanent", Error: "boom"}, false)
		}
		h.prune()
	},
	"a dead letter": func(h *house) {
		h.of1("k", "j1", "j2")
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Reason: "permanent", Error: "boom"}, false)
	},
	"a dead letter after its last attempt": func(h *house) {
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", MaxAttempts: 1})
		h.ends(h.first(), session.End{Outcome: session.Retry, Error: "boom"}, false)
	},
	"a dead letter that failed on different workers": func(h *house) {
		h.of1("k", "j1")
		h.ends(h.first(), session.End{Outcome: session.Retry, Error: "boom", Workers: 1}, false)
	},
	"a dead letter that is replayed": func(h *house) {
		h.of1("k", "j1", "j2")
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Error: "boom"}, false)
		h.replays("j1", true)
	},
	"a halted lane": func(h *house) {
		h.of1("halt", "j1", "j2")
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Reason: "permanent", Error: "boom"}, false)
	},
	"a hold on a kind": func(h *house) { h.holds(control.Hold{Scope: control.Kind, Name: "k", Except: []string{"skip"}}) },
	"a lane that a hold has taken aside": func(h *house) {
		h.of1("k", "j1")
		h.holds(control.Hold{Scope: control.Lanes, Name: "s:a*", Until: h.cfg.Now().Add(time.Hour)})
		h.claimed("w", 1)
	},
	"a suspended lane": func(h *house) { h.of1("k", "j1"); h.suspends() },
	"a lane that somebody suspended": func(h *house) {
		h.of1("k", "j1")
		_, err := h.Suspend(dispatcher.As(bg, dispatcher.Actor{Who: "ada", Face: "cli"}), key("a"), "why")
		h.ok(err)
	},
	"a suspended lane, empty":     func(h *house) { h.suspends() },
	"a lane to be suspended":      func(h *house) { h.of1("k", "j1"); h.first(); h.suspends() },
	"a suspended job at the head": func(h *house) { h.of1("k", "j1", "j2"); h.ok(h.SuspendJob(bg, ref("j1"))) },
	"a suspended job behind":      func(h *house) { h.of1("k", "j1", "j2"); h.ok(h.SuspendJob(bg, ref("j2"))) },
	"a suspended job, scheduled":  func(h *house) { h.later("a", "k", "j1", time.Hour); h.ok(h.SuspendJob(bg, ref("j1"))) },
	"a job to be cancelled":       func(h *house) { h.of1("k", "j1"); h.first(); h.cancels("j1") },
	"a job to be cancelled in a lane to be suspended": func(h *house) {
		h.of1("k", "j1")
		h.first()
		h.cancels("j1")
		h.suspends()
	},
	"a cancelled job": func(h *house) { h.of1("kept", "j1"); h.cancels("j1") },
	"a job that was cancelled while it ran": func(h *house) {
		h.of1("kept", "j1")
		c := h.first()
		h.cancels("j1")
		h.ends(c, session.End{Outcome: session.HandedBack}, false)
	},
	"an attempt that is given back": func(h *house) {
		h.of1("k", "j1")
		c := h.first()
		m := h.member("w", "", "k")
		h.member("another", "", "k")
		m.blame("k", &c)
	},
	"an outcome": func(h *house) {
		h.of1("kept", "j1")
		h.ends(h.first(), session.End{Result: []byte("r\n\x00")}, false)
	},
	"a unique key":               func(h *house) { h.unique(dispatcher.WhileWaiting) },
	"a unique key while it runs": func(h *house) { h.unique(dispatcher.WhileWaitingOrRunning); h.first() },
	"a unique key for a time":    func(h *house) { h.unique(dispatcher.ForWindow) },
	"a job that another one merged into": func(h *house) {
		h.unique(dispatcher.WhileWaiting)
		h.enqueue(unique("a", "u2", dispatcher.Unique{Key: "x"}))
	},
	"a section": func(h *house) {
		h.of1("k", "j1")
		h.ends(h.first(), session.End{}, false)
		_, err := h.Leases().Acquire(bg, key("a"), "caller", time.Minute)
		h.ok(err)
	},
	"a caller that waits": func(h *house) { h.of1("k", "j1"); h.first(); h.deadTicket("a", 0) },
	"a slot of a limit": func(h *house) {
		h.enqueuedKind("limited", "a", "j1")
		h.member("s", "", "limited").turn(1)
	},
	"somebody who is short of a limit": func(h *house) {
		h.enqueuedKind("limited", "a", "j1")
		h.enqueuedKind("limited", "b", "j2")
		m := h.member("s", "", "limited")
		m.turn(1)
		m.turn(1)
	},
	"a slot that is offered": func(h *house) {
		h.enqueuedKind("limited", "a", "j1")
		h.enqueuedKind("limited", "b", "j2")
		m := h.member("s", "", "limited")
		claims, _ := m.turn(1)
		h.member("short", "", "limited").turn(1)
		m.turn(0, done(claims[0]))
	},
	"durations": func(h *house) {
		var tally session.Tally
		tally.Add("k", session.EndFinished, time.Second)
		h.ok(h.member("w", "", "k").s.Record(bg, &tally))
	},
	"time by subject": func(h *house) {
		var tally session.Tally
		tally.Ran(key("a"), 2*time.Second)
		h.ok(h.member("w", "", "k").s.Record(bg, &tally))
	},
	"an attempt of a watched subject": func(h *house) {
		_, err := h.Watch(bg, key("a"), time.Hour)
		h.ok(err)
		m := h.member("w", "", "k")
		var tally session.Tally
		tally.Watch(m.s.Watched())
		tally.Keep(h.attempt("j1", session.EndFinished, time.Second))
		h.ok(m.s.Record(bg, &tally))
	},
	"an attempt in the trail": func(h *house) {
		var tally session.Tally
		tally.Keep(h.attempt("j1", session.EndFailed, time.Second))
		h.ok(h.member("w", "", "k").s.Record(bg, &tally))
	},
	"a kind that is taken back": func(h *house) { h.ok(h.Undeclare(bg, "limited")) },
}

// Every record is stored as it was by the release before: what reads them may be of another release. After each
// state the doctor finds nothing wrong.
func TestRecordsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	said := make(map[string]string)
	for name, reach := range states {
		h := leakHouse(t, redistest.Client(t))
		reach(h)
		h.clean()
		said[name] = h.records()
	}
	for name, records := range said { // what every namespace has is said once
		if name != emptyNamespace {
			lines := slices.DeleteFunc(strings.Split(records, "\n"), func(line string) bool {
				return slices.Contains(strings.Split(said[emptyNamespace], "\n"), line)
			})
			said[name] = strings.Join(lines, "\n")
		}
	}
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(said)) {
		fmt.Fprintf(&all, "# %s\n%s\n", name, said[name])
	}
	if *rewrite {
		if err := os.WriteFile(recordsFile, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(recordsFile)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for part := range strings.SplitSeq(string(text), "# ") {
		name, records, _ := strings.Cut(part, "\n")
		want[name] = strings.TrimSuffix(records, "\n")
	}
	delete(want, "")
	for name := range want {
		if _, ok := said[name]; !ok {
			t.Errorf("%s: no state of that name is made", name)
		}
	}
	for name, records := range said {
		if records != want[name] {
			t.Errorf("%s is stored as\n%s\nand was as\n%s", name, records, want[name])
		}
	}
}

// ofThisRun is what differs from run to run in what workers say of themselves.
var ofThisRun = regexp.MustCompile(`"(host|pid|started_at)":("[^"]*"|\d+)`)

// records are all that the namespace stores, a line each key, member and field; but for memories of requests, which
// are nobody's business but that of the scripts.
func (h *house) records() string {
	h.t.Helper()
	var lines []string
	say := func(key string, parts ...any) {
		line := strings.NewReplacer("{"+h.cfg.Namespace+":", "", "{"+h.cfg.Namespace, "", "}:", ":").Replace(key)
		for _, p := range parts {
			line += " " + strings.ReplaceAll(strconv.Quote(ofThisRun.ReplaceAllString(fmt.Sprint(p), `"$1":…`)), h.cfg.Namespace, "ns")
		}
		lines = append(lines, line)
	}
	for _, k := range h.keys() {
		if strings.Contains(k, "}:request:") {
			continue
		}
		switch kind := h.rdb.Type(bg, k).Val(); kind {
		case "hash":
			fields := h.rdb.HGetAll(bg, k).Val()
			for _, f := range slices.Sorted(maps.Keys(fields)) {
				say(k, f, fields[f])
			}
		case "list":
			for _, v := range h.rdb.LRange(bg, k, 0, -1).Val() {
				say(k, v)
			}
		case "zset":
			for _, z := range h.rdb.ZRangeWithScores(bg, k, 0, -1).Val() {
				say(k, z.Member, strconv.FormatFloat(z.Score, 'f', -1, 64))
			}
		case "set":
			for _, v := range sortedStrings(h.rdb.SMembers(bg, k).Val()) {
				say(k, v)
			}
		case "stream":
			for _, x := range h.rdb.XRange(bg, k, "-", "+").Val() {
				parts := []any{x.ID}
				for _, f := range slices.Sorted(maps.Keys(x.Values)) {
					parts = append(parts, f, x.Values[f])
				}
				say(k, parts...)
			}
		case "string":
			say(k, h.rdb.Get(bg, k).Val())
		default:
			h.t.Fatalf("key %q has type %s", k, kind)
		}
	}
	return strings.Join(lines, "\n")
}

// holds sets a hold.
func (h *house) holds(hold control.Hold) {
	h.t.Helper()
	hold.Reason, hold.By = "why", "ada"
	_, err := control.New(h.Dispatcher).Hold(bg, hold)
	h.ok(err)
}
