package worker

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/internal/sim"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate only this seed")
	simSeeds = flag.Int("sim.seeds", 0, "how many seeds to simulate (default 12, with -short 4)")
	simFor   = flag.Duration("sim.for", 10*time.Minute, "how long each seed has faults, in virtual time")
)

// The whole of dispatcher, lease and worker against a network and a server that fail in
// every way that a seed rolls: replies and requests lost, connections cut, workers
// stalled past their leases and killed, clocks that jump, script caches flushed, memory
// full, a failover to an earlier state. The history must keep every promise, and when
// the faults end everything must end soon. A seed that fails is simulated again with
//
//	go test ./worker -run TestSimulation -sim.seed N
func TestSimulation(t *testing.T) {
	t.Parallel()
	seeds := 12
	if testing.Short() {
		seeds = 4
	}
	if seeds = redistest.Rounds(seeds, 6); *simSeeds > 0 {
		seeds = *simSeeds
	}
	from := uint64(1)
	if *simSeed > 0 {
		from, seeds = *simSeed, 1
	}
	var mu sync.Mutex
	total := history.Report{}
	seen := make(map[sim.Fault]int)
	var virtual time.Duration
	var commands int64
	t.Run("seeds", func(t *testing.T) {
		for seed := from; seed < from+uint64(seeds); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				var s *simulation
				var stored map[string]bool
				var took time.Duration
				synctest.Test(t, func(t *testing.T) {
					begin := time.Now()
					s = newSimulation(t, seed)
					s.run()
					stored = s.leave()
					took = time.Since(begin)
				})
				// In real time: what the checker can't decide soon it lets pass.
				s.t = t
				report := s.judge(stored)
				mu.Lock()
				defer mu.Unlock()
				virtual += took
				commands += s.world.Served.Load()
				total.Executions += report.Executions
				total.Repeats += report.Repeats
				total.Refused += report.Refused
				total.Unanswered += report.Unanswered
				total.Overlaps += report.Overlaps
				total.Violations = append(total.Violations, report.Violations...)
				for f, n := range s.world.Seen() {
					seen[f] += n
				}
			})
		}
	})
	redistest.Figure(t, "simulator", "%d seeds, %s of virtual time, %d scripts and waits, %d executions (%d repeats), %d stale ends refused, "+
		"%d calls unanswered, %d violations, %d overlaps of handlers that were deaf or whose lease Redis had lost; faults: %v",
		seeds, virtual.Round(time.Second), commands, total.Executions, total.Repeats, total.Refused,
		total.Unanswered, len(total.Violations), total.Overlaps, seen)
	if *simSeed > 0 || t.Failed() {
		return
	}
	// A run in which something never happened has not tested it.
	for _, f := range []sim.Fault{
		sim.LostRequest, sim.LostReply, sim.SlowReply, sim.NoScript, sim.Stalled, "LOADING", "OOM", "failover", "kill", "clock jump",
		"cancel", "resume", "section",
	} {
		if seen[f] == 0 {
			t.Errorf("no seed met %q", f)
		}
	}
	if total.Refused == 0 || total.Repeats == 0 || total.Unanswered == 0 {
		t.Error("no stale end was refused, no job ran again, or every call was answered")
	}
}

// simulation is one seed's world and those who live in it.
type simulation struct {
	t     *testing.T
	seed  uint64
	world *sim.World
	h     history.History
	end   context.CancelFunc
	ctx   context.Context // ends the producers and what goes wrong
	all   sync.WaitGroup  // workers
	busy  sync.WaitGroup  // all others, whose last calls are answered before anybody looks what is left

	mu      sync.Mutex
	workers []*simWorker
	made    int
	forgot  []time.Time

	owed      []debt
	cancelled map[string]bool
	mostFew   int // jobs of the limited kind at once

	inspector *dispatcher.Dispatcher // meets no faults

	rough bool // clocks jump, handlers are deaf, Redis forgets: handlers may overlap
}

// simWorker is one process with a pool.
type simWorker struct {
	name string
	stop context.CancelFunc
	dead bool // under simulation.mu
	few  int  // jobs of the limited kind that run, under simulation.mu
}

const (
	simTTL   = 10 * time.Second
	simGrace = 2 * time.Second
)

