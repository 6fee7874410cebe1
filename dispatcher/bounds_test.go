package dispatcher_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
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

// Bounds that no test fills are where lanes get lost: each is filled here, and has one over, within
// one call and over several.

// batches enqueues n jobs, as many in one call as may be.
func (h *house) batches(n int, job func(i int) dispatcher.NewJob) {
	h.t.Helper()
	jobs := make([]dispatcher.NewJob, n)
	for i := range jobs {
		jobs[i] = job(i)
		jobs[i].Kind, jobs[i].ID = cmp.Or(jobs[i].Kind, "k"), cmp.Or(jobs[i].ID, fmt.Sprint("j", i))
	}
	for part := range slices.Chunk(jobs, dispatcher.MaxBatch) {
		_, err := h.EnqueueMany(bg, part)
		h.ok(err)
	}
}

// eachItsLane is the ith of jobs that have a lane each.
func eachItsLane(i int) dispatcher.NewJob {
	return dispatcher.NewJob{Subject: key(fmt.Sprint("lane", i))}
}

// everything claims all ready lanes, turn by turn, and says how many each turn gave.
func (h *house) everything(who session.Claimant) (claims []session.Claim, turns []int) {
	h.t.Helper()
	for {
		got, err := h.turn(who, 1000, nil)
		h.ok(err)
		if len(got.Claims) == 0 {
			return claims, turns
		}
		claims, turns = append(claims, got.Claims...), append(turns, len(got.Claims))
	}
}

var worker = session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: 10 * time.Second}

// Ends of all sorts go as many together as one call takes, and the others in calls of their own.
func TestMoreEndsThanOneCallTakes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  session.End
		want inspect.Stats
	}{
		"finish":         {session.End{Outcome: session.Finished}, inspect.Stats{}},
		"finish, kept":   {session.End{Outcome: session.Finished, Result: []byte("r")}, inspect.Stats{}},
		"retry":          {session.End{Outcome: session.Retry, Wait: time.Second}, inspect.Stats{Delayed: 252}},
		"retry, at once": {session.End{Outcome: session.Retry}, inspect.Stats{Ready: 252}},
		"dead letter":    {session.End{Outcome: session.DeadLettered, Reason: "why"}, inspect.Stats{Dead: 252}},
		"hand back":      {session.End{Outcome: session.HandedBack}, inspect.Stats{Ready: 252}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				count := &counting{}
				rdb.AddHook(count)
				h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
				h.batches(252, func(i int) dispatcher.NewJob {
					job := eachItsLane(i)
					job.Keep = time.Duration(len(c.end.Result)) * time.Minute
					return job
				})
				claims, turns := h.everything(worker)
				if !slices.Equal(turns, []int{125, 125, 2}) {
					t.Errorf("turns gave %v lanes, want 125, 125 and 2", turns)
				}
				var ends []session.End
				for i := range claims {
					end := c.end
					end.Claim = &claims[i]
					ends = append(ends, end)
				}
				report := func(n int) int64 {
					count.n.Store(0)
					_, err := h.turn(session.Claimant{}, 0, ends[:n])
					h.ok(err)
					ends = ends[n:]
					return count.n.Load()
				}
				report(1) // the server knows the script from here on
				for _, want := range []struct {
					ends  int
					calls int64
				}{{125, 1}, {126, 2}} {
					if calls := report(want.ends); calls != want.calls {
						t.Errorf("%d ends went in %d calls, want %d", want.ends, calls, want.calls)
					}
				}
				h.clean()
				if s, err := h.Stats(bg); err != nil || s.Leased+s.Slots != 0 || s.Delayed != c.want.Delayed || s.Ready != c.want.Ready || s.Dead != c.want.Dead {
					t.Errorf("afterwards %+v, %v", s, err)
				}
			})
		})
	}
}

// Ends of one lane that take more than one call go in their order: only the head can end. When the
// first went last, the ends of a lane batch were refused.
func TestEndsOfALaneThatTakeTwoCalls(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, n := range []int{125, 126, 250} {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			h.batches(n, func(int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a")} })
			all := h.batch("w", n).Each()
			ends := make([]session.End, len(all))
			for i, c := range all {
				ends[i] = session.End{Claim: c, Outcome: session.Finished, GoesOn: i < n-1}
			}
			_, err := h.turn(session.Claimant{}, 0, ends)
			h.ok(err)
			h.clean()
			h.empty()
		}
	})
}

