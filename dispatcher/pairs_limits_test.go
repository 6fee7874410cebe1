package dispatcher_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// What an operator keeps from running takes no start under a limit and no place in line for one, and others get them; it has
// its key meanwhile, and is kept when it has run. So it is with a lane, a job, and one that waits for its time.
func TestPairs_SuspendedUnderALimit(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, kind := range map[string]dispatcher.Kind{
			"limit": {Limit: 1}, "rate": {Every: time.Second}, "limit and skip": {Limit: 1, OnFailure: dispatcher.Skip}, "neither": {},
		} {
			for what, stop := range map[string]func(h *house) (again func() error, err error){
				"job": func(h *house) (func() error, error) {
					return func() error { return h.ResumeJob(bg, ref("j")) }, h.SuspendJob(bg, ref("j"))
				},
				"lane": func(h *house) (func() error, error) {
					_, err := h.Suspend(bg, key("a"), "why")
					return func() error { return h.Resume(bg, key("a")) }, err
				},
				"schedule": func(h *house) (func() error, error) {
					_, err := h.Cancel(bg, ref("j"))
					h.ok(err)
					h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "x", ID: "j", Delay: time.Hour, Keep: time.Hour, Unique: theKey})
					return func() error { h.advance(time.Hour); h.reaped(); return nil }, nil
				},
			} {
				t.Run(name+", "+what, func(t *testing.T) {
					t.Parallel()
					kind := kind
					kind.Name, kind.Owner = "x", "o"
					h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{kind}})
					h.t = t
					m := h.member("w", "", "x")
					h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "x", ID: "j", Keep: time.Hour, Unique: theKey})
					again, err := stop(h)
					h.ok(err)
					if claims := m.trip(5); len(claims) != 0 || h.slotsHeld() != 0 {
						t.Fatalf("claimed %v, with %d slots held", claims, h.slotsHeld())
					}
					if n := h.rdb.Exists(bg, strings.TrimSuffix(h.Namespace().Keys(0).Jobs(), "jobs")+"line:kind/x").Val(); n != 0 {
						t.Error("it has a place in line")
					}
					h.enqueuedKind("x", "b", "other")
					claims := m.trip(5)
					if len(claims) != 1 || claims[0].ID != "other" {
						t.Fatalf("claimed %+v, want the other", claims)
					}
					m.trip(0, done(claims[0]))
					if same := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "x", ID: "same", Unique: theKey}); same.Created || same.ID != "j" {
						t.Errorf("a job of the same key: %+v", same)
					}
					h.clean()
					h.advance(time.Second)
					h.ok(again())
					h.reaped() // what had stepped aside takes its place
					if claims = m.trip(5); len(claims) != 1 || claims[0].ID != "j" {
						t.Fatalf("claimed %+v, want j", claims)
					}
					m.trip(0, done(claims[0]))
					if o, err := h.Outcome(bg, ref("j")); err != nil || o.State != dispatcher.JobFinished {
						t.Errorf("its outcome is %+v, %v", o, err)
					}
					m.trip(5)
					h.advance(2 * time.Hour)
					h.reaped()
					h.emptyButWorkers()
				})
			}
		}
	})
}
