package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/history"
	"github.com/lanekeeper/lanekeeper/internal/sim"
	"github.com/lanekeeper/lanekeeper/subject"
)

// oddKinds are those of the clumsy one. One pool handles them too, so that they come to an end.
var oddKinds = []dispatcher.Kind{
	{Name: "odd", Owner: "sim"}, {Name: "oddkept", Owner: "sim", Keep: time.Minute},
	{Name: "oddskip", Owner: "sim", OnFailure: dispatcher.Skip, MaxAttempts: 3},
	{Name: "oddhalt", Owner: "sim", OnFailure: dispatcher.Halt, MaxAttempts: 2, Keep: time.Minute},
	{Name: "oddfrail", Owner: "sim", MaxAttempts: 1},
}

const oddRole = 3

// clumsy is a worker without a pool, on a network that is much worse than that of others: it reports twice, too late, out of
// order and half, lets leases run out, and is blamed. So it takes the roads on which pools are seldom seen.
func (s *simulation) clumsy() {
	s.world.Worsen("clumsy", sim.Faults{sim.LostRequest: 20, sim.LostReply: 80, sim.SlowReply: 20, sim.NoScript: 5, sim.Stalled: 25})
	d, closeClient := s.open(s.ctx, "clumsy")
	if d == nil {
		return
	}
	defer closeClient()
	hands := make([]*recorded, 2) // the first takes jobs along
	for i := range hands {
		who := session.Claimant{Holder: fmt.Sprint("clumsy", i), TTL: simTTL}
		for _, kind := range oddKinds {
			who.Kinds = append(who.Kinds, kind.Name)
		}
		if i == 0 {
			who.LaneBatch = map[string]int{"odd": 4, "oddfrail": 3, "oddkept": 2}
		}
		for hands[i] == nil {
			if session, err := session.Join(s.ctx, d, who, 4); err == nil {
				hands[i] = &recorded{Session: session, s: s, worker: &simWorker{name: who.Holder}}
				defer session.Close(context.Background())
			} else if !pauseFor(s.ctx, time.Second) {
				return
			}
		}
	}
	for i := 0; pauseFor(s.ctx, time.Duration(s.world.Roll(1000, "clumsy", i))*time.Millisecond); i++ {
		s.oddJobs(d, i, "")
		part, one, other := i%2, hands[i/2%2], hands[1-i/2%2]
		var failed []*session.Claim
		claims := one.turn(part, 2, nil)
		if len(claims) > 0 {
			s.oddJobs(d, i, "while some run")
		}
		for _, c := range claims {
			failed = append(failed, s.fumble(d, one, part, &c, s.world.Roll(16, "fumble", i, c.ID))...)
		}
		if len(failed) > 0 {
			// Some of them are the other's by now, who gives them back.
			again := other.turn(part, 3, nil)
			s.givesBack(failed)
			_, _ = one.Blame(context.Background(), failed[0].Kind, "it is clumsy", failed)
			for _, c := range again {
				s.giveBack(other, part, &c, i)
			}
			one.Absolve(failed[0].Kind, false)
		}
	}
}

// oddJobs enqueues some.
func (s *simulation) oddJobs(d *dispatcher.Dispatcher, i int, when string) {
	var jobs []dispatcher.NewJob
	for n := range 1 + s.world.Roll(3, "odd ones", i, when) {
		id := fmt.Sprint("o", len(when), "-", i, "-", n)
		kind := oddKinds[s.world.Roll(uint64(len(oddKinds)), id, "kind")]
		job := dispatcher.NewJob{
			// A lane a kind and partition, so that there is something to take along.
			Subject: simLane(4, kind.Name[len("odd"):]+fmt.Sprint(s.world.Roll(2, id, "lane"))), ID: id, Kind: kind.Name, MaxAttempts: 1000,
			Payload: []byte{'a' + byte(s.world.Roll(2, id, "payload"))},
		}
		if kind.MaxAttempts > 0 {
			job.MaxAttempts = kind.MaxAttempts
		}
		switch s.world.Roll(6, id, "unique") {
		case 0:
			job.Unique = &dispatcher.Unique{Scope: dispatcher.ForWindow, Window: 5 * time.Second, OnConflict: dispatcher.Merge}
		case 1:
			job.Unique = &dispatcher.Unique{Scope: dispatcher.WhileWaiting, OnConflict: dispatcher.Merge}
		case 2:
			job.Unique = &dispatcher.Unique{Scope: dispatcher.WhileWaiting, OnConflict: dispatcher.Replace}
		}
		jobs = append(jobs, job)
	}
	events := make([]history.Event, len(jobs))
	for k := range jobs {
		events[k] = s.asked(jobs[k])
		events[k].Loose, events[k].Key = true, "" // of one key some are taken for a window, and some while one waits
	}
	all, _ := d.EnqueueMany(context.Background(), jobs)
	for k, e := range events {
		if k < len(all) && all[k].Err == nil {
			e = s.answeredBy(e, all[k])
		}
		s.h.Add(e)
	}
}

