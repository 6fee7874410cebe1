package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// Outcome is how a job has ended, as long as that is kept: "<state> <attempts> <when, Unix ms>
// <length of subject> <subject><result>".
type Outcome struct {
	State    string
	Attempts int
	At       time.Time
	Subject  subject.Key
	Result   []byte
}

// ParseOutcome reads one; id is for its errors, which wrap [ErrCorrupt].
func ParseOutcome(id, record string) (o Outcome, err error) {
	parts := strings.SplitN(record, " ", 4)
	canonical, result, ok := "", "", false
	if len(parts) == 4 {
		canonical, result, ok = CutSubject(parts[3])
	}
	if ok {
		o.Subject, err = subject.FromCanonical(canonical)
	}
	if !ok || err != nil {
		return o, fmt.Errorf("%w: the outcome of %s is %q", ErrCorrupt, subject.IDText(id), record[:min(len(record), 100)])
	}
	o.State = parts[0]
	o.Attempts, _ = strconv.Atoi(parts[1])
	ms, _ := strconv.ParseInt(parts[2], 10, 64)
	o.At = time.UnixMilli(ms).UTC()
	if result != "" {
		o.Result = []byte(result)
	}
	return o, nil
}

// OutcomeBytes is what an outcome counts for: itself, its id, and what indexes need for it.
func OutcomeBytes(packedID, record string) int64 { return int64(len(packedID) + len(record) + 200) }

// String is the inverse of [ParseOutcome].
func (o Outcome) String() string {
	return fmt.Sprintf("%s %d %d ", o.State, o.Attempts, o.At.UnixMilli()) + WithSubject(o.Subject.Canonical(), string(o.Result))
}
