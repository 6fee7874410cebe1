package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// shownBy is, by field of Config, the test that sets it and sees it work.
var shownBy = map[string]string{
	"Name": "TestConfigReachesWhoNeedsIt", "Concurrency": "TestPoolRunsAllWithinItsConcurrency", "LeaseTTL": "TestConfigReachesWhoNeedsIt",
	"CancelGrace": "TestHandlerThatDoesNotReturnIsGivenUp", "Timeout": "TestTimeoutOfAnAttempt", "StopTimeout": "TestStopTimeout",
	"LaneBatch": "TestConfigReachesWhoNeedsIt", "Backoff": "TestWaitOfARetry", "Blame": "TestBlameIsAnOption", "Logger": "TestLoggerIsUsed",
}

// Every field is set in a test that sees it work: a field that is new has no row, and fails here.
func TestEachFieldIsShown(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
			tests[string(found[1])] = true
		}
	}
	typ := reflect.TypeOf(Config{})
	for i := range typ.NumField() {
		if f := typ.Field(i); !tests[shownBy[f.Name]] {
			t.Errorf("Config.%s is to be shown by %q, which is no test", f.Name, shownBy[f.Name])
		}
	}
	if len(shownBy) != typ.NumField() {
		t.Errorf("%d fields and %d rows", typ.NumField(), len(shownBy))
	}
}

// What is set is what the session is asked for; and what is not set has its default.
func TestConfigReachesWhoNeedsIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  Config
		want session.Claimant
		runs int
	}{
		"set": {
			Config{Name: "p", Concurrency: 7, LeaseTTL: 9 * time.Second, LaneBatch: map[string]int{"k": 3}},
			session.Claimant{Pool: "p", TTL: 9 * time.Second, LaneBatch: map[string]int{"k": 3, "batch": 5}}, 7,
		},
		"not set": {
			Config{}, session.Claimant{Pool: dispatcher.DefaultPool, TTL: 30 * time.Second, LaneBatch: map[string]int{"batch": 5}},
			10 * runtime.GOMAXPROCS(0),
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.hints = make(chan session.Hint)
			c.cfg.Logger = quiet()
			var who session.Claimant
			var runs int
			p, err := newPool(c.cfg, func(_ context.Context, asked session.Claimant, n int) (source, error) {
				who, runs = asked, n
				return f, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			p.Handle("k", func(context.Context, []byte) error { return nil })
			p.HandleBatch("batch", 5, func(context.Context, []dispatcher.Job) []error { return nil })
			ctx, stop := context.WithCancel(t.Context())
			stop()
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
			if who.Holder == "" || !slices.Equal(who.Kinds, []string{"batch", "k"}) || who.Pool != c.want.Pool || who.TTL != c.want.TTL ||
				!reflect.DeepEqual(who.LaneBatch, c.want.LaneBatch) || runs != c.runs {
				t.Errorf("%s: it joins as %+v with %d", name, who, runs)
			}
		})
	}
	if p, err := newPool(Config{}, nil); err != nil || p.cfg.Timeout != time.Hour || p.cfg.StopTimeout != 20*time.Second || p.CancelGrace() != 6*time.Second ||
		p.cfg.Backoff != dispatcher.DefaultBackoff || p.cfg.Logger != slog.Default() || p.cfg.Blame {
		t.Errorf("defaults %+v, %v", p.cfg, err)
	}
}

// An attempt may take as long as its job says, else as the pool does; and says so when it was too long.
func TestTimeoutOfAnAttempt(t *testing.T) {
	t.Parallel()
	f := newFake()
	_, _ = pooled(t, Config{Concurrency: 2, Timeout: 5 * time.Second}, f, func(p *Pool) {
		p.Handle("k", func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() })
	}, func(*Pool) {
		begin := time.Now()
		f.add(dispatcher.Job{ID: "own", Timeout: 2 * time.Second}, dispatcher.Job{ID: "pool's"})
		for _, c := range []struct {
			id    string
			after time.Duration
		}{{"own", 2 * time.Second}, {"pool's", 5 * time.Second}} {
			time.Sleep(time.Until(begin.Add(c.after - time.Millisecond)))
			synctest.Wait()
			if _, ended := f.end(c.id); ended {
				t.Errorf("%s has ended before its time", c.id)
			}
			time.Sleep(100 * time.Millisecond)
			end, ended := f.end(c.id)
			if !ended || end.Outcome != session.Retry || !strings.Contains(end.Error, "timed out after "+c.after.String()) {
				t.Errorf("%s after its time: %t, %v %q", c.id, ended, end.Outcome, end.Error)
			}
		}
	})
}

// A job that failed waits as its kind declares, else as the pool says, twice as long each time, and no longer than the cap.
func TestWaitOfARetry(t *testing.T) {
	t.Parallel()
	declared, own := dispatcher.Backoff{Base: 8 * time.Second, Cap: 20 * time.Second}, dispatcher.Backoff{Base: time.Minute, Cap: time.Hour}
	for _, c := range []struct {
		kind    string
		attempt int
		want    time.Duration
	}{
		{"declared", 1, 8 * time.Second}, {"declared", 2, 16 * time.Second}, {"declared", 3, 20 * time.Second}, {"declared", 9, 20 * time.Second},
		{"k", 1, time.Minute}, {"k", 3, 4 * time.Minute}, {"k", 7, time.Hour}, {"k", 1000, time.Hour},
	} {
		p := &Pool{cfg: Config{Backoff: own}, rules: map[string]dispatcher.Kind{"declared": {Backoff: declared}}}
		claim := &session.Claim{Job: dispatcher.Job{Kind: c.kind}, Attempt: c.attempt}
		for range 20 { // it is drawn
			end := p.end(claim, &verdict{failed: true})
			if end.Outcome != session.Retry || end.Wait > c.want || end.Wait < c.want*3/4 {
				t.Errorf("after attempt %d at a job of %s it waits %s, want up to %s", c.attempt, c.kind, end.Wait, c.want)
			}
		}
	}
	if got := (dispatcher.Backoff{}).Wait(3); got != 0 {
		t.Errorf("no backoff waits %s", got)
	}
}

