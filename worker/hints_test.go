package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
)

// A desk by itself, in fake time: a hint that it lost would be made up for by its next look.

// idleDesk is a desk of so many partitions that has looked at all of them and found nothing.
func idleDesk(t *testing.T, concurrency, partitions int) *desk {
	t.Helper()
	d := newDesk(Config{Concurrency: concurrency, LeaseTTL: 30 * time.Second}, partitions, false)
	for range partitions { // a trip asks one of them for lanes
		trip(t, d, nothingDue)
	}
	if errands, wait := d.plan(time.Now()); len(errands) != 0 || wait < 5*time.Second {
		t.Fatalf("an idle desk plans %+v, and then waits %s", errands, wait)
	}
	return d
}

var nothingDue = session.TurnReply{Reaped: session.ReapReply{Next: -1}}

// full has the desk's places all taken.
func full(t *testing.T, d *desk) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crew.running = d.crew.concurrency
}

// turns plans a trip and returns its turns, in the order of their partitions.
func planned(d *desk) map[int]session.Turn {
	errands, _ := d.plan(time.Now())
	turns := make(map[int]session.Turn)
	for _, e := range errands {
		turns[e.Partition] = e.Turn
	}
	return turns
}

// A hint is followed at once, where it says; by who is full it is passed on, and not kept.
func TestDeskFollowsAHint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := idleDesk(t, 4, 3)
		d.wake(session.Hint{Partition: 1})
		if got := planned(d); len(got) != 1 || !got[1].Claim || got[1].Want != 2 || got[1].Reap {
			t.Errorf("a hint that lanes are ready: %+v", got)
		}
		d = idleDesk(t, 4, 3)
		d.wake(session.Hint{Partition: 2, Due: true})
		if got := planned(d); len(got) != 1 || !got[2].Reap || got[2].Want == 0 {
			t.Errorf("a hint that something is due: %+v", got)
		}
		d = idleDesk(t, 4, 3)
		full(t, d)
		d.wake(session.Hint{Partition: 1})
		if got := planned(d); len(got) != 1 || !got[1].Claim || got[1].Want != 0 {
			t.Errorf("a hint for who is full: %+v, want that it is passed on", got)
		}
		if got := planned(d); len(got) != 0 {
			t.Errorf("it is passed on twice: %+v", got)
		}
		d.mu.Lock() // there is room for all but what is asked for already
		d.crew.running, d.crew.asked = 1, 3
		d.mu.Unlock()
		d.wake(session.Hint{Partition: 0})
		if got := planned(d); len(got) != 1 || !got[0].Claim || got[0].Want != 0 {
			t.Errorf("a hint for who has asked for as much as it has room for: %+v", got)
		}
	})
}

// A hint that comes while a trip is under way is not buried by the trip's answer, which is older.
func TestDeskKeepsAHintThatComesMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, hint := range map[string]func(d *desk){
			"ready": func(d *desk) { d.wake(session.Hint{}) },
			"due":   func(d *desk) { d.wake(session.Hint{Due: true}) },
			"offer": func(d *desk) { d.wakeShort([]int{0}) },
		} {
			d := newDesk(Config{Concurrency: 4, LeaseTTL: 30 * time.Second}, 1, false)
			errands, _ := d.plan(time.Now())
			hint(d)
			d.take(errands[0], nothingDue, nil)
			d.back(time.Millisecond)
			got := planned(d)
			if len(got) != 1 || got[0].Want == 0 || got[0].Reap != (name == "due") {
				t.Errorf("%s: after the trip it plans %+v", name, got)
			}
		}
	})
}

