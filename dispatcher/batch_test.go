package dispatcher_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// batch claims lanes of kind k with up to n jobs each and returns the claim of the
// only one that is ready.
func (h *house) batch(holder string, n int) *session.Claim {
	h.t.Helper()
	who := session.Claimant{Holder: holder, Kinds: []string{"k"}, TTL: 10 * time.Second, LaneBatch: map[string]int{"k": n}}
	claims, err := h.Claim(bg, who, 10)
	h.ok(err)
	if len(claims) != 1 {
		h.t.Fatalf("claimed %d lanes, want one", len(claims))
	}
	return &claims[0]
}

// finishes reports ends of one lane in one trip.
func (h *house) finishes(ends ...session.End) []error {
	h.t.Helper()
	s, err := h.Join(bg, session.Claimant{Holder: "reporter", TTL: time.Minute}, 1)
	h.ok(err)
	defer func() { h.ok(s.Close(bg)) }()
	answer := s.Turns(bg, []session.Turn{{Partition: h.Namespace().Partition(ends[0].Claim.Subject), Ends: ends}})[0]
	errs := make([]error, len(ends))
	for i, e := range answer.Ended {
		errs[i] = e.Err
	}
	return errs
}

func (h *house) wantAlong(c *session.Claim, ids ...string) {
	h.t.Helper()
	got := []string{c.ID}
	for _, job := range c.Along {
		got = append(got, job.ID)
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		h.t.Fatalf("claimed %v, want %v", got, ids)
	}
}

// A claim takes up to n jobs of a lane along, in order, of one kind, and each is
// finished by itself under the one lease.
func TestI5_LaneBatch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2", "j3", "j4")
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "other", ID: "o"})
		h.enqueued("a", "j5")

		c := h.batch("w", 3)
		h.wantAlong(c, "j1", "j2", "j3")
		second, _ := c.Next()
		third, _ := second.Next()
		if _, more := third.Next(); more || second.Attempt != 1 || third.Lease != c.Lease {
			t.Fatalf("the batch goes on after its last job, or %+v is not under %+v", third, c.Lease)
		}
		for i, err := range h.finishes(session.End{Claim: c, GoesOn: true}, session.End{Claim: second, GoesOn: true}) {
			if err != nil {
				t.Fatalf("finish %d: %v", i, err)
			}
		}
		h.none("w2") // the lane is still held
		h.ok(h.Leases().Renew(bg, time.Minute, c.Lease)[0])
		h.clean()
		h.ok(h.finishes(session.End{Claim: third})[0])
		c = h.batch("w", 3)
		h.wantAlong(c, "j4") // what follows is of another kind
		h.ok(h.Finish(bg, *c))
		h.none("w")
		for _, c := range h.claimedKinds("w", 1, "other") {
			h.ok(h.Finish(bg, c))
		}
		h.ok(h.Finish(bg, h.head("w", "j5", 1)))
		h.empty()
	})
}

// A lane batch of the most that there may be takes that many.
func TestLargestLaneBatch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		jobs := make([]dispatcher.NewJob, dispatcher.MaxBatch)
		for i := range jobs {
			jobs[i] = dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: fmt.Sprint("j", i)}
		}
		_, err := h.EnqueueMany(bg, jobs)
		h.ok(err)
		h.enqueued("a", "one-more")
		if c := h.batch("w", session.MaxLaneBatch); len(c.Along) != session.MaxLaneBatch-1 {
			t.Errorf("a batch of %d takes the head and %d others along", session.MaxLaneBatch, len(c.Along))
		}
	})
}

// Only the head can end, so an end that overtakes the one before it is refused.
func TestI3_BatchEndsInOrder(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2")
		c := h.batch("w", 2)
		second, _ := c.Next()
		if err := h.finishes(session.End{Claim: second})[0]; !errors.Is(err, lease.ErrLost) {
			t.Fatalf("j2 finished before j1: %v", err)
		}
		// A job that went on and is finished again, and one after its lane was given up.
		h.ok(h.finishes(session.End{Claim: c, GoesOn: true})[0])
		if err := h.finishes(session.End{Claim: c, GoesOn: true})[0]; !errors.Is(err, lease.ErrLost) {
			t.Fatalf("j1 finished twice: %v", err)
		}
		h.ok(h.HandBack(bg, *second))
		if err := h.finishes(session.End{Claim: second})[0]; !errors.Is(err, lease.ErrLost) {
			t.Fatalf("finished after it was handed back: %v", err)
		}
		h.ok(h.Finish(bg, h.head("w", "j2", 1)))
		h.empty()
	})
}

