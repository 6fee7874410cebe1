package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/control"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// frozen is a dispatcher, and a session of it, whose server has been stopped: it takes
// connections and requests, and answers nothing. The client is one as users make it, whose
// reads do not end with their contexts.
type frozen struct {
	d      *dispatcher.Dispatcher
	s      *session.Session
	cfg    dispatcher.Config
	server *redistest.Server
	claim  session.Claim
}

func freeze(t *testing.T) *frozen {
	t.Helper()
	f := &frozen{server: redistest.Own(t)}
	rdb := redis.NewClient(&redis.Options{Addr: f.server.Addr, PoolSize: 100})
	t.Cleanup(func() { _ = rdb.Close() })
	f.cfg = dispatcher.Config{
		Redis: rdb, Namespace: redistest.Namespace(t, rdb), Partitions: 2,
		Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", DeadMax: 1}}, // so that Prune asks
	}
	h := newHouseIn(t, rdb, f.cfg)
	f.d = h.Dispatcher
	h.enqueued("a", "j1", "j2")
	who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
	claims, err := h.Claim(bg, who, 1)
	h.ok(err)
	f.claim = claims[0]
	f.s, err = session.Join(bg, f.d, who, 1)
	h.ok(err)
	h.ok(f.server.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { // the keys of the test are removed after this
		h.ok(f.server.Signal(syscall.SIGCONT))
		_ = f.s.Close(bg)
	})
	return f
}

