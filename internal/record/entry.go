package record

import (
	"strconv"
	"strings"
)

// Entry is what stands in a lane for a job, from its enqueue to its end: one byte each with the lengths of id and
// kind, the id, the kind, "<max attempts>"; then flags, for few. It never changes: what comes of a job stands in its [Note].
type Entry struct {
	ID, Kind string // the id packed
	Max      int    // the most attempts that there may be
	Flags    string
}

// TicketKind is the kind of entries that stand for no job, but for somebody who waits to run a section.
const TicketKind = "~"

// The flags of entries, in the order in which they stand.
const (
	FlagSkip   = "s" // it is set aside when it fails
	FlagHalt   = "h" // it halts its lane when it fails for good
	FlagUnique = "u" // it has a unique key
	FlagKeep   = "k" // its outcome is kept
	allFlags   = FlagSkip + FlagHalt + FlagUnique + FlagKeep
)

func (e Entry) String() string {
	return string(e.append(make([]byte, 0, 2+len(e.ID)+len(e.Kind)+8), func(b []byte) []byte { return append(b, e.ID...) }))
}

// AppendEntry appends to b the entry that e is with an id that is not packed.
func AppendEntry(b []byte, id string, e Entry) []byte {
	return e.append(b, func(b []byte) []byte { return AppendID(b, id) })
}

func (e Entry) append(b []byte, packed func([]byte) []byte) []byte {
	at := len(b)
	b = packed(append(b, 0, byte(len(e.Kind))))
	b[at] = byte(len(b) - at - 2)
	b = append(b, e.Kind...)
	return append(strconv.AppendInt(b, int64(e.Max), 10), e.Flags...)
}

// ParseEntry is the inverse of [Entry.String].
func ParseEntry(s string) (e Entry, ok bool) {
	if len(s) < 2 || len(s) < 2+int(s[0])+int(s[1]) {
		return Entry{}, false
	}
	kindAt := 2 + int(s[0])
	rulesAt := kindAt + int(s[1])
	e.ID, e.Kind = s[2:kindAt], s[kindAt:rulesAt]
	limit := strings.TrimRight(s[rulesAt:], allFlags)
	e.Flags = s[rulesAt+len(limit):]
	var err error
	e.Max, err = strconv.Atoi(limit)
	return e, err == nil && e.ID != "" && e.Kind != ""
}

// IsTicket reports whether e stands for no job.
func (e Entry) IsTicket() bool { return e.Kind == TicketKind }

// Ticket is the entry of somebody who waits to run a section; id is packed.
func Ticket(id string) Entry { return Entry{ID: id, Kind: TicketKind, Max: 1} }

// Rules is what an entry says besides id and kind.
func (e Entry) Rules() string { return strconv.Itoa(e.Max) + e.Flags }

// Skips reports whether a job is set aside when it fails.
func (e Entry) Skips() bool { return strings.Contains(e.Flags, FlagSkip) }