// A crash in a batch repeats what was claimed and not reported, and counts as an
// attempt of each of those jobs, for each may have started. They go alone next, so the
// one that kills workers can't use up the attempts of the others.
func TestI6_CrashInABatch(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2", "j3")
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "once", MaxAttempts: 1})
		h.enqueued("a", "j5")
		c := h.batch("w", 4)
		h.wantAlong(c, "j1", "j2", "j3", "once")
		h.ok(h.finishes(session.End{Claim: c, GoesOn: true})[0])
		h.advance(11 * time.Second)
		if r := h.reaped(); r.Expired != 1 || r.Buried != 1 {
			t.Fatalf("reaped %+v, want one lease, and the job that may start once buried", r)
		}
		h.clean()
		for _, id := range []string{"j2", "j3"} {
			c = h.batch("w2", 4)
			if h.wantAlong(c, id); c.Attempt != 2 {
				t.Fatalf("%s is at attempt %d, want 2", id, c.Attempt)
			}
			h.ok(h.Finish(bg, *c))
		}
		c = h.batch("w2", 4)
		if h.wantAlong(c, "j5"); c.Attempt != 1 {
			t.Fatalf("j5 was not in the batch and is at attempt %d", c.Attempt)
		}
		h.ok(h.Finish(bg, *c))
		h.ok(h.Discard(bg, ref("once")))
		h.empty()
	})
}

// No job starts more often than it may, however often batches crash [guarantees.md].
func TestI6_BatchesOfAKiller(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	h.enqueued("a", "j1", "j2", "kill", "j4", "j5", "j6")
	starts := make(map[string]int)
	for range 20 {
		who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: 10 * time.Second, LaneBatch: map[string]int{"k": 6}}
		claims, err := h.Claim(bg, who, 1)
		h.ok(err)
		if len(claims) == 1 {
			for c, ok := &claims[0], true; ok; {
				starts[c.ID]++
				if c.ID == "kill" {
					break // without a word: not even of those before it
				}
				next, more := c.Next()
				if c.Attempt > 1 || !more {
					h.ok(h.Finish(bg, *c))
					break
				}
				c, ok = next, more
			}
		}
		h.advance(15 * time.Minute)
		h.reaped()
		h.clean()
	}
	for id, n := range starts {
		if n > 3 {
			t.Errorf("%s started %d times, allowed are 3", id, n)
		}
	}
	letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
	h.ok(err)
	if len(letters) != 1 || letters[0].ID != "kill" {
		t.Errorf("dead letters %v, want only the killer", letters)
	}
}

// A batch that is handed back, all of it or what did not begin, is ready at once.
func TestBatchThatIsHandedBackIsReady(t *testing.T) {
	t.Parallel()
	for _, first := range []session.Outcome{session.HandedBack, session.Finished} {
		h := newHouse(t, redistest.Client(t), dispatcher.Config{})
		h.enqueued("a", "j1", "j2", "j3")
		h.endsEach(h.batch("w", 3), first, session.HandedBack, session.HandedBack)
		lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
		h.ok(err)
		if lane.State != inspect.Ready {
			t.Errorf("when its first job is %s the lane is %s", first, lane.State)
		}
	}
}

// One trip reports jobs that are done and one that failed, in the order of the lane.
func TestBatchFailsInTheMiddle(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2", "j3")
		c := h.batch("w", 3)
		second, _ := c.Next()
		for i, err := range h.finishes(session.End{Claim: c, GoesOn: true},
			session.End{Claim: second, Outcome: session.Retry, Wait: time.Second, Error: "boom"}) {
			if err != nil {
				t.Fatalf("end %d: %v", i, err)
			}
		}
		h.none("w")
		h.advance(time.Second)
		h.reaped()
		c = h.batch("w", 3)
		h.wantAlong(c, "j2") // it failed, so it goes alone
		h.ok(h.Finish(bg, *c))
		h.ok(h.Finish(bg, h.head("w", "j3", 1)))
		h.empty()
	})
}

