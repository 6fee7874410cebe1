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
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/internal/sim"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// hire starts a worker process. Those of even roles handle no kind with a limit, so that their turns finish and claim
// in one call.
func (s *simulation) hire(role int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	ctx, stop := context.WithCancel(context.Background())
	w := &simWorker{name: fmt.Sprint("w", s.made), stop: stop, role: role, hired: time.Now()}
	s.workers = append(s.workers, w)
	s.all.Go(func() { s.work(ctx, w) })
}

// simLimit is how many jobs of the kind "few" may run at once, of all workers' places.
const simLimit = 2

var simKinds = []dispatcher.Kind{
	{Name: "plain", Owner: "sim"}, {Name: "roll", Owner: "sim"}, {Name: "batch", Owner: "sim"}, {Name: "group", Owner: "sim"},
	{Name: "first", Owner: "sim", Priority: 5},
	{Name: "kept", Owner: "sim", Keep: time.Minute},
	{Name: "merge", Owner: "sim", Unique: dispatcher.Coalesce},
	{Name: "replace", Owner: "sim", Unique: &dispatcher.Unique{Scope: dispatcher.WhileWaiting, OnConflict: dispatcher.Replace}},
	{Name: "reject", Owner: "sim", Unique: &dispatcher.Unique{Scope: dispatcher.WhileWaitingOrRunning, OnConflict: dispatcher.Reject}},
	{Name: "window", Owner: "sim", Unique: &dispatcher.Unique{Scope: dispatcher.ForWindow, Window: 4 * time.Second, OnConflict: dispatcher.Merge}},
	{Name: "halt", Owner: "sim", OnFailure: dispatcher.Halt, MaxAttempts: 2, Keep: time.Minute},
	{Name: "skip", Owner: "sim", OnFailure: dispatcher.Skip, Keep: time.Minute},
	{Name: "frail", Owner: "sim", MaxAttempts: 2},
	{Name: "few", Owner: "sim", Limit: simLimit},
	{Name: "rated", Owner: "sim", Every: 400 * time.Millisecond},
}

var allKinds = slices.Concat(simKinds, oddKinds)

// simLane is a lane of some owner's. The last one of each is loose: its jobs may change places.
const simLanes, simRolls, simLoose = 4, 1, 3

func simLane(whose, n any) subject.Key { return subject.Key{Kind: "s", ID: fmt.Sprint(whose, "-", n)} }

// kindFor picks the kind of a job in a lane.
func (s *simulation) kindFor(lane uint64, words ...any) string {
	kinds := []string{
		"plain", "plain", "batch", "batch", "group", "first", "kept", "kept", "merge", "replace", "reject", "window", "halt", "few", "few", "rated",
	}
	if lane == simRolls {
		kinds = append(slices.Repeat([]string{"roll"}, 60), kinds...)
	}
	if lane == simLoose {
		kinds = append(kinds, "skip", "skip", "skip", "skip", "frail", "frail", "frail")
	}
	return kinds[s.world.Roll(uint64(len(kinds)), append(words, "kind")...)]
}

// job makes one. Jobs of one kind and payload have one unique key, where they have any.
func (s *simulation) job(id string, whose any, lane uint64) dispatcher.NewJob {
	job := dispatcher.NewJob{
		Subject: simLane(whose, lane), ID: id, Kind: s.kindFor(lane, id), MaxAttempts: 1000,
		Payload: []byte{'a' + byte(s.world.Roll(2, id, "payload"))},
	}
	for _, k := range simKinds {
		if k.Name == job.Kind {
			job.Unique = k.Unique
			if k.MaxAttempts > 0 {
				job.MaxAttempts = k.MaxAttempts
			}
		}
	}
	if s.world.Roll(8, id, "delay") == 0 {
		job.Delay = time.Duration(s.world.Roll(20_000, id, "for")) * time.Millisecond
	}
	return job
}

