package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Retention is how long a kind keeps its dead letters, and how many: "<ms> <most>", 0 being no bound. It stands beside
// the kind's declaration and not in it: a release that does not know of it declares the kind anew, and leaves it as it is.
type Retention struct {
	Keep time.Duration
	Most int
}

// String is the record, "" of no retention.
func (r Retention) String() string {
	if r == (Retention{}) {
		return ""
	}
	return fmt.Sprintf("%d %d", r.Keep.Milliseconds(), r.Most)
}

// RetentionField is where a kind's retention stands among the versions of kinds, whose names have no spaces.
func RetentionField(kind string) string { return kind + " retention" }

// ParseRetention is the inverse of String. ok is false for what is none.
func ParseRetention(record string) (r Retention, ok bool) {
	first, second, two := strings.Cut(record, " ")
	ms, err := strconv.ParseInt(first, 10, 64)
	most, err2 := strconv.Atoi(second)
	if !two || err != nil || err2 != nil || ms < 0 || ms > maxRetention.Milliseconds() || most < 0 {
		return r, false
	}
	return Retention{time.Duration(ms) * time.Millisecond, most}, true
}

// maxRetention is the most that counts, so that no sum of times overflows.
const maxRetention = 100 * 365 * 24 * time.Hour
