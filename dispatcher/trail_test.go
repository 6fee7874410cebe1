package dispatcher_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// attempt is a first attempt at a job of the lane a that ends now.
func (h *house) attempt(id string, how session.Ending, took time.Duration) *session.Attempt {
	now := time.UnixMilli(h.ms.Load()).UTC()
	return &session.Attempt{
		Subject: key("a"), ID: id, Kind: "k", Attempt: 1, EnqueuedAt: now.Add(-time.Minute), StartedAt: now.Add(-took), EndedAt: now, Ending: how, Holder: "w",
	}
}

// trailed lists the ids of the trail, page by page.
func (h *house) trailed(f inspect.TrailFilter, limit int) (ids []string) {
	h.t.Helper()
	for page := (inspect.Page{Limit: limit}); ; {
		part, err := h.Trail(bg, f, page)
		h.ok(err)
		for _, a := range part.Attempts {
			ids = append(ids, a.ID)
		}
		if page.Cursor = part.Next; page.Cursor == "" {
			return ids
		}
		if len(part.Attempts) != limit {
			h.t.Fatalf("a page of %d of %d has a next one", len(part.Attempts), limit)
		}
	}
}

// The trail is listed by the ends of attempts, whoever told of them when, and filtered.
func TestTrail(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		var early, late session.Tally
		endings := []session.Ending{session.EndFinished, session.EndFailed, session.EndLost}
		for i := range 12 {
			h.advance(time.Second)
			a := h.attempt(fmt.Sprint(i), endings[i%3], 10*time.Second)
			a.Kind = []string{"k", "other"}[i%2]
			a.Subject = key([]string{"a", "b"}[i/6])
			a.Error = "first\nsecond"
			if i%4 > 0 {
				late.Keep(a)
			} else {
				early.Keep(a)
			}
		}
		last := h.attempt("11", session.EndCancelled, 0) // ended with another
		late.Keep(last)
		h.ok(h.member("late", "", "k").s.Record(bg, &late))
		h.ok(h.member("early", "", "k").s.Record(bg, &early))
		since := time.UnixMilli(h.ms.Load() - 2000)
		for _, c := range []struct {
			f    inspect.TrailFilter
			want []string
		}{
			{inspect.TrailFilter{}, []string{"11", "11", "10", "9", "8", "7", "6", "5", "4", "3", "2", "1", "0"}},
			{inspect.TrailFilter{Subject: key("a")}, []string{"11", "5", "4", "3", "2", "1", "0"}},
			{inspect.TrailFilter{Kind: "other"}, []string{"11", "9", "7", "5", "3", "1"}},
			{inspect.TrailFilter{Ending: session.EndFailed}, []string{"10", "7", "4", "1"}},
			{inspect.TrailFilter{Since: since}, []string{"11", "11", "10", "9"}},
		} {
			for _, limit := range []int{1, 5, 50} {
				if got := h.trailed(c.f, limit); !slices.Equal(got, c.want) {
					t.Errorf("%+v, %d a page: %q, want %q", c.f, limit, got, c.want)
				}
			}
		}
		page, err := h.Trail(bg, inspect.TrailFilter{Ending: session.EndFailed}, inspect.Page{Limit: 1})
		h.ok(err)
		want := inspect.Attempt{Attempt: *h.attempt("10", session.EndFailed, 0), Of: 1}
		want.EndedAt = time.UnixMilli(h.ms.Load() - 1000).UTC()
		want.StartedAt, want.EnqueuedAt, want.Subject, want.Error = want.EndedAt.Add(-10*time.Second), want.EndedAt.Add(-time.Minute), key("b"), "first"
		if got := page.Attempts[0]; got != want || page.Sampled || !page.Since.Equal(time.UnixMilli(1_001_000)) {
			t.Errorf("%+v, want %+v; %+v", got, want, page)
		}
		for _, bad := range []func() error{
			func() error { _, err := h.Trail(bg, inspect.TrailFilter{Ending: "odd"}, inspect.Page{}); return err },
			func() error { _, err := h.Trail(bg, inspect.TrailFilter{}, inspect.Page{Cursor: "1.x"}); return err },
			func() error { _, err := h.Trail(bg, inspect.TrailFilter{}, inspect.Page{Limit: 501}); return err },
		} {
			if err := bad(); !errors.Is(err, dispatcher.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		}
	})
}

