package dispatcher

import (
	"math"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// DeadFilter picks dead letters: those for which all that is set holds. The zero value picks all.
type DeadFilter struct {
	Kind    string      // of the job
	Reason  string      // the whole reason, such as "attempts exhausted", "permanent error" or "worker lost"
	Subject subject.Key // of the job; the look asks its partition alone

	// After and Before are bounds on the time of death by Redis's clock, to the millisecond: at After or later, and
	// before Before. Zero is no bound.
	After, Before time.Time
}

// Validate returns an error that wraps [ErrInvalid] and names the first field that breaks its rule.
func (f DeadFilter) Validate() error {
	if f.Kind != "" {
		if err := CheckKind(f.Kind); err != nil {
			return err
		}
	}
	if f.Subject != (subject.Key{}) {
		if err := f.Subject.Validate(); err != nil {
			return err
		}
	}
	if !f.After.IsZero() && !f.Before.IsZero() && !f.After.Before(f.Before) {
		return invalid("before", f.Before.UTC().Format(time.RFC3339Nano), "must be later than after, "+f.After.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// Picks reports whether what is known of a letter fits. It leaves out the bounds in time, by which letters are
// found: see Bounds.
func (f DeadFilter) Picks(kind string, key subject.Key, reason string) bool {
	return (f.Kind == "" || f.Kind == kind) && (f.Subject == (subject.Key{}) || f.Subject == key) && (f.Reason == "" || f.Reason == reason)
}

// Bounds are the times of death that fit, as they are stored, in ms: from since on, and before another.
func (f DeadFilter) Bounds() (since, before float64) {
	since, before = math.Inf(-1), math.Inf(1)
	if !f.After.IsZero() {
		since = float64(f.After.UnixMilli())
	}
	if !f.Before.IsZero() {
		before = float64(f.Before.UnixMilli())
	}
	return since, before
}