// calls are all that ask Redis, by the names of their methods.
func (f *frozen) calls() map[string]func(ctx context.Context) error {
	d, s := f.d, f.s
	nothing := func(context.Context) error { return nil }
	job := dispatcher.NewJob{Subject: key("b"), Kind: "k"}
	var tally session.Tally
	tally.Add("k", session.EndFinished, time.Second)
	return map[string]func(ctx context.Context) error{
		"Open":    func(ctx context.Context) error { _, err := dispatcher.Open(ctx, f.cfg); return err },
		"Enqueue": func(ctx context.Context) error { _, err := d.Enqueue(ctx, job); return err },
		"EnqueueMany": func(ctx context.Context) error {
			_, err := d.EnqueueMany(ctx, []dispatcher.NewJob{job, job})
			return err
		},
		"Do":         func(ctx context.Context) error { return d.Do(ctx, key("b"), time.Minute, nothing) },
		"Do at once": func(ctx context.Context) error { return d.Do(ctx, key("b"), 0, nothing) },
		"Do in a handler": func(ctx context.Context) error {
			return d.Do(session.WithClaim(ctx, &f.claim), key("b"), time.Minute, nothing)
		},
		"DoOrEnqueue": func(ctx context.Context) error { _, _, err := d.DoOrEnqueue(ctx, job, nothing); return err },
		"WaitFor":     func(ctx context.Context) error { _, err := d.WaitFor(ctx, ref("j1")); return err },
		"Outcome":     func(ctx context.Context) error { _, err := d.Outcome(ctx, ref("j1")); return err },
		"Stats":       func(ctx context.Context) error { _, err := inspect.New(d).Stats(ctx); return err },
		"Lanes": func(ctx context.Context) error {
			_, _, err := inspect.New(d).Lanes(ctx, inspect.LaneFilter{}, inspect.Page{})
			return err
		},
		"Lane": func(ctx context.Context) error {
			_, err := inspect.New(d).Lane(ctx, key("a"), inspect.Page{})
			return err
		},
		"Job":       func(ctx context.Context) error { _, err := inspect.New(d).Job(ctx, ref("j1")); return err },
		"WhyLane":   func(ctx context.Context) error { _, err := inspect.New(d).WhyLane(ctx, key("a")); return err },
		"KindLimit": func(ctx context.Context) error { _, err := inspect.New(d).KindLimit(ctx, "k"); return err },
		"WhyKinds": func(ctx context.Context) error {
			_, err := inspect.New(d).WhyKinds(ctx, map[string]int{"k": 1})
			return err
		},
		"WhyLanes": func(ctx context.Context) error { _, err := inspect.New(d).WhyLanes(ctx, nil); return err },
		"WhyJob":   func(ctx context.Context) error { _, err := inspect.New(d).WhyJob(ctx, ref("j1")); return err },
		"WhyOf":    func(ctx context.Context) error { _, err := inspect.New(d).WhyOf(ctx, inspect.JobInfo{}); return err },
		"Barred":   func(ctx context.Context) error { _, err := inspect.New(d).Barred(ctx); return err },
		"Holds":    func(ctx context.Context) error { _, err := control.New(d).Holds(ctx); return err },
		"InForce":  func(ctx context.Context) error { _, err := control.New(d).InForce(ctx); return err },
		"Hold": func(ctx context.Context) error {
			_, err := control.New(d).Hold(ctx, control.Hold{Scope: control.All, Reason: "r", Forced: true})
			return err
		},
		"Release": func(ctx context.Context) error { _, err := control.New(d).Release(ctx, "H-1"); return err },
		"Audit": func(ctx context.Context) error {
			_, _, err := inspect.New(d).Audit(ctx, inspect.AuditFilter{}, inspect.Page{})
			return err
		},
		"DeadLetters": func(ctx context.Context) error {
			_, _, err := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{})
			return err
		},
		"move.Find": func(ctx context.Context) error { _, err := move.Find(ctx, f.cfg.Redis, nil); return err },
		"move.Look": func(ctx context.Context) error { _, err := move.Look(ctx, f.cfg.Redis, f.cfg.Namespace); return err },
		"move.Left": func(ctx context.Context) error {
			_, err := move.Left(ctx, f.cfg.Redis, f.cfg.Namespace, nil)
			return err
		},
		"move.Remove": func(ctx context.Context) error {
			_, err := move.Remove(ctx, f.cfg.Redis, f.cfg.Namespace, true, nil)
			return err
		},
		"move.Migrate": func(ctx context.Context) error {
			_, err := move.Migrate(ctx, f.cfg.Redis, f.cfg.Namespace, nil)
			return err
		},
		"move.Export": func(ctx context.Context) error {
			_, err := move.Export(ctx, d, io.Discard, move.ExportOptions{})
			return err
		},
		"move.Import": func(ctx context.Context) error {
			header := strings.NewReader(`{"type":"header","format":1,"id":"x"}` + "\n")
			_, _, err := move.Import(ctx, move.ImportConfig{Redis: f.cfg.Redis, Namespace: f.cfg.Namespace}, header)
			return err
		},
		"DeadMatching":  func(ctx context.Context) error { _, err := d.DeadMatching(ctx, dispatcher.DeadFilter{}); return err },
		"Replay":        func(ctx context.Context) error { _, err := d.Replay(ctx, ref("j1"), false); return err },
		"ReplayOrMerge": func(ctx context.Context) error { _, err := d.ReplayOrMerge(ctx, ref("j1"), false); return err },
		"IsDead":        func(ctx context.Context) error { _, err := d.IsDead(ctx, ref("j1")); return err },
		"Discard":       func(ctx context.Context) error { return d.Discard(ctx, ref("j1")) },
		"Cancel":        func(ctx context.Context) error { _, err := d.Cancel(ctx, ref("j1")); return err },
		"Suspend":       func(ctx context.Context) error { _, err := d.Suspend(ctx, key("a"), "why"); return err },
		"Resume":        func(ctx context.Context) error { return d.Resume(ctx, key("a")) },
		"Skip":          func(ctx context.Context) error { return d.Skip(ctx, key("a")) },
		"RetryNow":      func(ctx context.Context) error { return d.RetryNow(ctx, key("a")) },
		"SuspendJob":    func(ctx context.Context) error { return d.SuspendJob(ctx, ref("j2")) },
		"ResumeJob":     func(ctx context.Context) error { return d.ResumeJob(ctx, ref("j2")) },
		"Watch":         func(ctx context.Context) error { _, err := d.Watch(ctx, key("a"), time.Minute); return err },
		"Find":          func(ctx context.Context) error { _, _, err := d.Find(ctx, ref("j1")); return err },
		"Examine":       func(ctx context.Context) error { _, err := doctor.New(d).Examine(ctx, nil); return err },
		"Repair":        func(ctx context.Context) error { _, err := doctor.New(d).Repair(ctx, nil); return err },
		"Durations":     func(ctx context.Context) error { _, err := inspect.New(d).Durations(ctx, "k"); return err },
		"Trail": func(ctx context.Context) error {
			_, err := inspect.New(d).Trail(ctx, inspect.TrailFilter{}, inspect.Page{})
			return err
		},
		"Flow":    func(ctx context.Context) error { _, err := inspect.New(d).Flow(ctx, "k"); return err },
		"Hot":     func(ctx context.Context) error { _, err := inspect.New(d).Hot(ctx, time.Hour, 0); return err },
		"Deepest": func(ctx context.Context) error { _, err := inspect.New(d).Deepest(ctx, 0); return err },
		"Timeline": func(ctx context.Context) error {
			_, err := inspect.New(d).Timeline(ctx, key("a"), 0)
			return err
		},
		"Flows": func(ctx context.Context) error { _, err := inspect.New(d).Flows(ctx, []string{"k"}, 10); return err },
		"Jobs": func(ctx context.Context) error {
			_, _, err := inspect.New(d).Jobs(ctx, inspect.JobFilter{State: inspect.Scheduled}, inspect.Page{})
			return err
		},
		"Kinds":     func(ctx context.Context) error { _, err := d.Kinds(ctx); return err },
		"Undeclare": func(ctx context.Context) error { return d.Undeclare(ctx, "k") },
		"Workers":   func(ctx context.Context) error { _, err := session.Workers(ctx, d); return err },
		"Join": func(ctx context.Context) error {
			_, err := session.Join(ctx, d, session.Claimant{Holder: "w2", Kinds: []string{"k"}, TTL: time.Minute}, 1)
			return err
		},
		"Reap": func(ctx context.Context) error { _, err := session.Reap(ctx, d); return err },

		"Session.Renew":  func(ctx context.Context) error { return s.Renew(ctx, time.Minute, f.claim.Lease)[0] },
		"Session.Beat":   func(ctx context.Context) error { return s.Beat(ctx) },
		"Session.Prune":  func(ctx context.Context) error { _, err := s.Prune(ctx); return err },
		"Session.Record": func(ctx context.Context) error { return s.Record(ctx, &tally) },
		"Session.Blame": func(ctx context.Context) error {
			_, err := s.Blame(ctx, "k", "why", []*session.Claim{&f.claim})
			return err
		},
		"Session.Finished": func(ctx context.Context) error { _, err := s.Finished(ctx, "k"); return err },

		"Leases.Acquire": func(ctx context.Context) error {
			_, err := d.Leases().Acquire(ctx, key("b"), "me", time.Minute)
			return err
		},
		"Leases.Release": func(ctx context.Context) error { return d.Leases().Release(ctx, f.claim.Lease) },
		"Leases.Renew":   func(ctx context.Context) error { return d.Leases().Renew(ctx, time.Minute, f.claim.Lease)[0] },
	}
}