// asked is the enqueue of a job as the history has it.
func (s *simulation) asked(job dispatcher.NewJob) history.Event {
	e := history.Event{
		Op: history.Enqueue, Subject: job.Subject.ID, Job: job.ID, Kind: job.Kind, Begin: time.Now(), Delay: job.Delay,
		Unordered: job.Delay > 0 && s.clockJumps(), Loose: job.Kind == "skip" || job.Kind == "frail",
	}
	if job.Unique != nil && job.Unique.Scope != dispatcher.ForWindow {
		e.Key = string(job.Payload)
	}
	return e
}

// answeredBy is the event when the answer is there.
func (s *simulation) answeredBy(e history.Event, done dispatcher.EnqueueResult) history.Event {
	e.Return = time.Now()
	if done.ID != e.Job { // it is that one now
		e.Op, e.Job = history.Merge, done.ID
		if e.Key == "" { // a window may last longer than its job
			e.Return = time.Time{}
		}
		s.world.Saw("merge")
	}
	return e
}

// open opens the namespace on a client of its own, as often as it takes.
func (s *simulation) open(ctx context.Context, name string) (*dispatcher.Dispatcher, func()) {
	rdb := s.world.Client(name)
	for {
		d, err := dispatcher.Open(ctx, dispatcher.Config{
			Redis: rdb, Namespace: "sim", Partitions: 2, Kinds: allKinds, SectionTTL: simTTL,
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
	batches := map[string]int{"batch": 4}
	if w.role < 2 {
		batches["kept"] = 3
	}
	if w.role%2 == 1 {
		batches["few"] = 2
	}
	for ctx.Err() == nil { // a pool whose start fails is started again
		p, err := newPool(Config{
			Concurrency: 3, LeaseTTL: simTTL, CancelGrace: simGrace, StopTimeout: time.Second, Blame: true,
			LaneBatch: batches,
			Backoff:   dispatcher.Backoff{Base: time.Second, Cap: 8 * time.Second},
			Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		}, func(ctx context.Context, who session.Claimant, n int) (source, error) {
			session, err := session.Join(ctx, d, who, n)
			if err != nil {
				return nil, err
			}
			return &recorded{Session: session, s: s, worker: w}, nil
		})
		if err != nil {
			s.t.Error(err)
			return
		}
		p.declared = d.Declared
		p.fixedHand = []int{0, 2, 8}[w.role%3] // of those who roll: as many as handlers are fast, and fixed ones
		for _, kind := range allKinds {
			if w.role != oddRole && slices.ContainsFunc(oddKinds, func(k dispatcher.Kind) bool { return k.Name == kind.Name }) {
				continue
			}
			grouped := kind.Name == "group" || w.role >= 2 && (kind.Name == "skip" || kind.Name == "kept")
			switch limited := kind.Limit > 0 || kind.Every > 0; {
			case grouped:
				p.HandleBatch(kind.Name, 4, func(ctx context.Context, jobs []dispatcher.Job) []error { return s.handleBatch(ctx, w, jobs) })
			case !limited || w.role%2 == 1:
				p.Handle(kind.Name, func(ctx context.Context, _ []byte) error { return s.handle(ctx, w) })
			}
		}
		err = p.Run(ctx)
		switch {
		case err == nil:
		case errors.As(err, new(*StopError)):
			return
		case !strings.HasPrefix(err.Error(), "start pool"): // which Redis may be away from
			s.t.Errorf("seed %d: %s does not work: %v", s.seed, w.name, err)
			return
		}
		pauseFor(ctx, time.Second)
	}
}

// handle is what a job does: it takes its time, and sometimes fails, or does not hear
// that it should stop.
func (s *simulation) handle(ctx context.Context, w *simWorker) error {
	c, _ := FromContext(ctx)
	defer s.starting(w, &c.Job, &c)()
	roll := s.takeTime(ctx, &c)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.broken(w, c.Kind):
		return errors.New("all of them fail here")
	case roll < 60 || c.Kind == "frail" && roll < 300 || c.Kind == "skip" && roll < 200 || c.Kind == "halt" && roll < 150:
		return errors.New("boom")
	case roll < 70 || c.Kind == "halt" && roll < 300:
		return Permanent(errors.New("broken"))
	case roll < 80:
		return RetryAfter(0, errors.New("at once"))
	case roll < 90:
		return RetryAfter(time.Second, errors.New("soon"))
	}
	_ = SetResult(ctx, []byte(c.ID))
	return nil
}

// broken reports whether a worker fails at most that it does, in its second quarter of a minute and on.
func (s *simulation) broken(w *simWorker, kind string) bool {
	if !slices.Contains([]string{"plain", "batch", "group", "skip"}, kind) {
		return false
	}
	age := time.Since(w.hired)
	return s.world.Roll(2, "broken", w.name) == 0 && age > 15*time.Second && age < 75*time.Second
}

// handleBatch does the same with several jobs.
func (s *simulation) handleBatch(ctx context.Context, w *simWorker, jobs []dispatcher.Job) []error {
	c, _ := FromContext(ctx)
	for i := range jobs {
		defer s.starting(w, &jobs[i], &c)()
	}
	if len(jobs) > 1 {
		s.world.Saw("several")
	}
	roll := s.takeTime(ctx, &c)
	broken := s.broken(w, c.Kind)
	if roll < 300 && ctx.Err() == nil && !broken {
		return nil
	}
	errs := make([]error, len(jobs))
	for i := range jobs {
		switch own := s.world.Roll(10, "one of", jobs[i].ID, roll); {
		case ctx.Err() != nil:
			errs[i] = context.Cause(ctx)
		case own == 0 || broken:
			errs[i] = errors.New("boom")
		case own == 1:
			errs[i] = Permanent(errors.New("broken"))
		case own == 2:
			errs[i] = RetryAfter(0, errors.New("at once"))
		}
	}
	return errs
}

// starting notes that a job starts, and then that it stops.
func (s *simulation) starting(w *simWorker, job *dispatcher.Job, c *session.Claim) (stop func()) {
	e := history.Event{
		Op: history.Start, Subject: job.Subject.ID, Job: job.ID, Kind: job.Kind, Worker: w.name,
		Token: int64(c.Lease.Token), Attempt: c.Attempt,
	}
	s.starts.Add(1)
	s.note(w, e)
	return func() { e.Op = history.Stop; s.note(w, e) }
}

// takeTime is how long a job takes. It returns a number below 1000 that decides what becomes of it.
func (s *simulation) takeTime(ctx context.Context, c *session.Claim) uint64 {
	// Not by the attempt: one that is given back would come to the same again, for ever.
	s.mu.Lock()
	s.nth[c.ID]++
	nth := s.nth[c.ID]
	s.mu.Unlock()
	roll := s.world.Roll(1000, "handle", c.ID, nth)
	takes := time.Duration(s.world.Roll(1000, "takes", c.ID, nth)) * time.Millisecond
	if c.Kind == "batch" || c.Kind == "roll" {
		takes /= 20 // several end while Redis is told of others
	}
	if roll >= 985 {
		takes = 25 * time.Second // longer than its lease, unless that is renewed
	}
	if deaf := s.rough && roll%50 == 7; deaf {
		time.Sleep(takes + simTTL)
	} else {
		pauseFor(ctx, takes)
	}
	return roll
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
	*session.Session
	s      *simulation
	worker *simWorker
}

func (r *recorded) Turns(ctx context.Context, turns []session.Turn) []session.TurnReply {
	begin := time.Now()
	answers := r.Session.Turns(ctx, turns)
	back := time.Now()
	r.s.mu.Lock()
	dead := r.worker.dead
	r.s.mu.Unlock()
	for i, t := range turns {
		for k, end := range t.Ends {
			e := history.Event{
				Op: history.End, Subject: end.Claim.Subject.ID, Worker: r.worker.name,
				Token: int64(end.Claim.Lease.Token), Begin: begin, Return: back,
			}
			ended := answers[i].Ended[k]
			switch {
			case errors.Is(ended.Err, lease.ErrLost):
				e.Refused = true
			case ended.Err != nil:
				e.Return = time.Time{}
			}
			if end.Outcome != session.Several {
				for _, job := range ended.More {
					if !dead { // else nobody heard the answer
						e.Along = append(e.Along, job.ID)
					}
				}
				r.s.h.Add(endEvent(e, &end, ended))
				continue
			}
			for n := range end.Each {
				one := session.EndReply{}
				if n < len(ended.Each) {
					one = ended.Each[n]
				}
				e := endEvent(e, &end.Each[n], one)
				e.GoesOn = n < len(end.Each)-1
				r.s.h.Add(e)
			}
		}
		for _, c := range answers[i].Claims {
			if !dead { // else nobody heard the answer
				e := history.Event{
					Op: history.Claim, Subject: c.Subject.ID, Job: c.ID, Worker: r.worker.name,
					Token: int64(c.Lease.Token), Attempt: c.Attempt, Begin: begin, Return: back,
				}
				for _, job := range c.Along {
					e.Along = append(e.Along, job.ID)
				}
				r.s.h.Add(e)
			}
		}
	}
	return answers
}

// Blame is noted: a run in which nobody is blamed gives no attempts back.
func (r *recorded) Blame(ctx context.Context, kind, why string, failed []*session.Claim) (bool, error) {
	r.s.givesBack(failed)
	blamed, err := r.Session.Blame(ctx, kind, why, failed)
	if blamed {
		r.s.world.Saw("blame")
	}
	return blamed, err
}

// givesBack notes that attempts are given back: of a dead letter that is a replay.
func (s *simulation) givesBack(failed []*session.Claim) {
	for _, c := range failed {
		s.h.Add(history.Event{Op: history.Replay, Subject: c.Subject.ID, Job: c.ID, Begin: time.Now(), Loose: true})
	}
}

// endEvent is what an end says of its job.
func endEvent(e history.Event, end *session.End, ended session.EndReply) history.Event {
	e.Job, e.GoesOn, e.Outcome = end.Claim.ID, end.GoesOn, history.Gone
	kept := end.Outcome == session.HandedBack || end.Outcome == session.Retry && !ended.Dead || ended.Halted
	if kept && !ended.Cancelled {
		e.Outcome = history.Kept
	}
	if failed := end.Outcome == session.Retry || end.Outcome == session.DeadLettered; failed && e.Return.IsZero() {
		e.Outcome = history.Maybe // the last attempt, on the last worker that it may fail on, or one that halts its lane
	}
	return e
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
		// Each producer has subjects of its own: then their order is known.
		lane := s.world.Roll(simLanes, name, "subject", i)
		job := s.job(fmt.Sprint(name, "-", i), p, lane)
		if lane == simRolls { // several, so that there is what hands can be filled with
			for more := range 5 {
				s.enqueue(d, s.job(fmt.Sprint(name, "-", i, "-", more), p, lane))
			}
		}
		if s.enqueue(d, job) && job.Kind == "kept" && s.world.Roll(3, name, "wait", i) == 0 {
			s.busy.Go(func() { s.await(d, job) })
		}
		if !pauseFor(s.ctx, time.Duration(s.world.Roll(1200, name, "pause", i))*time.Millisecond) {
			return
		}
	}
}

// enqueue reports whether the job is there.
func (s *simulation) enqueue(d *dispatcher.Dispatcher, job dispatcher.NewJob) bool {
	e := s.asked(job)
	for {
		done, err := d.Enqueue(context.Background(), job)
		if err == nil {
			s.h.Add(s.answeredBy(e, done))
			return done.ID == job.ID
		}
		if errors.Is(err, dispatcher.ErrTaken) {
			return false
		}
		if s.ctx.Err() != nil {
			s.h.Add(e)
			return false // never answered
		}
		time.Sleep(time.Second)
	}
}

// await waits for a job's outcome, and looks whether it is that job's.
func (s *simulation) await(d *dispatcher.Dispatcher, job dispatcher.NewJob) {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	o, err := d.WaitFor(ctx, dispatcher.JobRef{ID: job.ID, Subject: job.Subject})
	if err != nil {
		return
	}
	s.world.Saw("outcome")
	if o.Subject != job.Subject || len(o.Result) > 0 && string(o.Result) != job.ID {
		s.t.Errorf("seed %d: the outcome of %s is %+v", s.seed, job.ID, o)
	}
}

// pester is a producer who asks once, several jobs in one call, some of them twice, and with bounds that are soon reached.
func (s *simulation) pester() {
	rdb := s.world.Client("pest")
	defer rdb.Close()
	for i := 0; pauseFor(s.ctx, time.Duration(s.world.Roll(2500, "pest", i))*time.Millisecond); i++ {
		cfg := dispatcher.Config{Redis: rdb, Namespace: "sim", Partitions: 2, Kinds: allKinds}
		switch s.world.Roll(6, "bound", i) {
		case 0:
			cfg.MaxLane = 2
		case 1:
			cfg.MaxBacklog = 4 + 10*int(s.world.Roll(3, "backlog", i))
		}
		d, err := dispatcher.Open(s.ctx, cfg)
		if err != nil {
			continue
		}
		var jobs []dispatcher.NewJob
		for n := range 1 + s.world.Roll(4, "how many", i) {
			id := fmt.Sprint("q-", i, "-", n)
			if s.world.Roll(6, id, "again") == 0 {
				id = fmt.Sprint("q-", i, "-0") // of the same call, perhaps of another subject
			}
			jobs = append(jobs, s.job(id, 2, s.world.Roll(simLanes, id, "subject", n)))
		}
		events := make([]history.Event, len(jobs))
		for k := range jobs {
			events[k] = s.asked(jobs[k])
		}
		all, _ := d.EnqueueMany(context.Background(), jobs)
		for k, e := range events {
			if k < len(all) && all[k].Err == nil {
				e = s.answeredBy(e, all[k])
			}
			s.h.Add(e)
		}
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
	for i := 0; pauseFor(s.ctx, time.Duration(200+s.world.Roll(2500, "operate", i))*time.Millisecond); i++ {
		lane := simLane(s.world.Roll(3, "whose", i), s.world.Roll(simLanes, "lane", i))
		switch s.world.Roll(8, "do", i) {
		case 0:
			if job, ok := s.pick(d, lane, i); ok {
				s.cancel(d, job)
			}
		case 1, 2:
			e := history.Event{Op: history.Suspend, Subject: lane.ID, Begin: time.Now()}
			if _, err := d.Suspend(ctx, lane, []string{"operator", ""}[s.world.Roll(2, "why", i)]); err == nil {
				e.Return = time.Now()
			}
			s.h.Add(e)
		case 3, 4:
			if job, ok := s.pick(d, lane, i); ok {
				e := history.Event{Op: history.Suspend, Subject: job.Subject.ID, Job: job.ID, Begin: time.Now()}
				if err := d.SuspendJob(ctx, job.Ref()); err == nil {
					e.Return = time.Now()
				}
				s.h.Add(e)
			}
		case 5:
			if job, ok := s.pick(d, lane, i); ok {
				s.resuming(job.Subject.ID, func() error { return d.ResumeJob(ctx, job.Ref()) })
			}
		case 6, 7:
			s.raise(d, i)
		}
		if s.world.Roll(3, "retry", i) == 0 {
			if err := d.RetryNow(ctx, lane); err == nil {
				s.world.Saw("retry now")
			}
		}
		s.resumeAll(d, 3)
	}
}

// pick picks one of the jobs that wait in a lane or run. It is asked for with its subject: another one may have the same id.
func (s *simulation) pick(d *dispatcher.Dispatcher, lane subject.Key, i int) (job inspect.JobInfo, ok bool) {
	page, err := inspect.New(d).Lane(context.Background(), lane, inspect.Page{Limit: 20})
	if err != nil || len(page.Jobs) == 0 {
		return job, false
	}
	job = page.Jobs[s.world.Roll(uint64(len(page.Jobs)), "which", i)]
	return job, job.Kind != inspect.SectionKind
}

// resuming notes a call that may resume a lane or a job.
func (s *simulation) resuming(lane string, call func() error) {
	e := history.Event{Op: history.Resume, Subject: lane, Begin: time.Now()}
	if err := call(); err == nil || errors.Is(err, dispatcher.ErrNotSuspended) || errors.Is(err, dispatcher.ErrNotFound) {
		e.Return = time.Now()
	}
	s.h.Add(e)
}

// raise replays a dead letter, or discards it.
func (s *simulation) raise(d *dispatcher.Dispatcher, i int) {
	ctx := context.Background()
	letters, _, err := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{Limit: 20})
	if err != nil || len(letters) == 0 {
		return
	}
	job := letters[s.world.Roll(uint64(len(letters)), "letter", i)]
	ref := job.Ref()
	e := history.Event{Op: history.Replay, Subject: job.Subject.ID, Job: job.ID, Begin: time.Now()}
	gone := e
	gone.Op, gone.Outcome = history.Cancel, history.Gone // when nobody knows
	how := s.world.Roll(5, "raise", i)
	switch {
	case how == 0:
		if err = d.Discard(ctx, ref); !errors.Is(err, dispatcher.ErrNotFound) {
			s.h.Add(gone)
		}
		return
	case how == 1:
		var done dispatcher.EnqueueResult
		done, err = d.ReplayOrMerge(ctx, ref, false)
		if err == nil && !done.Created {
			s.h.Add(gone)
			s.h.Add(s.answeredBy(e, done))
			return
		} else if err != nil {
			s.h.Add(gone)
		}
	default:
		e.Loose = how == 2
		_, err = d.Replay(ctx, ref, how == 2)
	}
	if errors.Is(err, dispatcher.ErrNotFound) || errors.Is(err, dispatcher.ErrTaken) {
		return
	}
	if err == nil {
		e.Return = time.Now()
		s.world.Saw("replay")
	}
	s.h.Add(e)
}

func (s *simulation) cancel(d *dispatcher.Dispatcher, job inspect.JobInfo) {
	e := history.Event{Op: history.Cancel, Subject: job.Subject.ID, Job: job.ID, Begin: time.Now(), Outcome: history.Gone}
	holder, err := d.Cancel(context.Background(), job.Ref())
	switch {
	case errors.Is(err, dispatcher.ErrNotFound), errors.Is(err, dispatcher.ErrRunning):
		return
	case err == nil && holder == "":
		e.Return = time.Now()
	}
	s.world.Saw("cancel")
	s.h.Add(e)
}

// resumeAll resumes one in n of the lanes and jobs that are suspended.
func (s *simulation) resumeAll(d *dispatcher.Dispatcher, n int) {
	ctx := context.Background()
	lanes, _, err := inspect.New(d).Lanes(ctx, inspect.LaneFilter{State: inspect.Suspended}, inspect.Page{Limit: 500})
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
			s.resuming(lane.Subject.ID, func() error { return d.Skip(ctx, lane.Subject) })
		} else {
			s.resuming(lane.Subject.ID, func() error { return d.Resume(ctx, lane.Subject) })
		}
	}
	if n > 1 {
		return
	}
	// What has stepped aside is in no lane that is suspended.
	for _, e := range s.h.Events() {
		if e.Op == history.Suspend && e.Job != "" {
			s.resuming(e.Subject, func() error {
				return d.ResumeJob(ctx, dispatcher.JobRef{ID: e.Job, Subject: subject.Key{Kind: "s", ID: e.Subject}})
			})
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
		// One lane has sections before it has any job: those come from within.
		whose, n := s.world.Roll(4, "visits", i), s.world.Roll(simLanes, "at", i)
		lane := simLane(whose, n)
		job := s.job(fmt.Sprint("v-", i), whose, n)
		inside := func(ctx context.Context) error {
			l, _ := dispatcher.LeaseFrom(ctx)
			e := history.Event{Op: history.Start, Subject: lane.ID, Job: fmt.Sprint("section-", i), Worker: w.name, Token: int64(l.Token)}
			s.note(w, e)
			s.world.Saw("section")
			if whose == 3 && s.world.Roll(3, "inside", i) == 0 {
				s.enqueue(d, job)
			}
			pauseFor(ctx, time.Duration(s.world.Roll(3000, "stay", i))*time.Millisecond)
			e.Op = history.Stop
			s.note(w, e)
			return nil
		}
		switch s.world.Roll(6, "how", i) {
		case 0:
			_ = d.Do(s.ctx, lane, 0, inside)
		case 1:
			e := s.asked(job)
			ran, done, err := d.DoOrEnqueue(s.ctx, job, inside)
			if err == nil && !ran {
				e = s.answeredBy(e, done)
			}
			if !ran {
				s.h.Add(e)
			}
		default:
			_ = d.Do(s.ctx, lane, time.Duration(s.world.Roll(20, "patience", i))*time.Second, inside)
		}
	}
}

