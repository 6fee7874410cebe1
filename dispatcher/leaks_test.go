package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// keys returns all keys of the namespace.
func (h *house) keys() []string {
	h.t.Helper()
	var found []string
	iter := h.rdb.Scan(bg, 0, "{"+h.cfg.Namespace+"*", 1000).Iterator()
	for iter.Next(bg) {
		found = append(found, iter.Val())
	}
	h.ok(iter.Err())
	slices.Sort(found)
	return slices.Compact(found)
}

// requests is how many of them remember requests.
func (h *house) requests() int {
	return len(slices.DeleteFunc(h.keys(), func(k string) bool { return !strings.Contains(k, "}:request:") }))
}

// lasting is what a namespace holds, without what is counted on and on.
func (h *house) lasting() string {
	h.t.Helper()
	lines := strings.Split(dump(h.t, h.rdb, h.cfg.Namespace), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "}:clock") || strings.Contains(line, "}:audit") })
	for _, k := range h.keys() {
		if strings.Contains(k, "}:wake:") && h.rdb.ZCard(bg, k).Val() > 2 {
			lines = append(lines, k+" has more hints than there are")
		}
	}
	return strings.Join(lines, "\n")
}

// lives are ways of jobs and others through a namespace, after each of which nothing is left.
var lives = map[string]func(h *house){
	"finish": func(h *house) { h.of1("k", "j"); h.ends(h.first(), session.End{}, false) },
	"hand over": func(h *house) {
		h.of1("k", "j", "j2")
		h.ends(h.first(), session.End{}, true)
		h.advance(time.Minute)
		h.reaped()
		h.ends(h.first(), session.End{}, false)
	},
	"batch": func(h *house) { h.of1("k", "j", "j2"); h.batchFinishes() },
	"batch that fails": func(h *house) {
		h.of1("k", "j", "j2")
		h.batchFails(0)
		h.ends(h.first(), session.End{}, false)
		h.ends(h.first(), session.End{}, false)
	},
	"schedule": func(h *house) {
		h.later("a", "k", "j", time.Second)
		h.advance(time.Minute)
		h.reaped()
		h.ends(h.first(), session.End{}, false)
	},
	"retry": func(h *house) {
		h.of1("k", "j")
		h.ends(h.first(), session.End{Outcome: session.Retry, Wait: time.Second, Error: "boom"}, false)
		h.advance(time.Minute)
		h.reaped()
		h.ends(h.first(), session.End{}, false)
	},
	"set aside": func(h *house) {
		h.of1("skip", "j")
		h.ends(h.first(), session.End{Outcome: session.Retry, Wait: time.Second, Error: "boom"}, false)
		h.advance(time.Minute)
		h.reaped()
		h.ends(h.first(), session.End{}, false)
	},
	"failed on workers": func(h *house) {
		h.of1("k", "j")
		h.ends(h.first(), session.End{Outcome: session.Retry, Error: "boom", Workers: 3}, false)
		h.ends(h.first(), session.End{}, false)
	},
	"failed on too many workers": func(h *house) {
		h.of1("k", "j")
		h.ends(h.first(), session.End{Outcome: session.Retry, Error: "boom", Workers: 1}, false)
		h.ok(h.Discard(bg, ref("j")))
	},
	"failed, and then dead": func(h *house) {
		h.of1("k", "j")
		h.ends(h.first(), session.End{Outcome: session.Retry, Error: "boom", Workers: 3}, false)
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Error: "x"}, false)
		h.ok(h.Discard(bg, ref("j")))
	},
	"crash": func(h *house) {
		h.of1("k", "j")
		h.first()
		h.advance(time.Minute)
		h.reaped()
		h.ends(h.first(), session.End{}, false)
	},
	"lost for good": func(h *house) {
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", MaxAttempts: 1})
		h.first()
		h.advance(time.Minute)
		h.reaped()
		h.ok(h.Discard(bg, ref("j")))
	},
	"discard": func(h *house) {
		h.of1("k", "j")
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Error: "x"}, false)
		h.ok(h.Discard(bg, ref("j")))
	},
	"replay": func(h *house) {
		h.of1("k", "j")
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Error: "x"}, false)
		h.replays("j", false)
		h.ends(h.first(), session.End{}, false)
	},
	"cancel":              func(h *house) { h.of1("k", "j"); h.cancels("j") },
	"cancel of a tail":    func(h *house) { h.of1("k", "j", "j2"); h.cancels("j2"); h.cancels("j") },
	"cancel of scheduled": func(h *house) { h.later("a", "k", "j", time.Second); h.cancels("j") },
	"cancel of one that failed": func(h *house) {
		h.of1("k", "j")
		h.ends(h.first(), session.End{Outcome: session.Retry, Wait: time.Hour, Error: "boom", Workers: 3}, false)
		h.cancels("j")
	},
	"cancel while it runs": func(h *house) {
		h.of1("k", "j")
		c := h.first()
		h.cancels("j")
		h.ends(c, session.End{Outcome: session.HandedBack}, false)
	},
	"suspend": func(h *house) {
		h.of1("k", "j")
		h.suspends()
		h.ok(h.Resume(bg, key("a")))
		h.ends(h.first(), session.End{}, false)
	},
	"suspend while it runs": func(h *house) {
		h.of1("k", "j")
		c := h.first()
		h.suspends()
		h.ends(c, session.End{}, false)
		h.ok(h.Resume(bg, key("a")))
	},
	"suspend an empty lane": func(h *house) { h.suspends(); h.ok(h.Resume(bg, key("a"))) },
	"skip": func(h *house) {
		h.of1("k", "j")
		h.suspends()
		h.ok(h.Skip(bg, key("a")))
		h.ok(h.Discard(bg, ref("j")))
	},
	"suspend a job": func(h *house) {
		h.of1("k", "j")
		h.ok(h.SuspendJob(bg, ref("j")))
		h.ok(h.ResumeJob(bg, ref("j")))
		h.ends(h.first(), session.End{}, false)
	},
	"cancel of a suspended job": func(h *house) { h.of1("k", "j"); h.ok(h.SuspendJob(bg, ref("j"))); h.cancels("j") },
	"halt": func(h *house) {
		h.of1("halt", "j")
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Error: "x"}, false)
		h.ok(h.Resume(bg, key("a")))
		h.cancels("j")
		h.outlives()
	},
	"halt, and finish": func(h *house) {
		h.of1("stops", "j")
		h.ends(h.first(), session.End{Outcome: session.DeadLettered, Error: "x"}, false)
		h.ok(h.Resume(bg, key("a")))
		h.ends(h.first(), session.End{}, false)
	},
	"unique key, a window that ends before": func(h *house) {
		h.unique(dispatcher.ForWindow)
		h.outlives()
		h.clean()
		h.ends(h.first(), session.End{}, false)
	},
	"outcome": func(h *house) {
		h.of1("kept", "j")
		h.ends(h.first(), session.End{Result: []byte("r")}, false)
		h.outlives()
	},
	"outcome of a cancelled": func(h *house) { h.of1("kept", "j"); h.cancels("j"); h.outlives() },
	"outcome, cancelled while it ran": func(h *house) {
		h.of1("kept", "j")
		c := h.first()
		h.cancels("j")
		h.ends(c, session.End{Outcome: session.HandedBack}, false)
		h.outlives()
	},
	"unique key":          func(h *house) { h.unique(dispatcher.WhileWaiting); h.ends(h.first(), session.End{}, false) },
	"unique key, running": func(h *house) { h.unique(dispatcher.WhileWaitingOrRunning); h.ends(h.first(), session.End{}, false) },
	"unique key, a window": func(h *house) {
		h.unique(dispatcher.ForWindow)
		h.ends(h.first(), session.End{}, false)
		h.outlives()
	},
	"unique key, cancelled": func(h *house) { h.unique(dispatcher.WhileWaiting); h.cancels("u") },
	"unique key, merged": func(h *house) {
		h.unique(dispatcher.WhileWaiting)
		h.enqueue(unique("a", "u2", dispatcher.Unique{Key: "x"}))
		h.ends(h.first(), session.End{}, false)
	},
	"unique key, discarded": func(h *house) {
		h.unique(dispatcher.WhileWaiting)
		h.ends(h.first(), session.End{Outcome: session.DeadLettered}, false)
		h.ok(h.Discard(bg, ref("u")))
	},
	"section": func(h *house) { h.ok(h.Do(bg, key("a"), 0, nothing)) },
	"section with a ticket": func(h *house) {
		h.of1("k", "j")
		c := h.first()
		ended := h.waiting("a", bg, nothing)
		h.ends(c, session.End{}, false)
		h.ok(<-ended)
	},
	"section given up": func(h *house) {
		h.of1("k", "j")
		c := h.first()
		h.givenUp(bg)
		h.ends(c, session.End{}, false)
	},
	"ticket of one who died": func(h *house) {
		h.of1("k", "j")
		h.first()
		h.deadTicket("a", 0)
		h.advance(time.Minute)
		h.reaped()
		h.ends(h.first(), session.End{}, false)
	},
	"section of one who died": func(h *house) {
		_, err := h.Leases().Acquire(bg, key("a"), "dead", time.Second)
		h.ok(err)
		h.advance(time.Minute)
		h.reaped()
	},
	"wait of one who holds something": func(h *house) {
		h.of1("k", "j")
		c := h.first()
		h.ok(h.Do(bg, key("b"), 0, func(ctx context.Context) error {
			h.givenUp(ctx)
			return nil
		}))
		h.ends(c, session.End{}, false)
	},
	"session, with a limit": func(h *house) {
		s, err := h.Join(bg, session.Claimant{Holder: "s", Kinds: []string{"limited"}, TTL: 10 * time.Second}, 1)
		h.ok(err)
		m := &member{h, s}
		h.enqueuedKind("limited", "a", "j")
		h.enqueuedKind("limited", "b", "j2")
		claims, _ := m.turn(2)
		claims, _ = m.turn(2, done(claims[0]))
		m.turn(2, done(claims[0]))
		h.ok(s.Close(bg))
	},
	"session that is short and leaves": func(h *house) {
		h.enqueuedKind("limited", "a", "j")
		h.enqueuedKind("limited", "b", "j2")
		s, err := h.Join(bg, session.Claimant{Holder: "s", Kinds: []string{"limited"}, TTL: 10 * time.Second}, 1)
		h.ok(err)
		short, err := h.Join(bg, session.Claimant{Holder: "short", Kinds: []string{"limited"}, TTL: 10 * time.Second}, 1)
		h.ok(err)
		claims, _ := (&member{h, s}).turn(1)
		(&member{h, short}).turn(1)
		h.ok(short.Close(bg))
		claims, _ = (&member{h, s}).turn(1, done(claims[0]))
		if len(claims) == 0 {
			claims, _ = (&member{h, s}).turn(1)
		}
		(&member{h, s}).turn(0, done(claims[0]))
		h.ok(s.Close(bg))
	},
	"lost slots": func(h *house) {
		s, err := h.Join(bg, session.Claimant{Holder: "s", Kinds: []string{"limited"}, TTL: 10 * time.Second}, 1)
		h.ok(err)
		h.enqueuedKind("limited", "a", "j")
		(&member{h, s}).turn(1)
		h.advance(time.Minute)
		h.reaped()
		claims, _ := (&member{h, s}).turn(1)
		(&member{h, s}).turn(0, done(claims[0]))
		h.ok(s.Close(bg))
	},
}

