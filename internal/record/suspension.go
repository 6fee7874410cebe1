package record

import (
	"strconv"
	"strings"
	"time"
)

// Suspension is why a lane stands still: "<when, Unix ms> <operator|halted> <why>".
type Suspension struct {
	At     time.Time
	Halted bool // its head did it, by its failure
	Why    string
}

// ParseSuspension reads one. ok is false for what is none; the time of one that can't be read is zero.
func ParseSuspension(record string) (s Suspension, ok bool) {
	parts := strings.SplitN(record, " ", 3)
	if len(parts) != 3 {
		return Suspension{}, false
	}
	if ms, err := strconv.ParseInt(parts[0], 10, 64); err == nil {
		s.At = time.UnixMilli(ms).UTC()
	}
	s.Halted, s.Why = parts[1] == "halted", parts[2]
	return s, true
}
