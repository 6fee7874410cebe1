package dispatcher_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// cut is a client's hook: after so many requests, a pipeline counting as one, the server is away.
type cut struct {
	left atomic.Int64
	hit  atomic.Bool
}

func (c *cut) after(n int) { c.left.Store(int64(n)); c.hit.Store(false) }

func (c *cut) away() bool {
	if c.left.Add(-1) >= 0 {
		return false
	}
	c.hit.Store(true)
	return true
}

func (c *cut) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.away() {
			cmd.SetErr(io.ErrUnexpectedEOF)
			return io.ErrUnexpectedEOF
		}
		return next(ctx, cmd)
	}
}
func (c *cut) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if c.away() {
			for _, cmd := range cmds {
				cmd.SetErr(io.ErrUnexpectedEOF)
			}
			return io.ErrUnexpectedEOF
		}
		return next(ctx, cmds)
	}
}

// looks are all that asks without changing anything.
var looks = map[string]func(h *house) (any, error){
	"lane": func(h *house) (any, error) {
		lane, jobs, next, err := h.Lane(bg, key("ready"), dispatcher.Page{Limit: 2})
		return []any{lane, jobs, next}, err
	},
	"leased lane": func(h *house) (any, error) {
		lane, jobs, next, err := h.Lane(bg, key("leased"), dispatcher.Page{})
		return []any{lane, jobs, next}, err
	},
	"suspended lane": func(h *house) (any, error) {
		lane, jobs, next, err := h.Lane(bg, key("stopped"), dispatcher.Page{})
		return []any{lane, jobs, next}, err
	},
	"lanes": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, dispatcher.LaneFilter{}, dispatcher.Page{})
		return []any{len(lanes), next}, err
	},
	"lanes of a kind": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, dispatcher.LaneFilter{Kind: "k"}, dispatcher.Page{})
		return []any{len(lanes), next}, err
	},
	"ready lanes": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, dispatcher.LaneFilter{State: dispatcher.Ready}, dispatcher.Page{})
		return []any{lanes, next}, err
	},
	"suspended lanes": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, dispatcher.LaneFilter{State: dispatcher.Suspended}, dispatcher.Page{})
		return []any{lanes, next}, err
	},
	"running job":   func(h *house) (any, error) { return h.Job(bg, ref("leased1")) },
	"waiting job":   func(h *house) (any, error) { return h.Job(bg, ref("ready2")) },
	"delayed job":   func(h *house) (any, error) { return h.Job(bg, ref("delayed1")) },
	"scheduled job": func(h *house) (any, error) { return h.Job(bg, ref("later")) },
	"suspended job": func(h *house) (any, error) { return h.Job(bg, ref("paused2")) },
	"dead job":      func(h *house) (any, error) { return h.Job(bg, ref("dead1")) },
	"whether a job is dead": func(h *house) (any, error) {
		return h.IsDead(bg, ref("dead1"))
	},
	"dead letters": func(h *house) (any, error) {
		letters, next, err := h.DeadLetters(bg, dispatcher.Page{})
		return []any{letters, next}, err
	},
	"stats":     func(h *house) (any, error) { return h.Stats(bg) },
	"workers":   func(h *house) (any, error) { return h.Workers(bg) },
	"durations": func(h *house) (any, error) { return h.Durations(bg, "k") },
	"kinds":     func(h *house) (any, error) { return h.Kinds(bg) },
	"outcome":   func(h *house) (any, error) { return h.Outcome(bg, ref("kept")) },
	"doctor": func(h *house) (any, error) {
		var wrong []dispatcher.Finding
		all, err := h.Doctor(bg, nil)
		for _, f := range all {
			if f.Severity == dispatcher.Wrong {
				wrong = append(wrong, f)
			}
		}
		return wrong, err
	},
}

// D2: a look that is cut off says so. It never says a part as if that were all.
func TestD2_CutOffLooks(t *testing.T) {
	t.Parallel()
	step := 1
	if redistest.Race || testing.Short() {
		step = 7
	}
	for _, damage := range []string{"", "orphan body", "in two places"} {
		rdb := redistest.ClientOf(t, redistest.Shared(t))
		wire := &cut{}
		wire.after(1 << 40)
		rdb.AddHook(wire)
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 2, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}}})
		full(h)
		if damage != "" {
			h.ok(corruptions()[damage](rdb, h.Namespace().Keys(h.Namespace().Partition(key("ready")))))
		}
		for name, look := range looks {
			if damage != "" && name != "doctor" {
				continue
			}
			whole, err := look(h)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for n := 0; ; n += max(1, step*min(1, n/7)) { // most end after a few
				wire.after(n)
				said, err := look(h)
				if !wire.hit.Load() {
					break
				}
				switch {
				case err == nil && !reflect.DeepEqual(said, whole):
					t.Errorf("%s, %s: cut off after %d requests it says %+v and no error, the whole is %+v", name, damage, n, said, whole)
				case err != nil && !cutOff(err):
					t.Errorf("%s, %s: cut off after %d requests it says %v", name, damage, n, err)
				}
			}
			wire.after(1 << 40)
		}
	}
}

