package dispatcher

import (
	"errors"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Errors that callers act on. A token that is no longer current gives lease.ErrLost.
var (
	// ErrUnavailable is returned when Redis can't be reached, does not answer in time, or says
	// that it can't serve now (LOADING, CLUSTERDOWN and the like). What was asked may have been
	// done, or be done yet, where the text says so. A caller whose context's deadline
	// passed while Redis was asked gets context.DeadlineExceeded too; one who cancelled gets
	// context.Canceled alone. Without a deadline no question waits for longer than ten seconds:
	// see docs/guarantees.md.
	ErrUnavailable = connect.ErrUnavailable

	// ErrInvalid is wrapped by every error about a value that breaks a rule; the
	// text names the field, the value and the rule.
	ErrInvalid = lanes.ErrInvalid

	// ErrTooLarge is returned when a payload, a set of headers or a batch is over
	// its limit. Nothing was stored.
	ErrTooLarge = errors.New("dispatcher: too large")

	// ErrLaneFull is returned when a lane has no room for a job. Nothing was stored.
	ErrLaneFull = errors.New("dispatcher: lane full")

	// ErrBacklogFull is returned when the namespace has no room for a job. Nothing
	// was stored.
	ErrBacklogFull = errors.New("dispatcher: backlog full")

	// ErrConflict is returned when a job's id belongs to a job of another subject in the
	// same partition. In another partition it is not noticed: see [NewJob].ID.
	ErrConflict = errors.New("dispatcher: id in use")

	// ErrBusy is returned by Do when a subject could not be had in the time given.
	ErrBusy = errors.New("dispatcher: busy")

	// ErrWouldDeadlock is returned for a wait that could never end.
	ErrWouldDeadlock = errors.New("dispatcher: would deadlock")

	// ErrTaken is matched by every [TakenError].
	ErrTaken = errors.New("dispatcher: unique key is taken")

	// ErrNotReplicated is returned when a job was stored, but fewer replicas had it in
	// time than [Config].Durability asks for. It runs; a failover now may lose it.
	// Enqueueing it again with the same ID waits again.
	ErrNotReplicated = errors.New("dispatcher: stored, but not on enough replicas")

	// ErrRefused is returned for a job that was all right itself, but shares a
	// partition with one of the same call that was not: partitions take all or none.
	ErrRefused = errors.New("dispatcher: refused with its batch")

	// ErrNotFound is returned when no such job, lane or dead letter exists.
	ErrNotFound = errors.New("dispatcher: not found")

	// ErrAmbiguous is matched by every [AmbiguousError].
	ErrAmbiguous = errors.New("dispatcher: id is ambiguous")

	// ErrIncomplete is matched by every [IncompleteError].
	ErrIncomplete = lanes.ErrIncomplete

	// ErrRunning is returned for what can only be done to a job that waits.
	ErrRunning = errors.New("dispatcher: claimed")

	// ErrNotSuspended is returned when a lane or a job is to be resumed that is not
	// suspended.
	ErrNotSuspended = errors.New("dispatcher: not suspended")

	// ErrNotDelayed is returned by RetryNow for a lane whose head does not wait for its next attempt.
	ErrNotDelayed = errors.New("dispatcher: not delayed")

	// ErrMoved is matched by every [MovedError].
	ErrMoved = errors.New("dispatcher: lane has moved")

	// ErrUndeclared is returned for a kind that is not among the declared ones, where any are.
	ErrUndeclared = errors.New("dispatcher: kind is not declared")

	// ErrOwner is returned by Open when a kind was registered by another owner.
	ErrOwner = errors.New("dispatcher: kind belongs to another owner")

	// ErrMismatch is returned by Open when the namespace was created with another
	// number of partitions or by an incompatible release.
	ErrMismatch = lanes.ErrMismatch

	// ErrEviction is returned by Open when the server may evict keys.
	ErrEviction = lanes.ErrEviction
)

// IncompleteError comes beside what a look has found when a part of Redis could not be asked, as
// while a master of a cluster is away: what is returned with it is right, and what its field Missing
// names, such as "partition 2 of 4" or "workers", is missing; its field Err says why, of the first. When
// nothing could be asked the error wraps [ErrUnavailable] instead.
type IncompleteError = lanes.IncompleteError

// invalid says which field of what holds which value against which rule.
func invalid(field string, value any, rule string) error { return lanes.Invalid(field, value, rule) }
