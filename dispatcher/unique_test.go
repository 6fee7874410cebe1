package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// L1: a hundred producers in twenty processes make one job, and all get its id.
func TestL1_HundredProducersOneJob(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	outs := make([]bytes.Buffer, 20)
	var all []*exec.Cmd
	for i := range outs {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestProducerProcess$")
		cmd.Env = append(os.Environ(), "PRODUCE_IN="+h.cfg.Namespace, "PRODUCE_ON="+rdb.Options().Addr)
		cmd.Stdout, cmd.Stderr = &outs[i], &outs[i]
		h.ok(cmd.Start())
		all = append(all, cmd)
	}
	ids, created := make(map[string]int), 0
	for i, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("a producer: %v\n%s", err, outs[i].String())
		}
		for _, line := range strings.Split(outs[i].String(), "\n") {
			var id string
			var is bool
			if n, _ := fmt.Sscanf(line, "enqueued %s %t", &id, &is); n == 2 {
				ids[id]++
				if is {
					created++
				}
			}
		}
	}
	stats, err := h.Stats(bg)
	h.ok(err)
	if len(ids) != 1 || created != 1 || stats.Jobs != 1 {
		t.Errorf("ids %v, created %d times, %d jobs; want one of each", ids, created, stats.Jobs)
	}
	for id, n := range ids {
		if n != 100 {
			t.Errorf("%d producers got %s, want 100", n, id)
		}
	}
	h.clean()
}

// TestProducerProcess is one of the processes of TestL1.
func TestProducerProcess(t *testing.T) {
	namespace := os.Getenv("PRODUCE_IN")
	if namespace == "" {
		return // TestL1 starts them
	}
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv("PRODUCE_ON")})
	defer rdb.Close()
	d, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		done, err := d.Enqueue(bg, unique("a", "", dispatcher.Unique{Key: "build-17", Scope: dispatcher.WhileWaitingOrRunning}))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("enqueued", done.ID, done.Created)
	}
}

func unique(lane, id string, u dispatcher.Unique) dispatcher.NewJob {
	return dispatcher.NewJob{Subject: key(lane), Kind: "k", ID: id, Unique: &u, Payload: []byte("p")}
}

// L2: how long a key is taken, by scope, in each state of the job that has it; and the answer
// says which job that is.
func TestL2_Scopes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		const waiting, running, window = dispatcher.WhileWaiting, dispatcher.WhileWaitingOrRunning, dispatcher.ForWindow
		for _, c := range []struct {
			state string
			until func(h *house)
			taken map[dispatcher.Scope]bool
		}{
			{"waiting", func(*house) {}, map[dispatcher.Scope]bool{waiting: true, running: true, window: true}},
			{"running", func(h *house) { h.head("w", "j1", 1) }, map[dispatcher.Scope]bool{running: true, window: true}},
			{"delayed", func(h *house) { _, err := h.Retry(bg, h.head("w", "j1", 1), time.Second, ""); h.ok(err) },
				map[dispatcher.Scope]bool{waiting: true, running: true, window: true}},
			{"finished", func(h *house) { h.ok(h.Finish(bg, h.head("w", "j1", 1))) }, map[dispatcher.Scope]bool{window: true}},
			{"dead", func(h *house) { h.ok(h.DeadLetter(bg, h.head("w", "j1", 1), "x", "")) }, map[dispatcher.Scope]bool{window: true}},
			{"cancelled", func(h *house) { _, err := h.Cancel(bg, ref("j1")); h.ok(err) }, map[dispatcher.Scope]bool{window: true}},
			{"finished, window over", func(h *house) {
				h.ok(h.Finish(bg, h.head("w", "j1", 1)))
				h.advance(2 * time.Minute)
				h.reaped()
			}, nil},
			{"waiting, window over", func(h *house) { h.advance(2 * time.Minute); h.reaped() }, map[dispatcher.Scope]bool{waiting: true, running: true}},
		} {
			for _, scope := range []dispatcher.Scope{waiting, running, window} {
				h := newHouse(t, rdb, dispatcher.Config{})
				u := dispatcher.Unique{Key: "u", Scope: scope}
				if scope == window {
					u.Window = time.Minute
				}
				h.enqueue(unique("a", "j1", u))
				h.enqueue(unique("b", "other subject", u))
				c.until(h.only("a"))
				done, err := h.Enqueue(bg, unique("a", "j2", u))
				h.ok(err)
				if done.Created == c.taken[scope] {
					t.Errorf("%s, scope %s: created %t", c.state, scope, done.Created)
				}
				if want := map[bool]string{true: "j1", false: "j2"}[c.taken[scope]]; done.ID != want {
					t.Errorf("%s, scope %s: got the id %s, want %s", c.state, scope, done.ID, want)
				}
				u.OnConflict = dispatcher.Reject
				_, err = h.Enqueue(bg, unique("a", "j3", u))
				var taken *dispatcher.TakenError
				if c.taken[scope] && (!errors.As(err, &taken) || taken.ID != "j1" || !errors.Is(err, dispatcher.ErrTaken)) {
					t.Errorf("%s, scope %s: rejected with %v, want the id j1", c.state, scope, err)
				}
				h.clean()
			}
		}
	})
}