// givenUp is a section on lane a that gives its wait up once its ticket is there.
func (h *house) givenUp(ctx context.Context) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	over := h.waiting("a", ctx, nothing)
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		h.t.Error(err)
	}
}

func (h *house) cancels(id string) { h.t.Helper(); _, err := h.Cancel(bg, ref(id)); h.ok(err) }

func (h *house) suspends() { h.t.Helper(); _, err := h.Suspend(bg, key("a"), "why"); h.ok(err) }

// outlives lets pass what is kept for a while.
func (h *house) outlives() { h.t.Helper(); h.advance(2 * time.Hour); h.reaped() }

// unique enqueues a job with a unique key.
func (h *house) unique(scope dispatcher.Scope) {
	h.t.Helper()
	u := dispatcher.Unique{Key: "x", Scope: scope}
	if scope == dispatcher.ForWindow {
		u.Window = time.Minute
	}
	h.enqueue(unique("a", "u", u))
}

func (h *house) batchFinishes() {
	h.t.Helper()
	c := h.batch("w", 2)
	var ends []session.End
	for i, job := range c.Each() {
		ends = append(ends, session.End{Claim: job, GoesOn: i == 0})
	}
	_, err := h.turn(session.Claimant{}, 0, ends)
	h.ok(err)
}

// Nothing is left of what has ended: a namespace that has lived through something once holds after the next
// time what it held before, to the byte, and nothing that a fresh one would not; and
// it takes no more memories of requests than are made at once.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for name, live := range lives {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := leakHouse(t, rdb)
				live(h)
				before, requests := h.lasting(), h.requests()
				for range 5 {
					live(h)
				}
				if after := h.lasting(); after != before {
					t.Errorf("it held\n%s\nand holds\n%s", before, after)
				}
				if n := h.requests(); n > requests+2 { // what waits says its last words beside others
					t.Errorf("it remembers the requests of %d callers, and %d at first", n, requests)
				}
				h.clean()
				h.empty()
			})
		})
	}
}

