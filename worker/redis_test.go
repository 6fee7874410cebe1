package worker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/check"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// site is a namespace on a server with pools that record what they run.
type site struct {
	*dispatcher.Dispatcher
	*inspect.Inspector
	t *testing.T

	mu       sync.Mutex
	runs     []check.Run
	attempts map[string]int
	changed  *sync.Cond
}

func newSite(t *testing.T, rdb *redis.Client) *site {
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb), Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Dispatcher: d, Inspector: inspect.New(d), t: t, attempts: make(map[string]int)}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// claims claims lanes for somebody who is no pool, in a session of their own, and fails unless there are n.
func (s *site) claims(who session.Claimant, n int) ([]session.Claim, *session.Session) {
	s.t.Helper()
	in, err := session.Join(context.Background(), s.Dispatcher, who, n)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = in.Close(context.Background()) })
	var claims []session.Claim
	for p := range in.Partitions() {
		turned := in.Turns(context.Background(), []session.Turn{{Partition: p, Claim: true, Want: n}})[0]
		if turned.Err != nil {
			s.t.Fatal(turned.Err)
		}
		claims = append(claims, turned.Claims...)
	}
	if len(claims) != n {
		s.t.Fatalf("claimed %v, want %d lanes", claims, n)
	}
	return claims, in
}

// work records a run that takes d.
func (s *site) work(d time.Duration) Handler {
	return func(ctx context.Context, _ []byte) error {
		c, _ := FromContext(ctx)
		start := time.Now()
		time.Sleep(d)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.attempts[c.ID]++
		s.runs = append(s.runs, check.Run{Subject: c.Subject.ID, Seq: int(c.Seq), Start: start, End: time.Now()})
		s.changed.Broadcast()
		return nil
	}
}

// pool runs a pool until the test ends.
func (s *site) pool(cfg Config, handlers map[string]Handler) *Pool {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	p, err := New(s.Dispatcher, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	for kind, h := range handlers {
		p.Handle(kind, h)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Errorf("pool: %v", err)
		}
	})
	return p
}

// ran waits until n runs are recorded and returns them.
func (s *site) ran(n int) []check.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.runs) < n {
		s.changed.Wait()
	}
	return s.runs
}

