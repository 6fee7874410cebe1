package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

//go:embed reap.lua
var reapLua string

var reapScript = verb("reap", reapLua)

// reapLimit bounds what one call does of each sort.
const reapLimit = 100

// Reaped says what time had set free in a partition.
type Reaped struct {
	Expired int // leases that ended without a word from their holder
	Buried  int // of those, jobs that became dead letters with reason "worker lost"
	Resumed int // lanes whose wait was over
	Placed  int // scheduled jobs that took their place

	Lost []LostAttempt

	// Next is how long until something falls due, 0 when more is due already,
	// and negative when nothing is in sight.
	Next time.Duration
}

// LostAttempt is an attempt that ended without a word from its holder.
type LostAttempt struct {
	Job     string
	Subject subject.Key
	Kind    string
	Attempt int
	Token   lease.Token
	Holder  string // who was lost

	// Became is [JobDead], [JobHalted] or [JobCancelled], or empty for a job that runs again.
	Became OutcomeState

	Took  time.Duration // how long its lease lasted
	Along bool          // it was claimed along with the head of its lane, and may never have begun
}

// lostWords is how many words of a reply tell of one lost attempt.
const lostWords = 8

// lostAttempt reads what a reply tells of one. What can't be read stays empty: the lane has gone on.
func lostAttempt(words []string) LostAttempt {
	l := LostAttempt{Kind: words[0], Holder: words[7], Along: words[2] == "-"}
	l.Job, _ = record.UnpackID(words[4])
	l.Subject, _ = subject.FromCanonical(words[3])
	l.Attempt, _ = strconv.Atoi(words[5])
	l.Token, _ = lease.ParseToken(words[1])
	if deadline, err := strconv.ParseFloat(words[2], 64); err == nil {
		l.Took = max(0, time.Duration(deadline)*time.Millisecond-time.Duration(l.Token)*time.Microsecond)
	}
	if words[6] != "again" {
		l.Became = OutcomeState(words[6])
	}
	return l
}

// Reap returns to ready what time has set free: lanes of expired leases, the
// crashed job first and first in line; lanes whose wait is over; jobs whose run-at
// has come. It goes through all partitions, in bounded steps, until none is left.
// Pools do this by themselves.
func (d *Dispatcher) Reap(ctx context.Context) (Reaped, error) {
	total := Reaped{Next: -1}
	for p := range d.ns.Partitions {
		for {
			call := d.reapCall(p, nil)
			asking, cancel := connect.Bounded(ctx) // each step: there may be many
			d.run.Run(asking, call)
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

func (d *Dispatcher) reapCall(partition int, own []string) *script.Call {
	return d.run.Plain(partition, reapScript, nil, spaced(own), reapLimit,
		DefaultBackoff.Base.Milliseconds(), DefaultBackoff.Cap.Milliseconds())
}

func reaped(call *script.Call) (Reaped, error) {
	words, err := call.Words()
	if err != nil {
		return Reaped{Next: -1}, err
	}
	var n [4]int
	for i := range n {
		if n[i], err = strconv.Atoi(words[1+i]); err != nil {
			return Reaped{Next: -1}, fmt.Errorf("reap: reply %q: %w", words, err)
		}
	}
	r := Reaped{Expired: n[0], Buried: n[1], Resumed: n[2], Placed: n[3], Next: -1}
	for rest := words[6:]; len(rest) >= lostWords; rest = rest[lostWords:] {
		r.Lost = append(r.Lost, lostAttempt(rest))
	}
	if words[5] != "-" {
		ms, err := strconv.ParseInt(words[5], 10, 64)
		if err != nil {
			return r, fmt.Errorf("reap: reply %q: %w", words, err)
		}
		r.Next = time.Duration(ms) * time.Millisecond
	}
	return r, nil
}