// Ends that bring more bytes than one call takes go in several, and one that alone has as many goes alone.
func TestEndsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	count := &counting{}
	rdb := redistest.Client(t)
	rdb.AddHook(count)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	const result = dispatcher.MaxResult // of which eight fill a call
	h.batches(18, func(i int) dispatcher.NewJob {
		job := eachItsLane(i)
		job.Keep = time.Hour
		return job
	})
	claims, _ := h.everything(worker)
	h.ok(finishWith(bg, h.Dispatcher, claims[0], nil)) // the server knows the script from here on
	var ends []session.End
	for i := range claims[1:] {
		ends = append(ends, session.End{Claim: &claims[1+i], Outcome: session.Finished, Result: make([]byte, result)})
	}
	count.n.Store(0)
	_, err := h.turn(session.Claimant{}, 0, ends[:8])
	h.ok(err)
	one := count.n.Swap(0)
	ends[8].Error = "x" // so the last of the next eight has no room, and goes with the one behind it
	_, err = h.turn(session.Claimant{}, 0, ends[8:])
	h.ok(err)
	if two := count.n.Load(); one != 1 || two != 2 {
		t.Errorf("2 MiB went in %d calls and a byte more in %d, want 1 and 2", one, two)
	}
	h.clean()
}

// A turn gives out 250 jobs at most, however lanes share them, each lane its head first.
func TestJobsOfOneClaim(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lanes, deep, batch int
		turns              [][]int // jobs of each lane
	}{
		"filled by one lane":   {1, 251, 250, [][]int{{250}, {1}}},
		"filled by two":        {2, 125, 125, [][]int{{125, 125}}},
		"one over":             {2, 126, 126, [][]int{{126, 124}, {2}}},
		"the last gets a head": {3, 249, 249, [][]int{{248, 1, 1}}},
		"all lanes, one each":  {125, 2, 2, [][]int{slices.Repeat([]int{2}, 125)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
				h.batches(c.lanes*c.deep, func(i int) dispatcher.NewJob { return eachItsLane(i % c.lanes) })
				who := worker
				who.LaneBatch = map[string]int{"k": c.batch}
				started := make(map[string]int) // by lane, the next one
				var ends []session.End
				for turn := 0; ; turn++ {
					got, err := h.turn(who, 1000, ends)
					h.ok(err)
					ends = nil
					var jobs []int
					for i := range got.Claims {
						each := got.Claims[i].Each()
						jobs = append(jobs, len(each))
						for k, job := range each {
							lane := job.Subject.ID
							if n, _ := strconv.Atoi(job.ID[1:]); n/c.lanes != started[lane] {
								t.Errorf("%s gave %s, want its job %d", lane, job.ID, started[lane])
							}
							started[lane]++
							ends = append(ends, session.End{Claim: job, Outcome: session.Finished, GoesOn: k < len(each)-1})
						}
					}
					if len(jobs) == 0 {
						break
					}
					if turn < len(c.turns) && !slices.Equal(jobs, c.turns[turn]) {
						t.Errorf("turn %d gave lanes %v jobs, want %v", turn, jobs, c.turns[turn])
					}
				}
				for lane, n := range started {
					if n != c.deep {
						t.Errorf("%s gave %d jobs, want %d", lane, n, c.deep)
					}
				}
				h.clean()
				h.empty()
			})
		})
	}
}

