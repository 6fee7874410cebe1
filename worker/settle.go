package worker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
)

// What is done with the answers of a trip: ends are closed, counted, told and measured, and lanes
// that were claimed get their places. Travellers do it, and the desk is locked only while they lay
// an answer on it.

// settle deals with the answers of a trip: it closes what has ended, and starts
// what was claimed.
func (p *Pool) settle(life context.Context, errands []errand, sent time.Time, answers []session.TurnReply) {
	took := time.Since(sent)
	for i, answer := range answers {
		if !p.settleOne(life, errands[i], sent, answer) {
			took = 0
		}
	}
	p.desk.back(took)
}

// settleOne deals with the answer to one errand. An outage is noted before the desk is told, so
// that the line about it comes before whatever the next trip says. served is that Redis answered all of it.
func (p *Pool) settleOne(life context.Context, e errand, sent time.Time, answer session.TurnReply) (served bool) {
	var again []*attempt
	failed := answer.Err
	for i, ended := range answer.Ended {
		if err := p.close(e.attempts[i], ended); err != nil {
			failed = cmp.Or(failed, err)
			again = append(again, e.attempts[i])
		}
	}
	e.away = errors.Is(failed, dispatcher.ErrUnavailable)
	if life.Err() == nil { // else the pool has cut the trip off itself
		p.outage.trip(e.Partition, sent, failed)
	}
	for _, lost := range answer.Reaped.Lost {
		ended := lost.Ended()
		p.note(&ended, lost.Took, !lost.Along)
	}
	p.sayLost(answer.Reaped.Lost)
	start, fresh := p.desk.take(e, answer, again)
	for i, q := range start {
		if i < fresh {
			go p.work(p.begin(q))
		} else {
			p.lanes <- q
		}
	}
	return failed == nil
}

// close closes an attempt whose end Redis has answered. It returns an error when the
// answer is not known and the end is to be sent again, while its lease can still be
// alive.
//
// The keeper lets go of the lease here, and no earlier: until Redis has the end, nobody else may
// begin with the lane, and so it is renewed even after the handler has returned.
func (p *Pool) close(a *attempt, ended session.EndReply) error {
	switch {
	case ended.Err == nil:
		p.count(a, a.end, ended, 0)
		p.measure(a, ended)
	case errors.Is(ended.Err, lease.ErrLost):
		if !a.resent { // else an earlier try may have ended it, its answer lost
			p.counts.lost.Add(1)
			p.log.Warn("lease lost; what its handler did is not recorded", about(a.claim, "err", ended.Err)...)
			a.lose() // its holder may be at work on the next job of the lane
		}
	case time.Since(a.ended) > p.cfg.LeaseTTL:
		p.counts.lost.Add(1)
		p.log.Error("gave up reporting the end of an attempt; its job will run again", about(a.claim, "err", ended.Err)...)
	default:
		a.resent = true
		return ended.Err
	}
	if !a.end.GoesOn {
		a.release()
	}
	return nil
}

// count counts an end, the ith of its attempt, and says what has failed.
func (p *Pool) count(a *attempt, end session.End, ended session.EndReply, i int) {
	for i := range ended.Each {
		p.count(a, end.Each[i], ended.Each[i], i)
	}
	told := func(more ...any) []any { return about(end.Claim, append(more, a.said[i].fields()...)...) }
	switch {
	case end.Outcome == session.Several:
	case ended.Cancelled:
		p.counts.cancelled.Add(1)
		p.log.Info("attempt cancelled", about(end.Claim)...)
	case end.Outcome == session.Finished:
		p.counts.finished.Add(1)
	case ended.Halted:
		p.counts.dead.Add(1)
		p.log.Error("lane halted: its head failed for good", told("reason", ended.Reason)...)
	case end.Outcome == session.DeadLettered || ended.Dead:
		p.counts.dead.Add(1)
		p.log.Error("dead letter", told("reason", ended.Reason)...)
	case end.Outcome == session.Retry:
		p.counts.retried.Add(1)
		p.log.Warn("attempt failed; its job is tried again", told("wait", end.Wait)...)
	case end.Outcome == session.HandedBack:
		p.counts.handedBack.Add(1)
		if a.cut {
			p.cut.Add(1)
		}
	}
}

// measure notes how long the attempt at a job took, or those of a batch together.
func (p *Pool) measure(a *attempt, ended session.EndReply) {
	if a.started.IsZero() { // claimed ahead, and handed back
		return
	}
	ends, answers := a.end.Each, ended.Each
	if a.end.Outcome != session.Several {
		ends, answers = []session.End{a.end}, []session.EndReply{ended}
	}
	var failed failure
	good := false
	for i, end := range ends {
		how := ending(end, answers[i])
		ended := a.asEnded(end.Claim, i, how)
		p.note(&ended, a.took()/time.Duration(len(ends)), true)
		switch how {
		case session.EndFailed:
			failed = append(failed, end.Claim)
		case session.EndFinished:
			good = true
		}
	}
	p.judgeSelf(a.claim.Kind, failed, good)
}

// ending is what an end counts as in the measurements of its kind. That an operator cancelled a job
// goes before what its handler made of it: how long such an attempt took says nothing of others.
func ending(end session.End, ended session.EndReply) session.Ending {
	switch {
	case ended.Cancelled:
		return session.EndCancelled
	case end.Outcome == session.Finished:
		return session.EndFinished
	case end.Outcome == session.HandedBack:
		return session.EndInterrupted
	}
	return session.EndFailed
}

// asEnded is the attempt at one of its jobs, the ith, for the trail. Those of a batch ran together.
func (a *attempt) asEnded(c *session.Claim, i int, how session.Ending) session.Attempt {
	began := c.Started(a.started)
	ended := session.Attempt{
		Subject: c.Subject, ID: c.ID, Kind: c.Kind, Attempt: c.Attempt, EnqueuedAt: c.EnqueuedAt, StartedAt: began, EndedAt: began.Add(a.took()),
		Ending: how, Holder: c.Lease.Holder,
	}
	if how == session.EndFailed {
		ended.Error = a.said[i].text
	}
	return ended
}

// note adds an attempt to what Redis is told of with the next beat: how long it took, unless nobody knows that it began, and that it was.
func (p *Pool) note(a *session.Attempt, took time.Duration, began bool) {
	p.tallying.Lock()
	defer p.tallying.Unlock()
	if began {
		p.tally.Add(a.Kind, a.Ending, took)
		p.tally.Ran(a.Subject, took)
	}
	p.tally.Keep(a)
}

// record tells Redis what was measured since it was last told. What it does not take, the session
// keeps, and tells with the next.
func (p *Pool) record(ctx context.Context) error {
	p.tallying.Lock()
	tally := p.tally
	p.tally = session.Tally{}
	p.tally.Watch(p.source.Watched())
	p.tallying.Unlock()
	return p.source.Record(ctx, &tally)
}
