package record

import "strings"

// ExpiringOutcome and ExpiringTicket are how the outcome of a job and the ticket of somebody who waits
// stand among what goes by itself at a time.
func ExpiringOutcome(packedID string) string { return "o" + packedID }

// ExpiringTicket: see ExpiringOutcome.
func ExpiringTicket(canonical, entry string) string { return "t" + WithSubject(canonical, entry) }

// ParseExpiringTicket is the inverse of ExpiringTicket.
func ParseExpiringTicket(member string) (canonical, entry string, ok bool) {
	text, ok := strings.CutPrefix(member, "t")
	if !ok {
		return "", "", false
	}
	if canonical, entry, ok = CutSubject(text); ok {
		_, ok = ParseEntry(entry)
	}
	return canonical, entry, ok
}
