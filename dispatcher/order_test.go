package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
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
		info, err := h.Job(bg, "j1")
		h.ok(err)
		if info.State != dispatcher.Dead || info.Reason != "attempts exhausted" || info.Error != "last" || info.Attempt != 3 {
			t.Fatalf("dead letter is %+v", info)
		}
	})
}
