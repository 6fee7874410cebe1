package move_test

import (
	"bytes"
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

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

var kinds = []dispatcher.Kind{
	{Name: "k", Owner: "o", DeadKeep: time.Hour, DeadMax: 9}, {Name: "skip", Owner: "o", OnFailure: dispatcher.Skip, Description: "a < b & c"}, {Name: "halt", Owner: "o", OnFailure: dispatcher.Halt, MaxAttempts: 2},
	{Name: "limited", Owner: "o", Limit: 2, Every: time.Millisecond},
}

// lived is a namespace in which a lot has happened, by a seed, and nobody works any more.
func lived(t *testing.T, rdb *redis.Client, seed uint64) *dispatcher.Dispatcher {
	t.Helper()
	return livedIn(t, rdb, redistest.Namespace(t, rdb), seed, nil)
}

// livedIn is lived in a namespace, by a clock.
func livedIn(t *testing.T, rdb *redis.Client, name string, seed uint64, now func() time.Time) *dispatcher.Dispatcher {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	d, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name, Now: now, Partitions: 1 + int(seed%5), Kinds: kinds, PoolLimits: map[string]int{"slow": 7}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.Bare(bg, d, session.Claimant{Holder: "w", Kinds: []string{"k", "skip", "halt", "limited"}, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"\x00\xff", "-rf"}
	for i := range 150 {
		switch r.IntN(8) {
		case 0, 1, 2, 3:
			job := dispatcher.NewJob{
				Subject: key([]string{"a", "b\x00\xff", "c}:{*", "d", "e", "f"}[r.IntN(6)]), Kind: kinds[r.IntN(len(kinds))].Name, ID: fmt.Sprintf("%d\xfe", i),
				Payload: []byte("<p>\xff\x00")[:r.IntN(6)], Delay: []time.Duration{0, 0, time.Hour}[r.IntN(3)], MaxAttempts: []int{0, 1, 3}[r.IntN(3)],
			}
			if r.IntN(4) == 0 {
				job.ID, job.Timeout, job.Keep, job.Headers = "", time.Minute, time.Hour, map[string]string{"trace": "x", "\xff": "\x00"}
			}
			if r.IntN(3) == 0 {
				job.Unique = &dispatcher.Unique{
					Key: fmt.Sprintf("k\xff%d", r.IntN(9)), Scope: []dispatcher.Scope{dispatcher.WhileWaiting, dispatcher.WhileWaitingOrRunning, dispatcher.ForWindow}[r.IntN(3)],
				}
				if job.Unique.Scope == dispatcher.ForWindow {
					job.Unique.Window = time.Hour
				}
				if r.IntN(2) == 0 {
					job.Unique.Key = ""
				}
			}
			done, err := d.Enqueue(bg, job)
			if err != nil && !errors.Is(err, dispatcher.ErrTaken) {
				t.Fatal(err)
			}
			ids = append(ids, done.ID)
		case 4, 5:
			works(t, d, s, r)
		case 6:
			switch r.IntN(4) {
			case 0:
				_, _ = d.Suspend(bg, key([]string{"a", "empty", "d"}[r.IntN(3)]), "why not, \"they\" said")
			case 1:
				_ = d.SuspendJob(bg, dispatcher.JobRef{ID: ids[r.IntN(len(ids))]})
			case 2:
				_, _ = d.Replay(bg, dispatcher.JobRef{ID: ids[r.IntN(len(ids))]}, r.IntN(2) == 0)
			case 3:
				_, _ = d.Cancel(bg, dispatcher.JobRef{ID: ids[r.IntN(len(ids))]})
			}
		}
	}
	return d
}

// works claims what there is in one partition, and ends it in some way.
func works(t *testing.T, d *dispatcher.Dispatcher, s *session.Session, r *rand.Rand) {
	t.Helper()
	p := r.IntN(d.Namespace().Partitions)
	var ends []session.End
	for _, c := range s.Turns(bg, []session.Turn{{Partition: p, Claim: true, Want: 2}})[0].Claims {
		ends = append(ends, []session.End{
			{Claim: &c, Outcome: session.Finished, Result: []byte("r\xff")}, {Claim: &c, Outcome: session.Retry, Wait: time.Hour, Error: "boom\n\xff", Workers: 5},
			{Claim: &c, Outcome: session.Retry, Error: "at once"}, {Claim: &c, Outcome: session.DeadLettered, Reason: "permanent", Error: "no"},
		}[r.IntN(4)])
	}
	for _, done := range s.Turns(bg, []session.Turn{{Partition: p, Ends: ends}})[0].Ended {
		if done.Err != nil {
			t.Fatal(done.Err)
		}
	}
}

func exported(t *testing.T, d *dispatcher.Dispatcher) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := move.Export(bg, d, &b, move.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := move.Check(bytes.NewReader(b.Bytes()), nil); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return b.String()
}

// imported brings an export into a new namespace.
func imported(t *testing.T, rdb *redis.Client, text string, partitions int) *dispatcher.Dispatcher {
	t.Helper()
	name := redistest.Namespace(t, rdb)
	if _, _, err := move.Import(bg, move.ImportConfig{Redis: rdb, Namespace: name, Partitions: partitions}, strings.NewReader(text)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return opened(t, rdb, name, partitions)
}

// unbound are the lines of an export without what depends on the number of partitions: jobs of one lane stay in their order.
func unbound(t *testing.T, text string) (lines []string) {
	t.Helper()
	lane := make(map[string]string)
	for line := range strings.Lines(text) {
		var said struct{ Type, Place, Subject string }
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatal(err)
		}
		switch {
		case said.Type == "header" || said.Type == "trailer":
		case said.Place == "lane":
			lane[said.Subject] += line
		default:
			lines = append(lines, line)
		}
	}
	for _, jobs := range lane {
		lines = append(lines, jobs)
	}
	slices.Sort(lines)
	return lines
}

// What was exported comes back as it was, into any number of partitions: order, attempts, schedule, dead letters, unique keys,
// outcomes, stops, declarations. The doctor finds nothing wrong with it.
func TestExportComesBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		seen := make(map[string]bool)
		for seed := range uint64(12) {
			d := lived(t, rdb, seed)
			text := exported(t, d)
			for _, word := range []string{`"lane"`, `"scheduled"`, `"dead"`, `"window"`, `"outcome"`, `"halted"`, `"suspended":true`, `"suspended":{`, `"attempts"`, `"unplaced"`, `"merged"`, `"free"`, `"digest"`, `"failed_on"`, `"backoff_until_ms"`, `"base64"`, `"next_ms"`, `"last_version"`, `"dead_keep_ms":3600000,"dead_max":9`} {
				seen[word] = seen[word] || strings.Contains(text, word)
			}
			back := imported(t, rdb, text, 1+int(seed*3%7))
			if was, is := unbound(t, text), unbound(t, exported(t, back)); !slices.Equal(was, is) {
				t.Errorf("seed %d: %d lines were\n%s\n%d are\n%s", seed, len(was), strings.Join(was, ""), len(is), strings.Join(is, ""))
			}
			findings, err := doctor.New(back).Examine(bg, nil)
			for _, f := range findings {
				if f.Severity == doctor.Wrong {
					t.Errorf("seed %d: %+v", seed, f)
				}
			}
			if err != nil {
				t.Error(err)
			}
		}
		for word, is := range seen {
			if !is {
				t.Errorf("no namespace had %s", word)
			}
		}
	})
}

