package dispatcher_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// Every state of a lane, every verb that carries a token, every kind of token
// [L7]. Where the token is current the verb does its work; everywhere else it
// returns ErrLost and changes nothing.
func TestL7_LegalAndIllegalTransitions(t *testing.T) {
	t.Parallel()
	// Each state is made from a claim of j1 by w1 in a lane j1, j2.
	states := map[string]func(h *house, c session.Claim){
		"leased":          func(*house, session.Claim) {},
		"leased and over": func(h *house, _ session.Claim) { h.advance(time.Minute) },
		"reaped":          func(h *house, _ session.Claim) { h.advance(time.Minute); h.reaped() },
		"leased by other": func(h *house, _ session.Claim) { h.advance(time.Minute); h.reaped(); h.head("w2", "j1", 2) },
		"finished":        func(h *house, c session.Claim) { h.ok(h.Finish(bg, c)) },
		"finished, next leased": func(h *house, c session.Claim) {
			h.ok(h.Finish(bg, c))
			h.head("w2", "j2", 1)
		},
		"delayed":     func(h *house, c session.Claim) { _, err := h.Retry(bg, c, time.Hour, "x"); h.ok(err) },
		"ready again": func(h *house, c session.Claim) { _, err := h.Retry(bg, c, 0, "x"); h.ok(err) },
		"handed back": func(h *house, c session.Claim) { h.ok(h.HandBack(bg, c)) },
		"dead":        func(h *house, c session.Claim) { h.ok(h.DeadLetter(bg, c, "x", "")) },
		"dead, replayed": func(h *house, c session.Claim) {
			h.ok(h.DeadLetter(bg, c, "x", ""))
			_, err := h.Replay(bg, ref("j1"), true)
			h.ok(err)
		},
		"discarded": func(h *house, c session.Claim) {
			h.ok(h.DeadLetter(bg, c, "x", ""))
			h.ok(h.Discard(bg, ref("j1")))
		},
	}
	verbs := map[string]func(h *house, c session.Claim) error{
		"finish":      func(h *house, c session.Claim) error { return h.Finish(bg, c) },
		"retry":       func(h *house, c session.Claim) error { _, err := h.Retry(bg, c, time.Second, "x"); return err },
		"dead-letter": func(h *house, c session.Claim) error { return h.DeadLetter(bg, c, "x", "y") },
		"hand back":   func(h *house, c session.Claim) error { return h.HandBack(bg, c) },
		"renew":       func(h *house, c session.Claim) error { return h.Leases().Renew(bg, time.Minute, c.Lease)[0] },
		"release":     func(h *house, c session.Claim) error { return h.Leases().Release(bg, c.Lease) },
	}
	tokens := map[string]func(session.Claim) session.Claim{
		"own":    func(c session.Claim) session.Claim { return c },
		"lower":  func(c session.Claim) session.Claim { c.Lease.Token--; return c },
		"higher": func(c session.Claim) session.Claim { c.Lease.Token += 1_000_000; return c },
		"of a shorter number": func(c session.Claim) session.Claim {
			c.Lease.Token /= 10
			return c
		},
	}
	legal := func(state, verb, token string) bool {
		return token == "own" && (state == "leased" || state == "leased and over" && verb != "renew")
	}
	for state, reach := range states {
		for verb, do := range verbs {
			for token, forge := range tokens {
				t.Run(fmt.Sprintf("%s/%s/%s", state, verb, token), func(t *testing.T) {
					t.Parallel()
					h := newHouse(t, redistest.Client(t), dispatcher.Config{})
					h.enqueued("a", "j1", "j2")
					c := h.head("w1", "j1", 1)
					reach(h, c)
					before := dump(t, h.rdb, h.cfg.Namespace)
					err := do(h, forge(c))
					if legal(state, verb, token) {
						h.ok(err)
					} else {
						if !errors.Is(err, lease.ErrLost) {
							t.Errorf("got %v, want ErrLost", err)
						}
						if after := dump(t, h.rdb, h.cfg.Namespace); after != before {
							t.Errorf("an illegal call changed the state:\n%s\n%s", before, after)
						}
					}
					h.clean()
				})
			}
		}
	}
}

// A job id that is not the head's is refused even under the right token.
func TestI3_OnlyTheHeadCanEnd(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		h.enqueued("a", "j1", "j2")
		c := h.head("w", "j1", 1)
		other := c
		other.ID = "j2"
		if err := h.Finish(bg, other); !errors.Is(err, lease.ErrLost) {
			t.Errorf("finish of a job behind the head: %v", err)
		}
		h.ok(h.Finish(bg, c))
	})
}
