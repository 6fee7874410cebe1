package record

import (
	"fmt"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// Limit is one limit as it is declared: "<most at once> <ms between two starts> <version>". The version is
// that of its kind's declaration: the later one counts where a limit is enforced, whoever writes
// last. Limits of pools are in no registry and have version 0.
type Limit struct {
	Most    int
	Every   time.Duration
	Version int
}

// ParseLimit reads one. ok is false for one that has no limit (any more): those who knew another one find
// that, and not none.
func ParseLimit(record string) (l Limit, ok bool) {
	var ms int64
	n, _ := fmt.Sscanf(record, "%d %d %d", &l.Most, &ms, &l.Version)
	l.Every = time.Duration(ms) * time.Millisecond
	return l, n >= 2 && (l.Most > 0 || ms > 0)
}

// Record is the inverse of [ParseLimit].
func (l Limit) Record() string {
	return fmt.Sprintf("%d %d %d", l.Most, l.Every.Milliseconds(), l.Version)
}

// String says what a limit is to who reads of it.
func (l Limit) String() string {
	switch {
	case l.Most == 0 && l.Every == 0:
		return "none"
	case l.Every == 0:
		return fmt.Sprintf("%d at once", l.Most)
	case l.Most == 0:
		return fmt.Sprintf("one start every %s", l.Every)
	}
	return fmt.Sprintf("%d at once and one start every %s", l.Most, l.Every)
}

// Slots is the subject of a limit's slots without their numbers, and LimitOf the limit of a slot.
func Slots(limit string) string { return strings.TrimSuffix(subject.Slot(limit, 0).Canonical(), "0") }

// LimitOf: see Slots.
func LimitOf(slot subject.Key) string { return slot.ID[:strings.LastIndexByte(slot.ID, '#')] }
