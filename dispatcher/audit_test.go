package dispatcher_test

import (
	"cmp"
	"context"
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
	"github.com/lanekeeper/lanekeeper/subject"
)

// listed are the acts that a filter picks, page by page, the latest first.
func (h *house) listed(f inspect.AuditFilter, limit int) (all []inspect.Act) {
	h.t.Helper()
	for page := (inspect.Page{Limit: limit}); ; {
		acts, next, err := h.Audit(bg, f, page)
		h.ok(err)
		if all = append(all, acts...); next == "" {
			return all
		}
		page.Cursor = next
	}
}

// acts are all acts, the first one first, a line each.
func (h *house) acts() string {
	h.t.Helper()
	var lines []string
	for _, a := range h.listed(inspect.AuditFilter{}, 500) {
		lines = append(lines, strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s: %s > %s", a.Verb, a.Subject.ID, a.JobID, a.Kind, a.Before, a.After)), " "))
	}
	slices.Reverse(lines)
	return strings.ReplaceAll(strings.Join(lines, "\n"), " : ", ": ")
}

var onCall = dispatcher.As(bg, dispatcher.Actor{Who: "ada@db 1", Face: "cli", Why: "disk\nfull"})

// Each act of an operator leaves a line of what it did, and one that changed nothing leaves none.
func TestEachActIsListed(t *testing.T) {
	t.Parallel()
	fails := session.End{Outcome: session.Retry, Wait: time.Hour, Error: "boom"}
	for name, c := range map[string]struct {
		before, act func(h *house)
		want        string
	}{
		"suspend an empty lane": {nil, func(h *house) { h.suspends() }, "lane suspend a: empty > suspended"},
		"suspend a ready lane":  {func(h *house) { h.of1("k", "j1", "j2") }, func(h *house) { h.suspends() }, "lane suspend a j1: ready > suspended"},
		"suspend a delayed lane": {func(h *house) { h.of1("k", "j1"); h.ends(h.first(), fails, false) },
			func(h *house) { h.suspends() }, "lane suspend a j1: delayed > suspended"},
		"suspend it twice": {func(h *house) { h.of1("k", "j1") }, func(h *house) {
			h.suspends()
			_, err := h.Suspend(bg, key("a"), "")
			h.ok(err)
		}, "lane suspend a j1: ready > suspended"},
		"suspend it for another reason": {func(h *house) { h.of1("k", "j1") }, func(h *house) { h.suspends(); h.suspends() },
			"lane suspend a j1: ready > suspended\nlane suspend a j1: suspended > suspended"},
		"suspend a lane that is leased": {func(h *house) { h.of1("k", "j1"); h.first() }, func(h *house) {
			h.suspends()
			_, err := h.Suspend(bg, key("a"), "")
			h.ok(err)
			h.ok(h.Resume(bg, key("a")))
		}, "lane suspend a j1: leased > to be suspended\nlane resume a j1: to be suspended > leased"},
		"resume": {func(h *house) { h.of1("k", "j1"); h.suspends() }, func(h *house) {
			h.ok(h.Resume(bg, key("a")))
			if err := h.Resume(bg, key("a")); !errors.Is(err, dispatcher.ErrNotSuspended) {
				h.t.Errorf("again: %v", err)
			}
		}, "lane suspend a j1: ready > suspended\nlane resume a j1: suspended > ready"},
		"resume one that waits": {func(h *house) { h.of1("k", "j1"); h.ends(h.first(), fails, false) },
			func(h *house) { h.suspends(); h.ok(h.Resume(bg, key("a"))) }, "lane suspend a j1: delayed > suspended\nlane resume a j1: suspended > delayed"},
		"resume a halted one": {func(h *house) {
			h.of1("halt", "j1")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
		},
			func(h *house) { h.ok(h.Resume(bg, key("a"))) }, "lane resume a j1: halted > ready"},
		"skip": {func(h *house) {
			h.of1("halt", "j1", "j2")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
		},
			func(h *house) { h.ok(h.Skip(bg, key("a"))) }, "lane skip a j1: halted > ready"},
		"skip the last": {func(h *house) {
			h.of1("halt", "j1")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
		},
			func(h *house) { h.ok(h.Skip(bg, key("a"))) }, "lane skip a j1: halted > empty"},
		"retry": {func(h *house) { h.of1("k", "j1"); h.ends(h.first(), fails, false) }, func(h *house) {
			h.ok(h.RetryNow(bg, key("a")))
			if err := h.RetryNow(bg, key("a")); !errors.Is(err, dispatcher.ErrNotDelayed) {
				h.t.Errorf("again: %v", err)
			}
		}, "lane retry a j1: delayed > ready"},
		"cancel": {func(h *house) { h.of1("k", "j1", "j2"); h.later("a", "k", "j3", time.Hour) }, func(h *house) { h.cancels("j1"); h.cancels("j2"); h.cancels("j3") },
			"job cancel a j1: waiting > cancelled\njob cancel a j2: waiting > cancelled\njob cancel a j3: scheduled > cancelled"},
		"cancel one that runs": {func(h *house) { h.of1("k", "j1"); h.first() }, func(h *house) { h.cancels("j1"); h.cancels("j1") },
			"job cancel a j1: leased > asked to end"},
		"suspend a job": {func(h *house) { h.of1("k", "j1", "j2") }, func(h *house) {
			h.ok(h.SuspendJob(bg, ref("j2")))
			h.ok(h.SuspendJob(bg, ref("j2")))
			h.ok(h.ResumeJob(bg, ref("j2")))
		}, "job suspend a j2: waiting > suspended\njob resume a j2: suspended > waiting"},
		"suspend a job on the schedule": {func(h *house) { h.later("a", "k", "j1", time.Hour) }, func(h *house) { h.ok(h.SuspendJob(bg, ref("j1"))); h.ok(h.ResumeJob(bg, ref("j1"))) },
			"job suspend a j1: scheduled > suspended\njob resume a j1: suspended > scheduled"},
		"replay, and discard": {func(h *house) {
			h.of1("k", "j1")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
			h.of1("k", "j2")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
			h.of1("k", "j3")
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
		}, func(h *house) {
			h.replays("j1", false)
			h.replays("j2", true)
			h.ok(h.Discard(bg, ref("j3")))
		}, "dead replay a j1: dead > waiting at the back\ndead replay a j2: dead > waiting at the front\ndead discard a j3: dead > gone"},
		"merge one": {func(h *house) {
			h.enqueue(unique("a", "u1", dispatcher.Unique{Key: "x"}))
			h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
			h.enqueue(unique("a", "u2", dispatcher.Unique{Key: "x"}))
		}, func(h *house) { _, err := h.ReplayOrMerge(bg, ref("u1"), false); h.ok(err) }, "dead replay a u1: dead > merged"},
		"undeclare": {nil, func(h *house) { h.ok(h.Undeclare(bg, "other")) }, "kind rm other: version 1 > not declared"},
		"repair": {func(h *house) { h.of1("k", "j1"); h.ok(h.rdb.Del(bg, h.Namespace().Keys(0).Ready("k")).Err()) }, func(h *house) {
			_, err := h.Repair(bg, nil)
			h.ok(err)
			_, err = h.Repair(bg, nil) // which finds nothing
			h.ok(err)
		}, "doctor --fix: amiss > 1 mended"},
		"what a worker does": {func(h *house) { h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", MaxAttempts: 1}) }, func(h *house) {
			c := h.first()
			m := h.member(c.Lease.Holder, "", "k")
			h.member("another", "", "k")
			h.ends(c, session.End{Outcome: session.Retry, Error: "boom"}, false)
			m.blame("k", &c) // it is replayed
			if dead, err := h.IsDead(bg, ref("j1")); dead || err != nil {
				h.t.Errorf("the job is dead: %t, %v", dead, err)
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := hintHouse(t, rdb)
				if c.before != nil {
					c.before(h)
				}
				c.act(h)
				if got := h.acts(); got != c.want {
					t.Errorf("listed is\n%s\nwant\n%s", got, c.want)
				}
				h.clean()
			})
		})
	}
}

