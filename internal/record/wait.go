package record

import (
	"strconv"
	"strings"
	"time"
)

// Wait is that who has a lease waits for another subject: "<until, ms> <token> <subject>".
type Wait struct {
	Until   time.Time // when it counts no more, unless it is written again
	Token   int64     // of the lease
	Subject string    // canonical, that is waited for
}

// ParseWait reads one. ok is false for what is none.
func ParseWait(record string) (w Wait, ok bool) {
	parts := strings.SplitN(record, " ", 3)
	if len(parts) != 3 {
		return Wait{}, false
	}
	ms, err := strconv.ParseInt(parts[0], 10, 64)
	token, err2 := strconv.ParseInt(parts[1], 10, 64)
	return Wait{time.UnixMilli(ms).UTC(), token, parts[2]}, err == nil && err2 == nil
}
