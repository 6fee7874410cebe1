package dispatcher_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// trips counts round trips of a client: each call of a hook is one.
type trips struct{ n atomic.Int64 }

func (t *trips) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (t *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { t.n.Add(1); return next(ctx, cmd) }
}

func (t *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { t.n.Add(1); return next(ctx, cmds) }
}

// meter measures what steps cost on a server of its own.
type meter struct {
	t     testing.TB
	admin *redis.Client
	rdb   *redis.Client
	trips trips
	d     *dispatcher.Dispatcher
	s     *session.Session
	turn  session.Turn
	n     int
}

func newMeter(t testing.TB, along int) *meter {
	server := redistest.Own(t)
	m := &meter{t: t, admin: redistest.ClientOf(t, server)}
	rdb := redistest.ClientOf(t, server)
	rdb.AddHook(&m.trips)
	m.rdb = rdb
	var err error
	if m.d, err = dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	who := session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
	if along > 1 {
		who.LaneBatch = map[string]int{"k": along}
	}
	if m.s, err = session.Join(t.Context(), m.d, who, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.s.Close(bg) })
	m.turn = session.Turn{Claim: true}
	m.settle()
	return m
}

// settle waits until a session that has joined has read its limits again: it does so when it is
// subscribed to their news, beside everything else, and at no moment that can be asked for.
func (m *meter) settle() {
	last, since := int64(-1), time.Now()
	redistest.Until(m.t, "nothing is asked any more", func() bool {
		if n := m.trips.n.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
}

// enqueue puts n jobs in one call, of one lane or each of its own.
func (m *meter) enqueue(n int, lane string) {
	m.t.Helper()
	jobs := make([]dispatcher.NewJob, n)
	for i := range jobs {
		m.n++
		jobs[i] = dispatcher.NewJob{Subject: key(lane), Kind: "k", Payload: make([]byte, 100)}
		if lane == "" {
			jobs[i].Subject = key(fmt.Sprint("own", m.n))
		}
	}
	if _, err := m.d.EnqueueMany(bg, jobs); err != nil {
		m.t.Fatal(err)
	}
}

// hop ends all jobs of the last hop and claims up to n lanes.
func (m *meter) hop(n int) {
	m.t.Helper()
	m.turn.Want = n
	answer := m.s.Turns(bg, []session.Turn{m.turn})[0]
	for _, e := range answer.Ended {
		if e.Err != nil {
			m.t.Fatal(e.Err)
		}
	}
	if answer.Err != nil || len(answer.Claims) == 0 {
		m.t.Fatalf("claimed %d lanes: %v", len(answer.Claims), answer.Err)
	}
	m.turn.Ends = nil
	for i := range answer.Claims {
		for c, ok := &answer.Claims[i], true; ok; {
			next, more := c.Next()
			m.turn.Ends = append(m.turn.Ends, session.End{Claim: c, GoesOn: more})
			c, ok = next, more
		}
	}
}

// cost returns the round trips and the commands that Redis ran, those in scripts too,
// for a step, by job.
func (m *meter) cost(jobs int, step func()) (tripsPerJob, commandsPerJob float64) {
	m.t.Helper()
	calls := func() (sum int) {
		for _, line := range strings.Split(m.admin.Info(bg, "commandstats").Val(), "\r\n") {
			name, rest, _ := strings.Cut(line, ":calls=")
			count, _, _ := strings.Cut(rest, ",")
			if name != "cmdstat_info" {
				n, _ := strconv.Atoi(count)
				sum += n
			}
		}
		return sum
	}
	trips, commands := m.trips.n.Load(), calls()
	step()
	return float64(m.trips.n.Load()-trips) / float64(jobs), float64(calls()-commands) / float64(jobs)
}

// steps are what docs/performance.md has in its table of costs, by the same names.
var steps = map[string]func(m *meter) (trips, commands float64){
	"enqueue one, lane empty":                 func(m *meter) (float64, float64) { return m.cost(1, func() { m.enqueue(1, "new") }) },
	"enqueue one, behind others":              func(m *meter) (float64, float64) { return m.cost(1, func() { m.enqueue(1, "hot") }) },
	"enqueue 100, each lane empty":            func(m *meter) (float64, float64) { return m.cost(100, func() { m.enqueue(100, "") }) },
	"finish and claim one, lane by lane":      func(m *meter) (float64, float64) { m.hop(1); return m.cost(1, func() { m.hop(1) }) },
	"finish and claim 100, lane by lane":      func(m *meter) (float64, float64) { m.hop(100); return m.cost(100, func() { m.hop(100) }) },
	"finish and claim one lane's batch of 64": func(m *meter) (float64, float64) { m.hop(1); return m.cost(64, func() { m.hop(1) }) },
}

// featureSteps are the costs of what a lane can do besides.
var featureSteps = map[string]func(m *meter) (trips, commands float64){
	"enqueue one with a unique key": func(m *meter) (float64, float64) {
		return m.again(1, func() { m.n++; m.put(unique("u", "", dispatcher.Unique{Key: fmt.Sprint(m.n)})) })
	},
	"merge one into one that waits": func(m *meter) (float64, float64) {
		m.put(unique("u", "", dispatcher.Unique{Key: "same"}))
		return m.again(1, func() { m.put(unique("u", "", dispatcher.Unique{Key: "same"})) })
	},
	"finish and claim one whose outcome is kept": func(m *meter) (float64, float64) {
		for range 5 {
			m.put(dispatcher.NewJob{Subject: key("kept"), Kind: "kept", Keep: time.Minute})
		}
		m.join(dispatcher.Config{}, "kept")
		m.hop(1)
		return m.again(1, func() { m.hop(1) })
	},
	"finish and claim one of a kind with a limit": func(m *meter) (float64, float64) {
		m.join(dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "few", Owner: "o", Limit: 10}}}, "few")
		for range 5 {
			m.put(dispatcher.NewJob{Subject: key("few"), Kind: "few"})
		}
		m.hop(1)
		return m.again(1, func() { m.hop(1) })
	},
	"end a batch handler's 64 jobs, claim the next 64": func(m *meter) (float64, float64) {
		m.hop(1)
		return m.again(64, func() {
			head := m.turn.Ends[0].Claim
			m.turn.Ends = []session.End{{Claim: head, Outcome: session.Several, Each: m.turn.Ends}}
			m.hop(1)
		})
	},
	"section on a free subject": func(m *meter) (float64, float64) {
		return m.again(1, func() { m.ok(m.d.Do(bg, key("free"), 0, func(context.Context) error { return nil })) })
	},
	"cancel one that waits": func(m *meter) (float64, float64) {
		for i := range 3 {
			m.put(dispatcher.NewJob{Subject: key("hot"), Kind: "k", ID: fmt.Sprint("c", i)})
		}
		n := 0
		return m.again(1, func() { _, err := m.d.Cancel(bg, ref(fmt.Sprint("c", n))); m.ok(err); n++ })
	},
	"retry a lane now that is in backoff": func(m *meter) (float64, float64) {
		fails := func() {
			m.hop(1)
			m.turn.Ends[0].Outcome, m.turn.Ends[0].Wait = session.Retry, time.Hour
			m.turn.Want = 0
			m.s.Turns(bg, []session.Turn{{Ends: m.turn.Ends}})
			m.turn.Ends = nil
		}
		fails()
		m.ok(m.d.RetryNow(bg, key("hot")))
		fails()
		return m.cost(1, func() { m.ok(m.d.RetryNow(bg, key("hot"))) })
	},
}