func leakHouse(t *testing.T, rdb *redis.Client) *house {
	return newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{
		{Name: "k", Owner: "o"}, {Name: "other", Owner: "o"}, {Name: "kept", Owner: "o", Keep: time.Hour}, {Name: "limited", Owner: "o", Limit: 1},
		{Name: "skip", Owner: "o", OnFailure: dispatcher.Skip}, {Name: "halt", Owner: "o", OnFailure: dispatcher.Halt, Keep: time.Hour}, {Name: "stops", Owner: "o", OnFailure: dispatcher.Halt},
	}})
}

// Each memory of a request, of a record and of who waits goes by itself, and what is no such thing does not: a
// reply that was remembered for ever was a key for each caller of each process that ever was.
func TestMemoriesExpire(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := leakHouse(t, rdb)
		for _, name := range slices.Sorted(maps.Keys(lives)) {
			lives[name](h)
		}
		m := h.member("recorder", "", "k")
		var tally session.Tally
		tally.Add("k", session.EndFinished, time.Second)
		tally.Ran(key("a"), time.Second)
		h.ok(m.s.Record(bg, &tally))
		h.of1("k", "j") // which stays, and somebody who holds another subject waits for it
		ctx, giveUp := context.WithCancel(bg)
		noted, over := make(chan bool), make(chan error)
		go func() {
			over <- h.Do(ctx, key("held"), 0, func(ctx context.Context) error {
				close(noted)
				return h.Do(ctx, key("a"), time.Minute, nothing)
			})
		}()
		<-noted
		redistest.Until(t, "it waits", func() bool { return rdb.HLen(bg, h.Namespace().Waits()).Val() == 1 })
		defer func() {
			giveUp()
			<-over
		}()
		most := map[string]time.Duration{"}:flow:": 72 * time.Hour, "}:hot": 140 * time.Minute, "}:request:": time.Minute, "}:recorded:": time.Hour, "}:waits": time.Hour}
		seen := make(map[string]int)
		for _, k := range h.keys() {
			ttl, err := rdb.PTTL(bg, k).Result()
			h.ok(err)
			goes := time.Duration(0)
			for part, d := range most {
				if strings.Contains(k, part) {
					goes = d
					seen[part]++
				}
			}
			if goes == 0 && ttl > 0 {
				t.Errorf("%q goes in %s, and is to stay", k, ttl)
			}
			if goes > 0 && (ttl <= goes/2 || ttl > goes) {
				t.Errorf("%q goes in %s, want about %s", k, ttl, goes)
			}
		}
		if len(seen) != len(most) {
			t.Errorf("saw only %v", seen)
		}
	})
}

