package lanes

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

var sectionScript = verb("section")

// Unknown is until when something is over of which nobody knows that.
const Unknown = time.Duration(math.MaxInt64)

// Section asks once, with a caller of the ticket's own, for the lease of a subject. ok is false when it is not
// to be had yet: over is after how long what is in front may be over without anybody telling, or [Unknown]. To
// one without a ticket, whose entry is "", the error is a [*lease.HeldError] then, and to anybody whom a hold bars who has no ticket yet.
//
// It costs one round trip, and more as long as jobs of the partition have fallen due that go first (I14). The
// lease counts from before the last one. An error that leaves open what Redis did (see [Unanswered]) may have
// left the lease with the caller: give it up with [Namespace.Leave].
func (n *Namespace) Section(ctx context.Context, caller *script.Caller, key subject.Key, holder string, ttl time.Duration, ticket string) (l lease.Lease, ok bool, over time.Duration, err error) {
	p, tail := n.tail(key)
	var sent time.Time
	words := []string{"again"} // as long as there is more that is due to be placed first
	for err == nil && words[0] == "again" {
		sent = time.Now()
		words, err = n.Ask(ctx, caller.Once(p, sectionScript, tail, key.Canonical(), holder, ttl.Milliseconds(), ticket))
	}
	switch {
	case err != nil:
		return lease.Lease{}, false, 0, err
	case words[0] == "barred":
		return lease.Lease{}, false, 0, lease.Barred(key, words[1], words[2])
	case words[0] == "held":
		return lease.Lease{}, false, 0, heldBy(key, words[1], words[2])
	case words[0] != "ok":
		over = Unknown
		if ms, err := strconv.ParseInt(words[1], 10, 64); err == nil {
			over = time.Duration(ms+1) * time.Millisecond
		}
		return lease.Lease{}, false, over, nil
	}
	token, err := lease.ParseToken(words[1])
	if err != nil {
		return lease.Lease{}, false, 0, fmt.Errorf("section: reply %q: %w", words, err)
	}
	return lease.Lease{Subject: key, Token: token, Holder: holder, Proven: sent, TTL: ttl}, true, 0, nil
}

// heldBy says who has a subject, and until when; no holder stands for jobs that wait, and "operator" for a lane
// that is stopped.
func heldBy(key subject.Key, holder, until string) error {
	held := &lease.HeldError{Subject: key, Holder: holder, Suspended: holder != "" && until == "0"}
	if ms, _ := strconv.ParseInt(until, 10, 64); ms > 0 {
		held.Until = time.UnixMilli(ms)
	}
	return held
}
