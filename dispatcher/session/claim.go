package session

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
)

// Claimant is who claims: a holder that is unique per process start, the kinds it handles, and the TTL of the
// leases it asks for.
//
// budget and ranks are the session's: what limits let start in one turn, and the order of kinds by priority,
// which all copies of the claimant share.
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

// century is the most that a time may be, so that no sum of two overflows.
const century = 100 * 365 * 24 * time.Hour

// MaxLaneBatch is the most jobs of one lane that can be claimed together. It is as many as one call gives out
// of all lanes together (MOST in parts/lot.lua), so a turn that takes many lanes may give fewer.
const MaxLaneBatch = 250

// validate returns an error that wraps dispatcher.ErrInvalid and names the field and its rule. Kinds may be
// empty: such a session can report and renew, and claims nothing.
func (c Claimant) validate() error {
	if c.Holder == "" {
		return lanes.Invalid("holder", c.Holder, "must not be empty")
	}
	if c.TTL < time.Millisecond || c.TTL > century {
		return lanes.Invalid("lease TTL", c.TTL, "must be 1ms to 100 years")
	}
	for _, kind := range c.Kinds {
		if err := dispatcher.CheckKind(kind); err != nil {
			return err
		}
	}
	for kind, n := range c.LaneBatch {
		if n < 1 || n > MaxLaneBatch {
			return lanes.Invalid("lane batch of "+kind, n, fmt.Sprintf("must be 1 to %d", MaxLaneBatch))
		}
	}
	return nil
}

// MaxClaim, 125, is the most lanes that one [Turn] gives out.
const MaxClaim = lanes.MaxClaim

// decodeClaim reads one lane of a claim's reply, for the attempt after those that have ended. A body that can't
// be read, or that is another subject's than the lane it heads, is record.ErrCorrupt: to run it under this
// lease would break exclusion for the other subject (I1). How often the job may run is taken from the entry and
// not from the body, because scripts decide by the entry.
func decodeClaim(c *lanes.Claimed) (Claim, error) {
	e, ok := record.ParseEntry(c.Entry)
	if !ok {
		return Claim{}, fmt.Errorf("%w: the head of %s is %q", record.ErrCorrupt, lanes.SubjectText(c.Subject), c.Entry)
	}
	id, stored, err := record.DecodeJob(e.ID, c.Body)
	if err != nil {
		return Claim{}, err
	}
	if stored.Subject.Canonical() != c.Subject {
		return Claim{}, fmt.Errorf("%w: %s heads %s but is a job of %s", record.ErrCorrupt, id, lanes.SubjectText(c.Subject), stored.Subject)
	}
	stored.MaxAttempts, stored.Flags = e.Max, e.Flags // what the scripts go by
	job := dispatcher.JobOf(id, stored)
	return Claim{Job: job, Attempt: c.Attempts + 1}, nil
}

// Claim is one attempt at a job: the job, which attempt it is, and the lease
// that it runs under.
type Claim struct {
	dispatcher.Job
	Attempt int // 1 for the first
	Lease   lease.Lease

	// Along are the jobs behind this one in its lane that were claimed together with
	// it, under the same lease and in this order: never jobs that failed before, and
	// only of a kind that the claimant asked it for. They are still in their lane
	// until they are finished, each after the one before it (see [End.GoesOn]).
	Along []dispatcher.Job

	// Slots are leases that the job's limits gave for it. They are to be kept alive like Lease
	// while the handler runs ([Claim.Leases]), and go back with the end of the claim.
	Slots []lease.Lease
}

// Leases are all that the claim runs under, the lane's first and then those of its slots. They are one set: work goes on
// only while every one of them can be trusted.
func (c *Claim) Leases() iter.Seq[lease.Lease] {
	return func(yield func(lease.Lease) bool) {
		if !yield(c.Lease) {
			return
		}
		for _, slot := range c.Slots {
			if !yield(slot) {
				return
			}
		}
	}
}

// Next returns the claim of the job that follows in the batch that c heads, under the same lease and slots. It
// is a first attempt, because a job that failed before is never taken along.
func (c *Claim) Next() (next *Claim, ok bool) {
	if len(c.Along) == 0 {
		return nil, false
	}
	return &Claim{Job: c.Along[0], Attempt: 1, Lease: c.Lease, Along: c.Along[1:], Slots: c.Slots}, true
}

// Each returns a claim for each job of the batch that c heads, c's own first.
func (c *Claim) Each() []*Claim {
	all := []*Claim{c}
	for i := range c.Along {
		all = append(all, &Claim{Job: c.Along[i], Attempt: 1, Lease: c.Lease, Slots: c.Slots})
	}
	return all
}

// finishing is how scripts find the claim's lane, and compare its head.
func finishing(c *Claim) lanes.Finishing {
	return lanes.Finishing{Subject: c.Subject, ID: c.ID, Entry: c.EntryWithoutID(), Token: c.Lease.Token}
}

type claimKey struct{}

// WithClaim returns the context of work under a claim. It has the claim's lease too, so dispatcher.LeaseFrom
// works in a handler, and a section there knows what its caller holds and can tell a deadlock.
func WithClaim(ctx context.Context, c *Claim) context.Context {
	return context.WithValue(lanes.WithLease(ctx, c.Lease), claimKey{}, c)
}

// ClaimFrom returns the claim that a handler runs under. ok is false outside of one.
func ClaimFrom(ctx context.Context) (c *Claim, ok bool) {
	c, ok = ctx.Value(claimKey{}).(*Claim)
	return c, ok
}