// A line has who acted, through what, when and why; and a suspended lane says who did it.
func TestActsHaveTheirActors(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.enqueued("a", "j1")
		_, err := h.Suspend(onCall, key("a"), "")
		h.ok(err)
		at := time.UnixMilli(h.ms.Load()).UTC()
		want := inspect.Act{
			At: at, Who: "ada@db 1", Face: "cli", Verb: "lane suspend", Subject: key("a"), JobID: "j1", Before: "ready", After: "suspended", Why: "disk full",
		}
		if acts := h.listed(inspect.AuditFilter{}, 1); len(acts) != 1 || acts[0] != want {
			t.Errorf("listed is %+v, want %+v", acts, want)
		}
		lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
		h.ok(err)
		if lane.SuspendedBy != "ada@db 1" || lane.Why != "disk full" || !lane.SuspendedAt.Equal(at) {
			t.Errorf("the lane is %+v", lane)
		}
		h.ok(h.Resume(bg, key("a")))
		c := h.head("w", "j1", 1)
		if _, err := h.Suspend(onCall, key("a"), "@later\tthan now"); err != nil {
			t.Fatal(err)
		}
		says := func(when, by, why string) {
			t.Helper()
			lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
			h.ok(err)
			if lane.SuspendedBy != by || lane.Why != why {
				t.Errorf("%s it is suspended by %q: %q, want %q: %q", when, lane.SuspendedBy, lane.Why, by, why)
			}
		}
		says("while it is leased", "ada@db 1", "@later\tthan now")
		_, err = h.Retry(bg, c, 0, "")
		h.ok(err)
		says("after that", "ada@db 1", "@later\tthan now")
		_, err = h.Suspend(bg, key("a"), "@nobody\tis named")
		h.ok(err)
		says("by nobody", "", "@nobody\tis named")
		if acts := h.listed(inspect.AuditFilter{}, 1); acts[0].Who != "" || acts[0].Face != "" || acts[0].Why != "@nobody is named" {
			t.Errorf("what nobody did is %+v", acts[0])
		}
		h.clean()
	})
}

