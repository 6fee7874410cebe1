package dispatcher_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// fail reports a failed attempt as a pool does where blame is on.
func (m *member) fail(c session.Claim, wait time.Duration) session.EndReply {
	m.h.t.Helper()
	end := session.End{Claim: &c, Outcome: session.Retry, Wait: wait, Error: "boom", Workers: 3}
	a := m.s.Turns(bg, []session.Turn{{Partition: m.h.Namespace().Partition(c.Subject), Ends: []session.End{end}}})[0]
	m.h.ok(a.Ended[0].Err)
	return a.Ended[0]
}

// blame blames a member for a kind.
func (m *member) blame(kind string, failed ...*session.Claim) {
	m.h.t.Helper()
	ok, err := m.s.Blame(bg, kind, "it fails everything", failed)
	m.h.ok(err)
	if !ok {
		m.h.t.Fatalf("it can't be blamed for %s", kind)
	}
}

// L8: a job that fails on three different workers is a dead letter; on one worker it may fail
// as often as it may be tried.
func TestL8_JobFailsOnThreeWorkers(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "bad"})
		for i, name := range []string{"w1", "w1", "w2", "w1", "w3"} {
			m := h.member(name, "", "k")
			claims, _ := m.turn(1)
			if ended := m.fail(claims[0], 0); ended.Dead != (i == 4) {
				t.Errorf("after %d failures, the last on %s: dead %t", i+1, name, ended.Dead)
			}
		}
		letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
		h.ok(err)
		if len(letters) != 1 || letters[0].Reason != "failed on different workers" {
			t.Errorf("dead letters: %+v", letters)
		}
		h.clean()
		h.ok(h.Discard(bg, ref("bad")))
		h.emptyButWorkers()
	})
}

func (h *house) emptyButWorkers() {
	h.t.Helper()
	for _, key := range []string{h.Namespace().Workers(), h.Namespace().Seen()} {
		h.rdb.Del(bg, key)
	}
	h.empty()
}

// L8: the attempts of those that failed on a worker to blame are given back, wherever the jobs
// are by then.
func TestL8_AttemptsGivenBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := kindsHouse(t, rdb)
		h.enqueued("delayed", "delayed")
		h.enqueued("claimed", "claimed")
		h.enqueue(dispatcher.NewJob{Subject: key("last"), Kind: "k", ID: "last", MaxAttempts: 1})
		h.enqueuedKind("skip", "aside", "aside", "next")
		w := h.member("w", "", "k", "skip")
		claims, _ := w.turn(4)
		if len(claims) != 4 {
			t.Fatalf("%d claims", len(claims))
		}
		var failed []*session.Claim
		for _, c := range claims {
			wait := time.Hour
			if c.ID == "claimed" {
				wait = 0
			}
			w.fail(c, wait)
			failed = append(failed, &c)
		}
		other := h.claimedKinds("other", 1, "k")["claimed"]
		if other.Attempt != 2 {
			t.Fatalf("the other has attempt %d", other.Attempt)
		}
		h.member("stays", "", "k", "skip")
		w.blame("k", failed...)
		w.blame("skip")
		workers, err := h.Workers(bg)
		h.ok(err)
		blamed := 0
		for _, x := range workers {
			if len(x.Blamed) == 2 {
				blamed++
			}
		}
		if blamed != 1 {
			t.Errorf("%d workers are said to be blamed", blamed)
		}
		h.clean()
		_, err = h.Retry(bg, other, time.Hour, "boom again")
		h.ok(err)
		h.clean()
		for id, attempts := range map[string]int{"delayed": 0, "claimed": 1, "last": 0, "aside": 0} {
			job, err := h.Job(bg, ref(id))
			h.ok(err)
			if job.Attempt != attempts || job.State == inspect.Dead {
				t.Errorf("%s is %s after %d attempts, want %d", id, job.State, job.Attempt, attempts)
			}
		}
		if order := h.run([]string{"k", "skip"}, nil); len(order) == 0 {
			t.Error("nothing runs any more")
		}
		h.emptyButWorkers()
	})
}

