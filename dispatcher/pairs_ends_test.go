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

// How features meet when an attempt ends. A trait is what a job is, or how it came to be claimed; a
// mark is what an operator has asked meanwhile; a way is how the attempt ends. What has to come of
// it is said by a model of a few lines (expect), so that all pairs of traits can be tried in all
// ways: tests that try each feature alone let two holders, lost jobs and leaked slots through.

// The traits. Three of them are ways to claim several jobs of a lane.
const (
	claimsAlong = "along"    // the job behind is claimed along, and the holder stops before it
	goesOn      = "goes on"  // the holder has come to the job from one before, under one lease
	together    = "together" // a batch handler has the job and the one behind it
	skips       = "skip"
	halts       = "halt"
	isUnique    = "unique"
	isKept      = "keep"
	isLimited   = "limit"
	isRated     = "rate"
	wasDelayed  = "delay"
	wasReplayed = "replay"
	isRefunded  = "blame" // an earlier attempt is given back while the job runs
)

var allTraits = []string{claimsAlong, goesOn, together, skips, halts, isUnique, isKept, isLimited, isRated, wasDelayed, wasReplayed, isRefunded}

// exclude each other: two policies of one kind, two ways to claim, and what failed goes alone.
func excluded(a, b string) bool {
	batches := []string{claimsAlong, goesOn, together}
	return slices.Contains(batches, a) && (slices.Contains(batches, b) || b == isRefunded) || a == skips && b == halts
}

// The marks, in the order in which they are made: c cancels the job, s suspends its lane, and t
// takes that back.
var allMarks = []string{"", "c", "s", "st", "cs", "sc", "cst", "sct"}

// The ways. "hand over" asks for the next lane in the same call.
const (
	finishes, handsOver, fails, failsLater, failsForGood = "finish", "hand over", "fail", "fail later", "fail for good"
	permanent, handsBack, crashes, crashesForGood        = "permanent", "hand back", "crash", "crash for good"
)

var allWays = []string{finishes, handsOver, fails, failsLater, failsForGood, permanent, handsBack, crashes, crashesForGood}

const theHolder = "holder"

// ending is one cell of the table.
type ending struct {
	*house
	traits     []string
	marks, way string
	holder     *member
	bad        *member // whose attempt is given back
}

func (e *ending) has(traits ...string) bool {
	return slices.ContainsFunc(traits, func(t string) bool { return slices.Contains(e.traits, t) })
}

func (e *ending) does(ways ...string) bool { return slices.Contains(ways, e.way) }

// expected is what has to become of the job.
type expected struct {
	cancelled, dead, halted, aside bool
	gone                           bool // it finished, or was cancelled
	waits                          bool // its lane does
	attempt                        int  // of its next start
	suspended                      bool // the lane, by the operator
}

func (e *ending) expect() (x expected) {
	x.suspended = strings.LastIndexByte(e.marks, 's') > strings.LastIndexByte(e.marks, 't')
	final := e.does(permanent) || e.does(failsForGood, crashesForGood) && e.max() == 1 // a refunded attempt was not made
	switch {
	case e.does(finishes, handsOver):
		x.gone = true
	case strings.Contains(e.marks, "c"):
		x.gone, x.cancelled = true, true
	case e.does(handsBack):
		x.attempt = 1
	case final && e.has(halts):
		x.halted, x.attempt = true, 1
	case final:
		x.dead = true
	default:
		x.attempt, x.aside = 2, e.has(skips)
		x.waits = e.does(failsLater)
	}
	return x
}

// max is how often the job may be started.
func (e *ending) max() int {
	switch {
	case !e.does(failsForGood, crashesForGood):
		return 3
	case e.has(isRefunded):
		return 2
	}
	return 1
}

// order is what has to run afterwards, each with its attempt.
func (e *ending) order(x expected) string {
	var ids []string
	again := fmt.Sprint("j/", x.attempt)
	if x.attempt > 0 && !x.aside {
		ids = append(ids, again)
	}
	switch crashed := e.does(crashes, crashesForGood); {
	case e.has(together) && !crashed: // the one behind has finished in the batch
	case e.has(claimsAlong, goesOn, together) && crashed:
		ids = append(ids, "n1/2")
	default:
		ids = append(ids, "n1/1")
	}
	ids = append(ids, "n2/1")
	if x.aside {
		ids = append(ids, again)
	}
	if e.has(isUnique) && x.attempt == 0 {
		ids = append(ids, "u/1")
	}
	return strings.Join(ids, " ")
}

