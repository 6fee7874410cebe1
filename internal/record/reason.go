package record

import (
	"strconv"
	"strings"
)

// ParseReason reads why a job is a dead letter: "<attempts> <reason>\n<error>".
func ParseReason(record string) (attempts int, reason, failure string) {
	first, failure, _ := strings.Cut(record, "\n")
	count, reason, _ := strings.Cut(first, " ")
	attempts, _ = strconv.Atoi(count)
	return attempts, reason, failure
}

// ReasonFor is the reason that the code of an end stands for, "" of one whose caller gave the reason.
func ReasonFor(code string) string {
	switch code {
	case "exhausted":
		return "attempts exhausted"
	case "workers":
		return "failed on different workers"
	case "lost":
		return "worker lost"
	}
	return ""
}

// Reason is the inverse of [ParseReason].
func Reason(attempts int, reason, failure string) string {
	return strconv.Itoa(attempts) + " " + reason + "\n" + failure
}
