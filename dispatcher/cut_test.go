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
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// cut is a client's hook: after so many requests, a pipeline counting as one, the server is away, for good or for
// one request; or it does what that one asks, and its answer gets lost.
type cut struct {
	left atomic.Int64
	how  atomic.Int64
	hit  atomic.Bool
}

const (
	forGood = iota
	once
	answerLost
	allHows
)

func (c *cut) after(n, how int) { c.left.Store(int64(n)); c.how.Store(int64(how)); c.hit.Store(false) }

func (c *cut) never() { c.after(1<<40, forGood) }

// away reports whether the next request gets no answer, and whether it arrives all the same.
func (c *cut) away() (away, arrives bool) {
	left, how := c.left.Add(-1), c.how.Load()
	if left >= 0 || how != forGood && left < -1 {
		return false, false
	}
	c.hit.Store(true)
	return true, how == answerLost
}

// pass sends requests on, or not, and says what came of it.
func (c *cut) pass(next func() error, cmds ...redis.Cmder) error {
	away, arrives := c.away()
	if !away || arrives {
		if err := next(); !away {
			return err
		}
	}
	for _, cmd := range cmds {
		cmd.SetErr(io.ErrUnexpectedEOF)
	}
	return io.ErrUnexpectedEOF
}

func (c *cut) DialHook(next redis.DialHook) redis.DialHook { return next }
func (c *cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return c.pass(func() error { return next(ctx, cmd) }, cmd)
	}
}
func (c *cut) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return c.pass(func() error { return next(ctx, cmds) }, cmds...)
	}
}

// wiredHouse is a house in which something stands in every index, whose client can be cut off.
func wiredHouse(t *testing.T, kinds ...dispatcher.Kind) (*house, *cut) {
	t.Helper()
	rdb := redistest.ClientOf(t, redistest.Shared(t))
	wire := &cut{}
	wire.never()
	rdb.AddHook(wire)
	h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: kinds})
	full(h)
	return h, wire
}

// damages does one of the corruptions.
func (h *house) damages(how string) {
	h.t.Helper()
	h.ok(corruptions()[how](h.rdb, h.Namespace().Keys(0)))
}