func newSimulation(t *testing.T, seed uint64) *simulation {
	world, err := sim.New(seed, sim.Faults{
		sim.LostRequest: 8, sim.LostReply: 8, sim.SlowReply: 10, sim.NoScript: 5, sim.Stalled: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &simulation{t: t, seed: seed, world: world, rough: seed%2 == 0, cancelled: make(map[string]bool)}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

func (s *simulation) run() {
	var closeClient func()
	s.inspector, closeClient = s.open(context.Background(), "")
	defer closeClient()
	for range 3 {
		s.hire()
	}
	for p := range 2 {
		s.busy.Go(func() { s.produce(p) })
	}
	s.busy.Go(s.misfortune)
	s.busy.Go(s.operate)
	s.busy.Go(s.visit)
	time.Sleep(*simFor)
	s.end()
	s.world.Calm()
	s.busy.Wait()
	s.settle()
}

// settle waits until all that was enqueued has ended, which must not take long once
// nothing goes wrong any more, and ends the workers.
func (s *simulation) settle() {
	s.world.Skew(0)
	d, closeClient := s.open(context.Background(), "")
	defer closeClient()
	begin := time.Now()
	for {
		stats, err := d.Stats(context.Background())
		if err != nil {
			s.t.Fatal(err)
		}
		if stats.Jobs == stats.Dead && stats.Leased == 0 {
			break
		}
		s.resumeAll(d, 1)
		// The clock may have been a minute ahead when the last wait was set.
		if time.Since(begin) > 20*time.Minute {
			s.t.Errorf("seed %d: no end: %+v", s.seed, stats)
			break
		}
		time.Sleep(time.Second)
	}
	findings, err := d.Doctor(context.Background(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range findings {
		if f.Severity == dispatcher.Wrong {
			s.t.Errorf("seed %d: doctor: %s %s: %s", s.seed, f.What, f.Where, f.Detail)
		}
	}
	s.mu.Lock()
	for _, w := range s.workers {
		w.stop()
	}
	s.mu.Unlock()
	s.all.Wait()
}

// leave returns the jobs that are still stored, and ends the world.
func (s *simulation) leave() (stored map[string]bool) {
	d, closeClient := s.open(context.Background(), "")
	stored = make(map[string]bool)
	for page := (dispatcher.Page{Limit: 500}); ; {
		letters, next, err := d.DeadLetters(context.Background(), page)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, l := range letters {
			stored[l.ID] = true
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	closeClient()
	s.world.Close()
	time.Sleep(5 * time.Second) // go-redis dials a dead server once a second for a while, closed or not
	return stored
}

// judge checks the history.
func (s *simulation) judge(stored map[string]bool) history.Report {
	report := history.Check(s.h.Events(), history.World{Stored: stored, Forgot: s.forgot})
	shown := make(map[string]bool)
	for _, v := range report.Violations {
		s.t.Errorf("seed %d: %s", s.seed, v)
		shown[v.Subject] = true
	}
	if report.Overlaps+report.StaleStarts > 0 && !s.rough {
		s.t.Errorf("seed %d: %d handlers overlapped, for %s at most, and %d started late, though all of them listen and no clock jumped",
			s.seed, report.Overlaps, report.LongestOverlap, report.StaleStarts)
	}
	if s.mostFew > simLimit && !s.rough {
		s.t.Errorf("seed %d: %d jobs of a kind ran at once, its limit is %d", s.seed, s.mostFew, simLimit)
	}
	s.judgeDebts(stored)
	for _, subject := range slices.Sorted(maps.Keys(shown)) {
		s.t.Logf("history of %s:\n%s", subject, s.h.Of(subject))
	}
	return report
}

// judgeDebts looks whether what was merged into a job has had a run of it after that (G8).
func (s *simulation) judgeDebts(stored map[string]bool) {
	if len(s.forgot) > 0 {
		return
	}
	last := make(map[string]time.Time)
	for _, e := range s.h.Events() {
		if e.Op == history.Start {
			last[e.Job] = e.Begin
		}
	}
	for _, d := range s.owed {
		if last[d.job].Before(d.since) && !stored[d.job] && !s.cancelled[d.job] {
			s.t.Errorf("seed %d: %s was asked for at %s and did not start after that", s.seed, d.job, d.since.Format("15:04:05.000"))
		}
	}
}