// What was moved runs as it would have: jobs in their order, tokens above all before, numbers too.
func TestImportedJobsRun(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := opened(t, rdb, redistest.Namespace(t, rdb), 3)
	for i := range 30 {
		enqueued(t, d, dispatcher.NewJob{Subject: key(fmt.Sprint(i % 3)), ID: fmt.Sprint(i)})
	}
	far := time.Now().AddDate(50, 0, 0).UnixMicro() // the clock of that machine was ahead
	for p := range 3 {
		if err := d.Engine().Raise(bg, p, "token", far); err != nil {
			t.Fatal(err)
		}
	}
	back := imported(t, rdb, exported(t, d), 2)
	s := joined(t, back, "k")
	started := make(map[subject.Key][]string)
	for n := 0; n < 30; {
		for p := range 2 {
			for _, c := range s.Turns(bg, []session.Turn{{Partition: p, Claim: true, Want: 5}})[0].Claims {
				if int64(c.Lease.Token) <= far || c.Attempt != 1 {
					t.Errorf("%s has token %d and attempt %d", c.ID, c.Lease.Token, c.Attempt)
				}
				started[c.Subject] = append(started[c.Subject], c.ID)
				s.Turns(bg, []session.Turn{{Partition: p, Ends: []session.End{{Claim: &c, Outcome: session.Finished}}}})
				n++
			}
		}
	}
	for i := range 3 {
		for at, id := range started[key(fmt.Sprint(i))] {
			if id != fmt.Sprint(at*3+i) {
				t.Errorf("lane %d started as %v", i, started[key(fmt.Sprint(i))])
				break
			}
		}
	}
	done, err := back.Enqueue(bg, dispatcher.NewJob{Subject: key("0"), Kind: "k"})
	if err != nil || done.Seq <= 10 {
		t.Errorf("the next number is %d, %v", done.Seq, err)
	}
}

