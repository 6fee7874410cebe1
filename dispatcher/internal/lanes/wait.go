package lanes

import (
	"context"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

var waitScript = whole("wait")

// Wait notes, as what says, that the holder of leases waits for a subject ("wait"), no longer waits ("leave"),
// or that notes of others are over ("drop"). It returns the notes that lead to a deadlock, if any, as the
// leases they are about: not nil, but empty, when what is waited for is leased to the work itself. Then no note
// was made.
//
// A note counts for so long unless it is made again; each lease of the work has one. Whether the leases of a
// chain still last is for the caller to see, who drops the notes of those that do not, and asks again.
func (n *Namespace) Wait(ctx context.Context, what string, counts time.Duration, key subject.Key, about []lease.Lease) ([]lease.Lease, error) {
	args := []any{what, counts.Milliseconds(), key.Canonical()}
	for _, l := range about {
		args = append(args, l.Subject.Canonical(), l.Token.String())
	}
	words, err := n.Ask(ctx, n.Scripts.Whole(waitScript, []string{n.Waits()}, args...))
	if err != nil || words[0] != "deadlock" {
		return nil, Wrap("note a wait", err)
	}
	chain := []lease.Lease{}
	for notes := words[1:]; len(notes) >= 2; notes = notes[2:] {
		l := lease.Lease{}
		if l.Subject, err = subject.FromCanonical(notes[0]); err == nil {
			l.Token, err = lease.ParseToken(notes[1])
		}
		if err != nil {
			return nil, fmt.Errorf("note a wait: reply %q: %w", notes[:2], err)
		}
		chain = append(chain, l)
	}
	return chain, nil
}