// However many attempts there are, a record has 200 of those that went well and fast, each of which says for how many it stands,
// and 300 of others, none of which is left out below that; and the trail has 5,000.
func TestTrailIsBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		m := h.member("w", "", "k")
		many := func(fast, failed, slow int) {
			var tally session.Tally
			for i := range fast {
				tally.Keep(h.attempt(fmt.Sprint("fast", i), session.EndFinished, session.Slow-1))
			}
			for i := range failed {
				tally.Keep(h.attempt(fmt.Sprint("failed", i), session.EndFailed, 0))
			}
			for i := range slow {
				tally.Keep(h.attempt(fmt.Sprint("slow", i), session.EndFinished, session.Slow))
			}
			h.ok(m.s.Record(bg, &tally))
		}
		count := func() map[string]int {
			stands := make(map[string]int)
			for page := (inspect.Page{Limit: 500}); ; {
				part, err := h.Trail(bg, inspect.TrailFilter{}, page)
				h.ok(err)
				for _, a := range part.Attempts {
					what := a.ID[:4]
					stands[what]++
					stands[what+" stand for"] += a.Of
				}
				if page.Cursor = part.Next; page.Cursor == "" {
					if part.Sampled {
						stands["sampled"] = 1
					}
					return stands
				}
			}
		}
		many(150, 200, 100)
		if c := count(); c["fast"] != 150 || c["fail"] != 200 || c["slow"] != 100 || c["sampled"] != 0 {
			t.Errorf("of few: %v", c)
		}
		h.ok(rdb.Del(bg, h.Namespace().Trail()).Err())
		many(2000, 1000, 200)
		if c := count(); c["fast"] != 200 || c["fast stand for"] != 2000 || c["fail"]+c["slow"] != 300 || c["fail stand for"]+c["slow stand for"] != 1200 || c["sampled"] != 1 {
			t.Errorf("of many: %v", c)
		}
		for range 12 {
			many(400, 400, 0)
		}
		if n := rdb.LLen(bg, h.Namespace().Trail()).Val(); n != 5000 {
			t.Errorf("the trail has %d", n)
		}
	})
}

// Of a watched subject all attempts are there, up to 200, from the beat after which its workers know of it until the watch ends; what others
// did is not there for that, and what it did stays for an hour.
func TestWatchedSubjectsAreComplete(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		m := h.member("w", "", "k")
		var tally session.Tally
		n := 0
		rush := func(lane string, most int) {
			for range most {
				n++
				a := h.attempt(fmt.Sprint(n), session.EndFinished, 0)
				a.Subject = key(lane)
				tally.Keep(a)
			}
		}
		beat := func() {
			h.ok(m.s.Record(bg, &tally))
			h.ok(m.s.Beat(bg))
			tally.Watch(m.s.Watched())
			h.advance(time.Second)
		}
		until, err := h.Watch(bg, key("a"), time.Minute)
		h.ok(err)
		if want := time.UnixMilli(h.ms.Load() + 60_000); !until.Equal(want) {
			t.Errorf("until %s, want %s", until, want)
		}
		rush("a", 10) // nobody has heard of it yet
		beat()
		rush("a", 150)
		rush("b", 5000)
		beat()
		page, err := h.Trail(bg, inspect.TrailFilter{Subject: key("a")}, inspect.Page{Limit: 500})
		h.ok(err)
		for _, a := range page.Attempts {
			if a.Of != 1 {
				t.Errorf("%s of a watched lane stands for %d", a.ID, a.Of)
			}
		}
		if !page.WatchedUntil.Equal(until) || len(page.Attempts) != 160 {
			t.Errorf("it has %d until %s, want 160", len(page.Attempts), page.WatchedUntil)
		}
		if other := h.trailed(inspect.TrailFilter{Subject: key("b")}, 500); len(other) > 200 || rdb.Exists(bg, h.Namespace().TrailOf(canonical("b"))).Val() != 0 {
			t.Errorf("of a lane that nobody watches it has %d", len(other))
		}
		rush("a", 500)
		beat()
		if n := rdb.LLen(bg, h.Namespace().TrailOf(canonical("a"))).Val(); n != 200 {
			t.Errorf("its own trail has %d", n)
		}
		if ttl := rdb.PTTL(bg, h.Namespace().TrailOf(canonical("a"))).Val(); ttl <= 50*time.Minute || ttl > time.Hour {
			t.Errorf("it stays for %s", ttl)
		}
		h.advance(time.Minute)
		if page, err := h.Trail(bg, inspect.TrailFilter{Subject: key("a")}, inspect.Page{}); err != nil || !page.WatchedUntil.IsZero() {
			t.Errorf("it is over, and shown until %s, %v", page.WatchedUntil, err)
		}
		beat()
		if w := m.s.Watched(); len(w) != 0 {
			t.Errorf("after its time %v is watched", w)
		}
		h.ok(m.s.Record(bg, &tally))
	})
}