// What goes by itself once nobody repairs: a lock whose process died.
func TestRepairingExpires(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	var ttl time.Duration
	_, err := h.Repair(bg, func(int) { ttl = rdb.PTTL(bg, h.Namespace().Repairing()).Val() })
	h.ok(err)
	if ttl <= 0 {
		t.Errorf("the lock of a repair goes in %s", ttl)
	}
	if n := rdb.Exists(bg, h.Namespace().Repairing()).Val(); n != 0 {
		t.Error("it is there after the repair")
	}
}

// Workers that are silent for long are forgotten, as many as there are.
func TestSilentWorkersAreForgotten(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		m := h.member("w", "", "k")
		for i := range 201 {
			holder := fmt.Sprint("silent", i)
			h.ok(rdb.HSet(bg, h.Namespace().Workers(), holder, "{}").Err())
			h.ok(rdb.ZAdd(bg, h.Namespace().Seen(), redis.Z{Score: float64(h.ms.Load()), Member: holder}).Err())
		}
		h.advance(time.Hour)
		for _, left := range []int64{101, 1, 0} { // and w itself
			h.ok(m.s.Beat(bg))
			infos, seen := rdb.HLen(bg, h.Namespace().Workers()).Val(), rdb.ZCard(bg, h.Namespace().Seen()).Val()
			if infos != seen || infos != left+1 {
				t.Errorf("%d workers are listed and %d seen, want %d", infos, seen, left+1)
			}
		}
	})
}
