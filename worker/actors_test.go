package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/internal/sim"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// hire starts a worker process.
func (s *simulation) hire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	ctx, stop := context.WithCancel(context.Background())
	w := &simWorker{name: fmt.Sprint("w", s.made), stop: stop}
	s.workers = append(s.workers, w)
	s.all.Go(func() { s.work(ctx, w) })
}

// simLimit is how many jobs of the kind "few" may run at once, of all workers' nine places.
const simLimit = 2

var simKinds = []dispatcher.Kind{
	{Name: "plain", Owner: "sim"}, {Name: "batch", Owner: "sim"}, {Name: "merge", Owner: "sim"},
	{Name: "few", Owner: "sim", Limit: simLimit},
	{Name: "halt", Owner: "sim", OnFailure: dispatcher.Halt, MaxAttempts: 2},
}

// open opens the namespace on a client of its own, as often as it takes.
func (s *simulation) open(ctx context.Context, name string) (*dispatcher.Dispatcher, func()) {
	rdb := s.world.Client(name)
	for {
		d, err := dispatcher.Open(ctx, dispatcher.Config{
			Redis: rdb, Namespace: "sim", Partitions: 2, Kinds: simKinds, SectionTTL: simTTL,
		})
		if err == nil {
			return d, func() { _ = rdb.Close() }
		}
		if !pauseFor(ctx, time.Second) {
			_ = rdb.Close()
			return nil, nil
		}
	}
}

func (s *simulation) work(ctx context.Context, w *simWorker) {
	d, closeClient := s.open(ctx, w.name)
	if d == nil {
		return
	}
	defer closeClient()
	for ctx.Err() == nil { // a pool whose start fails is started again
		p, err := newPool(Config{
			Concurrency: 3, LeaseTTL: simTTL, CancelGrace: simGrace, StopTimeout: 5 * time.Second,
			LaneBatch: map[string]int{"batch": 4},
			Backoff:   dispatcher.Backoff{Base: time.Second, Cap: 8 * time.Second},
			Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		}, func(ctx context.Context, who dispatcher.Claimant, n int) (Source, error) {
			session, err := d.Join(ctx, who, n)
			if err != nil {
				return nil, err
			}
			return &recorded{Session: session, s: s, worker: w}, nil
		})
		if err != nil {
			s.t.Error(err)
			return
		}
		for _, kind := range []string{"plain", "batch", "merge", "few", "halt"} {
			p.Handle(kind, func(ctx context.Context, _ []byte) error { return s.handle(ctx, w) })
		}
		err = p.Run(ctx)
		if err != nil && errors.As(err, new(*StopError)) {
			return
		}
		pauseFor(ctx, time.Second)
	}
}

// handle is what a job does: it takes its time, and sometimes fails, or does not hear
// that it should stop.
func (s *simulation) handle(ctx context.Context, w *simWorker) error {
	c, _ := FromContext(ctx)
	if c.Kind == "few" {
		defer s.few(w)()
	}
	e := history.Event{
		Op: history.Start, Subject: c.Subject.ID, Job: c.ID, Worker: w.name,
		Token: int64(c.Lease.Token), Attempt: c.Attempt,
	}
	s.note(w, e)
	roll := s.world.Roll(1000, "handle", c.ID, c.Attempt)
	takes := time.Duration(s.world.Roll(1500, "takes", c.ID, c.Attempt)) * time.Millisecond
	if roll >= 980 {
		takes = 25 * time.Second // longer than its lease, unless that is renewed
	}
	if deaf := s.rough && roll%50 == 7; deaf {
		time.Sleep(takes + simTTL)
	} else {
		pauseFor(ctx, takes)
	}
	e.Op = history.Stop
	s.note(w, e)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case roll < 50:
		return errors.New("boom")
	case roll < 60:
		return Permanent(errors.New("broken"))
	}
	return nil
}

