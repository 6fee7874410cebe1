package dispatcher_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// walk does what a story says to a lane in Redis and to its model, and fails as soon as they differ.
type walk struct {
	*house
	lane  *lane
	claim *session.Claim
	held  lease.Lease // of a section
	told  []string
	fatal func(format string, args ...any)
}

var policies = []string{"block", "skip", "halt"}

func newWalk(t *testing.T, rdb *redis.Client) *walk {
	cfg := dispatcher.Config{
		Partitions: 1,
		Kinds: []dispatcher.Kind{
			{Name: "block", Owner: "o"}, {Name: "skip", Owner: "o", OnFailure: dispatcher.Skip}, {Name: "halt", Owner: "o", OnFailure: dispatcher.Halt},
		},
	}
	w := &walk{house: newHouse(t, rdb, cfg), fatal: t.Fatalf}
	w.lane = &lane{now: w.ms.Load(), owner: make(map[string]*modelJob)}
	return w
}

// words of errors, as the model has them.
var errorWords = []struct {
	err  error
	word string
}{
	{lease.ErrLost, "lost"}, {lease.ErrHeld, "held"}, {dispatcher.ErrTaken, "taken"}, {dispatcher.ErrRunning, "running"},
	{dispatcher.ErrNotSuspended, "no"}, {dispatcher.ErrNotFound, "missing"},
}

func wordOf(err error, well string) string {
	if err == nil {
		return well
	}
	for _, e := range errorWords {
		if errors.Is(err, e.err) {
			return e.word
		}
	}
	return err.Error()
}

// step does one step of a story. A step that makes no sense where the lane stands is passed over.
func (w *walk) step(text string) {
	w.t.Helper()
	word := append(strings.Fields(text), "", "", "")
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	holds := w.lane.lease != nil && !w.lane.lease.section
	var got, want string
	switch verb, id := word[0], word[1]; verb {
	case "put": // id kind [ms of delay] [scope of its key]
		got, want = w.putJob(id, word[2], number(word[3]), word[4]), w.lane.put(id, word[2], number(word[3]), word[4])
	case "claim": // most jobs
		most := int(number(id))
		if len(w.lane.jobs) > 0 && w.lane.jobs[0].kind == "halt" {
			most = 1 // that kind goes job by job
		}
		got, want = w.take(most), w.lane.claim(most)
	case "go":
		if !holds || w.lane.lease.along == 0 {
			return
		}
		got, want = wordOf(w.finishes(session.End{Claim: w.claim, GoesOn: true})[0], "ok"), w.lane.end(true, 0)
		w.claim, _ = w.claim.Next()
	case "finish", "fail", "die", "back": // [ms to wait]
		if !holds {
			return
		}
		got, want = w.ends(number(id), verb), w.lane.end(false, number(id), verb)
	case "each": // a way for each job of the batch
		if !holds {
			return
		}
		ways := make([]string, 1+w.lane.lease.along)
		for i := range ways {
			ways[i] = word[1+i%(len(word)-4)]
		}
		got, want = w.ends(1000, ways...), w.lane.end(false, 1000, ways...)
	case "crash":
		w.advance(11 * time.Second)
		w.lane.now = w.ms.Load()
		w.lane.crash()
	case "pass": // ms, with the lease kept alive
		w.renew(2 * time.Duration(number(id)) * time.Millisecond)
		w.advance(time.Duration(number(id)) * time.Millisecond)
		w.lane.now = w.ms.Load()
		w.renew(10 * time.Second)
	case "cancel":
		holder, err := w.Cancel(bg, ref(id))
		got, want = wordOf(err, map[bool]string{true: "asked", false: "ok"}[holder != ""]), w.lane.cancel(id)
	case "suspend":
		got, want = wordOf(w.SuspendJob(bg, ref(id)), "ok"), w.lane.suspendJob(id)
	case "resume":
		got, want = wordOf(w.ResumeJob(bg, ref(id)), "ok"), w.lane.resumeJob(id)
	case "stop": // the lane
		holder, err := w.Suspend(bg, key("a"), id)
		got, want = wordOf(err, map[bool]string{true: "later", false: "ok"}[holder != ""]), w.lane.suspendLane()
	case "start":
		got, want = wordOf(w.Resume(bg, key("a")), "ok"), w.lane.resumeLane(false)
	case "pass-by":
		got, want = wordOf(w.Skip(bg, key("a")), "ok"), w.lane.resumeLane(true)
	case "front", "rear":
		_, err := w.Replay(bg, ref(id), verb == "front")
		got, want = wordOf(err, "ok"), w.lane.replay(id, verb == "front")
	case "refund":
		job, err := w.Job(bg, ref(id))
		if errors.Is(err, dispatcher.ErrNotFound) {
			return
		}
		w.ok(err)
		got, want = wordOf(refund(bg, w.Dispatcher, "bad", job.Job), "ok"), w.lane.refund(id)
	case "section":
		l, err := w.Leases().Acquire(bg, key("a"), "caller", 10*time.Second)
		if err == nil {
			w.held = l
		}
		got, want = wordOf(err, "ok"), w.lane.section()
	case "leave":
		if w.lane.lease == nil || !w.lane.lease.section {
			return
		}
		w.ok(w.Leases().Release(bg, w.held))
		w.lane.lease = nil
	default:
		w.fatal("no step is called %q", text)
	}
	w.told = append(w.told, text)
	w.reaped()
	w.lane.pass()
	if saw, is := w.lane.view(), w.view(); got != want || saw != is {
		w.fatal("after %s\nsaid %q, want %q\nit is   %s\nit must %s", strings.Join(w.told, ", "), got, want, is, saw)
	}
	if len(w.told)%4 != 0 { // the doctor costs three times what a step does
		return
	}
	if found := w.findings(); len(found) > 0 {
		w.fatal("after %s the doctor says %+v", strings.Join(w.told, ", "), found)
	}
}

