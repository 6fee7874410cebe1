package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// trip makes a desk's next trip and lays the same answer on it for each partition.
func trip(t *testing.T, d *desk, answer session.TurnReply) []errand {
	t.Helper()
	errands, _ := d.plan(time.Now())
	for _, e := range errands {
		answer.Ended = make([]session.EndReply, len(e.Ends))
		d.take(e, answer, nil)
	}
	if len(errands) > 0 {
		d.back(time.Millisecond)
	}
	return errands
}

// G17: a pool that has filled up listens for no hints of what falls due, so it looks by itself
// within a second, though it looked last when it was idle.
func TestG17_FullPoolLooksForWhatFallsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{Concurrency: 1, LeaseTTL: 30 * time.Second}, 1, false)
		nothing := session.TurnReply{Reaped: session.ReapReply{Next: -1}}
		if first := trip(t, d, nothing); len(first) != 1 || !first[0].Reap {
			t.Fatalf("a new pool begins with %+v, want a reap", first)
		}
		d.wake(session.Hint{})
		claimed := nothing
		claimed.Claims = []session.Claim{{Job: dispatcher.Job{ID: "j"}}}
		trip(t, d, claimed)
		if errands, wait := d.plan(time.Now()); len(errands) != 0 || wait > time.Second {
			t.Fatalf("a full pool plans %+v and then waits %s, want a look within 1s", errands, wait)
		}
		time.Sleep(time.Second)
		if errands, _ := d.plan(time.Now()); len(errands) != 1 || !errands[0].Reap {
			t.Errorf("after a second it plans %+v, want a reap", errands)
		}
	})
}

// How long a desk waits by itself follows from the TTL of its leases, up to a limit: a longer wait finds a lost lease late,
// a shorter one asks Redis for nothing.
func TestDeskLooksForLostLeases(t *testing.T) {
	t.Parallel()
	for ttl, want := range map[time.Duration]struct{ idle, working, patience time.Duration }{
		600 * time.Millisecond: {400 * time.Millisecond, 400 * time.Millisecond, 100 * time.Millisecond},
		300 * time.Millisecond: {200 * time.Millisecond, 200 * time.Millisecond, 50 * time.Millisecond},
		3 * time.Second:        {2 * time.Second, time.Second, 100 * time.Millisecond},
		15 * time.Second:       {10 * time.Second, time.Second, 100 * time.Millisecond},
		time.Hour:              {10 * time.Second, time.Second, 100 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			next := func(running int) time.Duration {
				d := newDesk(Config{Concurrency: 4, LeaseTTL: ttl}, 1, false)
				d.crew.running = running
				trip(t, d, nothingDue)
				errands, wait := d.plan(time.Now())
				if len(errands) != 0 {
					t.Errorf("it plans %+v right after a trip", errands)
				}
				time.Sleep(wait - 1)
				if errands, _ := d.plan(time.Now()); len(errands) != 0 {
					t.Errorf("it plans %+v before it is time", errands)
				}
				time.Sleep(time.Nanosecond)
				if errands, _ := d.plan(time.Now()); len(errands) != 1 || !errands[0].Reap {
					t.Errorf("it plans %+v when it is time", errands)
				}
				return wait
			}
			if idle, working := next(0), next(1); idle != want.idle || working != want.working {
				t.Errorf("TTL %s: an idle desk looks again after %s, a working one after %s, want %s and %s", ttl, idle, working, want.idle, want.working)
			}
			d := newDesk(Config{Concurrency: 1, LeaseTTL: ttl}, 1, false)
			d.crew.queue = []queued{{&session.Claim{}, 0, time.Now()}}
			time.Sleep(want.patience - 1)
			if back, wait := d.crew.impatient(time.Now()); wait != 1 || len(back) != 0 || len(d.crew.queue) != 1 {
				t.Errorf("TTL %s: a lane is handed back after %s, want %s", ttl, want.patience-1+wait, want.patience)
			}
			time.Sleep(time.Nanosecond)
			if d.plan(time.Now()); len(d.crew.queue) != 0 || d.unsaid != 1 {
				t.Errorf("TTL %s: a lane is not handed back after %s", ttl, want.patience)
			}
		})
	}
}

// A third trip sets out only while the two under way carry fewer than muchLoad ends: with more it would only make
// trips smaller. Where partitions travel apart one may hang, so the others always go.
func TestDeskMakesTwoTripsOfMuch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second int
		apart, third  bool
	}{
		"little":             {12, 11, false, true},
		"much":               {12, 12, false, false},
		"more":               {20, 20, false, false},
		"all in one":         {23, 1, false, false},
		"much, but apart":    {12, 12, true, true},
		"little, and apart":  {1, 1, true, true},
		"much in one of two": {24, 0, false, true}, // one trip is under way only
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(Config{Concurrency: 4, LeaseTTL: 30 * time.Second}, 3, c.apart)
			for range d.planner.partitions { // nothing is due but ends
				errands, _ := d.plan(time.Now())
				for _, e := range errands {
					d.take(e, nothingDue, nil)
				}
				d.back(time.Millisecond)
			}
			set := func(partition, ends int) bool {
				d.mu.Lock()
				d.crew.running += ends
				d.mu.Unlock()
				for range ends {
					d.end(&attempt{lane: &lane{partition: partition}, end: session.End{Claim: &session.Claim{}}}, time.Second, false)
				}
				errands, _ := d.plan(time.Now())
				return len(errands) == 1 && len(errands[0].Ends) == ends && errands[0].Partition == partition
			}
			d.crew.running = muchLoad // what trips have carried that are back does not count
			for range muchLoad {
				d.end(&attempt{lane: &lane{}, end: session.End{Claim: &session.Claim{}}}, time.Second, false)
			}
			trip(t, d, nothingDue)
			if !set(0, c.first) || c.second > 0 && !set(1, c.second) {
				t.Fatalf("%s: the first trips do not set out", name)
			}
			if got := set(2, 1); got != c.third {
				t.Errorf("%s: a third trip sets out: %t, want %t", name, got, c.third)
			}
			d.back(time.Millisecond) // and when one has come back, there is room again
			if errands, _ := d.plan(time.Now()); (len(errands) > 0) == c.third {
				t.Errorf("%s: after one is back %d errands are planned", name, len(errands))
			}
		})
	}
}

// Where partitions travel apart, a traveller that sets out wakes the next one: the other servers wait for it.
func TestDeskSendsTheNextTraveller(t *testing.T) {
	t.Parallel()
	for _, apart := range []bool{false, true} {
		d := newDesk(Config{Concurrency: 4, LeaseTTL: 30 * time.Second}, 2, apart)
		if errands, _ := d.plan(time.Now()); len(errands) == 0 || (len(errands) == 1) != apart || (len(d.kick) > 0) != apart {
			t.Errorf("apart %t: it plans %+v, and wakes %d more", apart, errands, len(d.kick))
		}
	}
}