// Pages of several partitions are one list, the latest first, with each act once, however they are cut; and filters pick of it.
func TestAuditIsOneList(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 3, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}, {Name: "other", Owner: "o"}}})
		if acts, next, err := h.Audit(bg, inspect.AuditFilter{}, inspect.Page{}); acts == nil || len(acts)+len(next) > 0 || err != nil {
			t.Errorf("of nothing: %v, %q, %v", acts, next, err)
		}
		h.ok(h.Undeclare(onCall, "other"))
		for i := range 20 {
			if i%5 == 0 { // some are of one ms
				h.advance(time.Second)
			}
			ctx := cmp.Or[context.Context](map[bool]context.Context{true: onCall}[i%2 == 0], bg)
			lane := key(fmt.Sprint("lane", i%7))
			_, err := h.Suspend(ctx, lane, "why")
			h.ok(err)
			h.ok(h.Resume(ctx, lane))
		}
		all := h.listed(inspect.AuditFilter{}, 500)
		if len(all) != 41 || all[40].Verb != "kind rm" || !slices.IsSortedFunc(all, func(a, b inspect.Act) int { return b.At.Compare(a.At) }) {
			t.Fatalf("%d are listed: %v", len(all), all)
		}
		for _, limit := range []int{1, 2, 3, 7, 40, 41} {
			if got := h.listed(inspect.AuditFilter{}, limit); !slices.Equal(got, all) {
				t.Errorf("in pages of %d they are %d, %v", limit, len(got), got)
			}
		}
		at := time.UnixMilli(h.ms.Load())
		for name, c := range map[string]struct {
			f    inspect.AuditFilter
			want func(a inspect.Act) bool
			n    int
		}{
			"of a subject": {inspect.AuditFilter{Subject: key("lane3")}, func(a inspect.Act) bool { return a.Subject == key("lane3") }, 6},
			"of somebody":  {inspect.AuditFilter{Who: "ada@db 1"}, func(a inspect.Act) bool { return a.Who == "ada@db 1" }, 21},
			"of a verb":    {inspect.AuditFilter{Verb: "lane resume"}, func(a inspect.Act) bool { return a.Verb == "lane resume" }, 20},
			"of a word":    {inspect.AuditFilter{Verb: "lane"}, func(a inspect.Act) bool { return a.Verb != "kind rm" }, 40},
			"since then":   {inspect.AuditFilter{Since: at}, func(a inspect.Act) bool { return !a.At.Before(at) }, 10},
			"all of that":  {inspect.AuditFilter{Subject: key("lane1"), Who: "ada@db 1", Verb: "suspend", Since: at.Add(-time.Second)}, func(a inspect.Act) bool { return true }, 0},
		} {
			want := slices.DeleteFunc(slices.Clone(all), func(a inspect.Act) bool { return !c.want(a) })
			for _, limit := range []int{1, 4, 500} {
				got := h.listed(c.f, limit)
				if c.n > 0 && (!slices.Equal(got, want) || len(got) != c.n) {
					t.Errorf("%s, in pages of %d: %d, want %d (%d): %v", name, limit, len(got), len(want), c.n, got)
				}
			}
		}
		for _, wrong := range []string{"x", "1.2", "1.2.9", "01.0.0", "0.0.0", "1.0.-1"} {
			if _, _, err := h.Audit(bg, inspect.AuditFilter{}, inspect.Page{Cursor: wrong}); !errors.Is(err, dispatcher.ErrInvalid) {
				t.Errorf("the cursor %q: %v", wrong, err)
			}
		}
		if _, _, err := h.Audit(bg, inspect.AuditFilter{Verb: "sus"}, inspect.Page{}); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("half a word of a verb: %v", err)
		}
	})
}

