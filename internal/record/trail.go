package record

import (
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// Attempt is one attempt that has ended, as it stands in a trail: "<of> <began> <took> <enqueued> <attempt> <ending>
// <kind> ", then subject, packed id and holder, each behind its length, and the error. Times are in ms. Scripts
// only pass it on.
type Attempt struct {
	Of       int // how many attempts it stands for: 1 unless it is one of a sample
	Began    time.Time
	Took     time.Duration
	Enqueued time.Time // zero is not known
	Attempt  int
	Ending   string
	Kind     string
	Subject  string // canonical
	ID       string // packed
	Holder   string
	Error    string // in a line
}

// AppendAttempt appends to b how an attempt stands in a trail: at a job by its own id, of a subject, whatever a has of these. How many it
// stands for is known when it is sent ([TrailEntry]). It allocates nothing where b has room.
func AppendAttempt(b []byte, a *Attempt, key subject.Key, id string) []byte {
	enqueued := int64(0)
	if !a.Enqueued.IsZero() {
		enqueued = a.Enqueued.UnixMilli()
	}
	for _, n := range [...]int64{a.Began.UnixMilli(), a.Took.Milliseconds(), enqueued, int64(a.Attempt)} {
		b = append(strconv.AppendInt(b, n, 10), ' ')
	}
	b = append(append(append(append(b, a.Ending...), ' '), a.Kind...), ' ')
	var room [512]byte
	canonical := key.AppendCanonical(room[:0])
	b = append(appendLength(b, len(canonical)), canonical...)
	packed := AppendID(room[:0], id)
	b = append(appendLength(b, len(packed)), packed...)
	b = append(appendLength(b, len(a.Holder)), a.Holder...)
	return append(b, a.Error...)
}

// appendLength appends what stands before a text of so many bytes ([WithSubject]).
func appendLength(b []byte, n int) []byte { return append(strconv.AppendInt(b, int64(n), 10), ' ') }

// TrailEntry is an entry of a trail: an attempt, as AppendAttempt made it, that stands for so many.
func TrailEntry(of int, attempt []byte) string { return strconv.Itoa(of) + " " + string(attempt) }

// ParseAttempt reads an entry of a trail. ok is false for what is none.
func ParseAttempt(entry string) (a Attempt, ok bool) {
	words := strings.SplitN(entry, " ", 8)
	if len(words) != 8 {
		return a, false
	}
	var n [5]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(words[i], 10, 64); err != nil {
			return a, false
		}
	}
	a = Attempt{
		Of: int(n[0]), Began: time.UnixMilli(n[1]).UTC(), Took: time.Duration(n[2]) * time.Millisecond,
		Attempt: int(n[4]), Ending: words[5], Kind: words[6], Error: words[7],
	}
	if n[3] > 0 {
		a.Enqueued = time.UnixMilli(n[3]).UTC()
	}
	for _, text := range []*string{&a.Subject, &a.ID, &a.Holder} {
		if *text, a.Error, ok = CutSubject(a.Error); !ok {
			return a, false
		}
	}
	return a, true
}