// note records a moment of a process that is not dead.
func (s *simulation) note(w *simWorker, e history.Event) {
	s.mu.Lock()
	dead := w.dead
	s.mu.Unlock()
	if !dead {
		e.Begin = time.Now()
		e.Return = e.Begin
		s.h.Add(e)
	}
}

// recorded is a session whose calls are recorded.
type recorded struct {
	*dispatcher.Session
	s      *simulation
	worker *simWorker
}

func (r *recorded) Turns(ctx context.Context, turns []dispatcher.Turn) []dispatcher.Turned {
	begin := time.Now()
	answers := r.Session.Turns(ctx, turns)
	back := time.Now()
	r.s.mu.Lock()
	dead := r.worker.dead
	r.s.mu.Unlock()
	for i, t := range turns {
		for k, end := range t.Ends {
			e := history.Event{
				Op: history.End, Subject: end.Claim.Subject.ID, Job: end.Claim.ID, Worker: r.worker.name,
				Token: int64(end.Claim.Lease.Token), Begin: begin, Return: back, GoesOn: end.GoesOn, Outcome: history.Gone,
			}
			ended := answers[i].Ended[k]
			kept := end.Outcome == dispatcher.HandedBack || end.Outcome == dispatcher.Retry && !ended.Dead || ended.Halted
			if kept && !ended.Cancelled {
				e.Outcome = history.Kept
			}
			switch err := answers[i].Ended[k].Err; {
			case errors.Is(err, lease.ErrLost):
				e.Refused = true
			case err != nil:
				e.Return = time.Time{}
			}
			r.s.h.Add(e)
		}
		for _, c := range answers[i].Claims {
			if !dead { // else nobody heard the answer
				r.s.h.Add(history.Event{
					Op: history.Claim, Subject: c.Subject.ID, Job: c.ID, Worker: r.worker.name,
					Token: int64(c.Lease.Token), Attempt: c.Attempt, Begin: begin, Return: back,
				})
			}
		}
	}
	return answers
}

// produce enqueues jobs until the faults end. What is not answered is asked again with
// the same id, as a careful producer does.
func (s *simulation) produce(p int) {
	name := fmt.Sprint("p", p)
	d, closeClient := s.open(s.ctx, name)
	if d == nil {
		return
	}
	defer closeClient()
	for i := 0; ; i++ {
		job := dispatcher.NewJob{
			// Each producer has subjects of its own: then their order is known.
			Subject: subject.Key{Kind: "s", ID: fmt.Sprint(p, "-", s.world.Roll(3, name, "subject", i))},
			Kind:    []string{"plain", "plain", "batch", "few", "merge", "halt"}[s.world.Roll(6, name, "kind", i)],
			ID:      fmt.Sprint(name, "-", i), MaxAttempts: 1000,
		}
		switch job.Kind {
		case "merge":
			job.Unique = dispatcher.Coalesce
		case "halt":
			job.MaxAttempts = 2
		}
		if s.world.Roll(10, name, "delay", i) == 0 {
			job.Delay = time.Duration(s.world.Roll(20_000, name, "for", i)) * time.Millisecond
		}
		s.enqueue(d, job)
		if !pauseFor(s.ctx, time.Duration(s.world.Roll(2500, name, "pause", i))*time.Millisecond) {
			return
		}
	}
}

func (s *simulation) enqueue(d *dispatcher.Dispatcher, job dispatcher.NewJob) {
	e := history.Event{
		Op: history.Enqueue, Subject: job.Subject.ID, Job: job.ID, Begin: time.Now(), Delay: job.Delay,
		Unordered: job.Delay > 0 && s.clockJumps(),
	}
	for {
		done, err := d.Enqueue(context.Background(), job)
		if err == nil && job.Unique != nil {
			s.mu.Lock()
			s.owed = append(s.owed, debt{done.ID, e.Begin})
			s.mu.Unlock()
			if done.ID != job.ID {
				return // it is that one now
			}
		}
		if err == nil {
			e.Return = time.Now()
			break
		}
		if s.ctx.Err() != nil {
			break // never answered
		}
		time.Sleep(time.Second)
	}
	s.h.Add(e)
}