// turn makes one turn, however it ends.
func (r *recorded) turn(partition, want int, ends []session.End) []session.Claim {
	turn := session.Turn{Partition: partition, Ends: ends, Claim: want > 0, Want: want}
	return r.Turns(context.Background(), []session.Turn{turn})[0].Claims
}

// fumble ends a claim in some way, or not at all. It returns what has failed.
func (s *simulation) fumble(d *dispatcher.Dispatcher, r *recorded, part int, c *session.Claim, how uint64) (failed []*session.Claim) {
	if time.Since(c.Lease.Proven) > simTTL-simGrace {
		return nil // it comes too late to begin
	}
	for _, job := range c.Each() {
		s.starting(r.worker, &job.Job, c)()
	}
	if how%4 == 3 { // an operator's mark, then
		_, _ = d.Cancel(context.Background(), c.Ref())
		s.h.Add(history.Event{Op: history.Cancel, Subject: c.Subject.ID, Job: c.ID, Begin: time.Now(), Outcome: history.Gone})
	}
	end := session.End{Claim: c, Outcome: session.Retry, Error: "fumbled", Workers: 3}
	finish := session.End{Claim: c, Outcome: session.Finished}
	switch {
	case how < 2: // nothing is heard of it
		return nil
	case how < 5:
		end.Outcome, end.Reason = session.DeadLettered, "clumsy"
	case how < 7:
		end.Outcome = session.HandedBack
	case how == 7:
		end.Wait = 500 * time.Millisecond
		failed = append(failed, c)
	case how < 11:
		failed = append(failed, c)
	case how < 13 && len(c.Along) > 0 && c.Keep == 0: // one by one: two in one call, or one; and then all once more
		next, _ := c.Next()
		goesOn := finish
		goesOn.GoesOn = true
		ends := []session.End{goesOn, {Claim: next, Outcome: session.Finished}}
		r.turn(part, 0, ends[:how-10])
		end = s.together(c)
	case how < 15:
		end = s.together(c)
	default:
		end = finish
	}
	r.turn(part, 0, []session.End{end})
	if s.world.Roll(2, c.ID, "twice") == 0 {
		r.turn(part, 0, []session.End{end})
	}
	return failed
}

// together is the end of a batch, each job of it in its own way.
func (s *simulation) together(c *session.Claim) session.End {
	end := session.End{Claim: c, Outcome: session.Several}
	for _, each := range c.Each() {
		ways := []session.Outcome{session.Finished, session.Retry, session.HandedBack, session.DeadLettered}
		end.Each = append(end.Each, session.End{
			Claim: each, Outcome: ways[s.world.Roll(4, each.ID, "together", c.Attempt)], Error: "fumbled", Reason: "clumsy", Workers: 3,
		})
	}
	return end
}

// giveBack hands a claim back, by itself or as a batch of one.
func (s *simulation) giveBack(r *recorded, part int, c *session.Claim, i int) {
	end := session.End{Claim: c, Outcome: session.HandedBack}
	if s.world.Roll(2, "give back", i, c.ID) == 0 {
		several := session.End{Claim: c, Outcome: session.Several}
		for _, each := range c.Each() {
			several.Each = append(several.Each, session.End{Claim: each, Outcome: session.HandedBack})
		}
		end = several
	}
	r.turn(part, 0, []session.End{end})
}

// hasty runs sections, and takes leases, for which it has hardly any time: it gives up what was asked for and not answered.
func (s *simulation) hasty() {
	s.world.Worsen("hasty", sim.Faults{sim.LostRequest: 20, sim.LostReply: 150, sim.SlowReply: 300, sim.NoScript: 5, sim.Stalled: 25})
	d, closeClient := s.open(s.ctx, "hasty")
	if d == nil {
		return
	}
	defer closeClient()
	for i := 0; pauseFor(s.ctx, time.Duration(s.world.Roll(1500, "hasty", i))*time.Millisecond); i++ {
		lane := subject.Key{Kind: "s", ID: fmt.Sprint("hasty-", s.world.Roll(2, "hasty at", i))}
		ctx, cancel := context.WithTimeoutCause(s.ctx, time.Duration(s.world.Roll(2000, "haste", i))*time.Millisecond, errors.New("too late"))
		if s.world.Roll(2, "lease", i) == 0 { // a lease alone, given back twice
			if l, err := d.Leases().Acquire(ctx, lane, "hasty", simTTL); err == nil {
				_ = d.Leases().Release(ctx, l)
				_ = d.Leases().Release(ctx, l)
			}
		} else {
			wait := time.Minute * time.Duration(s.world.Roll(2, "waits", i))
			_ = d.Do(ctx, lane, wait, func(ctx context.Context) error {
				pauseFor(ctx, time.Duration(s.world.Roll(300, "in haste", i))*time.Millisecond)
				return nil
			})
		}
		cancel()
	}
}
