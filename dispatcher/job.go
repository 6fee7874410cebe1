package dispatcher

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// NewJob is a job as an application asks for it. Subject and Kind are required.
type NewJob struct {
	// Subject is what the job touches; its jobs run one at a time, in order.
	Subject subject.Key

	// Kind says which handler runs the job: letters, digits and _ . / : - only,
	// at most 64 bytes.
	Kind string

	// Payload is handed to the handler as it is.
	Payload []byte

	// ID makes the enqueue repeatable: while a job of this subject and id exists,
	// enqueueing it again returns that job and changes nothing. At most 128 bytes.
	// Defaults to a new UUIDv7.
	//
	// No two subjects should use one id. While a job of another subject has it, the
	// enqueue returns [ErrConflict] when both subjects fall into one partition, and
	// stores a second job of that id when they do not. An id that has the subject in
	// it, such as "expire/artifact:42", is safe.
	ID string

	// RunAt (by Redis's clock) or Delay makes the job take its place at the tail
	// of its lane only then. At most one may be set. Milliseconds count.
	RunAt time.Time
	Delay time.Duration

	// MaxAttempts is how often the job may be started, the first time included
	// and crashes too: a job counts as started from its claim on, so with 1 a
	// worker that dies can make dead letters of jobs that it had claimed and not
	// begun. Defaults to 25.
	MaxAttempts int

	// Timeout bounds one attempt, at least 1 ms. Defaults to the pool's.
	Timeout time.Duration

	// Unique makes at most one job of the subject and kind exist at a time for a key: see
	// [Unique]. Nil leaves the job alone.
	Unique *Unique

	// Keep is how long the job's outcome can be read after its end, by [Dispatcher.WaitFor]
	// and [Dispatcher.Outcome]. Defaults to what its kind declares, else it is not kept.
	Keep time.Duration

	// Headers travel with the job, for trace contexts and the like. Keys and
	// values may have 4 KiB together.
	Headers map[string]string

	policy Policy // declared by its kind
}

// flags are those of the job's entries.
func (j *NewJob) flags() string {
	flags := map[Policy]string{Skip: record.FlagSkip, Halt: record.FlagHalt}[j.policy]
	if j.Unique != nil {
		flags += record.FlagUnique
	}
	if j.Keep > 0 {
		flags += record.FlagKeep
	}
	return flags
}

// stored is the part of the job that is stored.
func (j *NewJob) stored() *record.Job {
	return &record.Job{
		Subject: j.Subject, Kind: j.Kind, MaxAttempts: j.MaxAttempts, Timeout: j.Timeout, Headers: j.Headers, Keep: j.Keep,
		Flags: j.flags(), Payload: j.Payload,
	}
}

const (
	maxID      = subject.MaxIDBytes
	maxKind    = 64
	maxHeaders = 4096
	maxWait    = 100 * 365 * 24 * time.Hour
	maxKeep    = 30 * 24 * time.Hour
)

// attemptsRule is what a MaxAttempts must be. In this package 0 is the default.
var attemptsRule = fmt.Sprintf("must be 1 to %d", math.MaxInt32)

func (j NewJob) withDefaults() NewJob {
	j.MaxAttempts = cmp.Or(j.MaxAttempts, record.DefaultMaxAttempts)
	if j.ID == "" {
		j.ID = uuid.Must(uuid.NewV7()).String()
	}
	return j
}