// debt is a job that has to start after a time, for it was asked for then.
type debt struct {
	job   string
	since time.Time
}

// few counts how many jobs of the limited kind run, of processes that live.
func (s *simulation) few(w *simWorker) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.dead {
		return func() {}
	}
	w.few++
	n := 0
	for _, other := range s.workers {
		n += other.few
	}
	s.mostFew = max(s.mostFew, n)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.few--
	}
}

// operate is what an operator does: cancels jobs, suspends lanes and jobs, and resumes them.
func (s *simulation) operate() {
	d, closeClient := s.open(s.ctx, "operator")
	if d == nil {
		return
	}
	defer closeClient()
	ctx := context.Background()
	for i := 0; pauseFor(s.ctx, time.Duration(1+s.world.Roll(6, "operate", i))*time.Second); i++ {
		lane := subject.Key{Kind: "s", ID: fmt.Sprint(s.world.Roll(2, "whose", i), "-", s.world.Roll(3, "lane", i))}
		switch s.world.Roll(4, "do", i) {
		case 0:
			_, jobs, _, err := d.Lane(ctx, lane, dispatcher.Page{Limit: 20})
			if err == nil && len(jobs) > 0 {
				s.cancel(d, jobs[s.world.Roll(uint64(len(jobs)), "which", i)])
			}
		case 1:
			_, _ = d.Suspend(ctx, lane, "operator")
		case 2:
			_, jobs, _, err := d.Lane(ctx, lane, dispatcher.Page{Limit: 20})
			if err == nil && len(jobs) > 0 {
				_ = d.SuspendJob(ctx, dispatcher.JobRef{ID: jobs[s.world.Roll(uint64(len(jobs)), "which", i)].ID})
			}
		}
		s.resumeAll(d, 3)
	}
}