// only takes the job of the other lane away, so that one claim finds one lane.
func (h *house) only(string) *house {
	_, err := h.Cancel(bg, ref("other subject"))
	h.ok(err)
	return h
}

// G9: coalescing merges with a job that waits and never with one that runs, counts, and
// nothing is left behind when all have run.
func TestG9_Coalesce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		job := func(id, payload string) dispatcher.NewJob {
			return dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: id, Payload: []byte(payload), Unique: dispatcher.Coalesce}
		}
		h.enqueue(job("j1", "x"))
		running := h.head("w", "j1", 1)
		if done := h.enqueue(job("j2", "x")); !done.Created {
			t.Error("merged with one that runs")
		}
		for n := 1; n <= 3; n++ {
			if done := h.enqueue(job("", "x")); done.Created || done.ID != "j2" || done.Merged != n || done.Seq == 0 {
				t.Errorf("the %dth like it: %+v", n, done)
			}
		}
		if done := h.enqueue(job("j3", "y")); !done.Created {
			t.Error("merged with another payload")
		}
		// In one call, too.
		many, err := h.EnqueueMany(bg, []dispatcher.NewJob{job("j4", "z"), job("j5", "z"), job("j6", "x")})
		h.ok(err)
		if !many[0].Created || many[1].ID != "j4" || many[2].ID != "j2" || many[2].Merged != 4 {
			t.Errorf("a batch: %+v", many)
		}
		h.clean()
		h.ok(h.Finish(bg, running))
		for _, id := range []string{"j2", "j3", "j4"} {
			h.ok(h.Finish(bg, h.head("w", id, 1)))
		}
		h.empty()
	})
}

// L1: replacing puts the new payload into the job that waits, and its place stays.
func TestL1_Replace(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		job := func(id, payload string) dispatcher.NewJob {
			j := unique("a", id, dispatcher.Unique{Key: "u", Scope: dispatcher.WhileWaitingOrRunning, OnConflict: dispatcher.Replace})
			j.Payload = []byte(payload)
			return j
		}
		first := h.enqueue(job("j1", "old"))
		h.enqueued("a", "j2")
		done := h.enqueue(job("j3", "new"))
		if done.ID != "j1" || !done.Replaced || done.Seq != first.Seq {
			t.Errorf("replaced: %+v", done)
		}
		c := h.head("w", "j1", 1)
		if string(c.Payload) != "new" {
			t.Errorf("it runs with %q", c.Payload)
		}
		if _, err := h.Enqueue(bg, job("j4", "newer")); !errors.Is(err, dispatcher.ErrTaken) {
			t.Errorf("replace in one that runs: %v", err)
		}
		h.ok(h.Finish(bg, c))
		h.ok(h.Finish(bg, h.head("w", "j2", 1)))
		h.empty()
	})
}

// L1: within one call too a payload replaces none of a job with other rules.
func TestL1_ReplaceInOneCallKeepsTheRules(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		job := func(id, payload string, attempts int) dispatcher.NewJob {
			j := unique("a", id, dispatcher.Unique{Key: "u", OnConflict: dispatcher.Replace})
			j.MaxAttempts, j.Payload = attempts, []byte(payload)
			return j
		}
		all, err := h.EnqueueMany(bg, []dispatcher.NewJob{job("j1", "old", 3), job("j2", "new", 5)})
		if !errors.Is(err, dispatcher.ErrTaken) || len(all) != 2 || !errors.Is(all[1].Err, dispatcher.ErrTaken) {
			t.Errorf("%+v, %v; want it refused because of the second one", all, err)
		}
		h.none("w")
		if all, err = h.EnqueueMany(bg, []dispatcher.NewJob{job("j1", "old", 3), job("j2", "new", 3)}); err != nil || !all[1].Replaced {
			t.Errorf("%+v, %v; want the second one's payload in the first", all, err)
		}
		if c := h.head("w", "j1", 1); string(c.Payload) != "new" || c.MaxAttempts != 3 {
			t.Errorf("it runs with %q and %d attempts", c.Payload, c.MaxAttempts)
		}
		h.clean()
	})
}

