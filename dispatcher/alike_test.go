package dispatcher_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// The same calls at the same times get the same answers from redis-server and from
// miniredis, and leave the same behind: what the quick tests and the simulator show on
// the one holds on the other.
func TestRedisAndMiniredisAreAlike(t *testing.T) {
	t.Parallel()
	_, mini := redistest.Mini(t)
	server := redistest.Client(t)
	rapid.Check(t, func(rt *rapid.T) {
		// One name in both: keys are compared too.
		name := "alike-" + uuid.NewString()
		pair := &alike{
			rt: rt, claims: make(map[string][2]session.Claim),
			turn: make(map[string]turnInLane), last: make(map[string]turnInLane),
		}
		for i, rdb := range []*redis.Client{server, mini} {
			pair.houses[i] = &house{t: t, rdb: rdb}
			pair.houses[i].ms.Store(1_000_000)
			cfg := dispatcher.Config{Namespace: name, Partitions: 1, MaxLane: 4}
			cfg.Now = func() time.Time { return time.UnixMilli(pair.houses[i].ms.Load()) }
			pair.houses[i].open(rdb, cfg)
			defer func() {
				for iter := rdb.Scan(bg, 0, "{"+name+"*", 1000).Iterator(); iter.Next(bg); {
					rdb.Del(bg, iter.Val())
				}
			}()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"enqueue": pair.enqueue, "claim": pair.claim, "end": pair.end, "renew": pair.renew,
			"reap": pair.reap, "dead": pair.dead, "section": pair.section, "repair": pair.repair,
			"operate": pair.operate, "wait": pair.wait,
			"": pair.same,
		})
	})
}

// alike are two houses in which the same happens.
type alike struct {
	rt     *rapid.T
	houses [2]*house
	claims map[string][2]session.Claim // by id and token
	leases [2]lease.Lease
	n      int
	made   int                   // counts jobs, in both houses
	turn   map[string]turnInLane // job that nobody but workers has touched -> when it was due
	last   map[string]turnInLane // lane -> the latest that has started
}

// both does something in each house and compares what comes of it.
func (a *alike) both(what string, do func(i int, h *house) (any, error)) {
	var said [2]string
	for i, h := range a.houses {
		v, err := do(i, h)
		if err != nil { // which error it is; the texts hold what servers say
			err = errors.New(kindOf(err))
		}
		said[i] = fmt.Sprintf("%+v, %v", v, err)
	}
	if said[0] != said[1] {
		a.rt.Fatalf("%s: redis-server says %s\nminiredis says %s", what, said[0], said[1])
	}
}

func kindOf(err error) string {
	for _, known := range []error{
		lease.ErrLost, lease.ErrHeld, lease.ErrCancelled, dispatcher.ErrTaken, dispatcher.ErrNotSuspended, dispatcher.ErrNotDelayed, dispatcher.ErrRunning, dispatcher.ErrNotEnded, dispatcher.ErrLaneFull, dispatcher.ErrConflict, dispatcher.ErrNotFound, dispatcher.ErrRefused,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

func (a *alike) enqueue(rt *rapid.T) {
	n := rapid.IntRange(1, 4).Draw(rt, "jobs")
	jobs := make([]dispatcher.NewJob, n)
	for i := range jobs {
		a.n++
		jobs[i] = dispatcher.NewJob{
			Subject: key(rapid.SampledFrom([]string{"a", "b", "{c}", "\x00\xff"}).Draw(rt, "lane")),
			Kind:    rapid.SampledFrom([]string{"k", "k2"}).Draw(rt, "kind"),
			ID:      fmt.Sprint("j", rapid.IntRange(max(1, a.n-5), a.n).Draw(rt, "id")), MaxAttempts: rapid.IntRange(1, 3).Draw(rt, "max"),
			Payload: []byte(rapid.SampledFrom([]string{"", "\x00\r\n", "9007199254740993"}).Draw(rt, "payload")),
		}
		if rapid.IntRange(0, 3).Draw(rt, "later") == 0 {
			jobs[i].Delay = time.Duration(rapid.IntRange(1, 5000).Draw(rt, "delay")) * time.Millisecond
		}
		switch rapid.IntRange(0, 5).Draw(rt, "how") {
		case 0:
			jobs[i].Unique = dispatcher.Coalesce
		case 1:
			jobs[i].Unique = &dispatcher.Unique{Key: "u", Scope: dispatcher.ForWindow, Window: time.Second, OnConflict: dispatcher.Reject}
		case 2:
			jobs[i].Keep = time.Second
		}
	}
	a.both("enqueue", func(_ int, h *house) (any, error) {
		done, err := h.EnqueueMany(bg, jobs)
		for i := range done {
			if done[i].Created {
				a.made++
				a.turn[jobs[i].ID] = turnInLane{h.cfg.Now().Add(jobs[i].Delay), a.made}
			}
			if done[i].Err != nil {
				done[i].Err = errors.New(kindOf(done[i].Err))
			}
		}
		return done, err
	})
}

func (a *alike) claim(rt *rapid.T) {
	who := session.Claimant{
		Holder: "w", TTL: 3 * time.Second, Kinds: rapid.SampledFrom([][]string{{"k"}, {"k2", "k"}}).Draw(rt, "kinds"),
		LaneBatch: map[string]int{"k": rapid.IntRange(1, 3).Draw(rt, "along")},
	}
	n := rapid.IntRange(1, 3).Draw(rt, "n")
	a.both("claim", func(i int, h *house) (any, error) {
		claims, err := h.Claim(bg, who, n)
		said := ""
		for _, c := range claims {
			name := fmt.Sprint(c.ID, " ", c.Lease.Token)
			two := a.claims[name]
			two[i] = c
			a.claims[name] = two
			if turn, ok := a.turn[c.ID]; ok && i == 0 {
				if turn.before(a.last[c.Subject.ID]) {
					a.rt.Fatalf("G17: %s of %s, due at %v, starts after %v", c.ID, c.Subject, turn, a.last[c.Subject.ID])
				}
				a.last[c.Subject.ID] = turn
				delete(a.turn, c.ID) // only its first start is in order
			}
			said += fmt.Sprint(c.Job, c.Attempt, c.Lease.Token, c.Along, ";")
		}
		return said, err
	})
}

// picked returns one of the claims so far, in both houses.
func (a *alike) picked(rt *rapid.T) [2]session.Claim {
	var names []string
	for name := range a.claims {
		names = append(names, name)
	}
	if len(names) == 0 {
		rt.Skip("nothing claimed")
	}
	return a.claims[rapid.SampledFrom(sortedStrings(names)).Draw(rt, "claim")]
}

func (a *alike) end(rt *rapid.T) {
	c := a.picked(rt)
	verb := rapid.IntRange(0, 4).Draw(rt, "verb")
	a.both("end", func(i int, h *house) (any, error) {
		switch verb {
		case 0:
			return nil, h.Finish(bg, c[i])
		case 1:
			return h.Retry(bg, c[i], 500*time.Millisecond, "x")
		case 2:
			return nil, h.DeadLetter(bg, c[i], "why", "\x00bytes\xff")
		case 3:
			return nil, h.HandBack(bg, c[i])
		}
		return nil, h.finishes(session.End{Claim: &c[i], GoesOn: len(c[i].Along) > 0})[0]
	})
}

func (a *alike) renew(rt *rapid.T) {
	c := a.picked(rt)
	a.both("renew", func(i int, h *house) (any, error) {
		return nil, h.Leases().Renew(bg, 3*time.Second, c[i].Lease)[0]
	})
}

func (a *alike) reap(rt *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 4000).Draw(rt, "ms")) * time.Millisecond
	a.both("reap", func(_ int, h *house) (any, error) {
		h.advance(d)
		return h.Reap(bg)
	})
}

