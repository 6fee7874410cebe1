package inspect

import (
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// State is where a lane or a job is: one of the words below, which the command shows too. A
// reader should take a word that it does not know for a state of a newer release.
type State string

// The states of lanes and jobs. A lane is ready, leased, delayed, suspended or barred; its head has the
// lane's state.
const (
	Ready     State = "ready"     // the head can be claimed
	Leased    State = "leased"    // somebody holds the subject
	Delayed   State = "delayed"   // the head failed and waits for its next attempt
	Suspended State = "suspended" // nobody may have it until an operator resumes it
	Barred    State = "barred"    // a hold keeps the lane back; of a hold on kinds, pools or hosts lanes stay ready
	Waiting   State = "waiting"   // a job behind its lane's head
	Scheduled State = "scheduled" // a job whose run-at has not come
	Dead      State = "dead"      // a dead letter
)

// Lane is the room of one subject as an operator sees it, at one moment: its state, its head, and
// who holds it. All times are of Redis's clock, in UTC, and zero where there is none.
//
// Fields of the head, from Kind to MaxAttempts and Error, are empty for a lane that is only held:
// a subject has one while a section runs on it, with no job behind. A lane whose head is somebody
// who waits for a section has [SectionKind] as its Kind, and no HeadID.
type Lane struct {
	Subject     subject.Key `json:"subject"`
	State       State       `json:"state"`
	Depth       int         `json:"depth"` // jobs in the lane, the head among them
	Kind        string      `json:"kind,omitempty"`
	HeadID      string      `json:"id,omitempty"`
	Attempt     int         `json:"attempt"` // of the running attempt, or how many have ended
	MaxAttempts int         `json:"max_attempts,omitempty"`
	Token       lease.Token `json:"token,string,omitzero"` // 0 without a lease
	Holder      string      `json:"holder,omitempty"`
	ExpiresAt   time.Time   `json:"expires_at,omitzero"` // end of the lease
	RunAt       time.Time   `json:"run_at,omitzero"`     // when a delayed head may run
	Error       string      `json:"error,omitempty"`     // of the head's last attempt
	Section     bool        `json:"section,omitempty"`   // the lease is for a section: the head waits
	Along       int         `json:"along,omitempty"`     // jobs behind the head that were claimed with it
	Why         string      `json:"why,omitempty"`       // it is suspended, or will be when its lease ends
	Halted      bool        `json:"halted,omitempty"`    // suspended because its head has failed for good
	SuspendedAt time.Time   `json:"suspended_at,omitzero"`
	SuspendedBy string      `json:"suspended_by,omitempty"` // the operator, where that is known
	Cancelling  bool        `json:"cancelling,omitempty"`   // the holder was asked to end the head

	look *lanes.Lane
}

// JobInfo is one job as an operator sees it: what was enqueued, and what has become of it so far.
// The embedded Job has the payload, which its JSON form leaves out.
//
// Token, Holder and ExpiresAt are set for a job that runs; RunAt for one that waits for a time,
// or for its next attempt; DiedAt and Reason for a dead letter. Error is what its last attempt
// that failed has said, as the handler said it.
type JobInfo struct {
	dispatcher.Job
	State     State       `json:"state"`
	Attempt   int         `json:"attempt"` // of the running attempt, or how many have ended
	Token     lease.Token `json:"token,string,omitzero"`
	Holder    string      `json:"holder,omitempty"`
	ExpiresAt time.Time   `json:"expires_at,omitzero"` // end of its lease, unless that is renewed
	RunAt     time.Time   `json:"run_at,omitzero"`     // of a delayed or scheduled job
	DiedAt    time.Time   `json:"died_at,omitzero"`
	Reason    string      `json:"reason,omitempty"` // of a dead letter
	Error     string      `json:"error,omitempty"`  // of the last attempt

	Why        string `json:"why,omitempty"`        // its lane is suspended, or will be: of a head only
	Halted     bool   `json:"halted,omitempty"`     // it has failed for good, and its lane stands still
	Cancelling bool   `json:"cancelling,omitempty"` // its holder was asked to end it

	// Starts and Ends are estimates from measured durations, of jobs in a lane: see
	// [Inspector.Lane]. Zero is unknown.
	Starts   time.Time `json:"starts_at,omitzero"`
	Ends     time.Time `json:"ends_at,omitzero"`
	Position int       `json:"position,omitempty"` // in the lane, 1 for the head; 0 when it is not in one, or its place is not known
}

// Inspector looks into the lanes of one namespace. It changes nothing, keeps nothing between
// calls, and is safe for concurrent use. Verbs that change something are those of
// [dispatcher.Dispatcher].
type Inspector struct {
	d     *dispatcher.Dispatcher
	lanes *lanes.Namespace
}

// New returns one who looks into d's namespace. It asks Redis nothing, so a program may make one
// for each look.
func New(d *dispatcher.Dispatcher) *Inspector { return &Inspector{d, d.Engine()} }

// Page asks for a part of a list: at most Limit entries, which defaults to 50 and may be 500,
// from a Cursor that an earlier page returned. An empty cursor starts a list, and an empty next
// cursor ends it. A page may be shorter than its limit, or empty, and still have a next one, so
// only the cursor says that a list is over.
//
// A cursor is a place and no snapshot. It holds for the method and the filter that returned it,
// has no secrets, takes no memory in Redis, and stays good for as long as the namespace does.
// Another text is an error that wraps [dispatcher.ErrInvalid], and so is a limit that is negative
// or too large.
type Page struct {
	Cursor string
	Limit  int
}

// limit is how many entries the page asks for, once that is known to be allowed. The most bounds
// what one command asks of Redis, which serves nobody else meanwhile.
func (p Page) limit() (int, error) {
	if p.Limit < 0 || p.Limit > 500 {
		return 0, lanes.Invalid("limit", p.Limit, "must be 1 to 500")
	}
	if p.Limit == 0 {
		return 50, nil
	}
	return p.Limit, nil
}