// Nothing is exported under workers, nor while a lease lasts; who wants that all the same gets a job that runs as one that
// waits, without its attempt.
func TestExportRefusesWorkers(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := opened(t, rdb, redistest.Namespace(t, rdb), 1)
	enqueued(t, d, dispatcher.NewJob{Subject: key("a"), ID: "runs"}, dispatcher.NewJob{Subject: key("a"), ID: "waits"})
	bare, err := session.Bare(bg, d, session.Claimant{Holder: "gone", Kinds: []string{"k"}, TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	claim := bare.Turns(bg, []session.Turn{{Claim: true, Want: 1}})[0].Claims
	if len(claim) != 1 {
		t.Fatal(claim)
	}
	if _, err := move.Export(bg, d, io.Discard, move.ExportOptions{}); !errors.Is(err, move.ErrAlive) || !strings.Contains(err.Error(), "the lease of gone for s:a") {
		t.Errorf("under a lease: %v", err)
	}
	joined(t, d, "k")
	if _, err := move.Export(bg, d, io.Discard, move.ExportOptions{}); !errors.Is(err, move.ErrAlive) || !strings.Contains(err.Error(), "worker") {
		t.Errorf("under a worker: %v", err)
	}
	if _, err := d.Suspend(bg, key("a"), "later"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := move.Export(bg, d, &b, move.ExportOptions{WhileRunning: true}); err != nil {
		t.Fatal(err)
	}
	back := imported(t, rdb, b.String(), 2)
	if text := exported(t, back); !strings.Contains(text, `"why":"later"`) || strings.Contains(text, `"attempts"`) || strings.Count(text, `"place":"lane"`) != 2 {
		t.Errorf("%s", text)
	}
}

// A part of an export, a changed one, and what is none, are refused, with the line; nobody can open what was begun.
func TestImportRefusesDamage(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := lived(t, rdb, 3)
	text := exported(t, d)
	lines := slices.Collect(strings.Lines(text))
	without := func(i int) string { return strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "") }
	for what, bad := range map[string]string{
		"empty": "", "cut": text[:len(text)*2/3], "without its last line": without(len(lines) - 1), "without a line": without(len(lines) / 2), "without its first line": without(0),
		"with more": text + lines[1], "changed": strings.Replace(text, "at once", "at last", 1), "of a later release": strings.Replace(text, `"format":1`, `"format":2`, 1),
		"of something else": "{}\n", "no JSON": "x\n", "with an unknown type": strings.Replace(text, `"type":"job"`, `"type":"task"`, 1),
		"with an unknown field": strings.Replace(text, `"type":"job",`, `"type":"job","x":1,`, 1), "with a wrong score": strings.Replace(text, `"run_at_ms":"`, `"run_at_ms":"x`, 1),
		"with a bad subject": strings.Replace(text, `"subject":"s:`, `"subject":"s`, 1), "with a bad kind": strings.Replace(text, `"kind":"halt","seq"`, `"kind":"a b","seq"`, 1),
		"with bad flags": strings.Replace(text, `"flags":"`, `"flags":"x`, 1), "with no attempts": strings.Replace(text, `"max_attempts":`, `"max_attempts":-`, 1),
	} {
		if bad == text {
			t.Errorf("%s: nothing is changed", what)
			continue
		}
		if _, _, err := move.Check(strings.NewReader(bad), nil); !errors.Is(err, move.ErrDamaged) {
			t.Errorf("%s is checked: %v", what, err)
		}
		name := redistest.Namespace(t, rdb)
		if _, _, err := move.Import(bg, move.ImportConfig{Redis: rdb, Namespace: name}, strings.NewReader(bad)); !errors.Is(err, move.ErrDamaged) {
			t.Errorf("%s is imported: %v", what, err)
		}
		if n, _ := rdb.Exists(bg, "{"+name+"}:meta").Result(); n == 1 {
			if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name}); !errors.Is(err, dispatcher.ErrMismatch) || !strings.Contains(err.Error(), "is being imported") {
				t.Errorf("%s: what was begun is opened: %v", what, err)
			}
		}
	}
}

