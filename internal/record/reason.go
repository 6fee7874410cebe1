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