// A reap that stops at its bound leaves the rest as it was: the lane at which it stopped lost its lease
// and was neither charged nor listed.
func TestMoreIsLostThanOneReapCharges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lanes, deep int // each lane a batch
		reaps       []int
	}{
		"100 leases":           {100, 1, []int{100}},
		"one more":             {101, 1, []int{100, 1}},
		"250 jobs, and a lane": {3, 125, []int{3}},
		"252 jobs":             {3, 126, []int{2, 1}},
		"far over":             {4, 250, []int{2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
				h.batches(c.lanes*c.deep, func(i int) dispatcher.NewJob { return eachItsLane(i % c.lanes) })
				who := worker
				who.LaneBatch = map[string]int{"k": c.deep}
				for range c.lanes {
					_, err := h.turn(who, 1, nil)
					h.ok(err)
				}
				h.advance(time.Minute)
				lost := make(map[string]int)
				for _, want := range c.reaps {
					r := h.reap()
					if r.Expired != want {
						t.Errorf("a reap ended %d leases, want %d", r.Expired, want)
					}
					for _, l := range r.Lost {
						lost[l.Job]++
					}
				}
				h.clean()
				if r := h.reaped(); r.Expired != 0 {
					t.Errorf("%d leases more were over", r.Expired)
				}
				for i := range c.lanes * c.deep {
					id := fmt.Sprint("j", i)
					if job, err := h.Job(bg, ref(id)); err != nil || lost[id] != 1 || job.State == inspect.Leased {
						t.Fatalf("%s was charged %d times, %v", id, lost[id], err)
					}
				}
				if s, err := h.Stats(bg); err != nil || s.Ready != c.lanes {
					t.Errorf("%d lanes are ready, want %d, %v", s.Ready, c.lanes, err)
				}
			})
		})
	}
}

// reap makes one call of a reap in partition 0.
func (h *house) reap() session.ReapReply {
	h.t.Helper()
	got := turns(bg, h.Dispatcher, &worker, []session.Turn{{Reap: true}})[0]
	h.ok(got.Err)
	return got.Reaped
}

// What one reap does of each other sort has its bound too, and what is over it comes with the next.
func TestMoreIsDueThanOneReapDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		due   func(h *house, i int)
		reaps []string
	}{
		"delayed lanes": {func(h *house, i int) {
			h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k"})
			_, err := h.Retry(bg, one(h.claimed("w", 1)), time.Second, "")
			h.ok(err)
		}, []string{"100 resumed", "1 resumed"}},
		"scheduled jobs": {func(h *house, i int) {
			h.later(fmt.Sprint(i), "k", fmt.Sprint(i), time.Second)
		}, []string{"100 placed", "1 placed"}},
		"outcomes": {func(h *house, i int) {
			h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k", Keep: time.Second})
			h.ok(h.Finish(bg, one(h.claimed("w", 1))))
		}, []string{"1 outcomes left", "0 outcomes left"}},
		"windows": {func(h *house, i int) {
			h.enqueue(dispatcher.NewJob{
				Subject: key(fmt.Sprint(i)), Kind: "k", Unique: &dispatcher.Unique{Key: "u", Scope: dispatcher.ForWindow, Window: time.Second},
			})
			h.ok(h.Finish(bg, one(h.claimed("w", 1))))
		}, []string{"1 windows left", "0 windows left"}},
		"tickets": {func(h *house, i int) {
			h.deadTicket("a", i)
		}, []string{"1 tickets left", "0 tickets left"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
				if name == "tickets" { // or the first would be head, and the lane its
					h.enqueued("a", "j")
					h.head("w", "j", 1)
				}
				for i := range 101 {
					c.due(h, i)
				}
				h.advance(2 * time.Second)
				for n, want := range c.reaps {
					r := h.reap()
					s, err := h.Stats(bg)
					h.ok(err)
					left := rdb.ZCard(bg, h.Namespace().Keys(0).Expiring()).Val()
					says := []string{
						fmt.Sprint(r.Resumed, " resumed"), fmt.Sprint(r.Placed, " placed"), fmt.Sprint(s.Outcomes, " outcomes left"),
						fmt.Sprint(s.Windows, " windows left"), fmt.Sprint(left, " tickets left"),
					}
					if !slices.Contains(says, want) {
						t.Errorf("reap %d: %v, want %s", n, says, want)
					}
					if more := n < len(c.reaps)-1; (r.Next == 0) != more {
						t.Errorf("reap %d says that more is due in %s", n, r.Next)
					}
				}
				h.clean()
			})
		})
	}
}