// An import goes on where it stopped, wherever that was, and nothing comes twice; into what is there nothing comes at all.
func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := lived(t, rdb, 4)
	for i := range 1500 {
		enqueued(t, d, dispatcher.NewJob{Subject: key(fmt.Sprint("many", i%7)), ID: fmt.Sprint("m", i)})
	}
	text := exported(t, d)
	name := redistest.Namespace(t, rdb)
	cfg := move.ImportConfig{Redis: rdb, Namespace: name, Partitions: 3}
	for at := 150; ; at += 450 {
		ctx, cancel := context.WithCancel(bg)
		cfg.Progress = func(lines int) {
			if lines == at {
				cancel()
			}
		}
		_, _, err := move.Import(ctx, cfg, strings.NewReader(text))
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if meta := rdb.HGet(bg, "{"+name+"}:meta", "import").Val(); at > 600 && strings.HasSuffix(meta, " 0") {
			t.Errorf("after %d lines: %s", at, meta)
		}
		other := exported(t, d)
		if _, _, err := move.Import(bg, cfg, strings.NewReader(other)); !errors.Is(err, move.ErrExists) {
			t.Errorf("another export: %v", err)
		}
	}
	if was, is := unbound(t, text), unbound(t, exported(t, opened(t, rdb, name, 3))); !slices.Equal(was, is) {
		t.Errorf("%d lines were, %d are", len(was), len(is))
	}
	before := exported(t, opened(t, rdb, name, 3))
	if _, _, err := move.Import(bg, cfg, strings.NewReader(text)); !errors.Is(err, move.ErrExists) {
		t.Errorf("into what is there: %v", err)
	}
	if !slices.Equal(unbound(t, before), unbound(t, exported(t, opened(t, rdb, name, 3)))) {
		t.Error("it was changed")
	}
}

// What is brought twice, as go-redis does and as an interrupted import does, is there once.
func TestImportTwice(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		text := exported(t, lived(t, rdb, 5))
		name := redistest.Namespace(t, rdb)
		cfg := move.ImportConfig{Redis: rdb, Namespace: name, Partitions: 2}
		if _, _, err := move.Import(bg, cfg, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		var header move.Header
		_ = json.Unmarshal([]byte(text[:strings.Index(text, "\n")]), &header)
		rdb.HSet(bg, "{"+name+"}:meta", "schema", "7 importing", "import", header.ID+" 0")
		if _, _, err := move.Import(bg, cfg, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		back := opened(t, rdb, name, 2)
		if !slices.Equal(unbound(t, text), unbound(t, exported(t, back))) {
			t.Error("it is not what it was")
		}
		if findings, err := doctor.New(back).Examine(bg, nil); err != nil || slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Severity == doctor.Wrong }) {
			t.Errorf("%v, %v", findings, err)
		}
	})
}

// A job that fell due while it was exported was seen on the schedule, and then in its lane: it comes once, and its place is
// in the lane, in front of what came behind it there.
func TestImportOfAJobThatFellDue(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := opened(t, rdb, redistest.Namespace(t, rdb), 1)
		at := func(place, id string, order, seq int64, when string) lanes.Brought {
			job := record.Job{Subject: key("a"), Kind: "k", MaxAttempts: 3, Order: order, Seq: seq, EnqueuedAt: time.UnixMilli(1)}
			canonical := job.Subject.Canonical()
			return lanes.Brought{Subject: canonical, Entry: job.Entry(record.PackID(id)), Body: job.Stored(canonical), Place: place, When: when}
		}
		none := make([][]lanes.BroughtOutcome, 1)
		m := mover(t, rdb, d.Namespace().Name, lanes.Importing)
		for _, jobs := range [][]lanes.Brought{
			{at("scheduled", "due", 4, 0, "5000")}, {at("lane", "due", 7, 7, ""), at("lane", "behind", 8, 8, "")}, {at("lane", "due", 7, 7, "")},
		} {
			if err := m.BringAll(bg, [][]lanes.Brought{jobs}, none); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []string{"seq", "token"} {
			if err := d.Engine().Raise(bg, 0, p, 8); err != nil {
				t.Fatal(err)
			}
		}
		text := exported(t, d)
		if due, behind := strings.Index(text, `"id":"due"`), strings.Index(text, `"id":"behind"`); due < 0 || behind < due || strings.Count(text, `"place":"lane"`) != 2 || strings.Contains(text, `"scheduled","`) {
			t.Errorf("%s", text)
		}
		findings, err := doctor.New(d).Examine(bg, nil)
		if err != nil || slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.Severity == doctor.Wrong }) {
			t.Errorf("%v, %v", findings, err)
		}
	})
}
