// Package history records what clients asked of lanes and were answered, and what
// handlers did when, and decides from that alone whether the promises were kept:
// order, one token at a time, nothing lost, nothing accepted that was superseded.
//
// It knows nothing of how lanes are stored, as a checker must not (Kingsbury, "Jepsen").
// An operation whose answer was lost stays open: it may have happened at any time
// since, or never.
package history

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Op is what an event tells of.
type Op string

// The operations. All but the last two are calls with a beginning and an answer; Start and
// Stop are moments in a handler, or in a section that is no job. A cancel that was passed on
// to the job's holder stays open: it takes effect at some time, or never. A suspension is one of a job, or without
// a job of the lane; a resumption may always have been one of both. A merge is an enqueue that became one with
// a job that waited. A replay puts a dead letter back.
const (
	Enqueue Op = "enqueue"
	Merge   Op = "merge"
	Claim   Op = "claim"
	End     Op = "end"
	Cancel  Op = "cancel"
	Suspend Op = "suspend"
	Resume  Op = "resume"
	Replay  Op = "replay"
	Start   Op = "start"
	Stop    Op = "stop"
)

// Event is one call or one moment.
type Event struct {
	Op      Op
	Subject string
	Job     string
	Worker  string
	Token   int64 // of the lease; not of an enqueue
	Attempt int   // of a claim, a start or a stop

	Kind  string   // of the job, of a start or a stop
	Key   string   // that one waiting job may have, of an enqueue
	Along []string // jobs that a claim took along, or that came into the holder's hand with the answer to an end

	Begin  time.Time // of a call; or the moment
	Return time.Time // when the answer was there; zero when it never came

	// Of an enqueue: after how long the job takes its place, by Redis's clock; and whether it was
	// put there out of order, or by a clock that jumped, so that its first start proves nothing
	// about order. A loose job may change its place, or go, by what nobody heard of: it is set aside when its worker
	// dies, or has few attempts.
	Delay     time.Duration
	Unordered bool
	Loose     bool

	// Of an end: what it said of the job; whether the holder went on with the lane, or the same
	// call ends more of its jobs; and whether it was refused for a superseded token.
	Outcome Outcome
	GoesOn  bool
	Refused bool
}

// Outcome is what an accepted end makes of its job.
type Outcome string

// The outcomes. Gone jobs are done or set aside; kept ones stay at the head of their lane. Of a failure that was not
// answered nobody knows which it was.
const (
	Gone  Outcome = "gone"
	Kept  Outcome = "kept"
	Maybe Outcome = "maybe"
)

// dueFrom and dueBy are the earliest and the latest time at which an enqueued job can have taken
// its place: its script ran between the call's beginning and its answer.
func (e *Event) dueFrom() time.Time { return e.due(e.Begin) }
func (e *Event) dueBy() time.Time   { return e.due(e.Return) }

func (e *Event) due(at time.Time) time.Time { return at.Add(e.Delay) }

// before reports whether a job must have taken its place before another: those that fall due in
// one ms keep the order of their enqueues, which is not known here.
func (e *Event) before(other *Event) bool {
	if e.open() {
		return false
	}
	by, from := e.dueBy(), other.dueFrom()
	if e.Delay != other.Delay {
		by, from = by.Truncate(time.Millisecond), from.Truncate(time.Millisecond)
	}
	return by.Before(from)
}

// open reports whether a call's answer never came.
func (e *Event) open() bool { return e.Return.IsZero() }

func (e *Event) String() string {
	answer := e.Return.Format("15:04:05.000")
	switch {
	case e.open():
		answer = "no answer"
	case e.Refused:
		answer += " refused"
	}
	text := fmt.Sprintf("%s %-9s %-7s %-8s %-10s token %d attempt %d %s %s",
		e.Begin.Format("15:04:05.000"), answer, e.Op, e.Subject, e.Job, e.Token, e.Attempt, e.Outcome, e.Worker)
	if e.Delay > 0 {
		text += fmt.Sprint("due after ", e.Delay)
	}
	return text
}

// History is a record of events. It is safe for concurrent use.
type History struct {
	mu     sync.Mutex
	events []Event
}

// Add records an event.
func (h *History) Add(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// Events returns all events so far, by the time they began.
func (h *History) Events() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := slices.Clone(h.events)
	slices.SortStableFunc(events, func(a, b Event) int { return a.Begin.Compare(b.Begin) })
	return events
}

// Of returns the events of one subject as text, a line each.
func (h *History) Of(subject string) string {
	var b strings.Builder
	for _, e := range h.Events() {
		if e.Subject == subject {
			b.WriteString(e.String() + "\n")
		}
	}
	return b.String()
}