// wait lets time pass in which nobody reaps.
func (a *alike) wait(rt *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 4000).Draw(rt, "ms")) * time.Millisecond
	for _, h := range a.houses {
		h.advance(d)
	}
}

func (a *alike) dead(rt *rapid.T) {
	front, discard := rapid.Bool().Draw(rt, "front"), rapid.Bool().Draw(rt, "discard")
	a.both("dead", func(_ int, h *house) (any, error) {
		letters, _, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
		if err != nil || len(letters) == 0 {
			return letters, err
		}
		if discard {
			return letters, h.Discard(bg, ref(letters[0].ID))
		}
		delete(a.turn, letters[0].ID) // claimed along with others, it may die before its first start
		seq, err := h.Replay(bg, ref(letters[0].ID), front)
		return fmt.Sprint(letters, seq), err
	})
}

func (a *alike) section(rt *rapid.T) {
	release := rapid.Bool().Draw(rt, "release")
	a.both("section", func(i int, h *house) (any, error) {
		if release {
			return nil, h.Leases().Release(bg, a.leases[i])
		}
		l, err := h.Leases().Acquire(bg, key("section"), "inline", 2*time.Second)
		if err == nil {
			a.leases[i] = l
		}
		return l.Token, err
	})
}

// operate does what an operator does to a lane and its jobs.
func (a *alike) operate(rt *rapid.T) {
	lane := key(rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "lane"))
	id := fmt.Sprint("j", rapid.IntRange(max(1, a.n-5), max(1, a.n)).Draw(rt, "job"))
	what := rapid.IntRange(0, 8).Draw(rt, "what")
	a.both("operate", func(_ int, h *house) (any, error) {
		switch what {
		case 0:
			return h.Suspend(bg, lane, "why")
		case 1:
			return nil, h.Skip(bg, lane)
		case 2:
			delete(a.turn, id) // it gets another place, when it is resumed
			return nil, h.SuspendJob(bg, ref(id))
		case 3:
			return nil, h.ResumeJob(bg, ref(id))
		case 4:
			return h.Cancel(bg, ref(id))
		case 5:
			return h.Outcome(bg, ref(id))
		case 6:
			return nil, h.RetryNow(bg, lane)
		}
		return nil, h.Resume(bg, lane)
	})
}

// repair has nothing to do, unless a lease was lost here.
func (a *alike) repair(rt *rapid.T) {
	lose := rapid.SampledFrom([]string{"nothing", "deadlines", "ready", "dead"}).Draw(rt, "lose")
	a.both("repair", func(_ int, h *house) (any, error) {
		keys := h.Namespace().Keys(0)
		switch lose {
		case "deadlines":
			h.rdb.Del(bg, keys.Deadlines())
		case "ready":
			h.rdb.Del(bg, keys.Ready("k"))
		case "dead":
			h.rdb.Del(bg, keys.Dead())
		}
		return h.Repair(bg, nil)
	})
}

// same compares all that is stored.
func (a *alike) same(rt *rapid.T) {
	redis, mini := dump(a.houses[0].t, a.houses[0].rdb, a.houses[0].cfg.Namespace), dump(a.houses[1].t, a.houses[1].rdb, a.houses[1].cfg.Namespace)
	if redis != mini {
		rt.Fatalf("redis-server holds\n%s\nminiredis holds\n%s", redis, mini)
	}
}