func (w *walk) putJob(id, kind string, delay int64, scope string) string {
	job := dispatcher.NewJob{Subject: key("a"), Kind: kind, ID: id, MaxAttempts: mayStart(id), Delay: time.Duration(delay) * time.Millisecond}
	if scope != "" {
		job.Unique = &dispatcher.Unique{Key: "key", Scope: map[string]dispatcher.Scope{
			"waiting": dispatcher.WhileWaiting, "running": dispatcher.WhileWaitingOrRunning,
		}[scope]}
	}
	switch done := w.enqueue(job); {
	case done.Created:
		return "ok"
	case done.ID == id:
		return "exists"
	}
	return "merged"
}

func (w *walk) take(most int) string {
	who := session.Claimant{Holder: "w", Kinds: policies, TTL: 10 * time.Second, LaneBatch: make(map[string]int)}
	for _, kind := range policies {
		who.LaneBatch[kind] = most
	}
	claims, err := w.Claim(bg, who, 5)
	w.ok(err)
	if len(claims) == 0 {
		return "nothing"
	}
	w.claim = &claims[0]
	return "ok"
}

// ends reports an end, or that of a whole batch.
func (w *walk) ends(wait int64, ways ...string) string {
	w.t.Helper()
	all := w.claim.Each()
	end := session.End{Claim: w.claim, Outcome: session.Several}
	for i, way := range ways {
		one := session.End{Claim: all[i], Outcome: map[string]session.Outcome{
			"finish": session.Finished, "fail": session.Retry, "die": session.DeadLettered, "back": session.HandedBack,
		}[way], Reason: "permanent error", Error: "boom", Wait: time.Duration(wait) * time.Millisecond}
		if i > 0 {
			one.Wait = othersWait * time.Millisecond
		}
		end.Each = append(end.Each, one)
	}
	if len(ways) == 1 {
		end = end.Each[0]
	}
	ended := turns(bg, w.Dispatcher, &session.Claimant{}, []session.Turn{{Ends: []session.End{end}}})[0].Ended[0]
	if ended.Err != nil {
		return wordOf(ended.Err, "")
	}
	if len(ways) == 1 {
		ended.Each = []session.EndReply{ended}
	}
	var said []string
	for _, e := range ended.Each {
		switch {
		case e.Cancelled:
			said = append(said, "cancelled")
		case e.Halted:
			said = append(said, "halted")
		case e.Dead:
			said = append(said, "dead")
		default:
			said = append(said, "ok")
		}
	}
	return strings.Join(said, " ")
}

