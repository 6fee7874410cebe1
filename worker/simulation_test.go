package worker

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/internal/sim"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "simulate only this seed")
	simSeeds = flag.Int("sim.seeds", 0, "how many seeds to simulate (default 12, with -short 4, with -race 2)")
	simFor   = flag.Duration("sim.for", 4*time.Minute, "how long each seed has faults, in virtual time")
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
	switch {
	case redistest.Race:
		seeds = 2
	case testing.Short():
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
	ran := make(map[string]int)
	var virtual time.Duration
	var commands int64
	t.Run("seeds", func(t *testing.T) {
		for seed := from; seed < from+uint64(seeds); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				var s *simulation
				var stored map[string]bool
				var took time.Duration
				again := fmt.Sprintf("simulate it again with: go test ./worker -run TestSimulation -sim.seed %d", seed)
				beat, watched := sim.Watch(2*time.Minute, func(dump string) {
					panic(fmt.Sprintf("seed %d hangs: for minutes no virtual time has passed; %s\n%s", seed, again, dump))
				})
				defer watched()
				synctest.Test(t, func(t *testing.T) {
					begin := time.Now()
					s = newSimulation(t, seed)
					defer s.watch(beat, again)()
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
				for branch, n := range s.world.Ran() {
					ran[branch] += n
				}
			})
		}
	})
	redistest.Figure(t, "simulator", "%d seeds, %s of virtual time, %d scripts and waits, %d executions (%d repeats), %d stale ends refused, "+
		"%d calls unanswered, %d violations, %d overlaps of handlers that were deaf or whose lease Redis had lost; faults: %v",
		seeds, virtual.Round(time.Second), commands, total.Executions, total.Repeats, total.Refused,
		total.Unanswered, len(total.Violations), total.Overlaps, seen)
	if *simBranches != "" {
		writeBranches(t, ran)
	}
	if *simSeed > 0 || redistest.Race || t.Failed() {
		return
	}
	// A run in which something never happened has not tested it.
	for _, f := range []sim.Fault{
		sim.LostRequest, sim.LostReply, sim.SlowReply, sim.NoScript, sim.Stalled, "LOADING", "OOM", "failover", "kill", "clock jump",
		"cancel", "resume", "section", "stop", "replay", "outcome", "merge", "several", "blame",
	} {
		if seen[f] == 0 {
			t.Errorf("no seed met %q", f)
		}
	}
	if total.Refused == 0 || total.Repeats == 0 || total.Unanswered == 0 {
		t.Error("no stale end was refused, no job ran again, or every call was answered")
	}
	judgeBranches(t, ran, seeds)
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
	nth     map[string]int // starts of each job

	starts atomic.Int64

	inspector *dispatcher.Dispatcher // meets no faults

	rough bool // clocks jump, handlers are deaf, Redis forgets: handlers may overlap
}

// stands is how long no handler may start, and ages how long a seed may live beyond its faults: nothing that goes
// wrong here lasts so long.
const stands, ages = 5 * time.Minute, 45 * time.Minute

// watch says to the one who looks from outside that time passes, and looks itself, in virtual time, whether
// anything goes on. What it says has what everybody waits for.
func (s *simulation) watch(beat func(), again string) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	begin := time.Now()
	var gone sync.WaitGroup
	gone.Go(func() {
		last, since := int64(0), begin
		for pauseFor(ctx, time.Second) {
			beat()
			if now := s.starts.Load(); now != last || s.ctx.Err() != nil {
				last, since = now, time.Now()
			}
			if time.Since(since) > stands {
				s.t.Errorf("seed %d stands still: no handler has started for %s; %s\n%s", s.seed, stands, again, sim.Dump())
				s.end()
			}
			if time.Since(begin) > *simFor+ages {
				panic(fmt.Sprintf("seed %d does not end; %s\n%s", s.seed, again, sim.Dump()))
			}
		}
	})
	return func() { stop(); gone.Wait() }
}

// simWorker is one process with a pool.
type simWorker struct {
	name string
	stop context.CancelFunc
	dead bool // under simulation.mu
	role int

	hired time.Time
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
	s := &simulation{t: t, seed: seed, world: world, rough: seed%2 == 0, nth: make(map[string]int)}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

func (s *simulation) run() {
	var closeClient func()
	s.inspector, closeClient = s.open(context.Background(), "")
	defer closeClient()
	for role := range 4 {
		s.hire(role)
	}
	for p := range 2 {
		s.busy.Go(func() { s.produce(p) })
	}
	s.busy.Go(s.misfortune)
	s.busy.Go(s.operate)
	s.busy.Go(s.visit)
	s.busy.Go(s.pester)
	s.busy.Go(s.clumsy)
	s.busy.Go(s.hasty)
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
		stats, err := inspect.New(d).Stats(context.Background())
		if err != nil {
			s.t.Fatal(err)
		}
		if stats.Jobs == stats.Dead && stats.Leased == 0 {
			break
		}
		s.resumeAll(d, 1)
		// The clock may have been a minute ahead when the last wait was set.
		if time.Since(begin) > 20*time.Minute {
			workers, _ := session.Workers(context.Background(), d)
			s.t.Errorf("seed %d: no end: %+v; workers: %+v\n%s", s.seed, stats, workers, sim.Dump())
			lanes, _, _ := inspect.New(d).Lanes(context.Background(), inspect.LaneFilter{}, inspect.Page{Limit: 100})
			for _, lane := range lanes {
				s.t.Logf("%+v\n%s", lane, s.h.Of(lane.Subject.ID))
			}
			break
		}
		time.Sleep(time.Second)
	}
	findings, err := doctor.New(d).Examine(context.Background(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range findings {
		if f.Severity == doctor.Wrong {
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
	for page := (inspect.Page{Limit: 500}); ; {
		letters, next, err := inspect.New(d).DeadLetters(context.Background(), dispatcher.DeadFilter{}, page)
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
	world := history.World{Stored: stored, Forgot: s.forgot}
	if !s.rough {
		world.Limits = map[string]int{"few": simLimit}
	}
	report := history.Check(s.h.Events(), world)
	shown := make(map[string]bool)
	for _, v := range report.Violations {
		s.t.Errorf("seed %d: %s", s.seed, v)
		shown[v.Subject] = true
	}
	if report.Overlaps+report.StaleStarts > 0 && !s.rough {
		s.t.Errorf("seed %d: %d handlers overlapped, for %s at most, and %d started late, though all of them listen and no clock jumped: %s\n%s",
			s.seed, report.Overlaps, report.LongestOverlap, report.StaleStarts, report.Overlap, s.h.Of(strings.Fields(report.Overlap + " - - -")[2]))
	}
	for _, subject := range slices.Sorted(maps.Keys(shown)) {
		s.t.Logf("history of %s:\n%s", subject, s.h.Of(subject))
	}
	return report
}