// deadTicket puts the ticket of somebody who is gone at the tail of a lane of partition 0.
func (h *house) deadTicket(lane string, i int) {
	id := fmt.Sprint("i", 1000+i)
	entry := string([]byte{byte(len(id)), 1}) + id + "~1"
	keys, canonical := h.Namespace().Keys(0), key(lane).Canonical()
	h.ok(h.rdb.RPush(bg, keys.Tail(canonical), entry).Err())
	member := fmt.Sprintf("t%d %s%s", len(canonical), canonical, entry)
	h.ok(h.rdb.ZAdd(bg, keys.Expiring(), redis.Z{Score: float64(h.ms.Load() + 1000), Member: member}).Err())
}

// Of what falls due one call places no more bytes than half a MiB and one job: it copies them.
func TestWhatFallsDueIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		for i := range 7 { // of which three have more than half a MiB
			h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: fmt.Sprint(i), Delay: time.Second, Payload: mebi[:200000]})
		}
		h.advance(2 * time.Second)
		for _, want := range []int{3, 3, 1, 0} {
			if r := h.reap(); r.Placed != want {
				t.Errorf("a reap placed %d, want %d", r.Placed, want)
			}
		}
		h.clean()
		h.wantOrder("0 1 2 3 4 5 6", "k")
	})
}

// What is set aside of lost attempts is bounded in bytes: each is read.
func TestLargeJobsThatAreLostAndSetAside(t *testing.T) {
	t.Parallel()
	h := kindsHouse(t, redistest.Client(t))
	h.cfg.Partitions = 0
	var n int
	for i := range 40 {
		lane := fmt.Sprint(i)
		if h.Namespace().Partition(key(lane)) == 0 && n < 5 {
			n++
			h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: "skip", ID: lane, Payload: mebi[:1000000]})
		}
	}
	for len(h.claimedKinds("w", 1, "skip")) > 0 {
	}
	h.advance(time.Minute)
	for _, want := range []int{3, 2, 0} { // the third of a million bytes is the first over two MiB
		if r := h.reap(); r.Expired != want {
			t.Errorf("a reap ended %d leases, want %d", r.Expired, want)
		}
	}
	h.clean()
}

// A lane and a partition hold no more than they may, also when one call brings more than that: while the partition held
// fewer jobs than a lane may, depths were not asked for.
func TestOneCallFillsALane(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  dispatcher.Config
		job  func(i int) dispatcher.NewJob
		err  error
		over bool // those that were there before have ended
	}{
		"lane":      {dispatcher.Config{MaxLane: 3}, func(int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key("a")} }, dispatcher.ErrLaneFull, false},
		"partition": {dispatcher.Config{MaxBacklog: 3}, eachItsLane, dispatcher.ErrBacklogFull, false},
		"windows": {dispatcher.Config{MaxBacklog: 3}, func(i int) dispatcher.NewJob {
			job := eachItsLane(i)
			job.Unique = &dispatcher.Unique{Key: fmt.Sprint(i), Scope: dispatcher.ForWindow, Window: time.Hour}
			return job
		}, dispatcher.ErrBacklogFull, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				for before := range 4 {
					cfg := c.cfg
					cfg.Partitions = 1
					h := newHouse(t, rdb, cfg)
					jobs := func(from, n int) (jobs []dispatcher.NewJob) {
						for i := range n {
							job := c.job(from + i)
							job.Kind, job.ID = "k", fmt.Sprint(from+i)
							jobs = append(jobs, job)
						}
						return jobs
					}
					if before > 0 {
						_, err := h.EnqueueMany(bg, jobs(0, before))
						h.ok(err)
					}
					stays := 3
					if c.over {
						stays -= before
						for _, c := range h.claimed("w", before) {
							h.ok(h.Finish(bg, c))
						}
					}
					if _, err := h.EnqueueMany(bg, jobs(before, 4-before)); !errors.Is(err, c.err) {
						t.Errorf("%d behind %d, where 3 may be: %v", 4-before, before, err)
					}
					if before < 3 {
						_, err := h.EnqueueMany(bg, jobs(before, 3-before))
						h.ok(err)
					}
					if s, err := h.Stats(bg); err != nil || s.Jobs != stays {
						t.Errorf("%d jobs, want %d, %v", s.Jobs, stays, err)
					}
					h.clean()
				}
			})
		})
	}
}