// A page with a filter reads 500 lines of a log, and goes on where it stopped.
func TestAuditLooksOnBehindOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 2})
	first := key("first")
	for i := 0; h.Namespace().Partition(first) == h.Namespace().Partition(key("a")); i++ {
		first = key(fmt.Sprint("first", i))
	}
	_, err := h.Suspend(bg, first, "")
	h.ok(err)
	for range 300 {
		h.advance(time.Millisecond)
		_, err := h.Suspend(bg, key("a"), "why")
		h.ok(err)
		h.ok(h.Resume(bg, key("a")))
	}
	f := inspect.AuditFilter{Subject: first}
	acts, next, err := h.Audit(bg, f, inspect.Page{})
	if len(acts) != 0 || next == "" || err != nil {
		t.Errorf("the first page has %v, next %q, %v", acts, next, err)
	}
	if all := h.listed(f, 50); len(all) != 1 {
		t.Errorf("all pages have %v", all)
	}
	// The one line of its partition is older than all that the first step reads of the other one.
	if all := h.listed(inspect.AuditFilter{Verb: "suspend"}, 500); len(all) != 301 || all[300].Subject != first {
		t.Errorf("%d are listed, the last is %+v; want 301, and %s", len(all), all[len(all)-1], first)
	}
}

// A log keeps about its share of ten thousand lines, of bounded length, and its order when the clock is set back.
func TestAuditIsBounded(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 200}) // 50 a partition, and Redis keeps up to a node of a hundred more
	long := dispatcher.As(bg, dispatcher.Actor{Who: strings.Repeat("é", 500), Face: strings.Repeat("f", 500), Why: strings.Repeat("w", 5000)})
	lane := subject.Key{Kind: "s", ID: strings.Repeat("x", 300)}
	h.advance(2 * time.Hour)
	for i := range 200 {
		_, err := h.Suspend(long, lane, fmt.Sprint("why ", i))
		h.ok(err)
	}
	audit := h.Namespace().Keys(h.Namespace().Partition(lane)).Audit()
	if n := rdb.XLen(bg, audit).Val(); n < 50 || n > 150 {
		t.Errorf("it keeps %d lines", n)
	}
	a := h.listed(inspect.AuditFilter{}, 1)[0]
	if len(a.Who) > 128 || len(a.Face) > 32 || len(a.Why) > 512 || !strings.HasPrefix(a.Who, "éé") || !strings.HasSuffix(a.Who, "é…") {
		t.Errorf("a line has %d, %d and %d bytes: %q", len(a.Who), len(a.Face), len(a.Why), a.Who)
	}
	at := a.At
	h.advance(-time.Hour)
	h.ok(h.Resume(bg, lane))
	if acts := h.listed(inspect.AuditFilter{}, 2); acts[0].Verb != "lane resume" || acts[1] != a || !acts[0].At.Equal(at) {
		t.Errorf("after the clock was set back: %+v", acts)
	}
}