// validate checks everything that can be checked without Redis.
func (j NewJob) validate(maxPayload int) error {
	if err := CheckSubject(j.Subject); err != nil {
		return err
	}
	if err := CheckKind(j.Kind); err != nil {
		return err
	}
	if err := j.Unique.validate(); err != nil {
		return err
	}
	headers := 0
	for k, v := range j.Headers {
		headers += len(k) + len(v)
	}
	switch {
	case len(j.ID) > maxID:
		return invalid("id", j.ID, fmt.Sprintf("must have at most %d bytes", maxID))
	case j.MaxAttempts < 1 || j.MaxAttempts > math.MaxInt32:
		return invalid("max_attempts", j.MaxAttempts, attemptsRule)
	case j.Timeout < 0 || j.Timeout > maxWait:
		return invalid("timeout", j.Timeout, "must be 0s to 100 years")
	case j.Timeout > 0 && j.Timeout < time.Millisecond:
		return invalid("timeout", j.Timeout, "must be at least 1ms")
	case j.Delay < 0 || j.Delay > maxWait:
		return invalid("delay", j.Delay, "must be 0s to 100 years")
	case j.Delay > 0 && !j.RunAt.IsZero():
		return invalid("delay", j.Delay, "and run_at can't both be set")
	case !j.RunAt.IsZero() && (j.RunAt.Year() < 1970 || j.RunAt.Year() > 9999):
		return invalid("run_at", j.RunAt, "must lie between the years 1970 and 9999")
	case j.Keep < 0 || j.Keep > maxKeep:
		return invalid("keep", j.Keep, "must be 0s to 30 days")
	case j.Keep > 0 && j.Keep < time.Millisecond:
		return invalid("keep", j.Keep, "must be at least 1ms")
	case len(j.Payload) > maxPayload:
		return fmt.Errorf("%w: payload has %d bytes, at most %d are allowed",
			ErrTooLarge, len(j.Payload), maxPayload)
	case headers > maxHeaders:
		return fmt.Errorf("%w: headers have %d bytes, at most %d are allowed",
			ErrTooLarge, headers, maxHeaders)
	}
	return nil
}

// CheckSubject returns an error that wraps [ErrInvalid] unless jobs and sections may have key
// as their subject.
func CheckSubject(key subject.Key) error {
	if err := key.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if key.Kind == subject.SlotKind {
		return invalid("subject", key, "can't be of the kind "+subject.SlotKind+": that is for slots of limits")
	}
	return nil
}

// CheckKind returns an error that wraps [ErrInvalid] unless kind can name a job
// kind. Scripts split entries at spaces, so a kind must have none.
func CheckKind(kind string) error {
	if kind == "" || len(kind) > maxKind {
		return invalid("kind", kind, fmt.Sprintf("must have 1 to %d bytes", maxKind))
	}
	for _, c := range []byte(kind) {
		ok := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' ||
			c == '_' || c == '.' || c == '/' || c == ':' || c == '-'
		if !ok {
			return invalid("kind", kind, "may hold only letters, digits and _ . / : -")
		}
	}
	return nil
}

// Job is a job as it is stored. Its JSON form has no payload: payloads are not for everybody
// who may read a log or call a page ([Kind.Shown] picks what may be seen).
type Job struct {
	ID          string            `json:"id"`
	Subject     subject.Key       `json:"subject"`
	Kind        string            `json:"kind"`
	Seq         int64             `json:"seq"` // place in the order of its lane, modulo 2³⁹; 0 while it is scheduled
	Payload     []byte            `json:"-"`
	Headers     map[string]string `json:"headers,omitempty"`
	MaxAttempts int               `json:"max_attempts"`
	Timeout     time.Duration     `json:"timeout_ns,omitzero"`
	Keep        time.Duration     `json:"keep_ns,omitzero"`     // how long its outcome can be read
	EnqueuedAt  time.Time         `json:"enqueued_at,omitzero"` // by Redis's clock

	flags string // of its entries: what is declared of its kind, and how it was enqueued
}

// decode reads a stored job: see [lanes.Decode].
func decode(packedID, stored string) (Job, error) {
	id, j, err := lanes.Decode(packedID, stored)
	return JobOf(id, j), err
}

// JobOf is for packages dispatcher/session and dispatcher/inspect alone: it makes a job of what is stored of it.
func JobOf(id string, j record.Job) Job {
	return Job{
		ID: id, Subject: j.Subject, Kind: j.Kind, Seq: j.Seq, Payload: j.Payload, Headers: j.Headers,
		MaxAttempts: j.MaxAttempts, Timeout: j.Timeout, Keep: j.Keep, EnqueuedAt: j.EnqueuedAt, flags: j.Flags,
	}
}

// Entry is for package dispatcher/session alone: it is what stands for the job in its lane.
func (j *Job) Entry() record.Entry {
	e := j.EntryWithoutID()
	e.ID = record.PackID(j.ID)
	return e
}

// EntryWithoutID is for package dispatcher/session alone: it is Entry, but for the id, which costs most of it.
func (j *Job) EntryWithoutID() record.Entry {
	return record.Entry{Kind: j.Kind, Max: j.MaxAttempts, Flags: j.flags}
}