// A limit of N lets exactly N start, where its slots are looked at in several parts too.
func TestSlotsOfALargeLimit(t *testing.T) {
	t.Parallel()
	for _, most := range []int{99, 100, 101, 200, 201} {
		t.Run(strconv.Itoa(most), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: most}}})
			h.batches(most+1, eachItsLane)
			m := h.member("w", "", "k")
			var claims []session.Claim
			for {
				got, _ := m.turn(1000)
				if len(got) == 0 {
					break
				}
				claims = append(claims, got...)
			}
			slots := make(map[subject.Key]bool)
			for _, c := range claims {
				slots[c.Slots[0].Subject] = true
			}
			if len(claims) != most || len(slots) != most {
				t.Fatalf("%d started under %d slots, want %d", len(claims), len(slots), most)
			}
			last, first := claims[most-1], claims[0]
			for _, c := range []session.Claim{last, first} { // each of them comes back
				if got, _ := m.turn(1, done(c)); len(got) == 0 {
					got, _ = m.turn(1)
					if c.ID == last.ID && len(got) != 1 {
						t.Error("a slot that came back lets nothing start")
					}
				}
			}
			h.clean()
		})
	}
}

// A list shows each entry once, and no page more than it was asked for, when pages are filled to the last entry too.
// Of all lanes Redis gives batches of its own size, which are cut: those behind a cut were skipped.
func TestPagesThatAreFilled(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 2})
	long := strings.Repeat("x", 65) // or Redis would give all lanes in one batch
	h.batches(300, func(i int) dispatcher.NewJob {
		return dispatcher.NewJob{Subject: key(fmt.Sprint(long, i))}
	})
	h.batches(10, func(i int) dispatcher.NewJob {
		return dispatcher.NewJob{Subject: key("deep"), ID: fmt.Sprint("deep", i)}
	})
	for p := range 2 { // while a hash gets another size its batches change; what is asked of it brings that to its end
		for range 600 {
			h.ok(h.rdb.HExists(bg, h.Namespace().Keys(p).Heads(), "x").Err())
		}
	}
	claims := h.claimed("w", 50)
	ids := slices.Sorted(func(yield func(string) bool) {
		for id := range claims {
			if !yield(id) {
				return
			}
		}
	})
	for i, id := range ids {
		c := claims[id]
		switch {
		case i < 10:
			_, err := h.Retry(bg, c, time.Hour, "")
			h.ok(err)
		case i < 20:
			_, err := h.Suspend(bg, c.Subject, "why")
			h.ok(err)
			h.ok(h.HandBack(bg, c))
		case i < 30:
			h.ok(h.DeadLetter(bg, c, "x", ""))
		}
	}
	lanes := func(f inspect.LaneFilter) func(inspect.Page) ([]string, string, error) {
		return func(p inspect.Page) (names []string, next string, err error) {
			list, next, err := h.Lanes(bg, f, p)
			for _, l := range list {
				names = append(names, l.Subject.ID)
			}
			return names, next, err
		}
	}
	for name, list := range map[string]struct {
		page func(inspect.Page) ([]string, string, error)
		want int
	}{
		"lanes":           {lanes(inspect.LaneFilter{}), 291},
		"lanes of k":      {lanes(inspect.LaneFilter{Kind: "k"}), 291},
		"ready lanes":     {lanes(inspect.LaneFilter{State: inspect.Ready}), 251},
		"leased lanes":    {lanes(inspect.LaneFilter{State: inspect.Leased}), 20},
		"delayed lanes":   {lanes(inspect.LaneFilter{State: inspect.Delayed}), 10},
		"suspended lanes": {lanes(inspect.LaneFilter{State: inspect.Suspended}), 10},
		"jobs of a lane": {func(p inspect.Page) (ids []string, next string, err error) {
			_, jobs, next, err := h.Lane(bg, key("deep"), p)
			for _, j := range jobs {
				ids = append(ids, j.ID)
			}
			return ids, next, err
		}, 10},
		"dead letters": {func(p inspect.Page) (ids []string, next string, err error) {
			jobs, next, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, p)
			for _, j := range jobs {
				ids = append(ids, j.ID)
			}
			return ids, next, err
		}, 10},
	} {
		for _, limit := range []int{1, 7, list.want - 1, list.want, list.want + 1, 500} {
			seen := make(map[string]int)
			for _, id := range all(t, limit, list.page) {
				seen[id]++
				// Where no state is asked for Redis scans a hash, which shows a field twice while the hash gets another size.
				if seen[id] > 1 && name != "lanes" && name != "lanes of k" {
					t.Errorf("%s in pages of %d: %s comes twice", name, limit, id)
				}
			}
			if len(seen) != list.want {
				t.Errorf("%s in pages of %d: %d entries, want %d", name, limit, len(seen), list.want)
			}
		}
		if part, next, err := list.page(inspect.Page{Limit: list.want}); next != "" && (name == "jobs of a lane" || name == "dead letters") {
			t.Errorf("%s: behind a page of %d, which are all, there is to be another, %v", name, len(part), err)
		}
		for limit, good := range map[int]bool{-1: false, 0: true, 500: true, 501: false} {
			part, _, err := list.page(inspect.Page{Limit: limit})
			if (err == nil) != good || !good && !errors.Is(err, dispatcher.ErrInvalid) || limit == 0 && len(part) > 50 {
				t.Errorf("%s in pages of %d: %d entries, %v", name, limit, len(part), err)
			}
		}
	}
}