func (s *site) put(lane, kind string, n int) {
	s.t.Helper()
	for i := range n {
		_, err := s.Enqueue(context.Background(), dispatcher.NewJob{
			Subject: subject.Key{Kind: "s", ID: lane}, Kind: kind, ID: fmt.Sprint(lane, "-", kind, "-", i),
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// Two kinds on one subject, two pools, each of which knows one of them: never at
// once, in the order they came [G2]; contention costs no attempt [L5].
func TestI1I5_KindsAndPoolsShareALane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		for i := range 20 {
			for lane := range 3 {
				kind := []string{"move", "expire", "both"}[(i+lane)%3]
				_, err := s.Enqueue(context.Background(), dispatcher.NewJob{
					Subject: subject.Key{Kind: "artifact", ID: fmt.Sprint(lane)}, Kind: kind,
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		s.pool(Config{Concurrency: 4}, map[string]Handler{"move": s.work(time.Millisecond), "both": s.work(0)})
		s.pool(Config{Concurrency: 4}, map[string]Handler{"expire": s.work(time.Millisecond), "both": s.work(0)})
		if r := check.Check(s.ran(60)); r.OutOfOrder+r.Overlaps > 0 {
			t.Errorf("%+v", r)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, n := range s.attempts {
			if n != 1 {
				t.Errorf("job %s ran %d times: a busy lane cost it an attempt", id, n)
			}
		}
	})
}

// G15: a kind that no pool handles is left alone until one does.
func TestI11_UnknownKindWaits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		s.put("a", "new", 1)
		s.put("a", "old", 1)
		s.put("b", "old", 1)
		s.pool(Config{}, map[string]Handler{"old": s.work(0)})
		s.ran(1)
		lane, err := s.Lane(context.Background(), subject.Key{Kind: "s", ID: "a"}, inspect.Page{})
		if err != nil || lane.State != inspect.Ready || lane.Attempt != 0 || len(lane.Jobs) != 2 {
			t.Errorf("lane %+v, %v", lane, err)
		}
		s.pool(Config{}, map[string]Handler{"new": s.work(0)})
		if r := check.Check(s.ran(3)); r.OutOfOrder+r.Overlaps > 0 {
			t.Errorf("%+v", r)
		}
	})
}

// A job that falls due while all pools sleep wakes one; so does the end of a wait.
func TestDelayedAndRetriedJobsAreWoken(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		fails := 0
		s.pool(Config{Backoff: dispatcher.Backoff{Base: 50 * time.Millisecond, Cap: 50 * time.Millisecond}}, map[string]Handler{
			"k": s.work(0),
			"flaky": func(ctx context.Context, payload []byte) error {
				if fails++; fails < 3 {
					return errBoom
				}
				return s.work(0)(ctx, payload)
			},
		})
		begin := time.Now()
		_, err := s.Enqueue(context.Background(), dispatcher.NewJob{
			Subject: subject.Key{Kind: "s", ID: "later"}, Kind: "k", Delay: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.put("flaky", "flaky", 1)
		s.ran(2)
		if took := time.Since(begin); took < 100*time.Millisecond || took > 5*time.Second {
			t.Errorf("a delay of 100ms and two waits of 50ms took %s; polling takes ten seconds", took)
		}
	})
}

// An enqueue wakes a sleeping pool; it does not wait for a poll.
func TestEnqueueWakesAnIdlePool(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		s.pool(Config{}, map[string]Handler{"k": s.work(0)})
		begin := time.Now()
		for i := range 10 {
			s.put(fmt.Sprint(i), "k", 1)
			s.ran(i + 1)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("ten jobs, one after the other, took %s", took)
		}
	})
}

func TestPoolRecoversAfterRedisRestarts(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t, "--appendonly", "yes", "--appendfsync", "always")
	s := newSite(t, redistest.ClientOf(t, server))
	s.pool(Config{Concurrency: 2}, map[string]Handler{"k": s.work(time.Millisecond)})
	s.put("a", "k", 50)
	s.ran(5)
	server.Kill()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if r := check.Check(s.ran(50)); r.Overlaps > 0 {
		t.Errorf("%+v", r)
	}
}

// The script cache is flushed all the time. Trips keep their order, so no wake-up is
// lost: a lane that is stuck until the next reaping would take ten seconds.
func TestPoolRunsOnThroughScriptFlushes(t *testing.T) {
	t.Parallel()
	server := redistest.Own(t)
	rdb := redistest.ClientOf(t, server)
	s := newSite(t, rdb)
	s.pool(Config{Concurrency: 4}, map[string]Handler{"k": func(ctx context.Context, payload []byte) error {
		if err := rdb.ScriptFlush(ctx).Err(); err != nil {
			return err
		}
		return s.work(0)(ctx, payload)
	}})
	begin := time.Now()
	for i := range 5 {
		s.put(fmt.Sprint(i), "k", 20)
	}
	if r := check.Check(s.ran(100)); r.OutOfOrder+r.Overlaps > 0 {
		t.Errorf("%+v", r)
	}
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
}

// Somebody else makes a lane wait while this pool sleeps: it is woken in time.
func TestRetryByAnotherWakesAnIdlePool(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		s := newSite(t, rdb)
		ctx := context.Background()
		s.put("a", "k", 1)
		claims, other := s.claims(session.Claimant{Holder: "other", Kinds: []string{"k"}, TTL: time.Minute}, 1)
		s.put("b", "k", 1)
		s.pool(Config{}, map[string]Handler{"k": s.work(0)})
		s.ran(1)
		begin := time.Now()
		failed := session.End{Claim: &claims[0], Outcome: session.Retry, Wait: 50 * time.Millisecond, Error: "boom"}
		turn := session.Turn{Partition: s.Namespace().Partition(claims[0].Subject), Ends: []session.End{failed}}
		if err := other.Turns(ctx, []session.Turn{turn})[0].Ended[0].Err; err != nil {
			t.Fatal(err)
		}
		s.ran(2)
		if took := time.Since(begin); took < 50*time.Millisecond || took > 5*time.Second {
			t.Errorf("a wait of 50ms took %s", took)
		}
	})
}