func (e *ending) job(id string) dispatcher.NewJob {
	job := dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: id, MaxAttempts: 3}
	if id == "j" {
		job.MaxAttempts = e.max()
	}
	if e.has(isUnique) && (id == "j" || id == "u") {
		job.Unique = &dispatcher.Unique{Key: "key", Scope: dispatcher.WhileWaitingOrRunning}
	}
	if e.has(isKept) && id == "j" {
		job.Keep = time.Hour
	}
	return job
}

// claim puts the lane together and claims the job.
func (e *ending) claim() *session.Claim {
	e.t.Helper()
	add := func(id string) { e.t.Helper(); e.enqueue(e.job(id)) }
	if e.has(wasReplayed) {
		add("j")
		e.ok(e.DeadLetter(bg, e.claimed("w", 1)["a"], "first", ""))
		if e.has(halts) {
			e.ok(e.Skip(bg, key("a")))
		}
	}
	if e.has(goesOn) {
		add("b")
	}
	switch {
	case e.has(wasDelayed) && e.has(wasReplayed): // it was delayed in its first life
		fallthrough
	case e.has(wasReplayed):
		e.advance(time.Second) // for a rate
		_, err := e.Replay(bg, ref("j"), !e.has(goesOn))
		e.ok(err)
	case e.has(wasDelayed):
		job := e.job("j")
		job.Delay = time.Minute
		e.enqueue(job)
		e.advance(time.Minute)
	default:
		add("j")
	}
	if e.has(isRefunded) {
		e.reaped() // what is due is placed
		first := e.bad.trip(1)
		e.bad.fail(first[0], 0)
		e.advance(time.Second) // for a rate
		e.reaped()
		add("n1")
		add("n2")
		e.ok(e.holder.s.Beat(bg))
		c := e.holder.trip(1)
		e.bad.blame("k", &first[0])
		e.bad.s.Absolve("k", false)
		return e.first(c, "j", 2)
	}
	add("n1")
	add("n2")
	if e.has(goesOn) {
		c := e.first(e.holder.trip(1), "b", 1)
		e.wantAlong(c, "b", "j", "n1")
		return c
	}
	c := e.first(e.holder.trip(1), "j", 1)
	if e.has(claimsAlong, together) {
		e.wantAlong(c, "j", "n1")
	}
	return c
}

func (e *ending) first(claims []session.Claim, id string, attempt int) *session.Claim {
	e.t.Helper()
	if len(claims) != 1 || claims[0].ID != id || claims[0].Attempt != attempt {
		e.t.Fatalf("claimed %+v, want %s attempt %d", claims, id, attempt)
	}
	return &claims[0]
}

// mark asks of the holder what an operator asks, and comes to the job from the one before. What was
// asked of that one goes with it, and what was asked of the lane stays.
func (e *ending) mark(c *session.Claim) *session.Claim {
	e.t.Helper()
	marks := e.marks
	ask := func(mark byte) {
		e.t.Helper()
		var holder string
		var err error
		switch mark {
		case 'c':
			holder, err = e.Cancel(bg, ref(c.ID))
		case 's':
			holder, err = e.Suspend(bg, key("a"), "why")
		case 't':
			holder, err = theHolder, e.Resume(bg, key("a"))
		}
		e.ok(err)
		if holder != theHolder {
			e.t.Fatalf("%q is asked, not the holder", holder)
		}
	}
	if e.has(goesOn) {
		ask('c')
		if strings.HasPrefix(marks, "s") {
			ask('s')
			marks = marks[1:]
		}
		e.holder.trip(0, session.End{Claim: c, GoesOn: true})
		c, _ = c.Next()
	}
	for _, mark := range []byte(marks) {
		ask(mark)
	}
	return c
}

// ends ends the attempt, and returns what was handed over.
func (e *ending) ends(c *session.Claim) (ended session.EndReply, claims []session.Claim) {
	e.t.Helper()
	end := session.End{Claim: c}
	want := 0
	switch e.way {
	case crashes, crashesForGood:
		e.advance(11 * time.Second)
		e.reaped()
		return ended, nil
	case handsOver:
		want = 1
	case fails, failsForGood:
		end.Outcome, end.Error = session.Retry, "boom"
	case failsLater:
		end.Outcome, end.Error, end.Wait = session.Retry, "boom", time.Hour
	case permanent:
		end.Outcome, end.Reason, end.Error = session.DeadLettered, "permanent error", "boom"
	case handsBack:
		end.Outcome = session.HandedBack
	}
	if e.has(together) {
		all := c.Each()
		end = session.End{Claim: c, Outcome: session.Several, Each: []session.End{end, {Claim: all[1]}}}
	}
	claims, all := e.holder.tripped(want, end)
	if ended = all[0]; e.has(together) {
		ended = ended.Each[0]
	}
	return ended, claims
}