// L8: an attempt that can't be given back keeps no other one from being given back.
func TestL8_OneRefusedAttemptKeepsNoOtherWaiting(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	taken := unique("a", "taken", dispatcher.Unique{Key: "u", Scope: dispatcher.WhileWaitingOrRunning, OnConflict: dispatcher.Reject})
	taken.MaxAttempts = 1
	h.enqueue(taken)
	h.enqueued("b", "other")
	w := h.member("w", "", "k")
	h.member("stays", "", "k")
	claims, _ := w.turn(2)
	var failed []*session.Claim
	for _, c := range claims {
		w.fail(c, time.Hour)
		failed = append(failed, &c)
	}
	slices.SortFunc(failed, func(a, b *session.Claim) int { return -cmp.Compare(a.ID, b.ID) }) // taken, then other
	taken.ID = "successor"
	h.enqueue(taken) // it has the key of the dead letter now
	for range 2 {
		if _, err := w.s.Blame(bg, "k", "why", failed); !errors.Is(err, dispatcher.ErrTaken) {
			t.Errorf("blame says %v, want that one is taken", err)
		}
		failed = nil // owed still
		if job, err := h.Job(bg, ref("other")); err != nil || job.Attempt != 0 {
			t.Errorf("the other one has %d attempts, %v", job.Attempt, err)
		}
	}
	_, err := h.Cancel(bg, ref("successor"))
	h.ok(err)
	w.blame("k")
	if job, err := h.Job(bg, ref("taken")); err != nil || job.State == inspect.Dead {
		t.Errorf("the one that was refused is %s, %v; want it back once its key is free", job.State, err)
	}
}

// Durations are kept in bounded space and read back to within a tenth.
func TestU13_DurationsRecorded(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	m := h.member("w", "", "k")
	var tally session.Tally
	for ms := 1; ms <= 1000; ms++ {
		tally.Add("k", session.Endings[ms%5], time.Duration(ms)*time.Millisecond)
	}
	h.ok(m.s.Record(bg, &tally))
	if !tally.Empty() {
		t.Error("what was recorded is to be recorded again")
	}
	d, err := h.Durations(bg, "k")
	h.ok(err)
	within := func(got, want time.Duration) bool { return got > want*9/10 && got < want*11/10 }
	if d.Count != 1000 || d.ByEnding[session.EndLost] != 200 || d.Max != time.Second ||
		!within(d.P50, 500*time.Millisecond) || !within(d.P95, 950*time.Millisecond) {
		t.Errorf("%+v", d)
	}
	for range 10 {
		for ms := 1; ms < 1<<31; ms += ms/3 + 1 {
			tally.Add("k", session.Endings[ms%5], time.Duration(ms)*time.Millisecond)
		}
		h.ok(m.s.Record(bg, &tally))
	}
	if n := rdb.HLen(bg, h.Namespace().Durations("k")).Val(); n > 5*141+1 {
		t.Errorf("%d fields", n)
	}
	if d, _ := h.Durations(bg, "unknown"); d.Count != 0 || d.P50 != 0 {
		t.Errorf("of nothing: %+v", d)
	}
}

// A quantile is read from buckets, and the maximum is exact: no quantile is shown over it.
func TestU13_QuantilesAreUnderTheMax(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	m := h.member("w", "", "fast", "slow", "mixed")
	var tally session.Tally
	for kind, took := range map[string][]time.Duration{
		"fast":  {200 * time.Microsecond, 1900 * time.Microsecond, 1900 * time.Microsecond}, // the middle of their bucket is 1.8 ms
		"slow":  {time.Hour + time.Millisecond},
		"mixed": {10 * time.Millisecond, 10 * time.Millisecond, 900 * time.Millisecond},
	} {
		for _, d := range took {
			tally.Add(kind, session.EndFinished, d)
		}
	}
	h.ok(m.s.Record(bg, &tally))
	for _, kind := range []string{"fast", "slow", "mixed"} {
		d, err := h.Durations(bg, kind)
		h.ok(err)
		if d.P50 <= 0 || d.P50 > d.P95 || d.P95 > d.Max {
			t.Errorf("%s: p50 %s, p95 %s, max %s", kind, d.P50, d.P95, d.Max)
		}
	}
}

