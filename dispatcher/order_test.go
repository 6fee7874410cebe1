package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

var bg = context.Background()

func TestI5_JobsOfOneLaneRunInOrder(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2", "j3")
		for _, id := range []string{"j1", "j2", "j3"} {
			c := h.head("w", id, 1)
			h.none("w2") // held: nobody else gets the lane
			h.ok(h.Finish(bg, c))
		}
		h.none("w")
	})
}

func TestI1_DifferentSubjectsRunAtOnce(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		for i := range 20 {
			h.enqueued(fmt.Sprint("s", i), fmt.Sprint("a", i), fmt.Sprint("b", i))
		}
		claims := h.claimed("w", 100)
		if len(claims) != 20 {
			t.Fatalf("claimed %d lanes, want 20", len(claims))
		}
		for i := range 20 {
			if got := claims[fmt.Sprint("s", i)].ID; got != fmt.Sprint("a", i) {
				t.Errorf("head of s%d is %s, want a%d", i, got, i)
			}
		}
	})
}

func TestI3_SupersededTokenChangesNothing(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2")
		frozen := h.head("w1", "j1", 1)
		h.advance(10 * time.Second)
		if r := h.reaped(); r.Expired != 1 {
			t.Fatalf("reaped %+v, want one expired lease", r)
		}
		second := h.head("w2", "j1", 2)
		if second.Lease.Token <= frozen.Lease.Token {
			t.Fatalf("token %s after %s does not rise", second.Lease.Token, frozen.Lease.Token)
		}
		before := dump(t, rdb, h.cfg.Namespace)
		_, retryErr := h.Retry(bg, frozen, 0, "late")
		for verb, err := range map[string]error{
			"finish":      h.Finish(bg, frozen),
			"retry":       retryErr,
			"dead-letter": h.DeadLetter(bg, frozen, "late", ""),
			"hand back":   h.HandBack(bg, frozen),
			"renew":       h.Leases().Renew(bg, time.Second, frozen.Lease)[0],
			"release":     h.Leases().Release(bg, frozen.Lease),
		} {
			if !errors.Is(err, lease.ErrLost) {
				t.Errorf("%s with a superseded token: %v, want ErrLost", verb, err)
			}
		}
		if after := dump(t, rdb, h.cfg.Namespace); after != before {
			t.Errorf("superseded calls changed the state:\n%s\n%s", before, after)
		}
		h.ok(h.Finish(bg, second))
		h.head("w2", "j2", 1)
	})
}

func TestI6_RetryKeepsTheHeadAndItsLaneWaits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2")
		dead, err := h.Retry(bg, h.head("w", "j1", 1), time.Second, "boom")
		if dead || err != nil {
			t.Fatal(dead, err)
		}
		h.reaped()
		h.none("w")
		h.advance(time.Second)
		h.reaped()
		_, err = h.Retry(bg, h.head("w", "j1", 2), 0, "boom")
		h.ok(err)
		dead, err = h.Retry(bg, h.head("w", "j1", 3), 0, "last")
		if !dead || err != nil {
			t.Fatalf("third failure of three: dead %v, %v", dead, err)
		}
		h.head("w", "j2", 1)
		info, err := h.Job(bg, ref("j1"))
		h.ok(err)
		if info.State != inspect.Dead || info.Reason != "attempts exhausted" || info.Error != "last" || info.Attempt != 3 {
			t.Fatalf("dead letter is %+v", info)
		}
	})
}

// A lease that was taken outside of any job says nothing of the jobs that came into
// the lane meanwhile: when it runs out none of them has lost an attempt.
func TestI6_ALeaseWithoutAJobCostsNoAttempt(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		_, err := h.Leases().Acquire(bg, key("a"), "inline", 10*time.Second)
		h.ok(err)
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j1", MaxAttempts: 1})
		h.clean()
		h.none("w")
		if info, err := h.Job(bg, ref("j1")); err != nil || info.Attempt != 0 || info.State != inspect.Waiting {
			t.Errorf("behind a lease of its own: %+v, %v", info, err)
		}
		h.clean()
		h.advance(10 * time.Second)
		if r := h.reaped(); r.Expired != 1 || r.Buried != 0 {
			t.Fatalf("reaped %+v", r)
		}
		h.ok(h.Finish(bg, h.head("w", "j1", 1)))
		// Released in time, it hands the lane on at once.
		l, err := h.Leases().Acquire(bg, key("a"), "inline", 10*time.Second)
		h.ok(err)
		h.enqueued("a", "j2")
		h.ok(h.Leases().Release(bg, l))
		h.ok(h.Finish(bg, h.head("w", "j2", 1)))
		h.empty()
	})
}