// trip makes one turn that does not reap, so that ends and claims can share a call.
func (m *member) trip(want int, ends ...session.End) []session.Claim {
	m.h.t.Helper()
	claims, _ := m.tripped(want, ends...)
	return claims
}

func (m *member) tripped(want int, ends ...session.End) ([]session.Claim, []session.EndReply) {
	m.h.t.Helper()
	a := m.s.Turns(bg, []session.Turn{{Ends: ends, Claim: want > 0, Want: want}})[0]
	m.h.ok(a.Err)
	for _, e := range a.Ended {
		m.h.ok(e.Err)
	}
	return a.Claims, a.Ended
}

// tell tries one cell, and leaves the lane empty.
func (e *ending) tell() {
	e.t.Helper()
	x := e.expect()
	c := e.mark(e.claim())
	if held := e.slotsHeld(); (held > 0) != e.has(isLimited) {
		e.t.Errorf("%d slots are held", held)
	}
	ended, handed := e.ends(c)
	e.clean()
	if !e.does(crashes, crashesForGood) && (ended.Cancelled != x.cancelled || ended.Dead != (x.dead && !e.does(permanent)) || ended.Halted != x.halted) {
		e.t.Errorf("the holder is told %+v, want %+v", ended, x)
	}

	// What is next is handed over in the call of the end, unless the lane is to stand still. Where it was not, for an
	// operator had asked for the job before, nobody was told of it: the lane waited until somebody looked.
	if free := e.does(handsOver) && !x.suspended && !e.has(isRated); len(handed) > 1 || (len(handed) == 1) != free {
		e.t.Errorf("handed over are %v", handed)
	}
	for i := range handed {
		e.holder.trip(0, session.End{Claim: &handed[i], Outcome: session.HandedBack})
	}
	if held := e.slotsHeld(); held != 0 {
		e.t.Errorf("%d slots are held after the end", held)
	}
	if e.has(isUnique) {
		if other := e.enqueue(e.job("u")); other.Created != (x.attempt == 0) {
			e.t.Errorf("a job of the same key: %+v, but of the first %+v", other, x)
		}
	}
	e.outcome(x)

	lane, _, _, err := e.Lane(bg, key("a"), inspect.Page{})
	e.ok(err)
	if stands := x.suspended || x.halted; stands {
		e.none("x")
		if lane.State != inspect.Suspended || lane.Halted != x.halted {
			e.t.Errorf("the lane is %+v, want %+v", lane, x)
		}
		e.ok(e.Resume(bg, key("a")))
	}
	if x.waits && !x.aside { // a suspension does not shorten the wait
		e.none("x")
	}
	if got, want := e.ranAll(), e.order(x); got != want {
		e.t.Errorf("then ran %q, want %q", got, want)
	}
	if x.dead {
		e.ok(e.Discard(bg, ref("j")))
	}
	e.clean()
	if st, err := e.Stats(bg); err != nil || st.Jobs+st.Lanes+st.Leased+st.Slots+st.Suspended+st.Dead != 0 {
		e.t.Errorf("left are %+v, %v", st, err)
	}
}

// outcome checks what is kept of the job.
func (e *ending) outcome(x expected) {
	e.t.Helper()
	want := dispatcher.JobFinished
	switch {
	case x.halted:
		want = dispatcher.JobHalted
	case x.dead:
		want = dispatcher.JobDead
	case x.cancelled:
		want = dispatcher.JobCancelled
	case !x.gone:
		want = ""
	}
	switch o, err := e.Outcome(bg, ref("j")); {
	case !e.has(isKept) && x.gone:
		if !errors.Is(err, dispatcher.ErrNotFound) {
			e.t.Errorf("an outcome that nobody asked to keep: %+v, %v", o, err)
		}
	case want == "":
		if !errors.Is(err, dispatcher.ErrNotEnded) {
			e.t.Errorf("an outcome before the end: %+v, %v", o, err)
		}
	case err != nil || o.State != want:
		e.t.Errorf("its outcome is %+v, %v; want %s", o, err, want)
	}
}