// A namespace has 64 watched subjects; one that is watched already, or whose time is over, is in nobody's way.
func TestWatchesAreBounded(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		watch := func(i int, long time.Duration) error {
			_, err := h.Watch(bg, key(fmt.Sprint(i)), long)
			return err
		}
		for i := range 64 {
			h.ok(watch(i, time.Duration(i+1)*time.Minute))
		}
		if err := watch(64, time.Minute); err == nil || !strings.Contains(err.Error(), "until 1970-01-01 00:17:40") {
			t.Errorf("one too many: %v", err)
		}
		h.ok(watch(5, time.Hour))
		h.ok(watch(6, 0))
		h.ok(watch(64, time.Hour))
		h.advance(time.Minute)
		h.ok(watch(65, time.Hour)) // the first one's time is over
		if n := rdb.ZCard(bg, h.Namespace().Watched()).Val(); n != 64 {
			t.Errorf("%d are watched", n)
		}
		m := h.member("w", "", "k")
		if w := m.s.Watched(); len(w) != 64 || w[key("0")] || w[key("6")] || !w[key("65")] {
			t.Errorf("its workers hear of %d: %v", len(w), w)
		}
		for _, long := range []time.Duration{-1, 25 * time.Hour, time.Microsecond} {
			if err := watch(1, long); !errors.Is(err, dispatcher.ErrInvalid) {
				t.Errorf("%s: %v", long, err)
			}
		}
	})
}

// Attempts that are refused stay with the session, and go with its next record.
func TestTrailThatIsRefused(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		m := h.member("w", "", "k")
		var tally session.Tally
		record := func(id string) error {
			tally.Add("k", session.EndFailed, 0)
			tally.Keep(h.attempt(id, session.EndFailed, 0))
			return m.s.Record(bg, &tally)
		}
		h.ok(rdb.Set(bg, h.Namespace().Trail(), "no list", 0).Err())
		if err := record("1"); err == nil || errors.Is(err, dispatcher.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		if n := counted(h, "k"); n != 1 {
			t.Errorf("%d are counted", n)
		}
		h.ok(rdb.Del(bg, h.Namespace().Trail()).Err())
		h.advance(time.Second)
		h.ok(record("2"))
		if got := h.trailed(inspect.TrailFilter{}, 50); !slices.Equal(got, []string{"2", "1"}) {
			t.Errorf("the trail has %q", got)
		}
	})
}