// I10: a full memory, a log that is no log, and a right that is missing keep nobody from acting.
func TestI10_ActsWithoutALine(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t, "--maxmemory-policy", "noeviction")
	rdb := redistest.ClientOf(t, server)
	act := func(h *house) {
		t.Helper()
		_, err := h.Suspend(onCall, key("a"), "")
		h.ok(err)
		h.ok(h.Resume(onCall, key("a")))
		h.ok(h.RetryNow(onCall, key("b")))
		h.ok(h.Discard(onCall, ref("d1")))
		_, err = h.Cancel(onCall, ref("a1"))
		h.ok(err)
		h.clean()
	}
	house := func() *house {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}, {Name: "other", Owner: "o"}}})
		h.enqueued("a", "a1")
		h.enqueued("b", "b1")
		h.enqueued("d", "d1")
		claims := h.claimed("w", 3)
		h.ok(h.HandBack(bg, claims["a"]))
		_, err := h.Retry(bg, claims["b"], time.Hour, "")
		h.ok(err)
		h.ok(h.DeadLetter(bg, claims["d"], "x", ""))
		return h
	}
	h := house()
	h.ok(rdb.ConfigSet(bg, "maxmemory", "1").Err())
	act(h)
	if acts := h.acts(); strings.Count(acts, "\n") != 4 {
		t.Errorf("a line is the last write of its script, and let through; listed is\n%s", acts)
	}
	h.ok(rdb.ConfigSet(bg, "maxmemory", "0").Err())

	h = house()
	for _, log := range []string{h.Namespace().Audit(), h.Namespace().Keys(0).Audit()} {
		h.ok(rdb.Set(bg, log, "mine", 0).Err())
	}
	_, err := h.Suspend(onCall, key("a"), "")
	h.ok(err)
	h.ok(h.Resume(onCall, key("a")))
	if wrong := h.findings(); len(wrong) != 1 || wrong[0].What != "key" {
		t.Errorf("the doctor says %+v", wrong)
	}
	_, err = h.Repair(bg, nil)
	h.ok(err)
	_, err = h.Suspend(onCall, key("a"), "")
	h.ok(err)
	if n := rdb.XLen(bg, h.Namespace().Keys(0).Audit()).Val(); n != 1 {
		t.Errorf("after the repair it has %d lines", n)
	}

	h = house()
	h.ok(rdb.Do(bg, "acl", "setuser", "few", "on", "nopass", "~*", "&*", "+@all", "-xadd").Err())
	few := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "few", Password: "x"})
	t.Cleanup(func() { _ = few.Close() })
	cfg := h.cfg
	cfg.Redis = few
	d, err := dispatcher.Open(bg, cfg)
	h.ok(err)
	h.Dispatcher = d
	act(h)
	h.ok(h.Undeclare(onCall, "other"))
	if acts := h.listed(inspect.AuditFilter{}, 50); len(acts) != 0 {
		t.Errorf("who may not write lines has written %v", acts)
	}
}
