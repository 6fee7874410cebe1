package dispatcher_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// listener notes the error replies that a client gets.
type listener struct {
	mu      sync.Mutex
	replies []string
}

func (l *listener) note(cmds ...redis.Cmder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range cmds {
		if _, answered := c.Err().(redis.Error); answered && c.Err() != redis.Nil {
			l.replies = append(l.replies, c.Err().Error())
		}
	}
}

func (l *listener) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (l *listener) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l.note(cmd)
		return err
	}
}

func (l *listener) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		l.note(cmds...)
		return err
	}
}

// Nothing of a user's gets into an error reply (CVE-2025-67733 was made of that), whatever
// fails: each key of the schema has a wrong type in turn, and memory is full.
func TestErrorRepliesHoldNothingOfTheUsers(t *testing.T) {
	t.Parallel()
	const canary = "CANARY\r\n-ERR"
	ids := []string{canary + "1", canary + "2", canary + "3"}
	for i := range (subject.Keys{}).Fixed() {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := redistest.Own(t)
			rdb := redistest.ClientOf(t, s)
			heard := &listener{}
			rdb.AddHook(heard)
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			keys := h.Namespace().Keys(0)
			put := func(id string) error {
				_, err := h.Enqueue(bg, dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: canary}, Kind: "k", ID: id, Payload: []byte(canary)})
				return err
			}
			for _, id := range ids {
				h.ok(put(id))
			}
			claim := h.claimed("w", 1)[canary]
			h.ok(rdb.Set(bg, keys.Fixed()[i], "of a wrong type", 0).Err())
			failed := 0
			for _, err := range []error{
				put(canary + "4"), h.Leases().Renew(bg, time.Minute, claim.Lease)[0],
				func() error { _, err := h.Retry(bg, claim, 0, canary); return err }(),
				h.DeadLetter(bg, claim, canary, canary), h.HandBack(bg, claim), h.Finish(bg, claim),
				func() error { _, err := h.Reap(bg); return err }(),
				func() error { _, err := h.Replay(bg, ref(ids[0]), true); return err }(), h.Discard(bg, ref(ids[0])),
			} {
				if err != nil {
					failed++
				}
			}
			h.ok(rdb.ConfigSet(bg, "maxmemory", "1").Err())
			if put(canary+"5") == nil {
				t.Error("an enqueue was taken in full memory")
			}
			if failed == 0 || len(heard.replies) == 0 {
				t.Fatal("nothing failed: the test sees nothing")
			}
			for _, reply := range heard.replies {
				if strings.Contains(reply, "CANARY") {
					t.Errorf("an error reply says %q", reply)
				}
			}
		})
	}
}