// A job that is set aside is shown, and found by who means to change it, after up to a hundred attempts. It was shown as one
// that waits in its lane from the fifty-first on.
func TestJobsThatFailedOften(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", OnFailure: dispatcher.Skip, MaxAttempts: 1000}}})
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j"})
		for n := 1; n <= 100; n++ {
			_, err := h.Retry(bg, one(h.claimed("w", 1)), time.Second, "boom")
			h.ok(err)
			if job, err := h.Job(bg, ref("j")); err != nil || job.State != inspect.Scheduled || job.Attempt != n || job.Error != "boom" {
				t.Fatalf("after %d attempts it is %s, attempt %d, %q, %v", n, job.State, job.Attempt, job.Error, err)
			}
			if n == 100 {
				break
			}
			h.advance(time.Second)
			h.reaped()
		}
		h.ok(h.SuspendJob(bg, ref("j")))
		if job, err := h.Job(bg, ref("j")); err != nil || job.State != inspect.Suspended || job.Attempt != 100 {
			t.Errorf("suspended it is %s, attempt %d, %v", job.State, job.Attempt, err)
		}
		h.ok(h.ResumeJob(bg, ref("j")))
		h.cancels("j")
		h.clean()
		h.empty()
	})
}

// A section gets its turn behind more dead tickets than one call drops, with nobody there to reap.
func TestSectionBehindManyDeadTickets(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.enqueued("a", "j1")
		c := h.head("w", "j1", 1)
		for i := range 250 {
			h.deadTicket("a", i)
		}
		h.ok(h.Finish(bg, c))
		h.enqueued("a", "j2")
		h.advance(2 * time.Second)
		over := make(chan error, 1)
		go func() { over <- h.Do(bg, key("a"), time.Minute, nothing) }()
		h.ok(h.Finish(bg, h.waitHead("j2")))
		h.ok(<-over)
		h.clean()
		h.empty()
	})
}

// A chain of waits is followed over a hundred subjects, and no further.
func TestLongChainsOfWaits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for n, want := range map[int]error{1: dispatcher.ErrWouldDeadlock, 99: dispatcher.ErrWouldDeadlock, 100: context.Canceled} {
			h := newHouse(t, rdb, dispatcher.Config{})
			for i := range n { // each waits for the next one, and the last for the caller's
				l, err := h.Leases().Acquire(bg, key(fmt.Sprint(i)), "w", time.Minute)
				h.ok(err)
				next := fmt.Sprint(i + 1)
				if i == n-1 {
					next = "held"
				}
				h.noteWait(rdb, l, next)
			}
			h.ok(h.Do(bg, key("held"), 0, func(ctx context.Context) error {
				ctx, cancel := context.WithCancel(ctx)
				over := make(chan error, 1)
				go func() { over <- h.Do(ctx, key("0"), time.Minute, nothing) }()
				redistest.Until(t, "it waits, or says that it can't", func() bool {
					lane, _, _, err := h.Lane(bg, key("0"), inspect.Page{})
					return err == nil && lane.Depth == 1 || len(over) > 0
				})
				cancel()
				if err := <-over; !errors.Is(err, want) {
					t.Errorf("a chain of %d: %v, want %v", n, err, want)
				}
				return nil
			}))
		}
	})
}

