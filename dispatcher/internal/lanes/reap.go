package lanes

import (
	"fmt"
	"strconv"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

var reapScript = verb("reap")

// reapLimit bounds what one call does of each sort: leases, waits, jobs that fall due, outcomes and windows
// that expire. The caller comes again at once as long as Next is 0.
const reapLimit = 100

// ReapReply says what time had set free in a partition: leases that expired, jobs that became dead letters by
// that, lanes whose backoff is over, jobs that took their places.
type ReapReply struct {
	Expired, Buried, Resumed, Placed int
	Lost                             []Lost
	Next                             time.Duration // until something falls due; negative when nothing is in sight
}

// Lost is an attempt that ended without a word from its holder. A field that can't be read is empty.
type Lost struct {
	Kind, Holder, Job string
	Subject           subject.Key
	Token             lease.Token
	Attempt           int
	Fate              string        // "again", "dead", "halted" or "cancelled"
	Took              time.Duration // how long its lease lasted
	Along             bool          // it was claimed along with the head of its lane
}

// Reap makes a call that returns to ready what time has set free. A head that is lost waits from base to cap,
// unless it was its first attempt; own are the kinds that the caller claims in the same round trip. It may be
// repeated: what one call took back, the next one does not find.
func (n *Namespace) Reap(p int, own []string, base, cap time.Duration) *script.Call {
	return n.Scripts.Plain(p, reapScript, nil, spaced(own), reapLimit, base.Milliseconds(), cap.Milliseconds())
}

// ReadReaped reads its reply. With an error Next is -1: nothing is known.
func ReadReaped(call *script.Call) (ReapReply, error) {
	words, err := call.Words()
	if err != nil {
		return ReapReply{Next: -1}, err
	}
	return readReaped(words)
}

func readReaped(words []string) (ReapReply, error) {
	r := ReapReply{Next: -1}
	if len(words) < 6 || (len(words)-6)%lostWords != 0 {
		return r, cutOff("reap", words)
	}
	for i, count := range []*int{&r.Expired, &r.Buried, &r.Resumed, &r.Placed} {
		n, err := strconv.Atoi(words[1+i])
		if err != nil {
			return ReapReply{Next: -1}, fmt.Errorf("reap: reply %q: %w", words, err)
		}
		*count = n
	}
	for rest := words[6:]; len(rest) > 0; rest = rest[lostWords:] {
		r.Lost = append(r.Lost, readLost(rest))
	}
	if words[5] != "-" {
		ms, err := strconv.ParseInt(words[5], 10, 64)
		if err != nil {
			return r, fmt.Errorf("reap: reply %q: %w", words, err)
		}
		r.Next = time.Duration(ms) * time.Millisecond
	}
	return r, nil
}

// lostWords is how many words of a reply tell of one lost attempt.
const lostWords = 8

// readLost reads what a reply tells of one. How long its lease lasted is its deadline less its token, because a
// token is the time of the claim in microseconds, or a little later.
func readLost(words []string) Lost {
	l := Lost{Kind: words[0], Holder: words[7], Fate: words[6], Along: words[2] == "-"}
	l.Job, _ = record.UnpackID(words[4])
	l.Subject, _ = subject.FromCanonical(words[3])
	l.Attempt, _ = strconv.Atoi(words[5])
	l.Token, _ = lease.ParseToken(words[1])
	if deadline, err := strconv.ParseFloat(words[2], 64); err == nil {
		l.Took = max(0, time.Duration(deadline)*time.Millisecond-time.Duration(l.Token)*time.Microsecond)
	}
	return l
}
