package sim

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A bubble that never comes to rest hung the tests until their package's time was over, and said nothing.
func TestWatchSeesThatNoTimePasses(t *testing.T) {
	t.Parallel()
	said := make(chan string, 1)
	beat, stop := Watch(20*time.Millisecond, func(dump string) { said <- dump })
	defer stop()
	synctest.Test(t, func(t *testing.T) {
		beat()
		for len(said) == 0 { // a goroutine that runs keeps the bubble's time from passing
		}
	})
	if dump := <-said; !strings.Contains(dump, "TestWatchSeesThatNoTimePasses") {
		t.Errorf("the dump does not say who: %s", dump)
	}
}

// What goes on is left alone, however long it takes.
func TestWatchLeavesAloneWhatGoesOn(t *testing.T) {
	t.Parallel()
	const limit = time.Second
	beat, stop := Watch(limit, func(string) { t.Error("it went on, and was said to hang") })
	for begin := time.Now(); time.Since(begin) < 3*limit; time.Sleep(time.Millisecond) {
		beat()
	}
	stop()
	stop()
}