// renew keeps the lease of whoever has the lane, and hears what is asked of a holder.
func (w *walk) renew(ttl time.Duration) {
	w.t.Helper()
	l, want := w.held, error(nil)
	switch {
	case w.lane.lease == nil:
		return
	case !w.lane.lease.section:
		l = w.claim.Lease
	}
	if w.lane.lease.cancel {
		want = lease.ErrCancelled
	}
	if err := w.Leases().Renew(bg, ttl, l)[0]; !errors.Is(err, want) {
		w.fatal("after %v the holder is told %v, want %v", w.told, err, want)
	}
}

// view reads what there is of the lane in Redis.
func (w *walk) view() string {
	w.t.Helper()
	keys, canonical := w.Namespace().Keys(0), key("a").Canonical()
	pipe := w.rdb.Pipeline()
	head, tail := pipe.HGet(bg, keys.Heads(), canonical), pipe.LRange(bg, keys.Tail(canonical), 0, -1)
	leased, reasons := pipe.HGet(bg, keys.Leases(), canonical), pipe.HGet(bg, keys.ParkReasons(), canonical)
	asked, later := pipe.HGet(bg, keys.Asks(), canonical), pipe.ZRangeWithScores(bg, keys.Scheduled(), 0, -1)
	notes := pipe.HGetAll(bg, keys.Notes())
	dead, unique := pipe.ZRange(bg, keys.Dead(), 0, -1), pipe.HVals(bg, keys.Unique())
	ready := make([]*redis.StringSliceCmd, len(policies))
	for i, kind := range policies {
		ready[i] = pipe.LRange(bg, keys.Ready(kind), 0, -1)
	}
	if _, err := pipe.Exec(bg); err != nil && !errors.Is(err, redis.Nil) {
		w.t.Fatal(err)
	}
	var v view
	for _, entry := range append([]string{head.Val()}, tail.Val()...) {
		if entry != "" {
			v.jobs = append(v.jobs, readEntry(entry, notes.Val()))
		}
	}
	asks, _ := record.ParseAsks(asked.Val())
	if l := record.ParseLease(leased.Val()); l.Use != "" {
		if v.lease = l.Use; l.Along > 0 {
			v.lease += fmt.Sprint("+", l.Along)
		}
		if l.Asked != (asked.Val() != "") {
			w.t.Errorf("the lease %q, and asks %q", leased.Val(), asked.Val())
		}
	}
	if asks.Cancel {
		v.marks = append(v.marks, "c")
	}
	if asks.Suspend != nil {
		v.marks, v.why = append(v.marks, "s"), "operator"
	}
	park, _ := record.ParsePark(reasons.Val())
	if park.Stopped() {
		v.lease = "suspended"
	}
	if park.Suspended != nil {
		v.why = "operator"
	}
	if park.Halted != nil {
		v.why = "halted"
	}
	if !park.Backoff.IsZero() {
		v.waits = max(0, park.Backoff.UnixMilli()-w.ms.Load())
	}
	for _, z := range later.Val() {
		member := z.Member.(string)
		_, rest, _ := strings.Cut(member, " ") // "<length> <subject><number, 5 bytes><entry>"
		at := "never"
		if !math.IsInf(z.Score, 1) {
			at = fmt.Sprint(int64(z.Score) - w.ms.Load())
		}
		v.later = append(v.later, readEntry(rest[len(canonical)+5:], notes.Val())+"@"+at)
	}
	for _, id := range dead.Val() {
		v.dead = append(v.dead, id[1:])
	}
	for _, id := range unique.Val() {
		v.owners = append(v.owners, id[1:])
	}
	for i, lanes := range ready {
		for range lanes.Val() {
			v.ready += policies[i]
		}
	}
	return v.String()
}