// A thousand workers are listed, those who were seen last.
func TestWorkersAreListedUpToAThousand(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	for _, n := range []int{1000, 1001} {
		h := newHouse(t, rdb, dispatcher.Config{})
		_, err := rdb.Pipelined(bg, func(pipe redis.Pipeliner) error {
			for i := range n {
				holder := fmt.Sprint("w", i)
				pipe.HSet(bg, h.Namespace().Workers(), holder, fmt.Sprintf(`{"holder":%q}`, holder))
				pipe.ZAdd(bg, h.Namespace().Seen(), redis.Z{Score: float64(h.ms.Load() + int64(i)), Member: holder})
			}
			return nil
		})
		h.ok(err)
		workers, err := h.Workers(bg)
		if err != nil || len(workers) != 1000 || workers[0].Holder != fmt.Sprint("w", n-1) {
			t.Errorf("of %d workers %d are listed, first %s, %v", n, len(workers), workers[0].Holder, err)
		}
	}
}

// inEach enqueues a job in a lane of its own in each partition.
func (h *house) inEach(id string) {
	h.t.Helper()
	for p := range h.Namespace().Partitions {
		for i := 0; ; i++ {
			if lane := key(fmt.Sprint(id, i)); h.Namespace().Partition(lane) == p {
				h.enqueue(dispatcher.NewJob{Subject: lane, Kind: "k", ID: fmt.Sprint(id, p)})
				break
			}
		}
	}
}

// places returns what is stored of the places in the line of the limit of kind k.
func (h *house) places() map[string]string {
	h.t.Helper()
	places := make(map[string]string)
	for p := range h.Namespace().Partitions {
		all, err := h.rdb.HGetAll(bg, strings.TrimSuffix(h.Namespace().Keys(p).Jobs(), "jobs")+"places:kind/k").Result()
		h.ok(err)
		maps.Copy(places, all)
	}
	return places
}

// offered returns who is offered starts under the limit of kind k, a place each.
func (h *house) offered() (places []string) {
	h.t.Helper()
	for place, said := range h.places() {
		if strings.Split(said, " ")[1] != "0" {
			places = append(places, place)
		}
	}
	slices.Sort(places)
	return places
}