// L11: positions and estimates come from what was measured or declared, and are unknown else.
func TestL11_Estimates(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{
		{Name: "k", Owner: "o"}, {Name: "declared", Owner: "o", Expected: time.Minute}, {Name: "nobody-knows", Owner: "o"},
	}})
	m := h.member("w", "", "k")
	var tally session.Tally
	for range 10 {
		tally.Add("k", session.EndFinished, 10*time.Second)
	}
	h.ok(m.s.Record(bg, &tally))
	for i, kind := range []string{"k", "k", "declared", "nobody-knows", "k"} {
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: kind, ID: fmt.Sprint("j", i+1)})
	}
	estimates := func() string {
		_, jobs, _, err := h.Lane(bg, key("a"), inspect.Page{})
		h.ok(err)
		out := ""
		for _, j := range jobs {
			about := func(at time.Time) string {
				if at.IsZero() {
					return "unknown"
				}
				return fmt.Sprint(at.Sub(h.cfg.Now()).Round(10 * time.Second))
			}
			out += fmt.Sprintf("%d %s-%s, ", j.Position, about(j.Starts), about(j.Ends))
		}
		return out
	}
	if got, want := estimates(), "1 0s-10s, 2 10s-20s, 3 20s-1m20s, 4 1m20s-unknown, 5 unknown-unknown, "; got != want {
		t.Errorf("ready: %s\nwant   %s", got, want)
	}
	h.claimed("w", 1)
	h.advance(60 * time.Second) // it takes longer than most
	if got, want := estimates(), "1 -1m0s-0s, 2 0s-10s, 3 10s-1m10s, 4 1m10s-unknown, 5 unknown-unknown, "; got != want {
		t.Errorf("running: %s\nwant    %s", got, want)
	}
	// A later page counts those before it.
	_, jobs, _, err := h.Lane(bg, key("a"), inspect.Page{Cursor: "2", Limit: 1})
	h.ok(err)
	if len(jobs) != 1 || jobs[0].Position != 3 || jobs[0].Starts.Sub(h.cfg.Now()).Round(10*time.Second) != 10*time.Second {
		t.Errorf("a later page: %+v", jobs)
	}
	_, err = h.Suspend(bg, key("b"), "")
	h.ok(err)
	h.enqueued("b", "s1")
	if _, jobs, _, _ := h.Lane(bg, key("b"), inspect.Page{}); !jobs[0].Starts.IsZero() {
		t.Errorf("of a suspended lane somebody knows when it starts: %v", jobs[0].Starts)
	}
}

// H3: never the last worker of a kind, also when two are blamed at once, or the others leave.
func TestH3_TheLastWorkerIsNotBlamed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		a, b := h.member("a", "", "k", "x"), h.member("b", "", "k")
		a.blame("k")
		if ok, err := b.s.Blame(bg, "k", "why", nil); ok || err != nil {
			t.Errorf("the last one is blamed: %t, %v", ok, err)
		}
		if ok, err := a.s.Blame(bg, "x", "why", nil); ok || err != nil {
			t.Errorf("the only one is blamed: %t, %v", ok, err)
		}
		a.blame("k") // again, as while it lasts
		h.lanes("k", 1)
		if claims, _ := a.turn(10); len(claims) > 0 {
			t.Errorf("who is blamed claims %d lanes", len(claims))
		}
		h.ok(b.s.Close(bg))
		if ok, err := a.s.Blame(bg, "k", "why", nil); ok || err != nil {
			t.Errorf("who has become the last is blamed: %t, %v", ok, err)
		}
		if claims, _ := a.turn(10); len(claims) != 1 {
			t.Errorf("the last one claims %d lanes, want 1", len(claims))
		}
	})
}

func TestH3_TwoAreBlamedAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	a, b := h.member("a", "", "k"), h.member("b", "", "k")
	for range 50 {
		said := make(chan bool)
		for _, m := range []*member{a, b} {
			go func() { ok, _ := m.s.Blame(bg, "k", "why", nil); said <- ok }()
		}
		if one, other := <-said, <-said; one && other {
			t.Fatal("nobody is left")
		}
		a.s.Absolve("k", false)
		b.s.Absolve("k", false)
		h.ok(a.s.Beat(bg))
		h.ok(b.s.Beat(bg))
	}
}