// pools are the calls of a session that only its pool makes, for as long as that lives: they
// end with their contexts, and by themselves when the client gives up.
func (f *frozen) pools() map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Session.Turns": func(ctx context.Context) error {
			return f.s.Turns(ctx, []session.Turn{{Claim: true, Want: 1}})[0].Err
		},
		"Session.Wait":  func(ctx context.Context) error { _, _, err := f.s.Wait(ctx, 0); return err },
		"Session.Close": func(ctx context.Context) error { return f.s.Close(ctx) },
	}
}

// Whatever has a context is in the lists above.
func TestD2_AllCallsAreLookedAt(t *testing.T) {
	t.Parallel()
	f := &frozen{}
	listed := f.calls()
	for name, call := range f.pools() {
		listed[name] = call
	}
	for _, room := range []struct {
		prefix string
		of     any
	}{
		{"", &dispatcher.Dispatcher{}}, {"", &inspect.Inspector{}}, {"", &doctor.Doctor{}}, {"", &control.Control{}}, {"Session.", &session.Session{}}, {"Leases.", &lease.Store{}},
	} {
		all, prefix := reflect.TypeOf(room.of), room.prefix
		for i := range all.NumMethod() {
			m := all.Method(i)
			asks := m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]()
			if asks && listed[prefix+m.Name] == nil {
				t.Errorf("%s%s takes a context and is not among the calls that must not hang", prefix, m.Name)
			}
		}
	}
}

