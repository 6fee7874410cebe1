package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// diary keeps what a pool says.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (d *diary) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(b)
}

func (d *diary) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(d, &slog.HandlerOptions{Level: level}))
}

func (d *diary) all() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// says returns the lines whose message begins so, each by its fields.
func (d *diary) says(t *testing.T, message string) (lines []map[string]any) {
	t.Helper()
	for _, text := range strings.Split(strings.TrimSpace(d.all()), "\n") {
		line := make(map[string]any)
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line["msg"].(string), message) {
			lines = append(lines, line)
		}
	}
	return lines
}

// once returns the one line whose message begins so, and fails unless it has the fields.
func (d *diary) once(t *testing.T, message string, fields map[string]any) map[string]any {
	t.Helper()
	lines := d.says(t, message)
	if len(lines) != 1 {
		t.Fatalf("%q is said %d times, want once:\n%s", message, len(lines), d.all())
	}
	for name, want := range fields {
		if got := lines[0][name]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %s is %v, want %v", message, name, got, want)
		}
	}
	return lines[0]
}

const secret = "not to be read in a log"

// C14: a failed attempt, a panic, a dead letter, a start and a stop are one line each, with the
// same fields everywhere and no payload.
func TestC14_EveryEndIsTold(t *testing.T) {
	t.Parallel()
	f, d := newFake(), &diary{}
	cfg := Config{Name: "p1", Concurrency: 3, Logger: d.logger(slog.LevelInfo), Backoff: dispatcher.Backoff{Base: time.Hour, Cap: time.Hour}}
	_, err := pooled(t, cfg, f, func(p *Pool) {
		p.Handle("k", func(ctx context.Context, _ []byte) error {
			switch c, _ := FromContext(ctx); c.ID {
			case "fails":
				return errBoom
			case "panics":
				panic("ouch")
			case "dies":
				return Permanent(errBoom)
			}
			return nil
		})
	}, func(p *Pool) {
		for _, id := range []string{"fails", "panics", "dies", "works"} {
			f.add(dispatcher.Job{ID: id, Payload: []byte(secret), MaxAttempts: 5})
		}
		time.Sleep(time.Second)
	})
	if err != nil {
		t.Fatal(err)
	}
	d.once(t, "pool started", map[string]any{"level": "INFO", "pool": "p1", "kinds": "[k]", "concurrency": 3})
	d.once(t, "pool stopped", map[string]any{"level": "INFO", "pool": "p1", "started": 4, "finished": 1, "retried": 2, "dead": 1})
	d.once(t, "dead letter", map[string]any{
		"level": "ERROR", "job": "dies", "subject": "s:dies", "kind": "k", "attempt": 1, "token": "1", "reason": "permanent error", "err": "boom",
	})
	if lines := d.says(t, "attempt failed"); len(lines) != 2 {
		t.Fatalf("two attempts that failed are told in %d lines:\n%s", len(lines), d.all())
	}
	for _, line := range d.says(t, "attempt failed") {
		id := line["job"].(string)
		want := map[string]string{"fails": "boom", "panics": "panic: ouch"}[id]
		if line["level"] != "WARN" || line["err"] != want || line["subject"] != "s:"+id || line["kind"] != "k" ||
			line["attempt"] != 1.0 || line["token"] != "1" || line["wait"] == nil || line["holder"] == nil {
			t.Errorf("%v", line)
		}
		if stack, ok := line["stack"].(string); ok != (id == "panics") || ok && !strings.Contains(stack, "log_test.go") {
			t.Errorf("the stack of %s is %q", id, stack)
		}
	}
	if strings.Contains(d.all(), secret) {
		t.Error("a payload is in the log")
	}
}

// At debug level every attempt is told of; else it costs nothing and says nothing.
func TestC14_AttemptsAtDebugLevel(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]int{slog.LevelDebug: 1, slog.LevelInfo: 0} {
		f, d := newFake(), &diary{}
		_, _ = pooled(t, Config{Logger: d.logger(level)}, f, func(p *Pool) {
			p.Handle("k", func(context.Context, []byte) error { return nil })
		}, func(*Pool) {
			f.add(jobs(1)...)
			time.Sleep(time.Second)
		})
		if n, m := len(d.says(t, "attempt begins")), len(d.says(t, "attempt ended")); n != want || m != want {
			t.Errorf("at %s: %d begin and %d end, want %d", level, n, m, want)
		}
	}
}

