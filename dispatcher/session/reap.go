package session

import (
	"context"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// ReapReply says what time had set free in a partition, or in all of them ([Reap]). A lease without a job that
// has expired, of a section or a slot, counts as Expired too, and has no Lost.
type ReapReply struct {
	Expired int // leases that ended without a word from their holder
	Buried  int // of those, jobs that became dead letters with reason "worker lost"
	Resumed int // lanes whose wait was over
	Placed  int // scheduled jobs that took their place

	Lost []LostAttempt

	// Next is how long until something falls due, 0 when more is due already,
	// and negative when nothing is in sight.
	Next time.Duration
}

// LostAttempt is an attempt that ended without a word from its holder. It counts (I6), so a job that kills its
// workers is a dead letter in the end. A field that can't be read is empty.
type LostAttempt struct {
	Job     string
	Subject subject.Key
	Kind    string
	Attempt int
	Token   lease.Token
	Holder  string // who was lost

	// Became is [dispatcher.JobDead], [dispatcher.JobHalted] or [dispatcher.JobCancelled], or empty for a job that runs again.
	Became dispatcher.OutcomeState

	Took  time.Duration // how long its lease lasted
	Along bool          // it was claimed along with the head of its lane, and may never have begun
}

// lostAttempt is what the reaper says of one: fates and outcomes share their words, but for "again", which is
// no outcome.
func lostAttempt(l *lanes.Lost) LostAttempt {
	a := LostAttempt{
		Job: l.Job, Subject: l.Subject, Kind: l.Kind, Attempt: l.Attempt, Token: l.Token, Holder: l.Holder, Took: l.Took, Along: l.Along,
	}
	if l.Fate != "again" {
		a.Became = dispatcher.OutcomeState(l.Fate)
	}
	return a
}

// Reap returns to ready what time has set free: lanes of expired leases, the crashed job first and first in
// line; lanes whose wait is over; jobs whose run-at has come. It goes through all partitions, in bounded steps
// of one round trip each, until none is left. Pools do this by themselves.
//
// After an error it returns what it has done so far. Each step may be repeated: what was taken back stands in
// no index of what is due any more.
func Reap(ctx context.Context, d *dispatcher.Dispatcher) (ReapReply, error) {
	n := d.Engine()
	total := ReapReply{Next: -1}
	for p := range n.Partitions {
		for {
			call := reapCall(n, p, nil)
			asking, cancel := connect.Bounded(ctx) // each step: there may be many
			n.Scripts.Run(asking, call)
			cancel()
			r, err := reaped(call)
			if err != nil {
				return total, err
			}
			total.Expired += r.Expired
			total.Buried += r.Buried
			total.Resumed += r.Resumed
			total.Placed += r.Placed
			total.Lost = append(total.Lost, r.Lost...)
			if r.Next == 0 {
				continue
			}
			if r.Next > 0 && (total.Next < 0 || r.Next < total.Next) {
				total.Next = r.Next
			}
			break
		}
	}
	return total, nil
}

// reapCall makes the call of one step in one partition. A head that is lost waits by the default backoff,
// unless that was its first attempt, and not by its kind's: the reaper may not know the kind.
func reapCall(n *lanes.Namespace, partition int, own []string) *script.Call {
	return n.Reap(partition, own, dispatcher.DefaultBackoff.Base, dispatcher.DefaultBackoff.Cap)
}

// reaped reads the answer to it. With an error Next is negative, so nobody sleeps by it.
func reaped(call *script.Call) (ReapReply, error) {
	r, err := lanes.ReadReaped(call)
	all := ReapReply{Expired: r.Expired, Buried: r.Buried, Resumed: r.Resumed, Placed: r.Placed, Next: r.Next}
	for i := range r.Lost {
		all.Lost = append(all.Lost, lostAttempt(&r.Lost[i]))
	}
	return all, err
}
