package dispatcher_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// C14: an end says why its job is a dead letter, or why its lane stands still, and that is what is stored of it: for a
// job by itself and for one of a batch.
func TestC14_EndsSayWhy(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, c := range map[string]struct {
			attempts int
			end      session.End
			want     string
		}{
			"goes on":            {2, session.End{Outcome: session.Retry}, ""},
			"last attempt":       {1, session.End{Outcome: session.Retry, Error: "no"}, "attempts exhausted"},
			"last worker":        {2, session.End{Outcome: session.Retry, Workers: 1}, "failed on different workers"},
			"last of both":       {1, session.End{Outcome: session.Retry, Workers: 1}, "failed on different workers"},
			"fatal":              {2, session.End{Outcome: session.DeadLettered, Reason: "permanent error"}, "permanent error"},
			"handed back":        {1, session.End{Outcome: session.HandedBack}, ""},
			"finished with keep": {1, session.End{Outcome: session.Finished}, ""},
		} {
			for _, kind := range []string{"k", "halt"} {
				for _, batch := range []bool{false, true} {
					h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{
						{Name: "k", Owner: "o"}, {Name: "halt", Owner: "o", OnFailure: dispatcher.Halt},
					}})
					h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: kind, ID: "j", MaxAttempts: c.attempts, Keep: time.Hour})
					claim := one(h.claimedKinds("w", 1, kind))
					end := c.end
					end.Claim = &claim
					if batch {
						end = session.End{Claim: &claim, Outcome: session.Several, Each: []session.End{end}}
					}
					got, err := h.turn(session.Claimant{}, 0, []session.End{end})
					h.ok(err)
					ended := got.Ended[0]
					if batch {
						ended = ended.Each[0]
					}
					halted := kind == "halt" && c.want != ""
					if ended.Reason != c.want || ended.Halted != halted {
						t.Errorf("%s, %s, in a batch %t: %+v, want %q", name, kind, batch, ended, c.want)
					}
					if c.want == "" {
						continue
					}
					outcome, err := h.Outcome(bg, ref("j"))
					want := c.want
					if halted {
						want = "halted: " + want
					}
					if err != nil || outcome.Reason != want {
						t.Errorf("%s, %s, in a batch %t: stored is %q, %v", name, kind, batch, outcome.Reason, err)
					}
				}
			}
		}
	})
}

// What was asked of a holder goes with its lease, also when a repair ends that.
func TestAsksGoWithTheLease(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, ends := range map[string]func(h *house, c session.Claim){
			"finished": func(h *house, c session.Claim) { h.ok(h.Finish(bg, c)) },
			"no job":   func(h *house, _ session.Claim) { h.ok(h.rdb.HDel(bg, h.Namespace().Keys(0).Jobs(), "ij").Err()) },
			"no record": func(h *house, _ session.Claim) {
				h.ok(h.rdb.HSet(bg, h.Namespace().Keys(0).Leases(), canonical("a"), "mine").Err())
			},
		} {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
			keys, subject := h.Namespace().Keys(0), canonical("a")
			h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", Keep: time.Hour})
			c := h.head("w", "j", 1)
			h.cancels("j")
			if asked := rdb.HGet(bg, keys.Asks(), subject).Val(); asked == "" {
				t.Fatalf("%s: nothing is asked", name)
			}
			ends(h, c)
			_, err := h.Repair(bg, nil)
			h.ok(err)
			if asked := rdb.HGet(bg, keys.Asks(), subject).Val(); asked != "" {
				t.Errorf("%s: %q is asked still", name, asked)
			}
		}
	})
}