// An offer is followed where it is; by who is full it is refused, for the next one waits for it.
func TestDeskFollowsAnOffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			full    bool
			offered []int
			want    map[int]bool
		}{
			"one":         {false, []int{1}, map[int]bool{1: true}},
			"any":         {false, nil, map[int]bool{0: true, 1: true, 2: true}},
			"none":        {false, []int{}, nil},
			"one, full":   {true, []int{1}, map[int]bool{1: true}},
			"any of full": {true, nil, map[int]bool{0: true, 1: true, 2: true}},
		} {
			d := idleDesk(t, 6, 3)
			if c.full {
				full(t, d)
			}
			d.wakeShort(c.offered)
			got := make(map[int]session.Turn)
			for range 3 { // a trip asks one partition for lanes
				for _, e := range trip(t, d, nothingDue) {
					if _, twice := got[e.Partition]; twice {
						t.Errorf("%s: it comes to partition %d twice: %+v", name, e.Partition, e.Turn)
					}
					got[e.Partition] = e.Turn
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("%s: %+v", name, got)
			}
			for p, turn := range got {
				if !c.want[p] || !turn.Claim || turn.Refuse != c.full || (turn.Want > 0) == c.full {
					t.Errorf("%s: partition %d: %+v", name, p, turn)
				}
			}
			if d.wakeShort(c.offered); len(c.want) > 0 { // which kicks whoever sleeps
				begin := time.Now()
				if d.sleep(t.Context(), time.Hour); time.Since(begin) > 0 {
					t.Errorf("%s: nobody is woken", name)
				}
			}
		}
		d := idleDesk(t, 6, 3)
		d.mu.Lock() // more is asked for than may come
		d.crew.running, d.crew.asked = 1, 5
		d.mu.Unlock()
		d.wakeShort([]int{1})
		if got := planned(d); got[1].Refuse {
			t.Errorf("an offer to who has asked for as much as it has room for: %+v, and its place in line is lost", got)
		}
	})
}

// Whatever changes at a desk wakes a traveller at once: it would sleep until the next look otherwise.
func TestDeskWakesATraveller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, change := range map[string]func(d *desk){
			"a hint":   func(d *desk) { d.wake(session.Hint{}) },
			"an offer": func(d *desk) { d.wakeShort(nil) },
			"an end": func(d *desk) {
				d.end(&attempt{lane: &lane{}, end: session.End{Claim: &session.Claim{}}}, time.Second, false)
			},
			"an end, along": func(d *desk) {
				d.end(&attempt{lane: &lane{hand: hand{jobs: jobs(1)}}, claim: &session.Claim{}, end: session.End{Claim: &session.Claim{}}}, time.Second, true)
			},
			"a free place":   func(d *desk) { d.vacate(&attempt{lane: &lane{}}) },
			"a trip is back": func(d *desk) { d.mu.Lock(); d.planner.trips++; d.mu.Unlock(); d.back(time.Millisecond) },
			"a stop":         func(d *desk) { d.stop() },
			"a kind again":   func(d *desk) { d.lookAgain() },
		} {
			d := idleDesk(t, 4, 1)
			for len(d.kick) > 0 {
				<-d.kick
			}
			woken := make(chan time.Duration)
			begin := time.Now()
			go func() { d.sleep(t.Context(), time.Hour); woken <- time.Since(begin) }()
			synctest.Wait()
			change(d)
			if after := <-woken; after > 0 {
				t.Errorf("%s wakes a traveller after %s", name, after)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d := newDesk(Config{Concurrency: 1, LeaseTTL: time.Minute}, 1, false)
		if d.sleep(ctx, time.Hour) {
			t.Error("a traveller goes on when life has ended")
		}
	})
}

// A desk comes again when something falls due that it knows of: what Redis said, what a limit said, and what it made wait itself.
func TestDeskComesAgainInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		retry := session.End{Claim: &session.Claim{}, Outcome: session.Retry, Wait: 3 * time.Second}
		for name, c := range map[string]struct {
			answer session.TurnReply
			ends   []session.End
		}{
			"due in Redis":     {session.TurnReply{Reaped: session.ReapReply{Next: 3 * time.Second}}, nil},
			"a limit":          {session.TurnReply{Reaped: session.ReapReply{Next: -1}, Later: 3 * time.Second}, nil},
			"its own retry":    {nothingDue, []session.End{retry}},
			"one of its batch": {nothingDue, []session.End{{Claim: retry.Claim, Outcome: session.Several, Each: []session.End{{Claim: retry.Claim}, retry}}}},
		} {
			d := newDesk(Config{Concurrency: 4, LeaseTTL: 30 * time.Second}, 1, false)
			for i := range c.ends {
				d.crew.running++
				d.end(&attempt{lane: &lane{}, end: c.ends[i]}, time.Second, false)
			}
			errands, _ := d.plan(time.Now())
			c.answer.Ended = make([]session.EndReply, len(c.ends))
			d.take(errands[0], c.answer, nil)
			d.back(time.Millisecond)
			if got, wait := d.plan(time.Now()); len(got) != 0 || wait < 3*time.Second || wait > 3100*time.Millisecond {
				t.Errorf("%s: it plans %+v, and then waits %s, want 3s", name, got, wait)
			}
			time.Sleep(3100 * time.Millisecond)
			if got := planned(d); len(got) != 1 || !got[0].Reap {
				t.Errorf("%s: when it is due it plans %+v", name, got)
			}
		}
	})
}