// Who is short of a limit stands in a line of which a call looks at sixteen at a time: those behind them get what
// is offered too, when those in front have gone meanwhile. They were passed over.
func TestLinesThatAreLong(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		const n = 20
		set := func() (h *house, has *member, claims []session.Claim) {
			h = newHouse(t, rdb, dispatcher.Config{Partitions: n, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: n}}})
			has = h.member("has", "", "k")
			h.inEach("first")
			if claims, _ = has.turn(n); len(claims) != n {
				t.Fatalf("%d started", len(claims))
			}
			h.inEach("second")
			return h, has, claims
		}
		gives := func(h *house, has *member, claims ...session.Claim) {
			byPartition := make([]session.Turn, n)
			for p := range byPartition {
				byPartition[p].Partition = p
			}
			for i := range claims {
				p := h.Namespace().Partition(claims[i].Subject)
				byPartition[p].Ends = append(byPartition[p].Ends, session.End{Claim: &claims[i]})
			}
			for _, a := range has.s.Turns(bg, byPartition) {
				h.ok(a.Err)
			}
		}

		h, has, claims := set()
		short := h.member("short", "", "k")
		short.turn(n)
		gives(h, has, claims[:n-1]...) // all at once
		if got := h.offered(); len(got) != n-1 {
			t.Errorf("of %d starts that came back %d are offered: %v", n-1, len(got), got)
		}
		got, _ := short.turn(n)
		if len(got) != n-1 {
			t.Errorf("%d of them start", len(got))
		}

		h, has, claims = set()
		h.member("short", "", "k").turn(n)
		for i := range 3 { // one by one: each is offered to another place
			gives(h, has, claims[i])
			if got := h.offered(); len(got) != i+1 {
				t.Errorf("of %d starts that came back %d are offered: %v", i+1, len(got), got)
			}
		}

		h, has, claims = set()
		gone, live := h.member("gone", "", "k"), h.member("live", "", "k")
		for p := 1; p < n; p++ {
			gone.s.Turns(bg, []session.Turn{{Partition: p, Claim: true, Want: 1}})
		}
		live.turn(n)
		gone.s.Turns(bg, []session.Turn{{Partition: 0, Claim: true, Want: 1}}) // its last place is behind those that are looked at
		gives(h, has, claims[0])                                               // which is offered to who has gone, and passes
		if got := h.offered(); len(got) != 1 || !strings.HasSuffix(got[0], " gone") {
			t.Fatalf("offered to %v", got)
		}
		h.advance(time.Second)
		gives(h, has, claims[1])
		if got := h.offered(); len(got) != 1 || got[0] != "0 live" {
			t.Errorf("with those in front gone it is offered to %v, want the first of those who live", got)
		}
		for place := range h.places() {
			if strings.HasSuffix(place, " gone") {
				t.Errorf("who let an offer pass still has the place %q", place)
			}
		}

		// The same when those in front have just got what they want.
		h, has, claims = set()
		front, behind := h.member("front", "", "k"), h.member("behind", "", "k")
		var turns []session.Turn
		for p := range 16 {
			turns = append(turns, session.Turn{Partition: p, Claim: true, Want: 1})
		}
		front.s.Turns(bg, turns)
		behind.turn(n)
		gives(h, has, claims[:18]...)
		started := 0
		for _, a := range front.s.Turns(bg, turns) {
			h.ok(a.Err)
			started += len(a.Claims)
		}
		if got := h.offered(); started != 16 || !slices.Equal(got, []string{"0 behind", "1 behind"}) {
			t.Errorf("%d start, and the other two are offered to %v", started, got)
		}
	})
}

// One reap looks for tickets among no more than so many entries of lanes.
func TestReapSearchesWithinItsBound(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	h.enqueued("a", "j")
	h.head("w", "j", 1)
	entries := make([]any, 5000)
	for i := range entries {
		entries[i] = "\x02\x01ixk1"
	}
	for range 10 {
		h.ok(rdb.RPush(bg, h.Namespace().Keys(0).Tail(canonical("a")), entries...).Err())
	}
	for i := range 5 {
		h.deadTicket("a", i)
	}
	h.advance(2 * time.Second)
	for _, want := range []int64{3, 1, 0} { // of some fifty thousand each
		h.reap()
		if left := rdb.ZCard(bg, h.Namespace().Keys(0).Expiring()).Val(); left != want {
			t.Errorf("%d tickets are left, want %d", left, want)
		}
	}
}

// Lanes that end between two pages cost no other one its place in the list, whatever the pages' size: a step of HSCAN reaches
// further then.
func TestPagesMissNoneWhenOthersEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{8, 50} {
		h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1})
		h.batches(400, func(i int) dispatcher.NewJob { return dispatcher.NewJob{Subject: key(fmt.Sprint(i))} })
		claims := make(map[string]session.Claim)
		for range 4 {
			maps.Copy(claims, h.claimed("w", 100))
		}
		seen, ended := make(map[string]bool), 0
		for page := (inspect.Page{Limit: size}); ; {
			list, next, err := h.Lanes(bg, inspect.LaneFilter{}, page)
			h.ok(err)
			if len(list) > size {
				t.Fatalf("a page of %d has %d", size, len(list))
			}
			for i, l := range list {
				seen[l.Subject.ID] = true
				if i%4 == 0 {
					h.ok(h.Finish(bg, claims[l.Subject.ID]))
					ended++
				}
			}
			if page.Cursor = next; next == "" {
				break
			}
		}
		if len(seen) != 400 || ended < 50 {
			t.Errorf("pages of %d: %d of 400 lanes were listed, %d ended meanwhile", size, len(seen), ended)
		}
	}
}