// Middleware gets a handler's panic as an error; its own is caught all the same.
func TestC14_MiddlewareSeesAPanic(t *testing.T) {
	t.Parallel()
	f := newFake()
	var seen []error
	_, err := pooled(t, Config{Backoff: dispatcher.Backoff{Base: time.Hour, Cap: time.Hour}}, f, func(p *Pool) {
		p.Use(func(h Handler) Handler {
			return func(ctx context.Context, payload []byte) error {
				err := h(ctx, payload)
				seen = append(seen, err)
				if c, _ := FromContext(ctx); c.ID == "j1" {
					panic("middleware")
				}
				return err
			}
		})
		p.Handle("k", func(context.Context, []byte) error { panic("ouch") })
	}, func(*Pool) {
		for _, j := range jobs(2) {
			f.add(j)
			time.Sleep(time.Second)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 {
		t.Fatalf("middleware went on after %d of 2 panics", len(seen))
	}
	for _, err := range seen {
		var p *PanicError
		if !errors.As(err, &p) || p.Value != "ouch" || !strings.Contains(string(p.Stack), "log_test.go") {
			t.Errorf("middleware got %v", err)
		}
	}
	for id, says := range map[string]string{"j0": "panic: ouch\n\n", "j1": "panic: middleware\n\n"} {
		if e, _ := f.end(id); e.Outcome != session.Retry || !strings.HasPrefix(e.Error, says) || !strings.Contains(e.Error, "log_test.go") {
			t.Errorf("%s: %+v", id, e)
		}
	}
}

// C14: of a worker that died the log of the pool that finds it tells: which attempts were taken
// over, and which jobs are dead letters for it. They are counted.
func TestC14_LostWorkersAreTold(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s, d := newSite(t, rdb), &diary{}
		ctx := context.Background()
		for lane, attempts := range map[string]int{"goes-on": 3, "dies": 1} {
			_, err := s.Enqueue(ctx, dispatcher.NewJob{
				Subject: subject.Key{Kind: "s", ID: lane}, Kind: "k", ID: lane, MaxAttempts: attempts, Payload: []byte(secret),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		claims, _ := s.claims(session.Claimant{Holder: "gone", Kinds: []string{"k"}, TTL: time.Second}, 2)
		tokens := make(map[string]string)
		for _, c := range claims {
			tokens[c.ID] = c.Lease.Token.String()
		}
		p := s.pool(Config{Logger: d.logger(slog.LevelInfo), LeaseTTL: time.Second}, map[string]Handler{"k": s.work(0)})
		s.ran(1)
		redistest.Until(t, "the burial is counted, and both are told", func() bool {
			p.log.flush() // another trip may claim the lane before the one that has reaped it is back
			return p.Counts().Buried == 1 && strings.Contains(d.all(), "is taken over") && strings.Contains(d.all(), "dead letter")
		})
		fields := func(id, level string) map[string]any {
			return map[string]any{
				"level": level, "job": id, "subject": "s:" + id, "kind": "k", "attempt": 1, "token": tokens[id],
				"reason": "worker lost", "lost_holder": "gone",
			}
		}
		d.once(t, "attempt lost with its worker; its job is taken over", fields("goes-on", "WARN"))
		d.once(t, "dead letter", fields("dies", "ERROR"))
		if p.Counts().Dead != 0 || strings.Contains(d.all(), secret) {
			t.Errorf("%+v\n%s", p.Counts(), d.all())
		}
	})
}

// C14: Redis away and back are one line each, however long and by however many calls it is noticed;
// and the pool asks about once a second.
func TestC14_AnOutageIsTwoLines(t *testing.T) {
	t.Parallel()
	f, d := newFake(), &diary{}
	asked := 0
	_, err := pooled(t, Config{Logger: d.logger(slog.LevelInfo)}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(p *Pool) {
		time.Sleep(time.Minute)
		f.set(func() { f.down, f.turns = fmt.Errorf("%w: connection refused", dispatcher.ErrUnavailable), 0 })
		f.add(jobs(1)...)
		time.Sleep(time.Minute)
		f.set(func() { f.down, asked = nil, f.turns })
		time.Sleep(time.Minute)
		if n := p.Counts().Finished; n != 1 {
			t.Errorf("%d jobs finished after the outage, want 1", n)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	d.once(t, "redis is away", map[string]any{"level": "WARN", "err": "dispatcher: Redis is unavailable: connection refused"})
	if took, _ := d.once(t, "redis is back", map[string]any{"level": "INFO"})["after"].(float64); time.Duration(took).Round(2*time.Second) != time.Minute {
		t.Errorf("it was away for %s, want a minute", time.Duration(took))
	}
	if n := len(d.says(t, "")); n != 4 {
		t.Errorf("an outage between start and stop is told in %d lines, want 4:\n%s", n, d.all())
	}
	t.Logf("asked %d times in a minute", asked)
	if asked < 40 || asked > 150 { // it was eight times a second once; two loops that meet make it up to two
		t.Errorf("Redis was asked %d times in a minute, want about once a second", asked)
	}
}

// C14: an idle pool, which asks little by itself, says within about two seconds that Redis is back, and how long it was away: not since
// when its wait had lasted by then.
func TestC14_AnIdlePoolToo(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{time.Second, time.Minute} {
		f, d := newFake(), &diary{}
		_, err := pooled(t, Config{Logger: d.logger(slog.LevelInfo)}, f, func(p *Pool) {
			f.cut = make(chan struct{}) // of the bubble that the pool is in
			p.Handle("k", func(context.Context, []byte) error { return nil })
		}, func(*Pool) {
			time.Sleep(57 * time.Second)
			f.set(func() { f.down = fmt.Errorf("wait: %w", dispatcher.ErrUnavailable); close(f.cut) })
			time.Sleep(away)
			f.set(func() { f.down, f.cut = nil, make(chan struct{}) })
			time.Sleep(3 * time.Second)
			if n := len(d.says(t, "redis is back")); n != 1 {
				t.Errorf("3 s after %s without Redis it was said %d times to be back:\n%s", away, n, d.all())
			}
			time.Sleep(time.Minute)
		})
		if err != nil {
			t.Fatal(err)
		}
		d.once(t, "redis is away", nil)
		took, _ := d.once(t, "redis is back", nil)["after"].(float64)
		if over := time.Duration(took) - away; over < 0 || over > 3*time.Second {
			t.Errorf("it was away for %s, and is said to have been so for %s", away, time.Duration(took))
		}
	}
}

// C14: a Redis that is frozen is not said to be back by a call that had nothing to ask it.
func TestC14_FrozenIsNotBack(t *testing.T) {
	t.Parallel()
	f, d := newFake(), &diary{}
	_, err := pooled(t, Config{Logger: d.logger(slog.LevelInfo)}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(*Pool) {
		time.Sleep(time.Minute)
		thaw := make(chan struct{})
		f.set(func() { f.down, f.frozen = fmt.Errorf("beat: %w", dispatcher.ErrUnavailable), thaw })
		time.Sleep(40 * time.Second)
		if n := len(d.says(t, "redis is back")); n != 0 {
			t.Errorf("said %d times to be back while it is frozen", n)
		}
		f.set(func() { f.down, f.frozen = nil, nil })
		close(thaw)
		time.Sleep(time.Minute)
	})
	if err != nil {
		t.Fatal(err)
	}
	d.once(t, "redis is away", nil)
	d.once(t, "redis is back", nil)
}

// An answer that is an error is no outage, and is not told each time it comes.
func TestC14_ARefusalIsToldNowAndThen(t *testing.T) {
	t.Parallel()
	f, d := newFake(), &diary{}
	_, _ = pooled(t, Config{Logger: d.logger(slog.LevelInfo)}, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { return nil })
	}, func(*Pool) {
		f.set(func() { f.down = errors.New("NOPERM this user has no permissions") })
		f.add(jobs(1)...)
		time.Sleep(150 * time.Second)
		f.set(func() { f.down = nil })
		time.Sleep(time.Minute)
	})
	if n := len(d.says(t, "redis does not serve")); n < 2 || n > 3 {
		t.Errorf("a refusal that lasts for 150s is told %d times, want once a minute", n)
	}
}

// The same on a real server: all that a pool asks, beats and renewals too, and four partitions.
func TestC14_AnOutageOfAServerIsTwoLines(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	s, d := newSite(t, redistest.ClientOf(t, server)), &diary{}
	release := make(chan bool)
	s.pool(Config{Logger: d.logger(slog.LevelInfo), LeaseTTL: 30 * time.Second}, map[string]Handler{
		"k": s.work(0), "long": func(context.Context, []byte) error { <-release; return nil },
	})
	for i := range 8 {
		s.put(fmt.Sprint("long", i), "long", 1)
	}
	s.put("a", "k", 1)
	s.ran(1)
	server.Kill()
	begin := time.Now()
	redistest.Until(t, "the outage is told", func() bool { return len(d.says(t, "redis is away")) > 0 })
	redistest.Until(t, "it has lasted through a sign of life", func() bool { return time.Since(begin) > 6*time.Second })
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	redistest.Until(t, "Redis is said to be back", func() bool { return len(d.says(t, "redis is back")) > 0 })
	s.put("b", "k", 1)
	s.ran(2)
	close(release)
	d.once(t, "redis is away", nil)
	d.once(t, "redis is back", nil)
	for _, line := range d.says(t, "") {
		switch msg := line["msg"].(string); {
		case strings.HasPrefix(msg, "redis is"), msg == "pool started", strings.HasPrefix(msg, "lease lost"): // the server forgot all
		default:
			t.Errorf("the outage is told besides: %v", line)
		}
	}
}

// An idle pool whose Redis is frozen stops within what docs/operations.md says, which is
// StopTimeout + LeaseTTL/5 + 6s, and has no handlers to cancel.
func TestD2_APoolStopsWithRedisFrozen(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]bool{"idle": false, "busy": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Own(t)
			s, d := newSite(t, redistest.ClientOf(t, server)), &diary{}
			cfg := Config{Logger: d.logger(slog.LevelInfo), LeaseTTL: 5 * time.Second, StopTimeout: time.Second}
			p, err := New(s.Dispatcher, cfg)
			if err != nil {
				t.Fatal(err)
			}
			begun := make(chan bool, 1)
			p.Handle("k", s.work(0))
			p.Handle("long", func(ctx context.Context, _ []byte) error { begun <- true; <-ctx.Done(); return ctx.Err() })
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- p.Run(ctx) }()
			s.put("a", "k", 1)
			s.ran(1)
			redistest.Until(t, "its end is reported", func() bool { return p.Counts().Finished == 1 })
			if busy {
				s.put("b", "long", 1)
				<-begun
			}
			if err := server.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = server.Signal(syscall.SIGCONT) })
			if !busy { // else the lease is lost meanwhile, and the handler cancelled
				redistest.Until(t, "it is noticed", func() bool { return len(d.says(t, "redis is away")) > 0 })
			}
			stop()
			begin := time.Now()
			err = <-done
			took, most := time.Since(begin), 12*time.Second-5*time.Second+cfg.StopTimeout
			if !busy {
				most -= cfg.StopTimeout + cfg.LeaseTTL/5
			}
			if t.Logf("%s: stopped after %s", name, took); took > most {
				t.Errorf("the stop took %s, want %s at most", took, most)
			}
			if n := len(d.says(t, "handlers still run")); (n > 0) != busy || (err != nil) != busy {
				t.Errorf("handlers are said to run %d times, and Run returned %v", n, err)
			}
			if n := len(d.says(t, "redis is away")); n > 1 {
				t.Errorf("Redis is said to be away %d times", n)
			}
			d.once(t, "pool stopped", nil)
		})
	}
}

