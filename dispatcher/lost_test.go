package dispatcher_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// H6: whoever does not learn whether he was given a subject does not keep it: a server that stood
// still while he asked closes it to nobody once it goes on.
func TestH6_NobodyHasIt(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(ctx context.Context, h *house) error{
		"Do(0)":  func(ctx context.Context, h *house) error { return h.Do(ctx, key("a"), 0, nothing) },
		"Do(1s)": func(ctx context.Context, h *house) error { return h.Do(ctx, key("a"), time.Second, nothing) },
		"DoOrEnqueue": func(ctx context.Context, h *house) error {
			_, _, err := h.DoOrEnqueue(ctx, dispatcher.NewJob{Subject: key("a"), Kind: "k"}, nothing)
			return err
		},
		"Acquire": func(ctx context.Context, h *house) error {
			_, err := h.Leases().Acquire(ctx, key("a"), "somebody", time.Minute)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Own(t)
			h := newHouse(t, redistest.ClientOf(t, server), dispatcher.Config{SectionTTL: time.Minute})
			h.ok(h.Do(bg, key("b"), 0, nothing)) // the server knows the scripts
			l, err := h.Leases().Acquire(bg, key("c"), "w", time.Minute)
			h.ok(err)
			h.ok(h.Leases().Release(bg, l))

			h.ok(server.Signal(syscall.SIGSTOP))
			ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
			defer cancel()
			if err := ask(ctx, h); err == nil {
				t.Error("a server that answers nothing gave the subject")
			}
			h.ok(server.Signal(syscall.SIGCONT))
			redistest.Until(t, "nobody has the subject", func() bool {
				return h.Do(bg, key("a"), 0, nothing) == nil
			})
			h.clean()
		})
	}
}

func nothing(context.Context) error { return nil }

// H6: a request that asks for a subject and arrives after the one by which it was given up leaves
// neither a lease nor a ticket.
func TestH6_LateRequest(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		if err := dispatcher.LateAsk(bg, h.Dispatcher, key("a")); !errors.Is(err, script.ErrStale) {
			t.Errorf("the late request: %v, want stale", err)
		}
		h.enqueued("b", "j1")
		if err := dispatcher.LateAsk(bg, h.Dispatcher, key("b")); !errors.Is(err, script.ErrStale) {
			t.Errorf("the late request for a ticket: %v, want stale", err)
		}
		h.ok(h.Finish(bg, h.head("w", "j1", 1)))
		h.ok(h.Do(bg, key("a"), 0, nothing))
		h.ok(h.Do(bg, key("b"), 0, nothing))
		h.empty()
	})
}

// H6, I10: also when memory is full.
func TestH6_LateRequestInFullMemory(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Own(t, "--maxmemory-policy", "noeviction"))
	h := newHouse(t, rdb, dispatcher.Config{})
	h.ok(h.Do(bg, key("a"), 0, nothing)) // scripts are known by now
	h.enqueued("b", "j1")
	h.ok(rdb.ConfigSet(bg, "maxmemory", "1").Err())
	for _, lane := range []string{"a", "b"} {
		if err := dispatcher.LateAsk(bg, h.Dispatcher, key(lane)); !errors.Is(err, script.ErrStale) {
			t.Errorf("the late request for %s: %v, want stale", lane, err)
		}
	}
}

// H6: a copy of a question that was answered "held" gives nothing to somebody who has gone, when it comes after the
// holder has.
func TestH6_CopyOfAHeldQuestion(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{})
		l, err := h.Leases().Acquire(bg, key("a"), "w", time.Minute)
		h.ok(err)
		first, again, err := dispatcher.AskTwice(bg, h.Dispatcher, key("a"), func() { h.ok(h.Leases().Release(bg, l)) })
		h.ok(err)
		if first != "held" || again != "held" {
			t.Errorf("asked twice: %s, %s", first, again)
		}
		h.ok(h.Do(bg, key("a"), 0, nothing))
	})
}

// deafTo is a client's hook that loses the answers to trips which carry one argument, once the server
// has acted on them.
type deafTo struct {
	argument string
	on       atomic.Bool
}

func (d *deafTo) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (d *deafTo) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (d *deafTo) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, c := range cmds {
			if d.on.Load() && c.Err() == nil && has(c, d.argument) {
				for _, c := range cmds {
					c.SetErr(io.ErrUnexpectedEOF)
				}
				return io.ErrUnexpectedEOF
			}
		}
		return err
	}
}

// H6, of slots: starts that were given by an answer that got lost are asked for again, and go back:
// at the next trip, or when the session ends.
func TestH6_LostSlots(t *testing.T) {
	t.Parallel()
	for _, ends := range []bool{false, true} {
		kind := dispatcher.Kind{Name: "slow", Owner: "test", Limit: 1}
		rdb := redistest.ClientOf(t, redistest.Shared(t))
		deaf := &deafTo{argument: "kind/slow"}
		rdb.AddHook(deaf)
		h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{kind}, Partitions: 1})
		other := newHouseIn(t, redistest.Client(t), dispatcher.Config{Namespace: h.cfg.Namespace, Now: h.cfg.Now}) // by one clock: no slot is over
		h.lanes("slow", 2)
		a, b := h.member("a", "", "slow"), other.member("b", "", "slow")
		deaf.on.Store(true)
		_ = a.s.Turns(bg, []session.Turn{{Partition: 0, Claim: true, Want: 1}})
		// What waits for a limit of which an answer is out is not forgotten: the pool looks again by itself.
		if again := a.s.Turns(bg, []session.Turn{{Partition: 0, Claim: true, Want: 1}})[0]; !again.Short {
			t.Errorf("while an answer is out, a turn says %+v, want that lanes wait", again)
		}
		if stats, err := other.Stats(bg); err != nil || stats.Slots != 1 {
			t.Fatalf("%d slots are taken, %v; want the one that nobody knows of", stats.Slots, err)
		}
		deaf.on.Store(false)
		if ends {
			h.ok(a.s.Close(bg))
		} else {
			_ = a.s.Turns(bg, []session.Turn{{Partition: 0, Claim: true, Want: 0}})
		}
		redistest.Until(t, "the start that nobody knows of has come back", func() bool {
			stats, err := other.Stats(bg)
			return err == nil && stats.Slots == 0
		})
		h.advance(time.Second) // an offer to the first one lapses
		if claims, _ := b.turn(1); len(claims) != 1 {
			t.Errorf("the other one gets %d claims, want the start that came back", len(claims))
		}
	}
}