// Hints are waited for only where there is room for what they tell, and nothing is known to be ready.
func TestRoomForHints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			change func(d *desk)
			undo   func(d *desk)
		}{
			"full":            {func(d *desk) { d.crew.running = 2 }, func(d *desk) { d.crew.running = 1 }},
			"asked for":       {func(d *desk) { d.crew.asked = 2 }, func(d *desk) { d.crew.asked = 1 }},
			"claimed ahead":   {func(d *desk) { d.crew.queue = make([]queued, 2) }, func(d *desk) { d.crew.queue = nil }},
			"lanes are ready": {func(d *desk) { d.planner.partitions[1].ready = 1 }, func(d *desk) { d.planner.partitions[1].ready = 0 }},
			"not known":       {func(d *desk) { d.planner.partitions[0].ready = unknown }, func(d *desk) { d.planner.partitions[0].ready = 0 }},
		} {
			d := idleDesk(t, 2, 2)
			if !d.room(t.Context(), 0) {
				t.Errorf("%s: an idle desk has no room", name)
			}
			locked := func(change func(d *desk)) {
				d.mu.Lock()
				defer d.mu.Unlock()
				change(d)
				d.changeLocked()
			}
			locked(c.change)
			has := make(chan bool, 1)
			go func() { has <- d.room(t.Context(), 0) }()
			synctest.Wait()
			if len(has) > 0 {
				t.Errorf("%s: it waits for hints", name)
			}
			locked(c.undo)
			synctest.Wait()
			if len(has) == 0 || !<-has {
				t.Errorf("%s: it does not wait for hints afterwards", name)
			}
		}
	})
}

// A turn asks for no more than one call gives, and a trip for half of the room.
func TestDeskAsksWithinItsBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ concurrency, want int }{{1, 1}, {2, 1}, {3, 2}, {250, 125}, {251, 125}, {10000, 125}} {
			d := newDesk(Config{Concurrency: c.concurrency, LeaseTTL: time.Minute}, 1, false)
			if got := planned(d); got[0].Want != c.want {
				t.Errorf("with room for %d it asks for %d, want %d", c.concurrency, got[0].Want, c.want)
			}
		}
		d := newDesk(Config{Concurrency: 10, LeaseTTL: time.Minute}, 3, false)
		total := 0
		for _, turn := range planned(d) {
			total += turn.Want
		}
		if total != 5 {
			t.Errorf("of three partitions it asks for %d together, want half of its room", total)
		}
		if d.crew.pace = 1; d.crew.ahead() != maxAhead {
			t.Errorf("it claims %d ahead, want %d at most", d.crew.ahead(), maxAhead)
		}
		if d.crew.pace = aheadFor; d.crew.ahead() != 10 {
			t.Errorf("it claims %d ahead of ten handlers that take as long as it looks ahead", d.crew.ahead())
		}
	})
}

// An end whose answer did not come stays, and its partition rests, ever longer, up to a second.
func TestDeskRestsWhenItIsNotServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{Concurrency: 4, LeaseTTL: 30 * time.Second}, 1, false)
		a := &attempt{lane: &lane{}, end: session.End{Claim: &session.Claim{Lease: lease.Lease{Token: 1}}}}
		d.end(a, time.Second, false)
		for _, rest := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
			errands, _ := d.plan(time.Now())
			if len(errands) != 1 || len(errands[0].Ends) != 1 {
				t.Fatalf("it plans %+v, want the end again", errands)
			}
			d.take(errands[0], session.TurnReply{Err: errors.New("away")}, []*attempt{a})
			d.back(time.Millisecond)
			got, wait := d.plan(time.Now())
			if most := rest * time.Millisecond; len(got) != 0 || wait > most || wait < most*3/4 {
				t.Errorf("it plans %+v, and rests %s, want up to %s", got, wait, most)
			}
			time.Sleep(wait)
		}
		errands, _ := d.plan(time.Now())
		d.take(errands[0], session.TurnReply{Reaped: session.ReapReply{Next: -1}, Ended: make([]session.EndReply, 1)}, nil)
		if d.unsaid != 0 || d.planner.partitions[0].failures != 0 {
			t.Errorf("once it is served %d ends are not said, and %d failures counted", d.unsaid, d.planner.partitions[0].failures)
		}
	})
}