// A job that is replayed to the front while a batch runs comes after the batch.
func TestReplayToTheFrontOfABatch(t *testing.T) {
	t.Parallel()
	for _, more := range []int{0, 2} { // jobs behind the batch
		redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
			h := newHouse(t, rdb, dispatcher.Config{})
			h.enqueued("a", "dead", "j1", "j2", "j3")
			h.ok(h.DeadLetter(bg, h.head("w", "dead", 1), "x", ""))
			for i := range more {
				h.enqueued("a", fmt.Sprint("more", i))
			}
			c := h.batch("w", 3)
			h.wantAlong(c, "j1", "j2", "j3")
			_, err := h.Replay(bg, ref("dead"), true)
			h.ok(err)
			for c, ok := c, true; ok; {
				next, more := c.Next()
				h.ok(h.finishes(session.End{Claim: c, GoesOn: more})[0])
				c, ok = next, more
			}
			h.ok(h.Finish(bg, h.head("w", "dead", 1)))
			for i := range more {
				h.ok(h.Finish(bg, h.head("w", fmt.Sprint("more", i), 1)))
			}
			h.empty()
		})
	}
}

// The same request gets the same batch again (I9).
func TestI9_RepeatedBatchClaim(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{})
	h.warm()
	h.enqueued("a", "j1", "j2", "j3")
	proxy.LoseReplies(1)
	c := h.batch("w", 2)
	h.wantAlong(c, "j1", "j2")
	second, _ := c.Next()
	h.ok(h.finishes(session.End{Claim: c, GoesOn: true}, session.End{Claim: second})[1])
	h.ok(h.Finish(bg, h.head("w", "j3", 1)))
	h.empty()
}

func TestLaneBatchIsChecked(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{})
	for _, n := range []int{0, -1, session.MaxLaneBatch + 1} {
		who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute, LaneBatch: map[string]int{"k": n}}
		if _, err := h.Claim(bg, who, 1); !errors.Is(err, dispatcher.ErrInvalid) {
			t.Errorf("a lane batch of %d: %v", n, err)
		}
	}
}

// C7: a batch ends at once, each job in its own way; those that stay are in their order in
// front of the lane, and a token that is superseded changes nothing.
func TestC7_BatchEndsTogether(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2", "j3", "j4", "j5", "j6")
		batch := h.batch("w", 5)
		all := batch.Each()
		end := session.End{Claim: batch, Outcome: session.Several, Each: []session.End{
			{Claim: all[0], Outcome: session.Finished},
			{Claim: all[1], Outcome: session.Retry, Wait: time.Second, Error: "boom"},
			{Claim: all[2], Outcome: session.DeadLettered, Reason: "permanent error", Error: "bad"},
			{Claim: all[3], Outcome: session.HandedBack},
			{Claim: all[4], Outcome: session.Finished},
		}}
		stale := *batch
		stale.Lease.Token--
		old := end
		old.Claim = &stale
		before := dump(t, rdb, h.cfg.Namespace)
		if errs := h.finishes(old); !errors.Is(errs[0], lease.ErrLost) {
			t.Errorf("a superseded token: %v", errs[0])
		}
		if after := dump(t, rdb, h.cfg.Namespace); strings.ReplaceAll(after, "reporter", "") != strings.ReplaceAll(before, "reporter", "") {
			t.Error("a superseded token changed something")
		}
		h.ok(h.finishes(end)[0])
		h.none("w") // j2 waits for its second attempt, and the others behind it
		h.clean()
		if errs := h.finishes(end); !errors.Is(errs[0], lease.ErrLost) {
			t.Errorf("ended twice: %v", errs[0])
		}
		letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
		h.ok(err)
		if len(letters) != 1 || letters[0].ID != "j3" || letters[0].Error != "bad" {
			t.Errorf("dead letters %+v", letters)
		}
		h.advance(2 * time.Second)
		h.reaped()
		h.ok(h.Finish(bg, h.head("w", "j2", 2)))
		for _, id := range []string{"j4", "j6"} {
			h.ok(h.Finish(bg, h.head("w", id, 1)))
		}
		h.clean()
	})
}