// slack is how much later than its context's end a call may return. It is a hundred
// milliseconds for users; a busy machine that runs tests gets more, and still less than the
// three seconds after which a client gives up by itself.
const slack = time.Second

// every makes all calls at once, and judges how long each took and what it returned.
func every(t *testing.T, calls map[string]func(context.Context) error, ctx context.Context, most time.Duration, judge func(error) string) {
	t.Helper()
	var all sync.WaitGroup
	var longest atomic.Int64
	for name, call := range calls {
		all.Go(func() {
			begin := time.Now()
			err := call(ctx)
			took := time.Since(begin)
			for was := longest.Load(); int64(took) > was && !longest.CompareAndSwap(was, int64(took)); was = longest.Load() {
			}
			if took > most {
				t.Errorf("%s took %s, want %s at most: %v", name, took, most, err)
			}
			if wrong := judge(err); wrong != "" {
				t.Errorf("%s: %s: %v", name, wrong, err)
			}
		})
	}
	all.Wait()
	t.Logf("%d calls, the longest took %s", len(calls), time.Duration(longest.Load()).Round(time.Millisecond))
}

func unavailable(err error) string {
	switch {
	case !errors.Is(err, dispatcher.ErrUnavailable):
		return "is not ErrUnavailable"
	case errors.Is(err, dispatcher.ErrBusy):
		return "is ErrBusy, which nobody has said"
	}
	return ""
}

// D2: no call hangs with a server that does. A deadline that has passed is told besides.
func TestD2_CallsEndWithTheirDeadline(t *testing.T) {
	t.Parallel()
	f := freeze(t)
	ctx, cancel := context.WithTimeout(bg, 300*time.Millisecond)
	defer cancel()
	calls := f.calls()
	calls["Session.Turns"], calls["Session.Wait"] = f.pools()["Session.Turns"], func(ctx context.Context) error {
		_ = f.pools()["Session.Wait"](ctx)
		return ctx.Err()
	}
	every(t, calls, ctx, 300*time.Millisecond+slack, func(err error) string {
		if !errors.Is(err, context.DeadlineExceeded) {
			return "is not DeadlineExceeded"
		}
		if wrong := unavailable(err); wrong != "" && err != ctx.Err() {
			return wrong
		}
		return ""
	})
}

// Who cancels gets his own error, and not that Redis is unavailable: he did not wait for it.
func TestD2_CallsEndWithACancellation(t *testing.T) {
	t.Parallel()
	f := freeze(t)
	ctx, cancel := context.WithCancel(bg)
	time.AfterFunc(300*time.Millisecond, cancel)
	calls := f.calls()
	calls["Session.Turns"], calls["Session.Close"] = f.pools()["Session.Turns"], f.pools()["Session.Close"]
	delete(calls, "Session.Beat") // the session is closed meanwhile
	delete(calls, "Session.Renew")
	delete(calls, "Session.Record")
	delete(calls, "Session.Blame")
	every(t, calls, ctx, 300*time.Millisecond+slack, func(err error) string {
		if !errors.Is(err, context.Canceled) || errors.Is(err, dispatcher.ErrUnavailable) {
			return "want the cancellation alone"
		}
		return ""
	})
}

// Without a deadline the documented bound holds. It is ten seconds of the wall clock, so these are waited for.
func TestD2_CallsHaveABound(t *testing.T) {
	t.Parallel()
	f := freeze(t)
	calls := f.calls()
	calls["Do for a while"] = func(ctx context.Context) error {
		begin := time.Now()
		err := f.d.Do(ctx, key("c"), 200*time.Millisecond, func(context.Context) error { return nil })
		if took := time.Since(begin); took > 200*time.Millisecond+slack {
			return fmt.Errorf("it took %s", took)
		}
		return err
	}
	delete(calls, "Do") // for a minute: it waits so long
	delete(calls, "Do in a handler")
	every(t, calls, bg, connect.Bound+slack, unavailable)
}