// H3: who is blamed for a kind claims others, under limits too; may try one lane of it; and wakes
// nobody's wake-up away.
func TestH3_BlamedForOneKind(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]dispatcher.Config{
		"": {}, "limits": {
			Kinds:      []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 5}, {Name: "x", Owner: "o"}},
			PoolLimits: map[string]int{"default": 50},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Partitions = 1
			h := newHouse(t, redistest.Client(t), cfg)
			a := h.member("a", "default", "k", "x")
			h.member("b", "default", "k", "x")
			a.blame("k")
			h.lanes("k", 3)
			h.lanes("x", 3)
			if kinds := kindsOf(a); kinds != "x x x" {
				t.Errorf("it claims %q", kinds)
			}
			hint := make(chan bool)
			go func() { // the wake-up is for the other one
				_, ok, _ := a.s.Wait(t.Context(), 0)
				hint <- ok
			}()
			if n := h.rdb.ZCard(bg, h.Namespace().Keys(0).Wake("k")).Val(); n != 1 {
				t.Errorf("%d wake-ups for k", n)
			}
			h.rdb.ZAdd(bg, h.Namespace().Keys(0).Wake("x"), redis.Z{Member: "ready"})
			if !<-hint {
				t.Error("it is not woken for its other kind")
			}
			a.s.Absolve("k", true)
			if first, second := kindsOf(a), kindsOf(a); first != "k" || second != "" {
				t.Errorf("it tries %q, and then %q", first, second)
			}
			st, err := h.Stats(bg)
			h.ok(err)
			if k := st.Kinds["k"]; k.Workers != 2 || k.Blamed != 1 || st.Kinds["x"].Blamed != 0 {
				t.Errorf("stats: %+v", st.Kinds)
			}
			if says := h.found("kind", "k"); says != "1 of 2 workers are blamed" {
				t.Errorf("doctor says %q", says)
			}
			a.s.Absolve("k", false)
			if kinds := kindsOf(a); kinds != "k k" {
				t.Errorf("when it is well it claims %q", kinds)
			}
		})
	}
}

// H3: who is blamed for a kind keeps the places in line for limits of others, and of the pool, and leaves those of the kind. When all
// were given up, the worker thought that it had them, and waited to be told: lanes of limited kinds stood ready and nobody claimed them.
func TestH3_BlamedWorkerStaysInLineForOtherLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limited, blamed string
		stays           bool
	}{
		"a limit of another kind": {"few", "k", true},
		"a limit of the kind":     {"few", "few", false},
		"the pool's":              {"", "few", true},
		"the pool's, of all":      {"", "few k", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "few", Owner: "o"}, {Name: "k", Owner: "o"}}}
			if c.limited != "" {
				cfg.Kinds[0].Limit = 1
			} else {
				cfg.PoolLimits = map[string]int{"default": 1}
			}
			kind := cmp.Or(c.limited, "k")
			h := newHouse(t, redistest.Client(t), cfg)
			a, b := h.member("a", "default", "few", "k"), h.member("b", "default", "few", "k")
			h.lanes(kind, 1)
			first, _ := b.turn(1)
			h.lanes(kind, 3)
			if none, _ := a.turn(1); len(first) != 1 || len(none) != 0 {
				t.Fatalf("%d and %d start, want one", len(first), len(none))
			}
			for _, blamed := range strings.Fields(c.blamed) {
				a.blame(blamed)
			}
			b.turn(0, done(first[0]))
			want := map[bool]int{true: 1}[c.stays]
			if passed, _ := b.turn(1); len(passed) != 1-want {
				t.Errorf("the other one starts %d, want %d", len(passed), 1-want)
			}
			if own, _ := a.turn(1); len(own) != want {
				t.Errorf("who is blamed for %s starts %d of %s, want %d", c.blamed, len(own), kind, want)
			}
		})
	}
}

// H3: who may try one lane of the kind that it is blamed for, and finds none, goes on with its other kinds meanwhile. It claimed nothing
// at all until there was one: lanes that nobody else handles stood ready for as long.
func TestH3_ProbeInVainKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
	a := h.member("a", "", "k", "x")
	h.member("b", "", "k")
	a.blame("k")
	a.s.Absolve("k", true)
	h.lanes("x", 3)
	if kinds := kindsOf(a); kinds != "x x x" {
		t.Errorf("it claims %q, want three of x", kinds)
	}
	h.lanes("k", 2)
	if first, second := kindsOf(a), kindsOf(a); first != "k" || second != "" {
		t.Errorf("it tries %q, and then %q", first, second)
	}
}