// D2, I7: a repair that is cut off says so, or it has done all; and the next one goes on from there.
func TestD2_CutOffRepairs(t *testing.T) {
	t.Parallel()
	step := 3
	if redistest.Race || testing.Short() {
		step = 19
	}
	for _, damage := range []string{"ready lost", "orphan body", "in two places", "one body lost"} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			for n := 0; ; n += step {
				rdb := redistest.ClientOf(t, redistest.Shared(t))
				wire := &cut{}
				wire.after(1 << 40)
				rdb.AddHook(wire)
				h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
				full(h)
				h.ok(corruptions()[damage](rdb, h.Namespace().Keys(0)))
				wire.after(n)
				_, err := h.Repair(bg, nil)
				hit := wire.hit.Load()
				wire.after(1 << 40)
				if err == nil {
					h.clean()
				} else if !cutOff(err) {
					t.Errorf("cut off after %d requests it says %v", n, err)
				}
				rdb.Del(bg, h.Namespace().Repairing()) // what was cut off may hold it
				_, err = h.Repair(bg, nil)
				h.ok(err)
				h.clean()
				if !hit {
					return
				}
			}
		})
	}
}

// cutOff reports whether an error says that Redis is away, or that a part is missing for that reason.
func cutOff(err error) bool {
	return errors.Is(err, dispatcher.ErrUnavailable) || errors.Is(err, dispatcher.ErrIncomplete)
}

// aheadOf is a client's hook that lets something happen just before a script runs for the nth time of which one
// argument is a given one.
type aheadOf struct {
	argument string
	nth      int
	happens  func()
}

func (a *aheadOf) look(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if cmd.Name() != "evalsha" || !slices.Contains(cmd.Args(), any(a.argument)) {
			continue
		}
		if a.nth--; a.nth == 0 {
			a.happens()
		}
	}
}

func (a *aheadOf) DialHook(next redis.DialHook) redis.DialHook { return next }
func (a *aheadOf) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		a.look(cmd)
		return next(ctx, cmd)
	}
}
func (a *aheadOf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		a.look(cmds...)
		return next(ctx, cmds)
	}
}

// I7: a job that stood nowhere when the repair looked, and stands in its lane by the time it would be set aside,
// is left there.
func TestI7_RepairOfAJobThatCameBack(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1})
	h.enqueued("a", "j1", "j2", "j3")
	k := h.Namespace().Keys(0)
	entry := rdb.LPop(bg, k.Tail(canonical("a"))).Val() // of j2
	back := false
	rdb.AddHook(&aheadOf{"ij2", 1, func() { back = true; h.ok(rdb.LPush(bg, k.Tail(canonical("a")), entry).Err()) }})
	done, err := h.Repair(bg, nil)
	h.ok(err)
	if !back || len(done) > 0 {
		t.Errorf("of a job that is back (%t) it did %+v", back, done)
	}
	for _, id := range []string{"j1", "j2", "j3"} {
		h.ok(h.Finish(bg, h.head("w", id, 1)))
	}
	h.empty()
}

// A kind that is declared anew while it is taken out of the registry stays, and who takes it out is told.
func TestUndeclareOfAKindThatIsDeclaredAnew(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}})
	cfg := h.cfg
	cfg.Redis, cfg.Kinds = redistest.Client(t), []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 2}}
	rdb.AddHook(&aheadOf{h.Namespace().Registry(), 2, func() {
		_, err := dispatcher.Open(bg, cfg)
		h.ok(err)
	}})
	if err := h.Undeclare(bg, "k"); err == nil || !strings.Contains(err.Error(), "anew") {
		t.Errorf("it says %v", err)
	}
	kinds, err := h.Kinds(bg)
	if err != nil || len(kinds) != 1 || kinds[0].Limit != 2 {
		t.Errorf("declared are %+v, %v", kinds, err)
	}
}
