package dispatcher_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// ran has a member tell for how long handlers ran for subjects.
func (h *house) ran(m *member, took map[string]time.Duration) {
	h.t.Helper()
	var tally session.Tally
	for lane, long := range took {
		tally.Ran(key(lane), long)
	}
	h.ok(m.s.Record(bg, &tally))
}

// What was hot lately is listed with its share of all handlers' time, of whole ten minutes, with the lane as it is now.
func TestHot(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 2})
		h.ms.Store((10*time.Hour + 30*time.Second).Milliseconds())
		one, two := h.member("one", "", "k"), h.member("two", "", "k")
		hot := func(ago time.Duration, most int) inspect.HotLanes {
			t.Helper()
			all, err := h.Hot(bg, ago, most)
			h.ok(err)
			return all
		}
		if all := hot(time.Hour, 0); len(all.Lanes) != 0 || all.Took != 0 {
			t.Errorf("before all: %+v", all)
		}
		h.enqueued("a", "j1", "j2")
		h.ran(one, map[string]time.Duration{"a": 3 * time.Second, "b": time.Second})
		h.ran(two, map[string]time.Duration{"a": 3 * time.Second, "c": 1500 * time.Microsecond})
		h.ran(two, map[string]time.Duration{"c": 2 * time.Second})
		all := hot(time.Millisecond, 2)
		total := 9*time.Second + 1500*time.Microsecond
		if all.Took != total || all.Rest != 0 || !all.Since.Equal(time.UnixMilli(0).Add(10*time.Hour)) || len(all.Lanes) != 2 {
			t.Fatalf("%+v", all)
		}
		if a := all.Lanes[0]; a.Subject != key("a") || a.Took != 6*time.Second || a.State != inspect.Ready || a.Depth != 2 || math.Abs(a.Share-6/total.Seconds()) > 1e-9 {
			t.Errorf("the hottest is %+v", a)
		}
		if c := all.Lanes[1]; c.Subject != key("c") || c.Took != 2001500*time.Microsecond || c.State != "" {
			t.Errorf("then comes %+v", c)
		}
		h.advance(15 * time.Minute)
		h.ran(one, map[string]time.Duration{"b": 10 * time.Second})
		if all := hot(time.Minute, 0); len(all.Lanes) != 1 || all.Lanes[0].Took != 10*time.Second || all.Lanes[0].Share != 1 {
			t.Errorf("of this minute %+v", all)
		}
		if all := hot(15*time.Minute, 0); len(all.Lanes) != 3 || all.Lanes[0].Subject != key("b") || all.Lanes[0].Took != 11*time.Second {
			t.Errorf("of all %+v", all)
		}
		h.advance(2*time.Hour - 5*time.Minute) // the first ten minutes are over for more than two hours
		if all := hot(2*time.Hour, 0); all.Took != 10*time.Second {
			t.Errorf("after two hours %+v", all)
		}
		h.advance(time.Minute)
		h.ran(one, map[string]time.Duration{"d": time.Second}) // where the first ten minutes stood
		if all := hot(2*time.Hour, 0); all.Took != 11*time.Second || all.Rest != 0 || len(all.Lanes) != 2 {
			t.Errorf("where a time has come round %+v", all)
		}
		for _, bad := range []func() error{
			func() error { _, err := h.Hot(bg, 0, 0); return err },
			func() error { _, err := h.Hot(bg, 2*time.Hour+1, 0); return err },
			func() error { _, err := h.Hot(bg, time.Hour, 501); return err },
		} {
			if err := bad(); !errors.Is(err, dispatcher.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// A worker tells of 64 subjects, the namespace keeps 256 of ten minutes and 13 of those; one more of each leaves out the least, nothing is ever
// shown as more than it was, and what is left out is said.
func TestHotIsBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.ms.Store(30_000)
		m := h.member("w", "", "k")
		many := func(from, n int) {
			took := make(map[string]time.Duration)
			for i := range n {
				took[fmt.Sprint(from+i)] = time.Duration(from+i+1) * time.Second
			}
			h.ran(m, took)
		}
		seen := func() (n int, rest time.Duration) {
			all, err := h.Hot(bg, time.Millisecond, 500)
			h.ok(err)
			for _, l := range all.Lanes {
				var i int
				_, _ = fmt.Sscan(l.Subject.ID, &i)
				if l.Took > time.Duration(i+1)*time.Second {
					t.Errorf("%s has %s", l.Subject, l.Took)
				}
			}
			return len(all.Lanes), all.Rest
		}
		many(0, 64)
		if n, rest := seen(); n != 64 || rest != 0 {
			t.Errorf("of 64 it shows %d, and %s is left out", n, rest)
		}
		h.advance(10 * time.Minute)
		many(0, 65)
		if n, rest := seen(); n > 64 || rest <= 0 {
			t.Errorf("of 65 it shows %d, and %s is left out", n, rest)
		}
		h.advance(10 * time.Minute)
		for from := 0; from < 256; from += 64 {
			many(from, 64)
		}
		if n, rest := seen(); n != 256 || rest != 0 {
			t.Errorf("of 256 it shows %d, and %s is left out", n, rest)
		}
		many(256, 1)
		if n, rest := seen(); n != 256 || rest != time.Second { // of "0", which had least
			t.Errorf("of 257 it shows %d, and %s is left out", n, rest)
		}
		if n := rdb.ZCard(bg, h.Namespace().HotAt("2")).Val(); n != 256 {
			t.Errorf("of 257 it keeps %d", n)
		}
		for range 30 {
			h.advance(10 * time.Minute)
			for from := 0; from < 320; from += 64 {
				many(from, 64)
			}
		}
		places, members := 0, int64(0)
		for _, k := range h.keys() {
			if n := rdb.ZCard(bg, k).Val(); strings.HasPrefix(k, h.Namespace().HotAt("")) && n > 0 {
				places, members = places+1, members+n
			}
		}
		if fields := rdb.HLen(bg, h.Namespace().Hot()).Val(); places != 13 || members != 13*256 || fields != 13 {
			t.Errorf("it has %d places with %d subjects, and knows of %d", places, members, fields)
		}
	})
}

// What is refused stays with the session and goes with its next record, once.
func TestHotThatIsRefused(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		m := h.member("w", "", "k")
		place := h.Namespace().HotAt(fmt.Sprint(h.ms.Load() / 600000 % 13))
		h.ok(rdb.Set(bg, place, "no zset", 0).Err())
		var tally session.Tally
		tally.Ran(key("a"), time.Second)
		tally.Add("k", session.EndFinished, time.Second)
		if err := m.s.Record(bg, &tally); err == nil || errors.Is(err, dispatcher.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if n := counted(h, "k"); n != 1 {
			t.Errorf("%d are counted", n)
		}
		h.ok(rdb.Del(bg, place).Err())
		h.ran(m, map[string]time.Duration{"b": time.Second})
		h.ran(m, nil)
		all, err := h.Hot(bg, time.Millisecond, 0)
		h.ok(err)
		if all.Took != 2*time.Second || all.Rest != 0 || len(all.Lanes) != 2 {
			t.Errorf("%+v", all)
		}
	})
}
