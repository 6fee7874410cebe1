package dispatcher

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Unique makes at most one job of a subject and kind exist for a key. The key goes with its
// job: it is free again as soon as the job has ended, and never before, so nothing that was
// asked for stays undone behind a key that is left over.
type Unique struct {
	// Key is what must not come twice, 1 to 256 bytes; empty is the digest of the payload.
	Key string `json:"-" yaml:"-"`

	// Scope is for how long the key is taken. Defaults to what the kind declares, else to
	// [WhileWaiting].
	Scope Scope `json:"scope,omitempty" yaml:"scope"`

	// Window is for [ForWindow], at least 1 ms: how long the key is taken from the enqueue on, even
	// after the job has ended. When it is over the key is free even while the job waits.
	Window time.Duration `json:"window,omitempty" yaml:"window"`

	// OnConflict is what becomes of a job whose key is taken. Defaults to what the kind
	// declares, else to [Merge].
	OnConflict Conflict `json:"on_conflict,omitempty" yaml:"on_conflict"`
}

// Scope is how long a unique key is taken.
type Scope string

// The scopes. With WhileWaiting a job whose like is running already is stored. A run that
// starts after the enqueue is certain therefore: what the one that runs has read may be older.
const (
	WhileWaiting          Scope = "waiting"
	WhileWaitingOrRunning Scope = "waiting+running"
	ForWindow             Scope = "window"
)

// Conflict is what becomes of a job whose unique key is taken.
type Conflict string

// What can become of it. Merge counts it and returns the job that has the key; Reject returns
// a [*TakenError]; Replace gives that job the new payload and headers, if it still waits, and
// else does as Reject.
const (
	Merge   Conflict = "merge"
	Reject  Conflict = "reject"
	Replace Conflict = "replace"
)

// Coalesce merges a job with one of the same subject, kind and payload that waits.
var Coalesce = &Unique{Scope: WhileWaiting, OnConflict: Merge}

// TakenError is returned for a job whose unique key is taken. ID is the job that has it.
type TakenError struct {
	ID string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("dispatcher: unique key is taken by job %s", subject.IDText(e.ID))
}

// Is makes errors.Is(err, ErrTaken) true.
func (e *TakenError) Is(target error) bool { return target == ErrTaken }

const maxUniqueKey = 256

func (u *Unique) withDefaults(declared *Unique) *Unique {
	if u == nil {
		return nil
	}
	full := *u
	if declared != nil {
		if full.Scope == "" {
			full.Scope, full.Window = declared.Scope, declared.Window
		}
		if full.OnConflict == "" {
			full.OnConflict = declared.OnConflict
		}
	}
	if full.Scope == "" {
		full.Scope = WhileWaiting
	}
	if full.OnConflict == "" {
		full.OnConflict = Merge
	}
	return &full
}

func (u *Unique) validate() error {
	switch {
	case u == nil:
		return nil
	case len(u.Key) > maxUniqueKey:
		return invalid("unique key", u.Key, fmt.Sprintf("must have at most %d bytes", maxUniqueKey))
	case u.Scope != "" && u.Scope != WhileWaiting && u.Scope != WhileWaitingOrRunning && u.Scope != ForWindow:
		return invalid("unique scope", u.Scope, "must be waiting, waiting+running or window")
	case u.OnConflict != "" && u.OnConflict != Merge && u.OnConflict != Reject && u.OnConflict != Replace:
		return invalid("on_conflict", u.OnConflict, "must be merge, reject or replace")
	case (u.Scope == ForWindow) != (u.Window > 0):
		return invalid("unique window", u.Window, "must be over 0s with the scope window, and only then")
	case u.Window > 0 && u.Window < time.Millisecond:
		return invalid("unique window", u.Window, "must be at least 1ms")
	case u.Window > maxWait:
		return invalid("unique window", u.Window, "must be at most 100 years")
	}
	return nil
}

// key is how the key stands among the unique keys of a partition; nil for a job that has none.
func (u *Unique) key(job *NewJob, canonical string) *lanes.UniqueKey {
	if u == nil {
		return nil
	}
	var digest [sha256.Size]byte
	if u.Key == "" {
		digest = sha256.Sum256(job.Payload)
	}
	return &lanes.UniqueKey{
		Field: record.UniqueField(canonical, job.Kind, u.Key, digest[:]), Scope: string(u.Scope), Window: u.Window, OnConflict: string(u.OnConflict),
	}
}
