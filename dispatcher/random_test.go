package dispatcher_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// Random schedules of all verbs, by several holders, with leases that run out. After
// every step the doctor agrees (I4, I7); first starts come in order (I5), tokens rise
// (I2), no job starts too often (I6), and nothing acknowledged is lost.
func TestI2I4I5I6I7_RandomSchedules(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		rapid.Check(t, func(rt *rapid.T) {
			r := &random{
				house: newHouse(t, rdb, dispatcher.Config{Partitions: 2}), rt: rt,
				live: make(map[string]bool), starts: make(map[string]int),
				token: make(map[string]lease.Token), first: make(map[string]int64), started: make(map[string]bool),
				turn: make(map[string]turnInLane), last: make(map[string]turnInLane),
			}
			defer redistest.Clear(rdb, r.cfg.Namespace)
			rt.Repeat(map[string]func(*rapid.T){
				"enqueue": r.enqueueSome, "claim": r.claimSome, "end": r.endOne,
				"advance": func(rt *rapid.T) {
					r.advance(time.Duration(rapid.IntRange(1, 12_000).Draw(rt, "ms")) * time.Millisecond)
					r.reaped()
				},
				"wait": func(rt *rapid.T) { // what falls due then is placed by whoever comes next
					r.advance(time.Duration(rapid.IntRange(1, 4_000).Draw(rt, "ms")) * time.Millisecond)
				},
				"replay": r.replayOne,
				"":       r.check,
			})
		})
	})
}

type random struct {
	*house
	rt      *rapid.T
	n       int
	live    map[string]bool // acknowledged and not finished
	claims  []session.Claim
	starts  map[string]int
	token   map[string]lease.Token
	first   map[string]int64 // lane -> largest seq that has started
	started map[string]bool
	turn    map[string]turnInLane // job -> when it was due
	last    map[string]turnInLane // lane -> the latest that has started
}

// turnInLane is a job's place in its lane as the promise has it: by when it falls due, and then
// by its enqueue.
type turnInLane struct {
	due time.Time
	n   int
}

func (t turnInLane) before(o turnInLane) bool {
	return t.due.Before(o.due) || t.due.Equal(o.due) && t.n < o.n
}

func (r *random) enqueueSome(rt *rapid.T) {
	lane := fmt.Sprint("s", rapid.IntRange(0, 3).Draw(rt, "lane"))
	r.n++
	id := fmt.Sprint("j", r.n)
	job := dispatcher.NewJob{Subject: key(lane), Kind: rapid.SampledFrom([]string{"k", "k2"}).Draw(rt, "kind"), ID: id, MaxAttempts: 2}
	if rapid.Bool().Draw(rt, "delayed") {
		job.Delay = time.Duration(rapid.IntRange(1, 3).Draw(rt, "seconds")) * time.Second
	}
	r.enqueue(job)
	r.turn[id] = turnInLane{r.cfg.Now().Add(job.Delay), r.n}
	r.live[id] = true
}

func (r *random) claimSome(rt *rapid.T) {
	who := session.Claimant{
		Holder: fmt.Sprint("w", rapid.IntRange(0, 2).Draw(rt, "holder")), TTL: 10 * time.Second,
		Kinds:     rapid.SampledFrom([][]string{{"k"}, {"k2"}, {"k", "k2"}}).Draw(rt, "kinds"),
		LaneBatch: map[string]int{"k": rapid.IntRange(1, 3).Draw(rt, "along")},
	}
	claims, err := r.Claim(bg, who, rapid.IntRange(1, 3).Draw(rt, "n"))
	r.ok(err)
	for _, c := range claims {
		lane := c.Subject.ID
		if c.Lease.Token <= r.token[lane] {
			rt.Fatalf("I2: token %s of %s after %s", c.Lease.Token, lane, r.token[lane])
		}
		r.token[lane] = c.Lease.Token
		r.start(rt, c)
	}
}

// start notes that the job of a claim starts.
func (r *random) start(rt *rapid.T, c session.Claim) {
	lane := c.Subject.ID
	if !r.started[c.ID] {
		if c.Seq <= r.first[lane] {
			rt.Fatalf("I5: %s of %s has seq %d and starts after seq %d", c.ID, lane, c.Seq, r.first[lane])
		}
		r.first[lane] = c.Seq
		r.started[c.ID] = true
		if turn, ok := r.turn[c.ID]; ok {
			if turn.before(r.last[lane]) {
				rt.Fatalf("G17: %s of %s, due at %v, starts after %v", c.ID, lane, turn, r.last[lane])
			}
			r.last[lane] = turn
		}
	}
	if c.Attempt > 2 {
		rt.Fatalf("I6: %s starts for the %dth time of two", c.ID, c.Attempt)
	}
	r.claims = append(r.claims, c)
}