// I12: a window that a job before has left does not end the key of a job that has it by another scope, whether that was
// enqueued or replayed.
func TestI12_KeyOutlivesTheWindowOfAnotherJob(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, replayed := range []bool{false, true} {
			h := newHouse(t, rdb, dispatcher.Config{})
			waits := func(id string) dispatcher.NewJob {
				return unique("a", id, dispatcher.Unique{Key: "u", Scope: dispatcher.WhileWaitingOrRunning})
			}
			if replayed {
				h.enqueue(waits("j0"))
				h.ok(h.DeadLetter(bg, h.head("w", "j0", 1), "x", ""))
			}
			h.enqueue(unique("a", "j1", dispatcher.Unique{Key: "u", Scope: dispatcher.ForWindow, Window: time.Minute}))
			h.ok(h.Finish(bg, h.head("w", "j1", 1)))
			if replayed {
				_, err := h.Replay(bg, ref("j0"), false)
				h.ok(err)
			} else {
				h.enqueue(waits("j0"))
			}
			h.advance(2 * time.Minute)
			h.reaped()
			if e := h.enqueue(waits("j2")); e.ID != "j0" || e.Created {
				t.Errorf("replayed %t: another job has the key of j0, which waits: %+v", replayed, e)
			}
			later := unique("a", "j3", dispatcher.Unique{Key: "u", Scope: dispatcher.ForWindow, Window: time.Minute})
			if e := h.enqueue(later); e.ID != "j0" || e.Created {
				t.Errorf("replayed %t: a job with a window has the key of j0, which waits: %+v", replayed, e)
			}
			h.clean()
		}
	})
}

// G8: for every accepted or merged enqueue a run of that key starts after it, in any
// interleaving with claims, ends and crashes.
func TestG8_NoLostWakeUp(t *testing.T) {
	t.Parallel()
	_, mini := redistest.Mini(t)
	rapid.Check(t, func(rt *rapid.T) {
		h := newHouse(t, mini, dispatcher.Config{Partitions: 1})
		defer redistest.Clear(mini, h.cfg.Namespace)
		owed := make(map[string]bool) // keys with an enqueue after their last start
		var held *session.Claim
		start := func() {
			who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: 10 * time.Second}
			claims, err := h.Claim(bg, who, 1)
			h.ok(err)
			if len(claims) == 1 {
				held = &claims[0]
				delete(owed, string(held.Payload))
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"enqueue": func(rt *rapid.T) {
				k := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "key")
				_, err := h.Enqueue(bg, dispatcher.NewJob{
					Subject: key("a"), Kind: "k", Payload: []byte(k), MaxAttempts: 100, Unique: dispatcher.Coalesce,
				})
				h.ok(err)
				owed[k] = true
			},
			"claim": func(*rapid.T) {
				if held == nil {
					start()
				}
			},
			"finish": func(*rapid.T) {
				if held != nil {
					h.ok(h.Finish(bg, *held))
					held = nil
				}
			},
			"fail": func(*rapid.T) {
				if held != nil {
					owed[string(held.Payload)] = true // it is to be tried again
					_, err := h.Retry(bg, *held, time.Second, "")
					h.ok(err)
					held = nil
				}
			},
			"crash": func(*rapid.T) {
				if held != nil {
					owed[string(held.Payload)] = true
					held = nil
				}
				h.advance(time.Minute)
				h.reaped()
			},
		})
		for quiet := 0; quiet < 12; quiet++ { // minutes: no wait is longer than ten
			if held != nil {
				h.ok(h.Finish(bg, *held))
				held, quiet = nil, 0
			}
			h.advance(time.Minute)
			h.reaped()
			start()
		}
		if len(owed) > 0 {
			rt.Fatalf("never ran after they were asked for: %v", owed)
		}
		h.empty()
	})
}

// Unique keys keep to their rules, and the doctor knows what is left of a lost one.
func TestL6_UniqueLeftOver(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		keys := h.Namespace().Keys(0)
		h.enqueue(unique("a", "j1", dispatcher.Unique{Key: "u"}))
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "kept", Keep: time.Hour})
		h.clean()
		h.ok(h.Finish(bg, h.head("w", "j1", 1)))
		h.ok(h.Finish(bg, h.head("w", "kept", 1)))
		rdb.HSet(bg, keys.Unique(), "3 s:ak kold", "igone")
		rdb.HSet(bg, keys.Names(), "igone2", "0 3 s:ak kold2")
		rdb.ZRem(bg, keys.Expiring(), "oikept")
		if n := len(h.findings()); n != 3 {
			t.Errorf("%d findings, want 3: %v", n, h.findings())
		}
		_, err := h.Repair(bg, nil)
		h.ok(err)
		h.empty()
	})
}

