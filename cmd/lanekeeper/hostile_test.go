package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// acting are texts that do something to a terminal, a shell, JSON, or who reads them.
var acting = []string{
	"\x1b[2J\x1b[1;1H", "\x1b]0;title\a", "\u009b31m", "\u202egnp.exe", "\u2066x\u2069", "\u2028", "\u00a0", "\x00", "\xff\xfe", "\xed\xa0\x80", "\x9b1m",
	"\r\n", "\t", "\b\b", "\x7f", `"`, `'`, `\`, "`id`", "$(id)", "--front", "-q", "; rm", "*", "~", "a b", "worker: ", "MOVED 1", `{"a":`, "</script>", "\U000e0041", "😀", "é",
}

// producer makes what a producer may send, out of bytes, and when they are used up by chance.
type producer struct {
	data []byte
	more *rand.Rand
}

func (p *producer) byte() int {
	if len(p.data) == 0 {
		return p.more.IntN(256)
	}
	b := p.data[0]
	p.data = p.data[1:]
	return int(b)
}

// text has 1 to most bytes.
func (p *producer) text(most int) string {
	text := "x"
	for range p.byte()%4 + 1 {
		if b := p.byte(); b%3 > 0 {
			text += acting[b%len(acting)]
		} else {
			n := min(len(p.data), b%24)
			text += string(p.data[:n])
			p.data = p.data[n:]
		}
	}
	if p.byte()%2 == 0 && len(text) > 1 {
		text = text[1:]
	}
	return text[:min(len(text), most)]
}

// inhabit makes lanes and jobs in all states, of all that producers, handlers and operators may say.
func (p *producer) inhabit(t *testing.T, d *dispatcher.Dispatcher) {
	ctx := t.Context()
	who := session.Claimant{Holder: p.text(80), Kinds: []string{"k", "bad", "again", "runs"}, TTL: time.Minute}
	other := who
	other.Holder = p.text(80)
	var claimer *session.Session // the one that is blamed for nothing
	for _, who := range []session.Claimant{other, who} {
		session, err := session.Join(ctx, d, who, 3)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = session.Close(context.Background()) })
		if blamed, err := session.Blame(ctx, "bad", p.text(200), nil); err != nil || blamed != (who.Holder != other.Holder) {
			t.Fatalf("blamed %t, %v", blamed, err)
		}
		claimer = cmp.Or(claimer, session)
	}
	for i := range 12 {
		job := dispatcher.NewJob{
			Subject: subject.Key{Kind: p.text(60), ID: p.text(200)}, Kind: who.Kinds[i%4], ID: p.text(100) + fmt.Sprint(i), MaxAttempts: 3, Keep: time.Hour,
			Headers: map[string]string{p.text(40): p.text(100)}, Unique: &dispatcher.Unique{Key: p.text(60)},
		}
		job.Payload, _ = json.Marshal(map[string]string{"shown": p.text(60)})
		if p.byte()%4 == 0 {
			job.Payload = []byte(p.text(100))
		}
		if i == 11 {
			job.Delay = time.Hour
		}
		if _, err := d.Enqueue(ctx, job); err != nil && !errors.Is(err, dispatcher.ErrInvalid) && !errors.Is(err, dispatcher.ErrConflict) {
			t.Fatalf("%+v: %v", job, err)
		}
		if i%5 == 0 {
			if _, err := d.Suspend(ctx, job.Subject, p.text(200)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for part := range claimer.Partitions() {
		claimed := claimer.Turns(ctx, []session.Turn{{Partition: part, Claim: true, Want: 12}})[0]
		turn := session.Turn{Partition: part}
		for i, c := range claimed.Claims {
			end := session.End{Claim: &claimed.Claims[i]}
			switch c.Kind {
			case "k":
				end.Outcome = session.Finished
			case "bad":
				end.Outcome, end.Reason, end.Error = session.DeadLettered, p.text(60), p.text(400)
			case "again":
				end.Outcome, end.Wait, end.Error = session.Retry, time.Hour, p.text(400)
			default:
				continue // it runs
			}
			turn.Ends = append(turn.Ends, end)
		}
		for _, ended := range claimer.Turns(ctx, []session.Turn{turn})[0].Ended {
			if claimed.Err != nil || ended.Err != nil {
				t.Fatal(claimed.Err, ended.Err)
			}
		}
	}
}

// operate runs every command that shows something, and then those that take what was shown.
func operate(t *testing.T, w *town) {
	t.Helper()
	look := func(args ...string) string {
		t.Helper()
		code, out, errOut := w.run(args...)
		for _, text := range []string{out, errOut} {
			if what := acts(text); what != "" {
				t.Fatalf("%q prints %s:\n%q", args, what, text)
			}
		}
		if code != 0 && args[0] != "doctor" && !(args[0] == "why" && code == exitFalse) {
			t.Fatalf("%q: exit %d\n%s%s", args, code, out, errOut)
		}
		if slices.Contains(args, "json") && !json.Valid([]byte(out)) {
			t.Fatalf("%q prints no JSON:\n%s", args, out)
		}
		return out
	}
	names := func(args ...string) (words []string) { // as a shell takes what -q prints
		for line := range strings.Lines(look(append(args, "-q", "--limit", "500")...)) {
			line = strings.TrimSuffix(line, "\n")
			words = append(words, strings.TrimSuffix(strings.TrimPrefix(line, "'"), "'"))
		}
		return words
	}
	texts := func(field string, args ...string) (all []string) { // as JSON has them
		var rows []map[string]any
		if err := json.Unmarshal([]byte(look(append(args, "-o", "json", "--limit", "500")...)), &rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			all = append(all, fmt.Sprint(row[field]))
		}
		return all
	}
	lanes, dead := names("lane", "ls"), names("dead", "ls")
	if len(lanes) < 3 || len(dead) < 1 {
		t.Fatalf("%d lanes, %d dead letters: nobody lives here", len(lanes), len(dead))
	}
	shows := [][]string{{"lane", "ls"}, {"lane", "ls", "--state", "suspended"}, {"dead", "ls"}, {"worker", "ls"}, {"kind", "ls"}, {"kind", "show", "k"}, {"stats"}, {"doctor"}}
	var jobs []string
	for _, lane := range append(texts("subject", "lane", "ls"), lanes...) {
		shows = append(shows, []string{"lane", "show", lane}, []string{"why", lane})
		jobs = append(jobs, names("lane", "show", lane)...)
	}
	for _, id := range append(texts("id", "dead", "ls"), dead...) {
		shows = append(shows, []string{"dead", "show", id}, []string{"job", "show", id})
	}
	for i, args := range shows {
		form := []string{"table", "wide", "json", "jsonl"}[i%4]
		for _, form := range []string{form, "json"} {
			look(append(args, "-o", form)...)
		}
	}
	for _, list := range []string{"lane", "dead"} { // a list goes on where it says
		seen := 0
		for cursor := []string(nil); ; {
			args := append([]string{list, "ls", "-q", "--limit", "1"}, cursor...)
			code, out, errOut := w.run(args...)
			if code != 0 || acts(out+errOut) != "" {
				t.Fatalf("%q: exit %d\n%q", args, code, out+errOut)
			}
			seen += strings.Count(out, "\n")
			_, next, more := strings.Cut(strings.TrimSpace(errOut), "--cursor ")
			if cursor = []string{"--cursor", next}; !more {
				break
			}
		}
		if want := map[string]int{"lane": len(lanes), "dead": len(dead)}[list]; seen != want {
			t.Errorf("%s ls shows %d one by one, and %d at once", list, seen, want)
		}
	}
	for _, lane := range lanes {
		look("lane", "suspend", lane, "--why", "hostile\x1b[2J")
		look("lane", "resume", lane)
	}
	for _, id := range dead {
		look("dead", "replay", id)
		look("job", "suspend", id)
	}
	for _, id := range jobs[:len(jobs)/2] { // the other half are the same, from JSON
		look("job", "cancel", id)
	}
	for _, args := range [][]string{{"job", "show"}, {"dead", "show"}, {"lane", "show"}, {"enqueue", "s:a"}, {"kind", "show"}, {"dead", "replay", "x"}} {
		for _, text := range acting {
			if strings.HasPrefix(text, "-") || strings.Contains(text, "\x00") { // no shell lets that through
				continue
			}
			if _, out, errOut := w.run(append(args, text)...); acts(out+errOut) != "" {
				t.Fatalf("%q %q prints %s", args, text, acts(out+errOut))
			}
		}
	}
}

// utf8Of is what a declaration may hold, which is stored as JSON.
func utf8Of(text string) string { return strings.ToValidUTF8(text, "") }

func hostile(t *testing.T, data []byte) {
	s := redistest.Shared(t)
	rdb := redistest.Client(t)
	w := &town{t: t, url: s.URL(), namespace: redistest.Namespace(t, rdb), dir: t.TempDir()}
	p := &producer{data, rand.New(rand.NewPCG(uint64(len(data)), 1))}
	kinds := []dispatcher.Kind{{Name: "k", Owner: "o", Description: utf8Of(p.text(200)), Loggable: []string{"shown"}}}
	for _, name := range []string{"bad", "again", "runs"} {
		kinds = append(kinds, dispatcher.Kind{Name: name, Owner: "o", Description: utf8Of(p.text(100)), Loggable: []string{"shown"}})
	}
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Namespace: w.namespace, Kinds: kinds})
	if err != nil {
		t.Fatal(err)
	}
	p.inhabit(t, d)
	operate(t, w)
}

// H20: whatever producers, handlers and operators say, nothing that a command prints acts on a terminal, all
// JSON is valid, and what was shown can be copied and works as an argument.
func TestH20_HostileText(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			data := make([]byte, 4096)
			_, _ = io.ReadFull(rand.NewChaCha8([32]byte{byte(seed)}), data)
			hostile(t, data)
		})
	}
}

func FuzzHostileText(f *testing.F) {
	f.Add([]byte("\x00"))
	f.Fuzz(hostile)
}
