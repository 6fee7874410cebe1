package worker

import (
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// crewOf is a crew whose places are free, and lanes that wait for them.
func crewOf(concurrency int, lanes ...string) crew {
	c := newCrew(Config{Concurrency: concurrency, LeaseTTL: 30 * time.Second})
	for _, id := range lanes {
		c.claimed([]session.Claim{{Job: dispatcher.Job{ID: id}}}, 0, noon)
	}
	return c
}

// Lanes get their places in the order in which they came; goroutines that rest are taken before new ones are made.
func TestCrewGivesPlaces(t *testing.T) {
	t.Parallel()
	c := crewOf(2, "a", "b", "c", "d")
	lanes, fresh := c.start()
	if len(lanes) != 2 || lanes[0].claim.ID != "a" || lanes[1].claim.ID != "b" || fresh != 2 || c.lanes() != 4 {
		t.Fatalf("it starts %+v, %d of them fresh, and has %d in hand", lanes, fresh, c.lanes())
	}
	if next, ok := c.vacate(); !ok || next.claim.ID != "c" || c.running != 2 {
		t.Errorf("a place goes on with %+v, %t", next, ok)
	}
	c.stopping = true
	if next, ok := c.vacate(); ok || c.running != 1 || c.resting != 1 {
		t.Errorf("when it stops a place goes on with %+v; %d run and %d rest", next, c.running, c.resting)
	}
	c.stopping = false
	if lanes, fresh := c.start(); len(lanes) != 1 || lanes[0].claim.ID != "d" || fresh != 0 || c.resting != 0 {
		t.Errorf("it starts %+v, %d of them fresh, and %d rest", lanes, fresh, c.resting)
	}
	c.asked = 3
	if f := c.facts(); f != (facts{room: 2, busy: 5, working: true}) {
		t.Errorf("the facts are %+v", f)
	}
}

// Lanes that have waited too long go back, all of them, and no more are claimed ahead: handlers are slow.
func TestCrewIsPatientForSoLong(t *testing.T) {
	t.Parallel()
	c := crewOf(2, "a", "b")
	c.pace = time.Microsecond
	if back, wait := c.impatient(noon.Add(maxPatience - 1)); len(back) > 0 || wait != 1 || c.ahead() != maxAhead {
		t.Errorf("it gives %+v back, waits %s, and claims %d ahead", back, wait, c.ahead())
	}
	if back, _ := c.impatient(noon.Add(maxPatience)); len(back) != 2 || len(c.queue) > 0 || c.ahead() != 0 {
		t.Errorf("it gives %+v back, keeps %+v, and claims %d ahead", back, c.queue, c.ahead())
	}
	if back, wait := c.impatient(noon.Add(time.Hour)); len(back) > 0 || wait < time.Minute {
		t.Errorf("with nothing left it gives %+v back, and waits %s", back, wait)
	}
}

// How many lanes are claimed ahead follows the mean time of the last ones, up to a bound.
func TestPace(t *testing.T) {
	t.Parallel()
	c := newCrew(Config{Concurrency: 4, LeaseTTL: 30 * time.Second})
	if n := c.ahead(); n != 0 {
		t.Errorf("%d lanes are claimed ahead before anything is known", n)
	}
	c.pace = 16 * time.Millisecond
	for _, lane := range []struct{ took, pace time.Duration }{
		{32 * time.Millisecond, 17 * time.Millisecond}, {time.Millisecond, 16 * time.Millisecond}, {16 * time.Millisecond, 16 * time.Millisecond},
	} {
		if c.learn(lane.took); c.pace != lane.pace {
			t.Errorf("after a lane that took %s the pace is %s, want %s", lane.took, c.pace, lane.pace)
		}
	}
	for range 1000 {
		c.learn(0)
	}
	if c.pace < 1 || c.pace > 20 {
		t.Errorf("after a thousand lanes that took no time the pace is %s", c.pace)
	}
	for pace, want := range map[time.Duration]int{time.Nanosecond: 400, 20 * time.Microsecond: 400, 2 * time.Millisecond: 4, 3 * time.Millisecond: 2, time.Second: 0} {
		if c.pace = pace; c.ahead() != want {
			t.Errorf("at a pace of %s %d lanes are claimed ahead, want %d", pace, c.ahead(), want)
		}
	}
}