func TestUniqueRules(t *testing.T) {
	t.Parallel()
	_, mini := redistest.Mini(t)
	h := newHouse(t, mini, dispatcher.Config{})
	for _, u := range []dispatcher.Unique{
		{Key: strings.Repeat("x", 257)}, {Scope: "sometimes"}, {OnConflict: "fight"}, {Scope: dispatcher.ForWindow}, {Window: time.Second},
	} {
		if _, err := h.Enqueue(context.Background(), unique("a", "", u)); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if _, err := h.Enqueue(bg, dispatcher.NewJob{Subject: subject.Slot("kind/k", 1), Kind: "k"}); !errors.Is(err, dispatcher.ErrInvalid) {
		t.Errorf("a job of a slot: %v", err)
	}
}

// C13: a dead letter's key is free; its replay takes it again, and two jobs never have it.
func TestC13_KeyComesBackWithItsJob(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, front := range []bool{false, true} {
			h := newHouse(t, rdb, dispatcher.Config{})
			put := func(id string) dispatcher.EnqueueResult {
				return h.enqueue(dispatcher.NewJob{
					Subject: key("a"), Kind: "k", ID: id, Unique: &dispatcher.Unique{Key: "u", Scope: dispatcher.WhileWaitingOrRunning},
				})
			}
			bury := func(id string) { h.ok(h.DeadLetter(bg, h.head("w", id, 1), "bad", "")) }
			put("first")
			bury("first")
			h.clean()
			_, err := h.Replay(bg, ref("first"), front)
			h.ok(err)
			if done := put("second"); done.ID != "first" || done.Created {
				t.Fatalf("front %t: next to the replayed job: %+v, want merged into it", front, done)
			}
			bury("first")

			// Free for another one meanwhile, which then is in the way.
			if done := put("second"); !done.Created {
				t.Fatalf("next to a dead letter: %+v, want created", done)
			}
			var taken *dispatcher.TakenError
			if _, err = h.Replay(bg, ref("first"), front); !errors.As(err, &taken) || taken.ID != "second" {
				t.Fatalf("replay next to the holder of the key: %v, want taken by second", err)
			}
			h.clean()
			bury("second")
			_, err = h.Replay(bg, ref("first"), front)
			h.ok(err)
			done, err := h.ReplayOrMerge(bg, ref("second"), front)
			if err != nil || done.ID != "first" || done.Created || done.Merged != 2 { // second was merged once before it died
				t.Fatalf("merging replay: %+v, %v; want 2 merged into first", done, err)
			}
			if _, err := h.Job(bg, ref("second")); !errors.Is(err, dispatcher.ErrNotFound) {
				t.Errorf("the merged dead letter: %v, want not found", err)
			}
			h.clean()
			bury("first")
			done, err = h.ReplayOrMerge(bg, ref("first"), front)
			if err != nil || done.ID != "first" || !done.Created {
				t.Fatalf("merging replay of a free key: %+v, %v", done, err)
			}
			bury("first")
			h.ok(h.Discard(bg, ref("first")))
			h.empty()
		}
	})
}

// C13: a job that a repair set aside comes back with its key too.
func TestC13_KeyComesBackFromLostAndFound(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		job := dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "first", Unique: &dispatcher.Unique{Key: "u"}}
		h.enqueue(job)
		h.ok(rdb.Del(bg, h.Namespace().Keys(h.Namespace().Partition(key("a"))).Heads()).Err())
		_, err := h.Repair(bg, nil)
		h.ok(err)
		_, err = h.Replay(bg, ref("first"), false)
		h.ok(err)
		job.ID = "second"
		if done := h.enqueue(job); done.ID != "first" || done.Created {
			t.Errorf("next to the job that is back: %+v, want merged into it", done)
		}
		h.clean()
	})
}

// C13: a dead letter is not merged into another one, nor kept back by it: neither waits nor runs.
func TestC13_ADeadLetterHasNoKey(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for _, id := range []string{"first", "second"} {
			done := h.enqueue(dispatcher.NewJob{
				Subject: key("a"), Kind: "k", ID: id, Unique: &dispatcher.Unique{Key: "u", Scope: dispatcher.ForWindow, Window: time.Minute},
			})
			if !done.Created {
				t.Fatalf("%s: %+v, want created", id, done)
			}
			h.ok(h.DeadLetter(bg, h.head("w", id, 1), "bad", ""))
			if id == "first" {
				h.advance(2 * time.Minute) // its window is over, and nobody reaps
			}
		}
		done, err := h.ReplayOrMerge(bg, ref("first"), false)
		if err != nil || !done.Created || done.ID != "first" {
			t.Errorf("replay beside a dead letter of the same key: %+v, %v", done, err)
		}
	})
}