// Lanes of a kind with a long backlog do not keep those of another from their turn.
func TestKindsTakeTurns(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		for i := range 40 {
			for _, kind := range []string{"a", "z"} {
				h.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(kind, i)), Kind: kind})
			}
		}
		count := make(map[string]int)
		for range 20 {
			for _, c := range h.claimedKinds("w", 1, "a", "z") {
				count[c.Kind]++
			}
		}
		if count["a"] != 10 || count["z"] != 10 {
			t.Errorf("twenty claims of one lane gave %v, want ten of each kind", count)
		}
	})
}

// A look must not decide how a namespace is cut.
func TestLookDoesNotCreateTheNamespace(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		name := redistest.Namespace(t, rdb)
		d, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name, Look: true})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := inspect.New(d).Stats(bg); err != nil || s.Jobs != 0 {
			t.Errorf("stats of nothing: %+v, %v", s, err)
		}
		if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name, Partitions: 3}); err != nil {
			t.Errorf("a look has fixed the number of partitions: %v", err)
		}
	})
}

// An index that lists a leased lane as ready is corrupt; it gives nothing out.
func TestI1_CorruptIndexGivesNothingOut(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		h.enqueued("a", "j1", "j2")
		c := h.head("w1", "j1", 1)
		ready := h.Namespace().Keys(0).Ready("k")
		h.ok(rdb.RPush(bg, ready, key("a").Canonical(), key("a").Canonical(), key("ghost").Canonical()).Err())
		h.none("w2")
		h.ok(h.Finish(bg, c))
		h.ok(rdb.RPush(bg, ready, key("a").Canonical()).Err()) // listed twice
		h.ok(h.Finish(bg, h.head("w2", "j2", 1)))
		h.empty()
	})
}

// Sequence numbers are stored in six bytes; they rise through each of the lower ones.
func TestI5_SequenceNumbersRise(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
		for _, start := range []int64{0, 65_530, 1<<32 - 5} {
			h.ok(rdb.HSet(bg, h.Namespace().Keys(0).Clock(), "seq", start).Err())
			batch := make([]dispatcher.NewJob, dispatcher.MaxBatch)
			for i := range batch {
				batch[i] = dispatcher.NewJob{Subject: key(fmt.Sprint(start)), Kind: "k"}
			}
			done, err := h.EnqueueMany(bg, batch)
			h.ok(err)
			_, jobs, _, err := h.Lane(bg, key(fmt.Sprint(start)), inspect.Page{Limit: 500})
			h.ok(err)
			for i, j := range jobs {
				if want := start + int64(i) + 1; j.Seq != want || done[i].Seq != want {
					t.Fatalf("job %d has seq %d, enqueue said %d, want %d", i, j.Seq, done[i].Seq, want)
				}
			}
		}
	})
}

// I8: what a client's clock says is of no account. The server's is decades ahead here.
func TestI8_TimesAreTheServers(t *testing.T) {
	t.Parallel()
	m, rdb := redistest.Mini(t)
	at := time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	m.SetTime(at)
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = d.Enqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j"}); err != nil {
		t.Fatal(err)
	}
	claims, err := claimFor(bg, d, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 1)
	if err != nil || len(claims) != 1 {
		t.Fatal(claims, err)
	}
	if got := claims[0].EnqueuedAt; !got.Equal(at) {
		t.Errorf("enqueued at %s, the server's clock says %s", got, at)
	}
	if lane, err := inspect.New(d).Lane(bg, key("a"), inspect.Page{}); err != nil || !lane.ExpiresAt.Equal(at.Add(time.Minute)) {
		t.Errorf("leased until %s, %v, want a minute from the server's time", lane.ExpiresAt, err)
	}
}

// I8: every ms of a second is read as what it is. Those whose digits begin with a 0 were octal numbers to miniredis's
// Lua: for 56 ms of each second its time was up to 14 ms behind, and jobs fell due and leases ended so much too early.
func TestI8_TimesAreExact(t *testing.T) {
	t.Parallel()
	m, rdb := redistest.Mini(t)
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb), Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	second := time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, us := range []int{7, 8_010, 10_000, 65_532, 77_999, 80_000, 99_001, 100_000, 765_000, 999_999} {
		at := second.Add(time.Duration(i)*time.Minute + time.Duration(us)*time.Microsecond)
		m.SetTime(at)
		if _, err = d.Enqueue(bg, dispatcher.NewJob{Subject: key(fmt.Sprint(us)), Kind: "k"}); err != nil {
			t.Fatal(err)
		}
		claims, err := claimFor(bg, d, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 1)
		if err != nil || len(claims) != 1 {
			t.Fatal(claims, err)
		}
		if got, token := claims[0].EnqueuedAt, claims[0].Lease.Token; !got.Equal(at.Truncate(time.Millisecond)) || int64(token) != at.UnixMicro() {
			t.Errorf("at %s the time was read as %s, and as %d", at, got, token)
		}
	}
}