// readEntry says which job an entry stands for, how many of its attempts have ended, and whether it
// is suspended.
func readEntry(entry string, notes map[string]string) string {
	id := entry[2 : 2+int(entry[0])]
	attempts, rest, _ := strings.Cut(notes[id], " ")
	j := modelJob{id: id[1:], suspended: strings.HasPrefix(rest, "suspended ")}
	j.attempts, _ = strconv.Atoi(attempts)
	return j.text()
}

// settle lets the lane go on whatever holds it up, and fails unless every job comes to an end and
// nothing is left behind.
func (w *walk) settle() {
	w.t.Helper()
	for range 100 {
		l := w.lane
		switch {
		case l.lease != nil && l.lease.section:
			w.step("leave")
		case l.lease != nil:
			w.step("back")
			if l.lease == nil && l.ready() {
				w.step("claim 1")
				w.step("finish")
			}
		case l.why != "" || l.heldUp():
			w.step("start")
		case l.ready():
			w.step("claim 1")
			w.step("finish")
		case len(l.jobs)+len(l.later) > 0:
			for _, j := range append(slices.Clone(l.jobs), l.later...) {
				if j.suspended {
					w.step("resume " + j.id)
				}
			}
			w.step("pass 4000000")
		default:
			for _, j := range l.dead {
				w.ok(w.Discard(bg, ref(j.id)))
			}
			l.dead = nil
			w.clean()
			if st, err := w.Stats(bg); err != nil || st.Jobs+st.Lanes+st.Leased+st.Slots+st.Suspended+st.Delayed != 0 {
				w.fatal("after %v: left are %+v, %v", w.told, st, err)
			}
			w.told = nil
			return
		}
	}
	w.fatal("no end: %v", w.told)
}

// Random stories of all that can happen to one lane, beside the model of it: what features do to each
// other three and four at a time.
func TestPairs_Walk(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		w := newWalk(t, rdb)
		rapid.Check(t, func(rt *rapid.T) {
			w = newWalk(t, rdb)
			w.fatal = rt.Fatalf
			ids := []string{"j1", "j2", "j3", "j4", "j5-once", "j6-once"}
			id := func() string { return rapid.SampledFrom(ids).Draw(rt, "id") }
			way := func() string { return rapid.SampledFrom([]string{"finish", "fail", "die", "back"}).Draw(rt, "way") }
			wait := func() string { return rapid.SampledFrom([]string{" 0", " 5000"}).Draw(rt, "wait") }
			steps := map[string]func() string{
				"put": func() string {
					return fmt.Sprintf("put %s %s %s %s", id(), rapid.SampledFrom(policies).Draw(rt, "kind"),
						rapid.SampledFrom([]string{"0", "0", "3000"}).Draw(rt, "delay"), rapid.SampledFrom([]string{"", "", "waiting", "running"}).Draw(rt, "key"))
				},
				"claim": func() string { return fmt.Sprint("claim ", rapid.IntRange(1, 3).Draw(rt, "along")) },
				"end":   func() string { return way() + wait() },
				"each":  func() string { return fmt.Sprint("each ", way(), " ", way(), " ", way()) },
				"time":  func() string { return rapid.SampledFrom([]string{"pass 3000", "pass 3000", "crash"}).Draw(rt, "time") },
			}
			for _, verb := range []string{"cancel", "suspend", "resume", "front", "rear", "refund"} {
				steps[verb] = func() string { return verb + " " + id() }
			}
			for _, verb := range []string{"go", "stop", "stop why", "start", "pass-by", "section", "leave"} {
				steps[verb] = func() string { return verb }
			}
			actions := make(map[string]func(*rapid.T))
			for name, text := range steps {
				actions[name] = func(*rapid.T) { w.step(text()) }
				if name == "put" || name == "claim" { // else the lane is empty most of the time
					actions[name+" too"] = actions[name]
				}
			}
			rt.Repeat(actions)
			w.settle()
		})
	})
}