// ranAll works off all there is of the kind k, and what falls due, and returns what ran as
// "id/attempt".
func (h *house) ranAll() string {
	h.t.Helper()
	var order []string
	for range 50 {
		claims := h.claimed("drain", 1)
		if len(claims) == 0 {
			r := h.reaped()
			if st, err := h.Stats(bg); r.Next < 0 && r.Resumed+r.Placed+st.Ready == 0 {
				h.ok(err)
				return strings.Join(order, " ")
			}
			h.advance(cmp.Or(max(r.Next, 0), time.Second)) // a rate has nothing against the next
			continue
		}
		for _, c := range claims {
			order = append(order, fmt.Sprint(c.ID, "/", c.Attempt))
			h.ok(h.Finish(bg, c))
		}
	}
	h.t.Fatalf("no end: %v", order)
	return ""
}

// slotsHeld counts the leases of slots.
func (h *house) slotsHeld() (n int) {
	h.t.Helper()
	for p := range h.Namespace().Partitions {
		records, err := h.rdb.HVals(bg, h.Namespace().Keys(p).Leases()).Result()
		h.ok(err)
		for _, record := range records {
			if _, use, _ := strings.Cut(record, " "); strings.HasPrefix(use, "slot") {
				n++
			}
		}
	}
	return n
}

// endings tries all ways on jobs of some traits, in one house, with so many of the marks: others in
// each way, and from one house to the next.
func endings(t *testing.T, rdb *redis.Client, nth, marks int, traits ...string) {
	e := &ending{traits: traits}
	kind := dispatcher.Kind{Name: "k", Owner: "o"}
	if e.has(skips) {
		kind.OnFailure = dispatcher.Skip
	}
	if e.has(halts) {
		kind.OnFailure = dispatcher.Halt
	}
	if e.has(isLimited) {
		kind.Limit = 1
	}
	if e.has(isRated) {
		kind.Every = time.Second
	}
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{kind}})
	e.house = h
	who := session.Claimant{Holder: theHolder, Kinds: []string{"k"}, TTL: 10 * time.Second, LaneBatch: map[string]int{"k": 1}}
	if e.has(claimsAlong, together) {
		who.LaneBatch["k"] = 2
	} else if e.has(goesOn) {
		who.LaneBatch["k"] = 3
	}
	e.holder, e.bad = h.joined(who), h.member("bad", "", "k")
	for way := range allWays {
		for k := range marks {
			e.way, e.marks = allWays[way], allMarks[(nth+way+k*len(allMarks)/marks)%len(allMarks)]
			if e.tell(); t.Failed() {
				t.Fatalf("%q, marked %q, %s", traits, e.marks, e.way)
			}
			e.holder.trip(1) // nothing is ready, so places in lines for starts are given up
			e.bad.trip(1)
			h.advance(time.Minute) // a rate has nothing against the next
		}
	}
	h.advance(2 * time.Hour) // outcomes go
	h.reaped()
	h.emptyButWorkers()
}

// joined is member for a claimant that says more of itself.
func (h *house) joined(who session.Claimant) *member {
	h.t.Helper()
	s, err := h.Join(bg, who, 10)
	h.ok(err)
	h.t.Cleanup(func() { _ = s.Close(bg) })
	return &member{h, s}
}

// Every feature alone with all marks, and every two of them, when an attempt ends: what becomes of the
// job and of those that were claimed with it, who may start next, and that no slot, key or mark is left.
func TestPairs_EndOfAnAttempt(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		marks := len(allMarks)
		if strings.HasSuffix(t.Name(), "mini") || redistest.Race {
			marks = 2
		}
		endings(t, rdb, 0, marks)
		for i, trait := range allTraits {
			t.Run(trait, func(t *testing.T) {
				t.Parallel()
				endings(t, rdb, i, marks, trait)
			})
		}
	})
	rdb, nth := redistest.Client(t), 0
	for i, a := range allTraits {
		for _, b := range allTraits[i+1:] {
			if excluded(a, b) {
				continue
			}
			if nth++; redistest.Race && nth%8 > 0 || testing.Short() && nth%2 > 0 {
				continue
			}
			mine := nth
			t.Run(a+" and "+b, func(t *testing.T) {
				t.Parallel()
				endings(t, rdb, mine, 2, a, b)
			})
		}
	}
}
