package record

import (
	"strconv"
	"strings"
)

// Filler stands in heads, leases and deadlines besides subjects, which it can't be one of: see lease.lua.
const Filler = "\x00----------------------------------------------------------------"

// Lease is the record of who holds a subject: "<token> <use>[+<jobs along>][!] <holder>".
type Lease struct {
	Token  int64 // 0 of one that can't be read
	Use    string
	Along  int  // jobs behind the head that were claimed with it, and are not reported yet
	Asked  bool // something is asked of the holder: see [Asks]
	Holder string
}

// What a lease is for.
const (
	ForJob     = "job"     // an attempt at the lane's head
	ForSection = "section" // and not for any job
	ForSlot    = "slot"    // of a limit
)

// ParseLease reads one.
func ParseLease(record string) (l Lease) {
	token, rest, _ := strings.Cut(record, " ")
	use, holder, _ := strings.Cut(rest, " ")
	use, l.Asked = strings.CutSuffix(use, "!")
	use, along, _ := strings.Cut(use, "+")
	l.Use, l.Holder = use, holder
	l.Along, _ = strconv.Atoi(along)
	if strings.Trim(use, "abcdefghijklmnopqrstuvwxyz") != "" || strings.Trim(along, "0123456789") != "" {
		return l // scripts can't read it either
	}
	if n, err := strconv.ParseInt(token, 10, 64); err == nil {
		l.Token = n
	}
	return l
}