// looks are all that asks without changing anything.
var looks = map[string]func(h *house) (any, error){
	"lane": func(h *house) (any, error) {
		lane, jobs, next, err := h.Lane(bg, key("ready"), inspect.Page{Limit: 2})
		return []any{lane, jobs, next}, err
	},
	"leased lane": func(h *house) (any, error) {
		lane, jobs, next, err := h.Lane(bg, key("leased"), inspect.Page{})
		return []any{lane, jobs, next}, err
	},
	"suspended lane": func(h *house) (any, error) {
		lane, jobs, next, err := h.Lane(bg, key("stopped"), inspect.Page{})
		return []any{lane, jobs, next}, err
	},
	"lanes": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, inspect.LaneFilter{}, inspect.Page{})
		return []any{len(lanes), next}, err
	},
	"lanes of a kind": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, inspect.LaneFilter{Kind: "k"}, inspect.Page{})
		return []any{len(lanes), next}, err
	},
	"ready lanes": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, inspect.LaneFilter{State: inspect.Ready}, inspect.Page{})
		return []any{lanes, next}, err
	},
	"suspended lanes": func(h *house) (any, error) {
		lanes, next, err := h.Lanes(bg, inspect.LaneFilter{State: inspect.Suspended}, inspect.Page{})
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
		letters, next, err := h.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
		return []any{letters, next}, err
	},
	"stats":     func(h *house) (any, error) { return h.Stats(bg) },
	"workers":   func(h *house) (any, error) { return h.Workers(bg) },
	"durations": func(h *house) (any, error) { return h.Durations(bg, "k") },
	"kinds":     func(h *house) (any, error) { return h.Kinds(bg) },
	"outcome":   func(h *house) (any, error) { return h.Outcome(bg, ref("kept")) },
	"doctor": func(h *house) (any, error) {
		var wrong []doctor.Finding
		all, err := h.Doctor(bg, nil)
		for _, f := range all {
			if f.Severity == doctor.Wrong {
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
	if redistest.Race {
		step = 7
	}
	for _, damage := range []string{"", "orphan body", "in two places"} {
		h, wire := wiredHouse(t, dispatcher.Kind{Name: "k", Owner: "o"})
		if damage != "" {
			h.damages(damage)
		}
		for name, look := range looks {
			if damage != "" && name != "doctor" {
				continue
			}
			whole, err := look(h)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, how := range []int{forGood, once} {
				for n := 0; ; n += max(1, step*min(1, n/7)) { // most end after a few
					wire.after(n, how)
					said, err := look(h)
					if !wire.hit.Load() {
						break
					}
					switch {
					case err == nil && !reflect.DeepEqual(said, whole):
						t.Errorf("%s, %s: cut off after %d requests in way %d it says %+v and no error, the whole is %+v", name, damage, n, how, said, whole)
					case err != nil && !cutOff(err):
						t.Errorf("%s, %s: cut off after %d requests in way %d it says %v", name, damage, n, how, err)
					}
				}
			}
			wire.never()
		}
	}
}

// D2: a verb that is cut off has done what it was to do, or says that nobody knows; never that it did what it did not.
func TestD2_CutOffVerbs(t *testing.T) {
	t.Parallel()
	state := func(h *house, lane string) inspect.State {
		l, _, _, err := h.Lane(bg, key(lane), inspect.Page{})
		h.ok(err)
		return l.State
	}
	gone := func(h *house, id string) bool {
		_, err := h.Job(bg, ref(id))
		return errors.Is(err, dispatcher.ErrNotFound)
	}
	for name, verb := range map[string]struct {
		do   func(h *house) error
		done func(h *house) bool
	}{
		"enqueue": {
			func(h *house) error {
				_, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key("ready"), Kind: "k", ID: "new"})
				return err
			},
			func(h *house) bool { return !gone(h, "new") },
		},
		"cancel": {
			func(h *house) error { _, err := h.Cancel(bg, ref("ready2")); return err },
			func(h *house) bool { return gone(h, "ready2") },
		},
		"cancel what runs": {
			func(h *house) error { _, err := h.Cancel(bg, ref("leased1")); return err },
			func(h *house) bool { info, err := h.Job(bg, ref("leased1")); return err == nil && info.Cancelling },
		},
		"suspend": {
			func(h *house) error { _, err := h.Suspend(bg, key("ready"), ""); return err },
			func(h *house) bool { return state(h, "ready") == inspect.Suspended },
		},
		"resume": {
			func(h *house) error { return h.Resume(bg, key("stopped")) },
			func(h *house) bool { return state(h, "stopped") == inspect.Ready },
		},
		"skip": {
			func(h *house) error { return h.Skip(bg, key("stopped")) },
			func(h *house) bool { dead, err := h.IsDead(bg, ref("stopped1")); return err == nil && dead },
		},
		"suspend a job": {
			func(h *house) error { return h.SuspendJob(bg, ref("ready1")) },
			func(h *house) bool { return state(h, "ready") == inspect.Suspended },
		},
		"resume a job": {
			func(h *house) error { return h.ResumeJob(bg, ref("paused2")) },
			func(h *house) bool {
				info, err := h.Job(bg, ref("paused2"))
				return err == nil && info.State != inspect.Suspended
			},
		},
		"replay": {
			func(h *house) error { _, err := h.Replay(bg, ref("dead1"), true); return err },
			func(h *house) bool { dead, err := h.IsDead(bg, ref("dead1")); return err == nil && !dead },
		},
		"discard": {
			func(h *house) error { return h.Discard(bg, ref("dead1")) },
			func(h *house) bool { return gone(h, "dead1") },
		},
		"undeclare": {
			func(h *house) error { return h.Undeclare(bg, "k") },
			func(h *house) bool { kinds, err := h.Kinds(bg); return err == nil && len(kinds) == 0 },
		},
	} {
		for how := range allHows {
			for n := 0; ; n++ {
				h, wire := wiredHouse(t, dispatcher.Kind{Name: "k", Owner: "o"})
				wire.after(n, how)
				err := verb.do(h)
				hit := wire.hit.Load()
				wire.never()
				switch {
				case err == nil && !verb.done(h):
					t.Errorf("%s: cut off after %d requests in way %d it says that it is done, and it is not", name, n, how)
				case err != nil && !(hit && cutOff(err)):
					t.Errorf("%s: cut off after %d requests in way %d it says %v", name, n, how, err)
				case err != nil: // whoever does it again gets it done, or is told that it is
					if err := verb.do(h); !verb.done(h) {
						t.Errorf("%s: cut off after %d requests in way %d, and done again: %v", name, n, how, err)
					}
				}
				h.clean()
				if !hit {
					break
				}
			}
		}
	}
}

// D2, I7: a repair that is cut off says so, or it has done all; and the next one goes on from there.
func TestD2_CutOffRepairs(t *testing.T) {
	t.Parallel()
	step := 3
	if redistest.Race {
		step = 19
	}
	for _, damage := range []string{"ready lost", "orphan body", "in two places", "one body lost"} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			for n := 0; ; n += step {
				h, wire := wiredHouse(t)
				h.damages(damage)
				wire.after(n, n%allHows)
				_, err := h.Repair(bg, nil)
				hit := wire.hit.Load()
				wire.never()
				if err == nil {
					h.clean()
				} else if !cutOff(err) {
					t.Errorf("cut off after %d requests it says %v", n, err)
				}
				h.rdb.Del(bg, h.Namespace().Repairing()) // what was cut off may hold it
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

// has reports whether a command has an argument, which may be told by a pointer to it.
func has(cmd redis.Cmder, argument string) bool {
	return slices.ContainsFunc(cmd.Args(), func(arg any) bool {
		at, ok := arg.(*string)
		return ok && *at == argument || arg == any(argument)
	})
}

func (a *aheadOf) look(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if cmd.Name() != "evalsha" || !has(cmd, a.argument) {
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