func (r *random) endOne(rt *rapid.T) {
	if len(r.claims) == 0 {
		rt.Skip("nothing claimed")
	}
	i := rapid.IntRange(0, len(r.claims)-1).Draw(rt, "claim")
	c := r.claims[i]
	var err error
	verb := rapid.SampledFrom([]string{"finish", "go on", "retry", "dead-letter", "hand back"}).Draw(rt, "verb")
	next, more := c.Next()
	switch {
	case verb == "finish" || verb == "go on" && !more:
		if err = r.Finish(bg, c); err == nil {
			delete(r.live, c.ID)
		}
	case verb == "go on":
		if err = r.finishes(session.End{Claim: &c, GoesOn: true})[0]; err == nil {
			delete(r.live, c.ID)
			r.start(rt, *next)
		}
	case verb == "retry":
		_, err = r.Retry(bg, c, time.Second, "x")
	case verb == "dead-letter":
		err = r.DeadLetter(bg, c, "x", "")
	case verb == "hand back":
		err = r.HandBack(bg, c)
	}
	current := c.Lease.Token == r.token[c.Subject.ID]
	if err != nil && !errors.Is(err, lease.ErrLost) {
		rt.Fatal(err)
	}
	if err == nil && !current {
		rt.Fatalf("I3: %s with token %s was accepted after %s", verb, c.Lease.Token, r.token[c.Subject.ID])
	}
}

func (r *random) replayOne(rt *rapid.T) {
	letters, _, err := r.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{Limit: 1})
	r.ok(err)
	if len(letters) == 0 {
		rt.Skip("nothing dead")
	}
	_, err = r.Replay(bg, ref(letters[0].ID), rapid.Bool().Draw(rt, "front"))
	r.ok(err)
	delete(r.turn, letters[0].ID) // it may die before its first start, claimed along with others
}

func (r *random) check(rt *rapid.T) {
	for _, f := range r.findings() {
		rt.Fatalf("%s %s: %s", f.What, f.Where, f.Detail)
	}
	s, err := r.Stats(bg)
	r.ok(err)
	if s.Jobs != len(r.live) {
		rt.Fatalf("%d jobs are stored, %d were acknowledged and have not finished", s.Jobs, len(r.live))
	}
}

// Two drainers whose leases are forced to run out, over many thousand jobs, a hundred thousand in 'make chaos': the
// shape of an incident in which a list was trimmed by position [G10].
func TestI7_TwoDrainersWithForcedExpiryLoseNothing(t *testing.T) {
	t.Parallel()
	jobs := 20_000
	switch {
	case testing.Short():
		jobs = 5_000
	case redistest.ChaosTime() > 0:
		jobs = 100_000
	}
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{})
	var finished, forced atomic.Int64
	var enqueuing, draining sync.WaitGroup
	var allIn atomic.Bool
	enqueuing.Go(func() {
		for i := 0; i < jobs; i += dispatcher.MaxBatch {
			batch := make([]dispatcher.NewJob, 0, dispatcher.MaxBatch)
			for j := i; j < min(jobs, i+dispatcher.MaxBatch); j++ {
				batch = append(batch, dispatcher.NewJob{Subject: key(fmt.Sprint(j % 5000)), Kind: "k", MaxAttempts: 1 << 20})
			}
			done, err := h.EnqueueMany(bg, batch)
			if err != nil {
				t.Error(err)
				return
			}
			for _, r := range done {
				if r.Err != nil {
					t.Error(r.Err)
				}
			}
		}
		allIn.Store(true)
	})
	for w := range 2 {
		draining.Go(func() {
			who := session.Claimant{Holder: fmt.Sprint("w", w), Kinds: []string{"k"}, TTL: 10 * time.Second}
			for round := 1; !t.Failed() && (!allIn.Load() || finished.Load() < int64(jobs)); round++ {
				claims, err := h.Claim(bg, who, 200)
				if err != nil {
					t.Error(err)
					return
				}
				if round%7 == 0 { // everybody's leases run out mid-operation
					h.advance(11 * time.Second)
					r, err := h.Reap(bg)
					if err != nil {
						t.Error(err)
					}
					forced.Add(int64(r.Expired))
				}
				for i := 0; i < len(claims); i += 50 {
					part := claims[i:min(len(claims), i+50)]
					for _, err := range finishAll(h, part) {
						if err == nil {
							finished.Add(1)
						} else if !errors.Is(err, lease.ErrLost) {
							t.Error(err)
						}
					}
				}
				if len(claims) == 0 { // what crashed twice waits
					h.advance(time.Minute)
					_, _ = h.Reap(bg)
				}
			}
		})
	}
	enqueuing.Wait()
	draining.Wait()
	if finished.Load() != int64(jobs) || forced.Load() == 0 {
		t.Errorf("%d of %d jobs finished, %d leases were forced to end", finished.Load(), jobs, forced.Load())
	}
	h.clean()
	h.empty()
}

// finishAll finishes claims concurrently, as the members of a pool do.
func finishAll(h *house, claims []session.Claim) []error {
	errs := make([]error, len(claims))
	var all sync.WaitGroup
	for i, c := range claims {
		all.Go(func() { errs[i] = h.Finish(bg, c) })
	}
	all.Wait()
	return errs
}
