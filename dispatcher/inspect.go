package dispatcher

import (
	"time"

	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// State is where a lane or a job is.
type State string

// The states of lanes and jobs. A lane is ready, leased, delayed or suspended; its head has
// the lane's state.
const (
	Ready     State = "ready"     // the head can be claimed
	Leased    State = "leased"    // somebody holds the subject
	Delayed   State = "delayed"   // the head failed and waits for its next attempt
	Suspended State = "suspended" // nobody may have it until an operator resumes it
	Waiting   State = "waiting"   // a job behind its lane's head
	Scheduled State = "scheduled" // a job whose run-at has not come
	Dead      State = "dead"      // a dead letter
)

// Lane is one lane as an operator sees it.
type Lane struct {
	Subject     subject.Key
	State       State
	Depth       int // jobs in the lane, the head among them
	Kind        string
	HeadID      string
	Attempt     int // of the running attempt, or how many have ended
	MaxAttempts int
	Token       lease.Token // 0 without a lease
	Holder      string
	ExpiresAt   time.Time // end of the lease
	RunAt       time.Time // when a delayed head may run
	Error       string    // of the head's last attempt
	Section     bool      // the lease is for a section: the head waits
	Along       int       // jobs behind the head that were claimed with it
	Why         string    // it is suspended, or will be when its lease ends
	Halted      bool      // suspended because its head has failed for good
	SuspendedAt time.Time
	ticket      string // of a head that is no job, packed
	Cancelling  bool   // the holder was asked to end the head
}

// JobInfo is one job as an operator sees it.
type JobInfo struct {
	Job
	State     State
	Attempt   int
	Token     lease.Token
	Holder    string
	ExpiresAt time.Time
	RunAt     time.Time // of a delayed or scheduled job
	DiedAt    time.Time
	Reason    string // of a dead letter
	Error     string // of the last attempt

	Why        string // its lane is suspended, or will be: of a head only
	Halted     bool   // it has failed for good, and its lane stands still
	Cancelling bool   // its holder was asked to end it

	// Starts and Ends are estimates from measured durations, of jobs in a lane: see
	// [Dispatcher.Lane]. Zero is unknown.
	Starts, Ends time.Time
	Position     int // in the lane, 1 for the head; 0 when not in a lane's listing
}

// Page asks for a part of a list: at most Limit entries, which defaults to 50 and
// may be 500, from a Cursor that an earlier page returned. An empty cursor starts
// a list, and an empty next cursor ends it.
type Page struct {
	Cursor string
	Limit  int
}

func (p Page) limit() (int, error) {
	if p.Limit < 0 || p.Limit > 500 {
		return 0, invalid("limit", p.Limit, "must be 1 to 500")
	}
	if p.Limit == 0 {
		return 50, nil
	}
	return p.Limit, nil
}
