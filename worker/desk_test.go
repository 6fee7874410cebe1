package worker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// trip makes a desk's next trip and lays the same answer on it for each partition.
func trip(t *testing.T, d *desk, answer dispatcher.Turned) []errand {
	t.Helper()
	errands, _ := d.plan(time.Now())
	for _, e := range errands {
		answer.Ended = make([]dispatcher.Ended, len(e.Ends))
		d.take(e, answer, nil)
	}
	if len(errands) > 0 {
		d.back()
	}
	return errands
}

// G17: a pool that has filled up listens for no hints of what falls due, so it looks by itself
// within a second, though it looked last when it was idle.
func TestG17_FullPoolLooksForWhatFallsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{Concurrency: 1, LeaseTTL: 30 * time.Second}, 1, false)
		nothing := dispatcher.Turned{Reaped: dispatcher.Reaped{Next: -1}}
		if first := trip(t, d, nothing); len(first) != 1 || !first[0].Reap {
			t.Fatalf("a new pool begins with %+v, want a reap", first)
		}
		d.wake(dispatcher.Hint{})
		claimed := nothing
		claimed.Claims = []dispatcher.Claim{{Job: dispatcher.Job{ID: "j"}}}
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