// Handlers have until the stop timeout is over, to the second.
func TestStopTimeout(t *testing.T) {
	t.Parallel()
	for _, most := range []time.Duration{3 * time.Second, 7 * time.Second} {
		f := newFake()
		var cut time.Duration
		_, err := pooled(t, Config{Concurrency: 1, StopTimeout: most}, f, func(p *Pool) {
			p.Handle("k", func(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() })
		}, func(p *Pool) {
			f.add(dispatcher.Job{ID: "j"})
			synctest.Wait()
			stopped := time.Now()
			context.AfterFunc(p.life, func() { cut = time.Since(stopped) })
		})
		if stop := (*StopError)(nil); !errors.As(err, &stop) || stop.HandedBack != 1 || cut < most || cut > most+time.Second {
			t.Errorf("with %s the handler was cut after %s: %v", most, cut, err)
		}
	}
}

// Only where blame is on a job has a bound on how many workers it may fail.
func TestBlameIsAnOption(t *testing.T) {
	t.Parallel()
	for blame, workers := range map[bool]int{true: 3, false: 0} {
		p := &Pool{cfg: Config{Blame: blame}, source: newFake()}
		claim := &session.Claim{Job: dispatcher.Job{ID: "j", Kind: "k"}, Attempt: 1}
		if end := p.end(claim, &verdict{failed: true}); end.Workers != workers {
			t.Errorf("with blame %t a job may fail on %d workers, want %d", blame, end.Workers, workers)
		}
		for i := range blameAfter {
			p.judgeSelf("k", failure{{Job: dispatcher.Job{ID: fmt.Sprint(i)}}}, false)
		}
		if suspected := len(p.conducts.suspects()) > 0; suspected != blame {
			t.Errorf("with blame %t it suspects itself: %t", blame, suspected)
		}
	}
}

// What a pool says goes to its own logger.
func TestLoggerIsUsed(t *testing.T) {
	t.Parallel()
	f := newFake()
	var said bytes.Buffer
	_, _ = pooled(t, Config{Name: "mine", Logger: slog.New(slog.NewTextHandler(&said, nil))}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(*Pool) {})
	if !strings.Contains(said.String(), "pool started") || !strings.Contains(said.String(), "pool=mine") {
		t.Errorf("it said %q", said.String())
	}
}

// Each field of a config is taken at its bounds, and refused beyond them.
func TestConfigAtItsBounds(t *testing.T) {
	t.Parallel()
	century := 100 * 365 * 24 * time.Hour
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		values map[time.Duration]bool
		set    func(c *Config, d time.Duration)
	}{
		"Concurrency": {map[time.Duration]bool{-1: false, 0: true, 1: true, 10000: true, 10001: false}, func(c *Config, d time.Duration) { c.Concurrency = int(d) }},
		"LeaseTTL": {map[time.Duration]bool{-1: false, 0: true, 100*time.Millisecond - 1: false, 100 * time.Millisecond: true, day: true, day + 1: false},
			func(c *Config, d time.Duration) { c.LeaseTTL = d }},
		"CancelGrace": {map[time.Duration]bool{-1: false, 0: true, 5*time.Second - 1: true, 5 * time.Second: false},
			func(c *Config, d time.Duration) { c.LeaseTTL, c.CancelGrace = 10*time.Second, d }},
		"Timeout": {map[time.Duration]bool{-1: false, 0: true, time.Millisecond - 1: false, time.Millisecond: true, century: true, century + 1: false},
			func(c *Config, d time.Duration) { c.Timeout = d }},
		"StopTimeout": {map[time.Duration]bool{-1: false, 0: true, century: true, century + 1: false}, func(c *Config, d time.Duration) { c.StopTimeout = d }},
		"Backoff.Base": {map[time.Duration]bool{-1: false, 0: true, time.Minute: true, time.Minute + 1: false},
			func(c *Config, d time.Duration) { c.Backoff = dispatcher.Backoff{Base: d, Cap: time.Minute} }},
		"Backoff.Cap": {map[time.Duration]bool{century: true, century + 1: false}, func(c *Config, d time.Duration) { c.Backoff.Cap = d }},
		"LaneBatch":   {map[time.Duration]bool{-1: false, 0: false, 1: true, 250: true, 251: false}, func(c *Config, d time.Duration) { c.LaneBatch = map[string]int{"k": int(d)} }},
	} {
		for value, good := range c.values {
			var cfg Config
			c.set(&cfg, value)
			if _, err := newPool(cfg, nil); (err == nil) != good {
				t.Errorf("%s of %d: %v", name, value, err)
			}
		}
	}
}

// Counts of several pools add up, each field.
func TestCountsAddUp(t *testing.T) {
	t.Parallel()
	var one, sum Counts
	v := reflect.ValueOf(&one).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(i + 1))
	}
	sum.Add(one)
	sum.Add(one)
	for i := range v.NumField() {
		if got := reflect.ValueOf(sum).Field(i).Int(); got != 2*int64(i+1) {
			t.Errorf("%s is %d, want %d", v.Type().Field(i).Name, got, 2*(i+1))
		}
	}
}
