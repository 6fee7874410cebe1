package control_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/control"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var bg = context.Background()

func key(id string) subject.Key { return subject.Key{Kind: "s", ID: id} }

// house is a namespace of its own with a clock that the test moves, and who holds there.
type house struct {
	*dispatcher.Dispatcher
	*control.Control
	t   *testing.T
	rdb *redis.Client
	ms  atomic.Int64
}

func newHouse(t *testing.T, rdb *redis.Client, kinds ...dispatcher.Kind) *house {
	t.Helper()
	h := &house{t: t, rdb: rdb}
	h.ms.Store(1_000_000)
	var err error
	h.Dispatcher, err = dispatcher.Open(bg, dispatcher.Config{
		Redis: rdb, Namespace: redistest.Namespace(t, rdb), Partitions: 2, Kinds: kinds, Now: func() time.Time { return time.UnixMilli(h.ms.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Control = control.New(h.Dispatcher)
	return h
}

func (h *house) sleep(d time.Duration) { h.ms.Add(d.Milliseconds()) }

func (h *house) now() time.Time { return time.UnixMilli(h.ms.Load()).UTC() }

// put enqueues a job of a kind with that id for each lane.
func (h *house) put(kind string, lanes ...string) {
	h.t.Helper()
	for _, lane := range lanes {
		if _, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key(lane), Kind: kind}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// held sets a hold.
func (h *house) held(scope control.Scope, name string, except ...string) control.Hold {
	h.t.Helper()
	return h.holds(control.Hold{Scope: scope, Name: name, Except: except})
}

func (h *house) holds(hold control.Hold) control.Hold {
	h.t.Helper()
	hold.Reason = "test"
	hold, err := h.Hold(bg, hold)
	if err != nil {
		h.t.Fatal(err)
	}
	return hold
}

func (h *house) release(hold control.Hold) {
	h.t.Helper()
	if _, err := h.Release(bg, hold.ID); err != nil {
		h.t.Fatal(err)
	}
}

// bare is a claimant that hears of nothing: what it does not get, scripts have kept from it.
func (h *house) bare(who session.Claimant) *session.Session {
	h.t.Helper()
	if who.Holder == "" {
		who.Holder = session.NewHolder()
	}
	who.TTL = time.Minute
	s, err := session.Bare(bg, h.Dispatcher, who)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// turn makes a trip to every partition with these ends, and returns all claims.
func (h *house) turn(s *session.Session, want int, ends ...session.End) (claims []session.Claim) {
	h.t.Helper()
	var turns []session.Turn
	for p := range s.Partitions() {
		turn := session.Turn{Partition: p, Claim: true, Want: want}
		for _, e := range ends {
			if h.Namespace().Partition(e.Claim.Subject) == p {
				turn.Ends = append(turn.Ends, e)
			}
		}
		turns = append(turns, turn)
	}
	for _, a := range s.Turns(bg, turns) {
		if a.Err != nil {
			h.t.Fatal(a.Err)
		}
		for _, e := range a.Ended {
			if e.Err != nil {
				h.t.Fatal(e.Err)
			}
		}
		claims = append(claims, a.Claims...)
	}
	return claims
}

// lanes names the lanes of claims.
func lanes(claims []session.Claim) (names []string) {
	for _, c := range claims {
		names = append(names, c.Subject.ID)
	}
	return names
}

func finished(claims []session.Claim) (ends []session.End) {
	for i := range claims {
		ends = append(ends, session.End{Claim: &claims[i]})
	}
	return ends
}

func text(v any) string { return fmt.Sprint(v) }