// Lanes that no handler has begun with go back when the pool is told to stop or is to blame, and when they have
// waited for as long as they may; they go to the handlers there are otherwise, first come first served.
func TestDeskGivesBackWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		crowded := func() *desk {
			d := idleDesk(t, 1, 1)
			d.wake(session.Hint{})
			errands, _ := d.plan(time.Now())
			answer := nothingDue
			for _, id := range []string{"j1", "j2", "j3"} {
				answer.Claims = append(answer.Claims, session.Claim{Job: dispatcher.Job{ID: id}})
			}
			start, fresh := d.take(errands[0], answer, nil)
			d.back(time.Millisecond)
			if len(start) != 1 || start[0].claim.ID != "j1" || fresh != 1 {
				t.Fatalf("it starts %+v, %d of them fresh", start, fresh)
			}
			return d
		}
		for name, c := range map[string]struct {
			then  func(d *desk)
			gives bool
		}{
			"it stops":         {func(d *desk) { d.stop() }, true},
			"it is to blame":   {func(d *desk) { d.giveQueueBack() }, true},
			"for long":         {func(d *desk) { time.Sleep(maxPatience) }, true},
			"not so long":      {func(d *desk) { time.Sleep(maxPatience - time.Millisecond) }, false},
			"nothing happened": {func(*desk) {}, false},
		} {
			d := crowded()
			c.then(d)
			errands, wait := d.plan(time.Now())
			if !c.gives {
				if q, ok := d.vacate(&attempt{lane: &lane{}}); len(errands) != 0 || wait > maxPatience || !ok || q.claim.ID != "j2" {
					t.Errorf("%s: it plans %+v, waits %s, and its place goes on with %+v", name, errands, wait, q)
				}
				continue
			}
			if len(errands) != 1 || len(errands[0].Ends) != 2 {
				t.Fatalf("%s: it plans %+v, want two lanes to go back", name, errands)
			}
			for i, id := range []string{"j2", "j3"} {
				if end := errands[0].Ends[i]; end.Outcome != session.HandedBack || end.Claim.ID != id {
					t.Errorf("%s: of %s it says %v", name, end.Claim.ID, end.Outcome)
				}
			}
			if _, ok := d.vacate(&attempt{lane: &lane{}}); ok {
				t.Errorf("%s: its place goes on with a lane that went back", name)
			}
		}
	})
}

// A pool whose blame has ended looks for lanes at once: nobody may have left a hint for it.
func TestAbsolvedPoolLooksAtOnce(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, _ = pooled(t, Config{Concurrency: 1, Blame: true}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(p *Pool) {
		synctest.Wait()
		asked := func() (n int) { f.set(func() { n = f.asked }); return n }
		before := asked()
		begin := time.Now()
		p.absolve("k", "of the test")
		synctest.Wait()
		if asked() == before || time.Since(begin) > 0 {
			t.Error("it waits for its next look")
		}
		before = asked()
		p.conducts.add("k", failure{{Job: dispatcher.Job{ID: "j"}}}, false)
		p.conducts.change("k", func(c *conduct) { c.why = "of the test" })
		if err := p.blamed(p.life, "k", conduct{failed: []failure{{{Job: dispatcher.Job{ID: "j"}}}}, why: "of the test"}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		probes := 0
		f.set(func() { probes = f.probes })
		if asked() == before || probes != 1 {
			t.Errorf("a probe, of %d, waits for the next look", probes)
		}
	})
}

// A pool that is to blame gives back the lanes that it has claimed ahead: others do them better.
func TestBlamedPoolGivesBackWhatWaits(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.elsewhere = 5
	_, _ = pooled(t, Config{Concurrency: 1, Blame: true}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { time.Sleep(time.Minute); return nil })
	}, func(p *Pool) {
		f.add(dispatcher.Job{ID: "runs"})
		synctest.Wait()
		p.desk.mu.Lock()
		p.desk.crew.queue = []queued{{claim: &session.Claim{Job: dispatcher.Job{ID: "waits", Kind: "k"}}, at: time.Now()}}
		p.desk.mu.Unlock()
		failed := []failure{{{Job: dispatcher.Job{ID: "j"}}}}
		p.conducts.add("k", failed[0], false)
		if err := p.suspect(p.life, "k", conduct{failed: failed, looked: true}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		blamed := ""
		f.set(func() { blamed = f.blamed })
		if end, ended := f.end("waits"); !ended || end.Outcome != session.HandedBack || blamed == "" {
			t.Errorf("blamed for %q; of what waits it said %t, %v", blamed, ended, end.Outcome)
		}
	})
}