// misfortune is what happens to more than one request.
func (s *simulation) misfortune() {
	ctx := context.Background()
	var snapshot sim.Snapshot
	var taken time.Time
	for i := 0; pauseFor(s.ctx, time.Duration(3+s.world.Roll(12, "between", i))*time.Second); i++ {
		s.world.Tick(9 * time.Second)
		switch roll := s.world.Roll(12, "misfortune", i); {
		case roll < 2:
			s.kill(int(s.world.Roll(4, "whom", i)))
		case roll >= 10:
			s.stop(int(s.world.Roll(4, "whom", i)))
		case roll == 2:
			s.world.Loading(time.Duration(s.world.Roll(8000, "loading", i)) * time.Millisecond)
		case roll == 3:
			s.world.Full(time.Duration(s.world.Roll(8000, "full", i)) * time.Millisecond)
		case roll == 4 && s.clockJumps():
			s.world.Skew(time.Duration(s.world.Roll(120, "skew", i))*time.Second - time.Minute)
			s.world.Saw("clock jump")
		case (roll == 5 || roll == 7) && s.seed%4 == 0:
			// A server that says LOADING just now has nothing to give.
			if now, err := s.world.Take(ctx); err == nil {
				snapshot, taken = now, time.Now()
			} else if !strings.HasPrefix(err.Error(), "LOADING") {
				s.t.Error(err)
			}
		case (roll == 6 || roll == 8) && snapshot != nil && time.Since(taken) < time.Minute:
			s.mu.Lock()
			s.forgot = append(s.forgot, time.Now())
			s.mu.Unlock()
			if err := s.world.FailOver(ctx, snapshot); err != nil {
				s.t.Error(err)
			}
		case roll >= 7 && s.inspector != nil:
			s.inspect(roll == 7)
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
		findings, err := doctor.New(s.inspector).Examine(ctx, nil)
		for _, f := range findings {
			if err == nil && f.Severity == doctor.Wrong {
				s.t.Errorf("seed %d: doctor, while all work: %s %s: %s", s.seed, f.What, f.Where, f.Detail)
			}
		}
		return
	}
	done, err := doctor.New(s.inspector).Repair(ctx, nil)
	for _, m := range done {
		s.t.Errorf("seed %d: a repair, while all work, did: %s %s: %s (%v)", s.seed, m.What, m.Where, m.Did, err)
	}
}

// stop tells a worker process to stop, which hands back what is not done in time, and starts another.
func (s *simulation) stop(which int) {
	w := s.dismiss(which, false)
	w.stop()
	s.world.Saw("stop")
	s.hire(w.role)
}

// kill ends a worker process as kill -9 does, and starts another.
func (s *simulation) kill(which int) {
	w := s.dismiss(which, true)
	s.world.Kill(w.name)
	s.world.Saw("kill")
	w.stop() // of a dead process nothing is left; here its goroutines have to end
	s.hire(w.role)
}

func (s *simulation) dismiss(which int, dead bool) *simWorker {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[which]
	w.dead = dead
	s.workers = slices.Delete(s.workers, which, which+1)
	return w
}
