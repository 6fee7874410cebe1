package lanes

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

var slotScript = permit("slot")

// Ask is what a holder wants of a limit for the lanes of one partition. With none ready it gives up its place
// among those who are short. Ready may be more than Want: for that many it stands in line (I15).
type Ask struct {
	Partition int
	Want      int // starts now
	Ready     int // lanes that could use one
}

// Slot makes a call that asks for starts under a limit: by a caller of this request alone, so that it can be
// made again when its answer does not come, or by none, to give places up. It goes to the limit's home,
// wherever the lanes are.
func (n *Namespace) Slot(by *script.Caller, limit, holder string, ttl time.Duration, asks []Ask) *script.Call {
	args := []any{limit, holder, ttl.Milliseconds(), n.Partitions, record.Slots(limit)}
	for _, a := range asks {
		args = append(args, a.Partition, a.Want, a.Ready)
	}
	if by == nil {
		return n.Scripts.Plain(n.LimitHome(limit), slotScript, nil, args...)
	}
	return by.Once(n.LimitHome(limit), slotScript, nil, args...)
}

// Starts is what a limit gives: of each ask how many starts, with slots unless the limit is a rate only. All
// slots of an answer have one token. Later is known to whoever is first of those who are short; the others are
// told.
type Starts struct {
	Later time.Duration // until more may be had; negative when that is not known
	Mark  string        // for giving back a start that the rate counts; "-" for none
	Given []int
	Slots [][]lease.Lease
}

// ErrNoLimit is returned for starts under a limit that is not there: nothing may start.
var ErrNoLimit = errors.New("lanes: no such limit")

// ReadStarts reads the reply of a call with so many asks. sent is the local time before the call, from which
// the leases of slots count. A limit that is gone is [ErrNoLimit]. Slots of a reply that can't be read are left
// to expire.
func ReadStarts(call *script.Call, limit string, asks int, holder string, ttl time.Duration, sent time.Time) (s Starts, err error) {
	s = Starts{Later: -1, Mark: "-", Given: make([]int, asks), Slots: make([][]lease.Lease, asks)}
	words, err := call.Words()
	if err != nil {
		return s, err
	}
	if words[0] == "none" {
		return s, ErrNoLimit
	}
	garbled := fmt.Errorf("slot: reply %q", words)
	token, err := lease.ParseToken(words[4])
	if err != nil {
		return s, fmt.Errorf("%w: %w", garbled, err)
	}
	if ms, err := strconv.ParseInt(words[2], 10, 64); err == nil {
		s.Later = time.Duration(ms) * time.Millisecond
	}
	s.Mark = words[3]
	rest, numbered := words[5:], words[1] == "1"
	for i := range asks {
		if len(rest) == 0 {
			return s, garbled
		}
		count, err := strconv.Atoi(rest[0])
		rest = rest[1:]
		if err != nil || numbered && count > len(rest) {
			return s, garbled
		}
		s.Given[i] = count
		for ; numbered && count > 0; count, rest = count-1, rest[1:] {
			number, err := strconv.Atoi(rest[0])
			if err != nil {
				return s, garbled
			}
			s.Slots[i] = append(s.Slots[i], lease.Lease{
				Subject: subject.Slot(limit, number), Token: token, Holder: holder, Proven: sent, TTL: ttl,
			})
		}
	}
	return s, nil
}