// A pool that could run nothing does not start.
func TestPoolWithoutHandlersDoesNotStart(t *testing.T) {
	t.Parallel()
	p, err := newPool(Config{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("Run returned %v", err)
	}
}

// One server that is away is asked once for all its partitions, by one of the trips that learn it;
// servers of a cluster, and what one partition refuses, each by itself.
func TestC14_PartitionsOfOneServerRestTogether(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		apart, away bool
		resting     int
	}{
		"one server is away": {false, true, 4}, "a server of a cluster is away": {true, true, 1}, "a partition refuses": {false, false, 1},
	} {
		d := newDesk(Config{}.withDefaults(), 4, c.apart)
		for range 3 { // trips that were under way together
			e := errand{Turn: session.Turn{Partition: 2}, away: c.away}
			d.take(e, session.TurnReply{Err: errBoom, Reaped: session.ReapReply{Next: -1}}, nil)
		}
		resting, most := 0, 0
		for _, p := range d.planner.partitions {
			if time.Now().Before(p.restTill) {
				resting++
			}
			most = max(most, p.failures)
		}
		if resting != c.resting || (most == 1) != (c.away && !c.apart) {
			t.Errorf("%s: %d partitions rest, want %d; failures in a row: %d", name, resting, c.resting, most)
		}
	}
}