// A job whose enqueue was not answered may be there; the error says so, one by one or many.
func TestD2_EnqueueSaysWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	f := freeze(t)
	ctx, cancel := context.WithTimeout(bg, 200*time.Millisecond)
	defer cancel()
	jobs := []dispatcher.NewJob{{Subject: key("a"), Kind: "k", ID: "n1"}, {Subject: key("c"), Kind: "k", ID: "n2"}}
	_, one := f.d.Enqueue(ctx, dispatcher.NewJob{Subject: key("a"), Kind: "k"})
	ctx, cancel = context.WithTimeout(bg, 200*time.Millisecond)
	defer cancel()
	many, err := f.d.EnqueueMany(ctx, jobs)
	for what, err := range map[string]error{"one": one, "many": err, "first": many[0].Err, "second": many[1].Err} {
		if !errors.Is(err, dispatcher.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "not known whether it was stored") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What never set out is not in doubt.
	many, err = f.d.EnqueueMany(ctx, jobs)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(many[0].Err), "not sent") {
		t.Errorf("after the deadline: %v, %v", many[0].Err, err)
	}
}

// A server that can't be reached, or says that it can't serve, is told apart from an answer.
func TestD2_UnavailableIsNoAnswer(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	h := newHouse(t, redistest.ClientOf(t, server), dispatcher.Config{})
	if _, err := h.Job(bg, ref("never")); !errors.Is(err, dispatcher.ErrNotFound) || errors.Is(err, dispatcher.ErrUnavailable) {
		t.Errorf("no such job: %v", err)
	}
	h.ok(h.rdb.ConfigSet(bg, "maxmemory", "1").Err())
	if _, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k"}); err == nil || errors.Is(err, dispatcher.ErrUnavailable) ||
		strings.Contains(err.Error(), "not known") {
		t.Errorf("full memory: %v", err)
	}
	server.Kill()
	for name, err := range map[string]error{
		"stats": func() error { _, err := h.Stats(bg); return err }(),
		"do":    h.Do(bg, key("a"), 50*time.Millisecond, func(context.Context) error { return nil }),
		"open":  func() error { _, err := dispatcher.Open(bg, h.cfg); return err }(),
	} {
		if wrong := unavailable(err); wrong != "" {
			t.Errorf("%s with the server gone: %s: %v", name, wrong, err)
		}
	}
	h.ok(server.Restart()) // for the test's keys
}

// A wait that is over is no outage: Redis has answered all along, each time it was asked.
func TestD2_AWaitThatIsOverIsNoOutage(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{})
	h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", Keep: time.Minute})
	h.Deafen(true)                    // so that each looks after a second
	proxy.Slow(10 * time.Millisecond) // and some have that question under way when their wait ends
	var all sync.WaitGroup
	for wait := time.Second; wait < 1450*time.Millisecond; wait += 15 * time.Millisecond {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(bg, wait)
			defer cancel()
			if _, err := h.WaitFor(ctx, ref("j")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, dispatcher.ErrUnavailable) {
				t.Errorf("a job that has not ended after %s: %v", wait, err)
			}
		})
		all.Go(func() {
			err := h.Do(bg, key("a"), wait, func(context.Context) error { return nil })
			if !errors.Is(err, dispatcher.ErrBusy) || errors.Is(err, dispatcher.ErrUnavailable) {
				t.Errorf("a subject that others wait for, after %s: %v", wait, err)
			}
		})
	}
	all.Wait()
}

// A question that is under way when a wait is over is given a moment for its answer. A machine may be slow: one answer in
// many shows it, and without the moment there is none.
func TestD2_TheLastQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	proxy, rdb := redistest.NewProxy(t, redistest.Shared(t))
	h := newHouse(t, rdb, dispatcher.Config{})
	h.enqueued("a", "j")
	h.ok(h.Finish(bg, h.head("w", "j", 1))) // the server knows the scripts
	h.enqueued("a", "j2")
	proxy.Slow(20 * time.Millisecond)
	var err error
	for range 50 {
		if err = h.Do(bg, key("a"), time.Millisecond, nothing); errors.Is(err, dispatcher.ErrBusy) {
			return
		}
	}
	t.Errorf("no wait was told that the subject is taken, the last one %v", err)
}