func (s *simulation) cancel(d *dispatcher.Dispatcher, job dispatcher.JobInfo) {
	e := history.Event{Op: history.Cancel, Subject: job.Subject.ID, Job: job.ID, Begin: time.Now(), Outcome: history.Gone}
	holder, err := d.Cancel(context.Background(), dispatcher.JobRef{ID: job.ID})
	switch {
	case errors.Is(err, dispatcher.ErrNotFound), errors.Is(err, dispatcher.ErrRunning):
		return
	case err == nil && holder == "":
		e.Return = time.Now()
	}
	s.world.Saw("cancel")
	s.h.Add(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled[job.ID] = true
}

// resumeAll resumes one in n of the lanes and jobs that are suspended.
func (s *simulation) resumeAll(d *dispatcher.Dispatcher, n int) {
	ctx := context.Background()
	lanes, _, err := d.Lanes(ctx, dispatcher.LaneFilter{State: dispatcher.Suspended}, dispatcher.Page{Limit: 500})
	if err != nil {
		return
	}
	for _, lane := range lanes {
		if s.world.Roll(uint64(n), "resume", time.Now().UnixNano(), lane.Subject.ID) > 0 {
			continue
		}
		s.world.Saw("resume")
		if strings.HasPrefix(lane.Why, "halted") && s.world.Roll(2, "skip", time.Now().UnixNano()) == 0 {
			// It takes whatever job is the head by then; the answer may be lost too.
			s.h.Add(history.Event{Op: history.Cancel, Subject: lane.Subject.ID, Job: lane.HeadID, Begin: time.Now(), Outcome: history.Gone})
			_ = d.Skip(ctx, lane.Subject)
		} else {
			_ = d.Resume(ctx, lane.Subject)
		}
	}
}

// visit runs sections between the jobs, as a web process does.
func (s *simulation) visit() {
	d, closeClient := s.open(s.ctx, "visitor")
	if d == nil {
		return
	}
	defer closeClient()
	w := &simWorker{name: "visitor"}
	for i := 0; pauseFor(s.ctx, time.Duration(s.world.Roll(3000, "visit", i))*time.Millisecond); i++ {
		lane := subject.Key{Kind: "s", ID: fmt.Sprint(s.world.Roll(2, "visits", i), "-", s.world.Roll(3, "at", i))}
		wait := time.Duration(s.world.Roll(20, "patience", i)) * time.Second
		_ = d.Do(s.ctx, lane, wait, func(ctx context.Context) error {
			l, _ := dispatcher.LeaseFrom(ctx)
			e := history.Event{Op: history.Start, Subject: lane.ID, Job: fmt.Sprint("section-", i), Worker: w.name, Token: int64(l.Token)}
			s.note(w, e)
			s.world.Saw("section")
			pauseFor(ctx, time.Duration(s.world.Roll(3000, "stay", i))*time.Millisecond)
			e.Op = history.Stop
			s.note(w, e)
			return nil
		})
	}
}

// misfortune is what happens to more than one request.
func (s *simulation) misfortune() {
	ctx := context.Background()
	var snapshot sim.Snapshot
	var taken time.Time
	for i := 0; pauseFor(s.ctx, time.Duration(5+s.world.Roll(20, "between", i))*time.Second); i++ {
		s.world.Tick(15 * time.Second)
		switch roll := s.world.Roll(10, "misfortune", i); {
		case roll < 2:
			s.kill(int(s.world.Roll(3, "whom", i)))
		case roll == 2:
			s.world.Loading(time.Duration(s.world.Roll(8000, "loading", i)) * time.Millisecond)
		case roll == 3:
			s.world.Full(time.Duration(s.world.Roll(8000, "full", i)) * time.Millisecond)
		case roll == 4 && s.clockJumps():
			s.world.Skew(time.Duration(s.world.Roll(120, "skew", i))*time.Second - time.Minute)
			s.world.Saw("clock jump")
		case roll >= 7 && s.inspector != nil:
			s.inspect(roll == 7)
		case roll == 5 && s.seed%4 == 0:
			var err error
			if snapshot, err = s.world.Take(ctx); err != nil {
				s.t.Error(err)
			}
			taken = time.Now()
		case roll == 6 && snapshot != nil && time.Since(taken) < time.Minute:
			s.mu.Lock()
			s.forgot = append(s.forgot, time.Now())
			s.mu.Unlock()
			if err := s.world.FailOver(ctx, snapshot); err != nil {
				s.t.Error(err)
			}
		}
	}
}

// clockJumps reports whether Redis's clock does: not where Redis forgets, docs/guarantees.md says why.
func (s *simulation) clockJumps() bool { return s.seed%4 == 2 }

// inspect lets the doctor look, and repair, in the midst of everything: neither may find
// anything. What it can't read because the server refuses just then is no finding.
func (s *simulation) inspect(look bool) {
	ctx := context.Background()
	if look {
		findings, err := s.inspector.Doctor(ctx, nil)
		for _, f := range findings {
			if err == nil && f.Severity == dispatcher.Wrong {
				s.t.Errorf("seed %d: doctor, while all work: %s %s: %s", s.seed, f.What, f.Where, f.Detail)
			}
		}
		return
	}
	done, err := s.inspector.Repair(ctx, nil)
	for _, m := range done {
		s.t.Errorf("seed %d: a repair, while all work, did: %s %s: %s (%v)", s.seed, m.What, m.Where, m.Did, err)
	}
}

// kill ends a worker process as kill -9 does, and starts another.
func (s *simulation) kill(which int) {
	s.mu.Lock()
	w := s.workers[which]
	w.dead = true
	s.workers = slices.Delete(s.workers, which, which+1)
	s.mu.Unlock()
	s.world.Kill(w.name)
	s.world.Saw("kill")
	w.stop() // of a dead process nothing is left; here its goroutines have to end
	s.hire()
}
