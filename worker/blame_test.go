package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// blamed runs a pool whose jobs fail while bad says so, over a fake, with blame.
func blamed(t *testing.T, f *fake, bad func(id string) bool, story func(p *Pool)) *diary {
	t.Helper()
	d := &diary{}
	cfg := Config{Concurrency: 1, Blame: true, Logger: d.logger(slog.LevelInfo)}
	if _, err := pooled(t, cfg, f, func(p *Pool) {
		p.Handle("k", func(ctx context.Context, _ []byte) error {
			if c, _ := FromContext(ctx); bad(c.ID) {
				return errBoom
			}
			return nil
		})
	}, story); err != nil {
		t.Error(err)
	}
	return d
}

// blame is what the pool has done to blame itself.
func (f *fake) blame() (why string, refunded []string, probes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.blamed, slices.Clone(f.refunded), f.probes
}

const looks = 2 * session.BeatEvery // it looks with each sign of life, and compares two looks

// H3: nobody is to blame for what nobody does well.
func TestH3_BadJobsBlameNobody(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.elsewhere = 7 // before
	blamed(t, f, func(string) bool { return true }, func(*Pool) {
		f.add(jobs(50)...)
		time.Sleep(10 * looks)
		if why, refunded, _ := f.blame(); why != "" || len(refunded) > 0 {
			t.Errorf("blamed: %q", why)
		}
	})
}

// H3: who fails what others do well is blamed for it, gets its attempts back, tries again after a
// minute, and is well again when that goes well.
func TestH3_BlameEndsByItself(t *testing.T) {
	t.Parallel()
	f := newFake()
	var bad atomic.Bool
	bad.Store(true)
	d := blamed(t, f, func(string) bool { return bad.Load() }, func(*Pool) {
		f.add(jobs(blameAfter)...)
		time.Sleep(looks)
		f.set(func() { f.elsewhere++ })
		time.Sleep(looks)
		why, refunded, probes := f.blame()
		if !strings.Contains(why, "5 different jobs failed here in a row") || len(refunded) != blameAfter {
			t.Errorf("blamed: %q, refunded: %v", why, refunded)
		}
		if probes != 0 {
			t.Errorf("it tries again at once")
		}
		f.add(dispatcher.Job{ID: "again"})
		time.Sleep(2*probeAfter + looks)
		if why, refunded, probes = f.blame(); probes != 2 || why == "" || len(refunded) != blameAfter+1 {
			t.Errorf("%d tries in two minutes, blamed %q, refunded %v", probes, why, refunded)
		}
		bad.Store(false)
		f.add(dispatcher.Job{ID: "well"})
		time.Sleep(time.Second)
		if why, _, _ = f.blame(); why != "" {
			t.Error("one that does well is blamed")
		}
	})
	d.once(t, "this worker is to blame", map[string]any{"level": "ERROR", "kind": "k"})
	d.once(t, "this worker is not to blame any more", map[string]any{"level": "INFO", "kind": "k", "reason": "a job went well here"})
}

// H3: an attempt that can't be given back keeps nobody from trying again.
func TestH3_RefusedRefundKeepsNoProbe(t *testing.T) {
	t.Parallel()
	f := newFake()
	blamed(t, f, func(string) bool { return true }, func(*Pool) {
		f.add(jobs(blameAfter)...)
		time.Sleep(looks)
		f.set(func() { f.elsewhere++ })
		time.Sleep(looks)
		f.set(func() { f.refused = dispatcher.ErrTaken })
		time.Sleep(2*probeAfter + looks)
		if why, _, probes := f.blame(); probes != 2 || why == "" {
			t.Errorf("%d tries in two minutes, blamed %q", probes, why)
		}
	})
}

// H3: the last worker of a kind is not blamed, and one that has become it is not any more.
func TestH3_TheLastIsNotBlamed(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		f := newFake()
		f.last = first
		d := blamed(t, f, func(string) bool { return true }, func(*Pool) {
			f.add(jobs(blameAfter)...)
			time.Sleep(looks)
			f.set(func() { f.elsewhere++ })
			time.Sleep(2 * looks)
			if why, _, _ := f.blame(); (why != "") == first {
				t.Errorf("last %t: blamed %q", first, why)
			}
			f.set(func() { f.last = true })
			time.Sleep(looks)
			if why, _, _ := f.blame(); why != "" {
				t.Error("the last one is blamed")
			}
		})
		if n := len(d.says(t, "this worker is not to blame")); (n == 1) == first {
			t.Errorf("last %t: %d blames have ended", first, n)
		}
	}
}

// H3: one that goes well now and then, or a single job that fails however often, is no suspect.
func TestH3_NobodyToBlame(t *testing.T) {
	t.Parallel()
	f := newFake()
	blamed(t, f, func(id string) bool { return id != "j3" && id != "j7" }, func(*Pool) {
		for range 20 {
			f.add(append(jobs(10), dispatcher.Job{ID: "same"})...)
			time.Sleep(session.BeatEvery / 2)
			f.set(func() { f.elsewhere++ })
		}
		if why, _, _ := f.blame(); why != "" {
			t.Errorf("blamed: %q", why)
		}
	})
	var s conducts
	for range 10 {
		s.add("k", failure{{Job: dispatcher.Job{ID: "same"}}}, false)
	}
	if len(s.suspects()) > 0 {
		t.Error("one job makes a suspect")
	}
	for i := range 2 * mostOwed {
		s.add("k", failure{{Job: dispatcher.Job{ID: fmt.Sprint(i)}}}, false)
	}
	if n := len(s.suspects()["k"].failed); n != mostOwed {
		t.Errorf("%d failures are kept in mind", n)
	}
	if Config.withDefaults(Config{}).Blame {
		t.Error("blame is on by itself")
	}
}

// H3: bad jobs of several kinds stop neither a worker nor the jobs of other kinds, and are dead
// letters in the end. Pools look at the wall clock every BeatEvery, and two of their looks are waited for.
func TestH3_BadJobsStopNobody(t *testing.T) {
	t.Parallel()
	const kinds, workers, each = 2, 3, 15
	s := newSite(t, redistest.Client(t))
	var good gauge
	handlers := map[string]Handler{"good": good.handler(0)}
	for k := range kinds {
		handlers[fmt.Sprint("bad", k)] = func(context.Context, []byte) error { return errors.New("a bad job") }
	}
	for range workers {
		s.pool(Config{Concurrency: 2, Blame: true, Backoff: dispatcher.Backoff{Base: 10 * time.Millisecond, Cap: 20 * time.Millisecond}}, handlers)
	}
	for k := range kinds {
		for i := range each {
			s.put(fmt.Sprint("bad", k, "-", i), fmt.Sprint("bad", k), 1)
		}
	}
	begin, put := time.Now(), int64(0)
	for time.Since(begin) < looks+session.BeatEvery/2 {
		put++
		s.put(fmt.Sprint("good", put), "good", 1)
		redistest.Until(t, "a good job runs", func() bool { return good.done.Load() == put })
		time.Sleep(50 * time.Millisecond) // work comes all the time
	}
	redistest.Until(t, "the bad ones are dead letters", func() bool { st, _ := s.Stats(t.Context()); return st.Dead == kinds*each })
	if t.Logf("%d good jobs ran beside", put); time.Since(begin) > 6*looks {
		t.Errorf("that took %s", time.Since(begin))
	}
	all, err := session.Workers(t.Context(), s.Dispatcher)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if len(w.Blamed) > 0 {
			t.Errorf("%s is blamed: %v", w.Holder, w.Blamed)
		}
	}
}