// Jobs that are scheduled, run or are dead letters are listed by state, and picked by kind, subject and time.
func TestJobsByState(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 2})
		for i := range 9 {
			h.later([]string{"a", "b", "c"}[i%3], []string{"k", "other"}[i%2], fmt.Sprint("later", i), time.Duration(9-i/2)*time.Hour)
		}
		h.enqueued("d", "died")
		h.ok(h.DeadLetter(bg, h.head("w", "died", 1), "permanent", "boom"))
		h.advance(time.Minute)
		h.enqueued("e", "runs")
		h.head("w2", "runs", 1)
		h.enqueued("f", "waits")
		_, err := h.Leases().Acquire(bg, key("section"), "caller", time.Minute)
		h.ok(err)
		ids := func(f inspect.JobFilter, limit int) (ids []string) {
			for page := (inspect.Page{Limit: limit}); ; {
				jobs, next, err := h.Jobs(bg, f, page)
				h.ok(err)
				for _, job := range jobs {
					ids = append(ids, job.ID)
				}
				if page.Cursor = next; next == "" {
					return ids
				}
			}
		}
		now := time.UnixMilli(h.ms.Load())
		for _, c := range []struct {
			f     inspect.JobFilter
			among []string
		}{
			{inspect.JobFilter{State: inspect.Scheduled}, []string{"later0", "later1", "later2", "later3", "later4", "later5", "later6", "later7", "later8"}},
			{inspect.JobFilter{State: inspect.Scheduled, Kind: "other"}, []string{"later1", "later3", "later5", "later7"}},
			{inspect.JobFilter{State: inspect.Scheduled, Subject: key("b")}, []string{"later1", "later4", "later7"}},
			{inspect.JobFilter{State: inspect.Scheduled, Subject: key("b"), Kind: "k"}, []string{"later4"}},
			{inspect.JobFilter{State: inspect.Leased}, []string{"runs"}},
			{inspect.JobFilter{State: inspect.Leased, Kind: "other"}, nil},
			{inspect.JobFilter{State: inspect.Leased, Since: now}, []string{"runs"}},
			{inspect.JobFilter{State: inspect.Leased, Since: now.Add(time.Second)}, nil},
			{inspect.JobFilter{State: inspect.Dead}, []string{"died"}},
			{inspect.JobFilter{State: inspect.Dead, Since: now.Add(-time.Hour), Subject: key("d")}, []string{"died"}},
			{inspect.JobFilter{State: inspect.Dead, Since: now}, nil},
			{inspect.JobFilter{State: inspect.Dead, Subject: key("e")}, nil},
		} {
			for _, limit := range []int{1, 2, 50} {
				got := ids(c.f, limit)
				slices.Sort(got)
				if !slices.Equal(got, c.among) {
					t.Errorf("%+v, %d a page: %q, want %q", c.f, limit, got, c.among)
				}
			}
		}
		if got := ids(inspect.JobFilter{State: inspect.Scheduled, Subject: key("b")}, 1); !slices.Equal(got, []string{"later7", "later4", "later1"}) {
			t.Errorf("%q, want the next due first", got)
		}
		jobs, _, err := h.Jobs(bg, inspect.JobFilter{State: inspect.Scheduled, Kind: "k", Subject: key("b")}, inspect.Page{})
		h.ok(err)
		if j := jobs[0]; j.State != inspect.Scheduled || !j.RunAt.Equal(time.UnixMilli(1_000_000).Add(7*time.Hour)) || j.MaxAttempts != 25 || j.Subject != key("b") {
			t.Errorf("%+v", j)
		}
		jobs, _, err = h.Jobs(bg, inspect.JobFilter{State: inspect.Leased}, inspect.Page{})
		h.ok(err)
		if j := jobs[0]; j.Holder != "w2" || j.Attempt != 1 || j.Token == 0 || j.State != inspect.Leased {
			t.Errorf("%+v", j)
		}
		for _, f := range []inspect.JobFilter{{}, {State: inspect.Ready}} {
			if _, _, err := h.Jobs(bg, f, inspect.Page{}); !errors.Is(err, dispatcher.ErrInvalid) {
				t.Errorf("%+v: %v", f, err)
			}
		}
	})
}