// again is the cost of a step that was made once before: its scripts are loaded.
func (m *meter) again(jobs int, step func()) (tripsPerJob, commandsPerJob float64) {
	m.t.Helper()
	step()
	return m.cost(jobs, step)
}

func (m *meter) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *meter) put(job dispatcher.NewJob) {
	m.t.Helper()
	_, err := m.d.Enqueue(bg, job)
	m.ok(err)
}

// join takes the place of the meter's session with one of other kinds.
func (m *meter) join(cfg dispatcher.Config, kinds ...string) {
	m.t.Helper()
	if len(cfg.Kinds) > 0 {
		cfg.Redis, cfg.Partitions = m.rdb, 1
		var err error
		m.d, err = dispatcher.Open(bg, cfg)
		m.ok(err)
	}
	s, err := session.Join(bg, m.d, session.Claimant{Holder: "w2", Kinds: kinds, TTL: time.Minute}, 1)
	m.ok(err)
	m.ok(m.s.Close(bg))
	m.s = s // which is closed at the end
	m.settle()
}

func along(step string) int {
	if strings.Contains(step, "64") {
		return 64
	}
	return 1
}

// prepare warms the script cache and fills lanes.
func (m *meter) prepare(step string) {
	m.enqueue(1, "first")
	m.hop(1)
	m.turn.Want = 0
	m.s.Turns(bg, []session.Turn{m.turn})
	m.turn.Ends = nil
	m.enqueue(250, "hot")
	if strings.Contains(step, "100, lane by lane") {
		m.enqueue(250, "")
	}
}

// A job must not cost more than docs/performance.md says.
func TestCostsAreAsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	all := maps.Clone(steps)
	maps.Copy(all, featureSteps)
	for name, step := range all {
		var wantTrips, wantCommands float64
		found := false
		for _, line := range strings.Split(string(text), "\n") {
			cells := strings.Split(line, "|")
			if len(cells) == 5 && strings.TrimSpace(cells[1]) == name {
				wantTrips, _ = strconv.ParseFloat(strings.TrimSpace(cells[2]), 64)
				wantCommands, _ = strconv.ParseFloat(strings.TrimSpace(cells[3]), 64)
				found = true
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMeter(t, along(name))
			m.prepare(name)
			trips, commands := step(m)
			if !found || trips > wantTrips || commands > wantCommands {
				t.Errorf("costs %.2f round trips and %.2f commands a job; docs/performance.md says %.2f and %.2f (listed: %t)",
					trips, commands, wantTrips, wantCommands, found)
			}
		})
	}
}

// The same as benchmarks: go test ./dispatcher -run '^$' -bench Step
func BenchmarkStep(b *testing.B) {
	for name, step := range steps {
		b.Run(name, func(b *testing.B) {
			m := newMeter(b, along(name))
			m.prepare(name)
			trips, commands := step(m)
			for b.Loop() { // counts, not times: once is enough
			}
			b.ReportMetric(trips, "trips/job")
			b.ReportMetric(commands, "commands/job")
			b.ReportMetric(0, "ns/op")
		})
	}
}
