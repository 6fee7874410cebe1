package dispatcher_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// What ended of a kind is counted by minutes and by ten minutes, in a bounded hash: a slot whose time has come round begins anew, and what
// is older than two hours, or three days, is not shown.
func TestFlow(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.ms.Store(10 * time.Hour.Milliseconds())
		m := h.member("w", "", "k")
		ended := func(how session.Ending, n int, took time.Duration) {
			var tally session.Tally
			for range n {
				tally.Add("k", how, took)
			}
			h.ok(m.s.Record(bg, &tally))
		}
		sums := func(minutes int) (finished, failed int64, perMinute float64) {
			f, err := h.Flow(bg, "k")
			h.ok(err)
			all := f.Since(minutes)
			some, err := h.Flows(bg, []string{"k", "none"}, minutes)
			h.ok(err)
			if short := some["k"]; len(some) != 2 || some["none"].Since(minutes).Count != 0 || !reflect.DeepEqual(short.Since(minutes), all) {
				t.Errorf("of several kinds %+v, of one %+v", some, all)
			}
			return all.ByEnding[session.EndFinished].Count, all.ByEnding[session.EndFailed].Count, all.PerMinute
		}
		ended(session.EndFinished, 3, time.Second)
		ended(session.EndFinished, 2, 3*time.Second)
		h.advance(time.Minute)
		ended(session.EndFailed, 4, time.Second)
		h.advance(30 * time.Second)
		if a, b, rate := sums(10); a != 5 || b != 4 || math.Abs(rate-9/9.5) > 0.001 {
			t.Errorf("in ten minutes %d and %d, %.3f a minute", a, b, rate)
		}
		if a, b, rate := sums(1); a != 0 || b != 4 || rate != 4 {
			t.Errorf("in this minute %d and %d, %.3f a minute", a, b, rate)
		}
		f, err := h.Flow(bg, "k")
		h.ok(err)
		if len(f.Minutes) != 2 || len(f.TenMinutes) != 1 || !f.Minutes[0].From.Equal(time.UnixMilli(0).Add(10*time.Hour)) || !f.Minutes[0].From.Before(f.Minutes[1].From) {
			t.Fatalf("%+v", f)
		}
		if took := f.Minutes[0].ByEnding[session.EndFinished].Took; took < 8*time.Second || took > 10*time.Second {
			t.Errorf("3 of 1 s and 2 of 3 s took %s together", took)
		}
		if c := f.TenMinutes[0].ByEnding; c[session.EndFinished].Count != 5 || c[session.EndFailed].Count != 4 {
			t.Errorf("in ten minutes %+v", c)
		}
		if sum := f.Since(10); sum.Count != 9 || math.Abs(sum.Handlers-13/(9.5*60)) > 0.1*sum.Handlers {
			t.Errorf("5 that took 9 s and 4 that took 4 s: %+v", sum)
		}
		h.advance(2*time.Hour - time.Minute) // the slot of the failed comes round
		f, err = h.Flow(bg, "k")
		h.ok(err)
		if len(f.Minutes) != 1 || len(f.TenMinutes) != 1 {
			t.Errorf("after two hours %+v", f)
		}
		h.advance(time.Minute)
		ended(session.EndFailed, 1, time.Second)
		if _, b, _ := sums(120); b != 1 {
			t.Errorf("after two hours %d failed, want 1", b)
		}
		if ttl := rdb.PTTL(bg, h.Namespace().Flow("k")).Val(); ttl <= 71*time.Hour || ttl > 72*time.Hour {
			t.Errorf("it stays for %s", ttl)
		}
		if f, err := h.Flow(bg, "none"); err != nil || len(f.Minutes)+len(f.TenMinutes) != 0 {
			t.Errorf("of a kind that nobody knows: %+v, %v", f, err)
		}
	})
}

// However long a kind runs, and whatever comes of it, its flow has 120 minutes and 432 times ten minutes of each ending, and no more.
func TestFlowIsBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.ms.Store(0)
		m := h.member("w", "", "k")
		ended := func() {
			var tally session.Tally
			for _, how := range session.Endings {
				tally.Add("k", how, 0)
			}
			h.ok(m.s.Record(bg, &tally))
		}
		fields := func() int64 { return rdb.HLen(bg, h.Namespace().Flow("k")).Val() }
		for range 120 {
			ended()
			h.advance(time.Minute)
		}
		if got, want := fields(), int64(5*(120+12)); got != want {
			t.Errorf("after two hours it has %d fields, want %d", got, want)
		}
		ended() // one over: it stands where the first minute stood
		if got, want := fields(), int64(5*(120+13)); got != want {
			t.Errorf("after two hours and a minute it has %d fields, want %d", got, want)
		}
		for range 432 - 12 {
			h.advance(10 * time.Minute)
			ended()
		}
		if got, want := fields(), int64(5*(120+432)); got != want {
			t.Errorf("after three days it has %d fields, want %d", got, want)
		}
		f, err := h.Flow(bg, "k")
		h.ok(err)
		if len(f.Minutes) != 12 || len(f.TenMinutes) != 432 || f.TenMinutes[0].From != f.AsOf.Add(-431*10*time.Minute) {
			t.Errorf("it shows %d minutes and %d times ten, from %s", len(f.Minutes), len(f.TenMinutes), f.TenMinutes[0].From)
		}
		if all := f.Since(120); !reflect.DeepEqual(f.Since(500), all) || !reflect.DeepEqual(f.Since(-1), f.Since(1)) || all.Count != 60 {
			t.Errorf("of more than there is %+v, of all %+v", f.Since(500), all)
		}
		kinds := strings.Fields(strings.Repeat("none ", 40) + "k")
		if some, err := h.Flows(bg, kinds, 120); err != nil || !reflect.DeepEqual(some["k"].Minutes, f.Minutes) {
			t.Errorf("behind 40 other kinds %+v, %v", some["k"], err)
		}
		for _, minutes := range []int{0, -1, 121} {
			if _, err := h.Flows(bg, []string{"k"}, minutes); !errors.Is(err, dispatcher.ErrInvalid) {
				t.Errorf("of %d minutes: %v", minutes, err)
			}
		}
	})
}

// Estimates go by durations, so these are recorded when the flow can't be.
func TestFlowThatIsRefused(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		m := h.member("w", "", "k")
		h.ok(rdb.Set(bg, h.Namespace().Flow("k"), "no hash", 0).Err())
		var tally session.Tally
		tally.Add("k", session.EndFailed, 0)
		h.ok(m.s.Record(bg, &tally))
		if n := counted(h, "k"); n != 1 {
			t.Errorf("%d are counted", n)
		}
	})
}
