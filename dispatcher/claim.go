package dispatcher

import (
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/record"
)

// Claimant is who claims: a holder that is unique per process start, the kinds
// it handles, and the TTL of the leases it asks for.
type Claimant struct {
	Holder string
	Kinds  []string
	TTL    time.Duration

	// LaneBatch is, for a kind, how many jobs of one lane to claim together at
	// most: see [Claim.Along]. A kind that is not in it is claimed job by job.
	LaneBatch map[string]int

	// Pool is the name of the claimant's pool, whose limit it is under; "" is none.
	Pool string

	budget map[string]int // by kind, the most lanes to claim; a kind that is not in it has none
	ranks  *ranks
}

// MaxLaneBatch is the most jobs of one lane that can be claimed together.
const MaxLaneBatch = 250

func (c Claimant) validate() error {
	if c.Holder == "" {
		return invalid("holder", c.Holder, "must not be empty")
	}
	if c.TTL < time.Millisecond || c.TTL > maxWait {
		return invalid("lease TTL", c.TTL, "must be 1ms to 100 years")
	}
	for _, kind := range c.Kinds {
		if err := CheckKind(kind); err != nil {
			return err
		}
	}
	for kind, n := range c.LaneBatch {
		if n < 1 || n > MaxLaneBatch {
			return invalid("lane batch of "+kind, n, fmt.Sprintf("must be 1 to %d", MaxLaneBatch))
		}
	}
	return nil
}

// MaxClaim is the most lanes that one [Turn] gives out. It bounds the script's time,
// like maxEnds does: 125 finishes and claims take 2 ms of Redis.
const MaxClaim = 125

// decodeClaim reads one lane of a claim's reply, for the attempt after those that have ended.
func decodeClaim(canonical, entry, body string, ended int) (Claim, error) {
	e, ok := record.ParseEntry(entry)
	if !ok {
		return Claim{}, fmt.Errorf("%w: the head of %s is %q", record.ErrCorrupt, textOf(canonical), entry)
	}
	job, err := decode(e.ID, body)
	if err != nil {
		return Claim{}, err
	}
	if job.Subject.Canonical() != canonical {
		return Claim{}, fmt.Errorf("%w: %s heads %s but is a job of %s", record.ErrCorrupt, job.ID, textOf(canonical), job.Subject)
	}
	job.MaxAttempts, job.flags = e.Max, e.Flags // what the scripts go by
	return Claim{Job: job, Attempt: ended + 1}, nil
}