// H3: a probe that a limit was in the way of says so, or its worker comes again when an idle one would; and one that
// gets its job says that nobody has looked at the other kinds.
func TestH3_ProbeSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	for limit, says := range map[int]func(got session.TurnReply) bool{
		1: func(got session.TurnReply) bool { return len(got.Claims) == 0 && got.Short && got.Err == nil },
		2: func(got session.TurnReply) bool { return len(got.Claims) == 1 && got.Ready > 0 && got.Err == nil },
	} {
		kinds := []dispatcher.Kind{{Name: "few", Owner: "o", Limit: limit}, {Name: "k", Owner: "o"}}
		h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1, Kinds: kinds})
		a, b := h.member("a", "", "few", "k"), h.member("b", "", "few")
		h.lanes("few", 3)
		if first, _ := b.turn(1); len(first) != 1 {
			t.Fatalf("b starts %d", len(first))
		}
		a.blame("few")
		a.s.Absolve("few", true)
		if got := a.s.Turns(bg, []session.Turn{{Claim: true, Want: 3}})[0]; !says(got) {
			t.Errorf("limit %d: %+v", limit, got)
		}
	}
}

// H3: what a blamed worker tries is one job, however many partitions it asks at once and jobs it would take
// along; where none is ready it tries elsewhere.
func TestH3_ProbeIsOneJob(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 8})
	who := session.Claimant{Holder: "a", Kinds: []string{"k"}, TTL: 10 * time.Second, LaneBatch: map[string]int{"k": 50}}
	s, err := h.Join(bg, who, 16)
	h.ok(err)
	t.Cleanup(func() { _ = s.Close(bg) })
	h.member("b", "", "k")
	a := &member{h, s}
	a.blame("k")
	lane := "deep"
	h.enqueued(lane, "j1", "j2", "j3")
	for i := range 40 {
		h.enqueued(fmt.Sprint(i), fmt.Sprint("x", i))
	}
	var turns []session.Turn
	for p := range 8 {
		turns = append(turns, session.Turn{Partition: p, Claim: true, Want: 8})
	}
	s.Absolve("k", true)
	jobs := 0
	for _, answer := range s.Turns(bg, turns) {
		h.ok(answer.Err)
		for i := range answer.Claims {
			jobs += len(answer.Claims[i].Each())
		}
	}
	if jobs != 1 {
		t.Errorf("it tried %d jobs", jobs)
	}
}

// H3: a kind whose workers are all blamed, as after a crash of the last one, has no worker.
func TestH3_AllAreBlamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	a := h.member("a", "", "k")
	b := h.member("b", "", "k")
	a.blame("k")
	h.lanes("k", 1)
	h.ok(b.s.Close(bg))
	h.ok(a.s.Beat(bg))
	found := h.found("kind", "k")
	if !strings.Contains(found, "1 of 1 workers are blamed") || !strings.Contains(found, "All workers for") {
		t.Errorf("doctor says %q", found)
	}
}

func kindsOf(m *member) string {
	m.h.t.Helper()
	claims, _ := m.turn(10)
	var kinds []string
	for _, c := range claims {
		kinds = append(kinds, c.Kind)
	}
	return strings.Join(kinds, " ")
}

// found is what doctor says of something.
func (h *house) found(what, where string) string {
	h.t.Helper()
	findings, err := h.Doctor(bg, nil)
	h.ok(err)
	var says []string
	for _, f := range findings {
		if f.What == what && f.Where == where {
			says = append(says, f.Detail)
		}
	}
	return strings.Join(says, "; ")
}

// H3: a wake-up that comes to who is blamed meanwhile is passed on.
func TestH3_WakeUpIsPassedOn(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Own(t))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	a := h.member("a", "", "k")
	h.member("b", "", "k")
	hint := make(chan bool)
	go func() {
		_, ok, _ := a.s.Wait(bg, 0)
		hint <- ok
	}()
	redistest.Until(t, "it waits", func() bool {
		return redistest.InfoNumber(rdb.Info(bg, "clients").Val(), "blocked_clients:") == 1
	})
	a.blame("k")
	h.lanes("k", 1)
	if <-hint {
		t.Error("it is woken for a kind that it is blamed for")
	}
	if n := rdb.ZCard(bg, h.Namespace().Keys(0).Wake("k")).Val(); n != 1 {
		t.Errorf("%d wake-ups are left for the others", n)
	}
}
