package record

import (
	"strconv"
	"strings"
)

// Entry is what stands in a lane for a job: one byte each with the lengths of id and
// kind, the id, the kind, and "<max attempts>", or "<ended attempts> <max attempts>" once there
// are any; then flags, for few.
type Entry struct {
	ID, Kind      string // the id packed
	Attempts, Max int    // ended attempts, and the most that there may be
	Flags         string
}

// TicketKind is the kind of entries that stand for no job, but for somebody who waits to run a section.
const TicketKind = "~"

// The flags of entries, in the order in which they stand.
const (
	FlagSkip      = "s" // it is set aside when it fails
	FlagHalt      = "h" // it halts its lane when it fails for good
	FlagUnique    = "u" // it has a unique key
	FlagKeep      = "k" // its outcome is kept
	flagSuspended = "~" // it is suspended by itself
	allFlags      = FlagSkip + FlagHalt + FlagUnique + FlagKeep + flagSuspended
)

func (e Entry) String() string {
	b := make([]byte, 0, 2+len(e.ID)+len(e.Kind)+8)
	b = append(b, byte(len(e.ID)), byte(len(e.Kind)))
	b = append(append(b, e.ID...), e.Kind...)
	if e.Attempts > 0 {
		b = append(strconv.AppendInt(b, int64(e.Attempts), 10), ' ')
	}
	return string(append(strconv.AppendInt(b, int64(e.Max), 10), e.Flags...))
}

// ParseEntry is the inverse of [Entry.String].
func ParseEntry(s string) (e Entry, ok bool) {
	if len(s) < 2 || len(s) < 2+int(s[0])+int(s[1]) {
		return Entry{}, false
	}
	kindAt := 2 + int(s[0])
	countsAt := kindAt + int(s[1])
	e.ID, e.Kind = s[2:kindAt], s[kindAt:countsAt]
	counts := strings.TrimRight(s[countsAt:], allFlags)
	e.Flags = s[countsAt+len(counts):]
	attempts, limit, tried := strings.Cut(counts, " ")
	if !tried {
		attempts, limit = "0", attempts
	}
	var err, err2 error
	e.Attempts, err = strconv.Atoi(attempts)
	e.Max, err2 = strconv.Atoi(limit)
	return e, err == nil && err2 == nil && e.ID != "" && e.Kind != ""
}

// IsTicket reports whether e stands for no job.
func (e Entry) IsTicket() bool { return e.Kind == TicketKind }

// Ticket is the entry of somebody who waits to run a section; id is packed.
func Ticket(id string) Entry { return Entry{ID: id, Kind: TicketKind, Max: 1} }

// Rules is what an entry says besides id and kind, before any attempt.
func (e Entry) Rules() string { return strconv.Itoa(e.Max) + e.Flags }

// Skips reports whether a job is set aside when it fails.
func (e Entry) Skips() bool { return strings.Contains(e.Flags, FlagSkip) }

// Suspended reports whether the job was suspended by itself.
func (e Entry) Suspended() bool { return strings.HasSuffix(e.Flags, flagSuspended) }

// AsSuspended is the entry of the same job while it is suspended.
func (e Entry) AsSuspended() Entry {
	e.Flags = strings.TrimSuffix(e.Flags, flagSuspended) + flagSuspended
	return e
}

// Untried is the entry of the same job before any attempt or suspension.
func (e Entry) Untried() Entry {
	e.Attempts, e.Flags = 0, strings.TrimSuffix(e.Flags, flagSuspended)
	return e
}
