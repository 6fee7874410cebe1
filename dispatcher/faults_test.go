package dispatcher_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// Each of these was wrong by design until the house was rebuilt.

// I13: whoever claims, no more jobs of a limited kind run than may.
func TestI13_NoDoorBesideTheLimit(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}})
	h.lanes("k", 5)
	if got := h.claimed("w", 5); len(got) > 1 {
		t.Errorf("%d jobs run under a limit of 1", len(got))
	}
}

// L9: however often a job has failed, it is found, says so, and can be cancelled.
func TestL9_JobThatFailedVeryOften(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", OnFailure: dispatcher.Skip}}})
	h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", MaxAttempts: 1000})
	for i := range 120 {
		h.ends(h.head("w", "j", i+1), session.End{Outcome: session.Retry, Wait: time.Second, Error: "boom"}, false)
		if i < 119 {
			h.advance(time.Minute)
			h.reaped()
		}
	}
	if info, err := h.Job(bg, ref("j")); err != nil || info.State != inspect.Scheduled || info.Attempt != 120 {
		t.Errorf("it is %s after %d attempts, %v", info.State, info.Attempt, err)
	}
	h.cancels("j")
	h.empty()
}

// L9: the outcome of a job that is cancelled while it runs is kept for as long as its kind says, however its attempt ends.
func TestL9_CancelledOutcomesAreKeptAsDeclared(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, end := range map[string]func(h *house, c session.Claim){
			"handed back": func(h *house, c session.Claim) { h.ok(h.HandBack(bg, c)) },
			"failed":      func(h *house, c session.Claim) { _, err := h.Retry(bg, c, 0, ""); h.ok(err) },
			"dead":        func(h *house, c session.Claim) { h.ok(h.DeadLetter(bg, c, "x", "")) },
			"lost":        func(h *house, _ session.Claim) { h.advance(11 * time.Second); h.reaped() },
			"in a batch":  func(h *house, c session.Claim) { h.endsEach(&c, session.Retry) },
		} {
			h := newHouse(t, rdb, dispatcher.Config{})
			job := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", Keep: time.Minute})
			c := h.head("w", "j", 1)
			h.cancels("j")
			end(h, c)
			if o, err := h.Outcome(bg, job.Ref()); err != nil || o.At.UnixMilli() != h.ms.Load() || o.Attempts != 1 {
				t.Errorf("%s: its outcome is %+v, %v, want one of now after 1 attempt", name, o, err)
			}
			for _, c := range []struct {
				after time.Duration
				kept  bool
			}{{59 * time.Second, true}, {2 * time.Second, false}} {
				h.advance(c.after)
				h.reaped()
				o, err := h.Outcome(bg, job.Ref())
				if kept := err == nil && o.State == dispatcher.JobCancelled; kept != c.kept {
					t.Errorf("%s: after %s more its outcome is %+v, %v", name, c.after, o, err)
				}
			}
		}
	})
}
