package record

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Park is why a lane that nobody holds may not be claimed, a line each: "backoff <until, Unix ms>", "suspended <when,
// Unix ms> [@<who>\t]<why>", "halted <when, Unix ms> <why>", "job -", "hold <until, Unix ms> <id>".
type Park struct {
	Backoff   time.Time // its head waits until then for its next attempt; zero when it does not
	Suspended *Stop     // by an operator
	Halted    *Stop     // by its head, which has failed for good
	Job       bool      // its head is suspended by itself
	Hold      *Barred   // by a rule of an operator
}

// Barred is the hold that keeps a lane back, and when that ends by itself: [Forever] is when it is released.
type Barred struct {
	ID    string
	Until time.Time
}

// Stop is since when, and why, something is stopped, and who did it; By is "" where that is not known.
type Stop struct {
	At      time.Time
	By, Why string
}

// ParsePark reads one. ok is false when a line of it can't be read.
func ParsePark(record string) (p Park, ok bool) {
	ok = readLines(record, func(word, value string) (ok bool) {
		switch word {
		case "backoff":
			p.Backoff, ok = millis(value)
		case "suspended":
			p.Suspended, ok = parseSuspended(value)
		case "halted":
			p.Halted, ok = parseStop(value)
		case "job":
			p.Job, ok = true, value != ""
		case "hold":
			when, id, _ := strings.Cut(value, " ")
			p.Hold = &Barred{ID: id}
			p.Hold.Until, ok = millis(when)
		}
		return ok
	})
	return p, ok
}

// readLines reads lines "<word> <value>" until one of them can't be read.
func readLines(record string, read func(word, value string) bool) bool {
	for line := range strings.Lines(record) {
		line, whole := strings.CutSuffix(line, "\n")
		if word, value, _ := strings.Cut(line, " "); !whole || !read(word, value) {
			return false
		}
	}
	return true
}

// millis reads a time; what has more digits than a time has is none.
func millis(text string) (time.Time, bool) {
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms).UTC(), err == nil && len(text) < 16 && ms >= 0
}

func parseStop(text string) (*Stop, bool) {
	when, why, _ := strings.Cut(text, " ")
	at, ok := millis(when)
	return &Stop{At: at, Why: why}, ok
}

// parseSuspended reads a stop by an operator, who may be named in it. A head that has halted its lane has an error there,
// which may look alike.
func parseSuspended(text string) (*Stop, bool) {
	s, ok := parseStop(text)
	if who, why, marked := strings.Cut(s.Why, "\t"); marked && strings.HasPrefix(who, "@") {
		s.By, s.Why = who[1:], why
	}
	return s, ok
}

// halted and suspended are the inverse of parseStop and parseSuspended.
func (s *Stop) halted() string { return strconv.FormatInt(s.At.UnixMilli(), 10) + " " + s.Why }

func (s *Stop) suspended() string {
	named := *s
	if s.By != "" || strings.HasPrefix(s.Why, "@") {
		named.Why = "@" + s.By + "\t" + s.Why
	}
	return named.halted()
}

// Stopped reports whether the lane stands still until somebody resumes it.
func (p Park) Stopped() bool { return p.Suspended != nil || p.Halted != nil || p.Job }

// LookAgain is the lane's score among those that are parked: Unix ms.
func (p Park) LookAgain() float64 {
	if p.Stopped() {
		return math.Inf(1)
	}
	if p.Hold != nil && p.Hold.Until.After(p.Backoff) {
		return float64(p.Hold.Until.UnixMilli())
	}
	return float64(p.Backoff.UnixMilli())
}

// Asks is what is asked of the holder of a lane, a line each: "cancel <ms to keep the outcome>", "suspend <when, Unix ms> [@<who>\t]<why>".
type Asks struct {
	Cancel  bool  // the head
	Suspend *Stop // the lane, when the lease ends
}

// ParseAsks reads one. ok is false when a line of it can't be read.
func ParseAsks(record string) (a Asks, ok bool) {
	ok = readLines(record, func(word, value string) (ok bool) {
		switch word {
		case "cancel":
			_, ok = millis(value)
			a.Cancel = true
		case "suspend":
			a.Suspend, ok = parseSuspended(value)
		}
		return ok
	})
	return a, ok && record != ""
}

// Suspending is what is asked of a holder who is to leave the lane suspended, as a line of its [Asks].
func (s *Stop) Suspending() string { return "suspend " + s.suspended() + "\n" }

// String is the inverse of [ParsePark], with the reasons in one order.
func (p Park) String() string {
	var b strings.Builder
	if !p.Backoff.IsZero() {
		fmt.Fprintf(&b, "backoff %d\n", p.Backoff.UnixMilli())
	}
	if p.Suspended != nil {
		b.WriteString("suspended " + p.Suspended.suspended() + "\n")
	}
	if p.Halted != nil {
		b.WriteString("halted " + p.Halted.halted() + "\n")
	}
	if p.Job {
		b.WriteString("job -\n")
	}
	if p.Hold != nil {
		fmt.Fprintf(&b, "hold %d %s\n", p.Hold.Until.UnixMilli(), p.Hold.ID)
	}
	return b.String()
}
