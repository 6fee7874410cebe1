package dispatcher

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

//go:embed claim.lua
var claimLua string

var claimScript = verb("claim", claimLua)

// Claimant is who claims: a holder that is unique per process start, the kinds
// it handles, and the TTL of the leases it asks for.
type Claimant struct {
	Holder string
	Kinds  []string
	TTL    time.Duration
}

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
	return nil
}

// maxClaim bounds the lanes that one script call gives out.
const maxClaim = 250

// Claim takes the heads of up to n ready lanes whose kinds the claimant handles,
// each under a new lease with a higher token than any before. The attempt counts
// from here on. The caller must end each claim, by [Dispatcher.Finish] or one of
// its siblings, before its lease does. No lane being ready gives no claims and no
// error. Partitions are asked in turn from a random one.
func (d *Dispatcher) Claim(ctx context.Context, who Claimant, n int) ([]Claim, error) {
	if err := who.validate(); err != nil {
		return nil, err
	}
	var claims []Claim
	start := int(time.Now().UnixNano() % int64(d.ns.Partitions))
	for i := 0; i < d.ns.Partitions && len(claims) < n; i++ {
		p := (start + i) % d.ns.Partitions
		sent := time.Now()
		call := d.claimCall(p, who, n-len(claims))
		d.run.Run(ctx, call)
		more, _, err := d.claimed(call, who, sent)
		if err != nil {
			return claims, err
		}
		claims = append(claims, more...)
	}
	return claims, nil
}

func (d *Dispatcher) claimCall(partition int, who Claimant, n int) *script.Call {
	args := make([]any, 0, 3+len(who.Kinds))
	args = append(args, who.Holder, who.TTL.Milliseconds(), min(n, maxClaim))
	turn := int(d.claims.Add(1)) // kinds take turns at being served first
	for i := range who.Kinds {
		args = append(args, who.Kinds[(turn+i)%len(who.Kinds)])
	}
	return d.run.Once(partition, claimScript, nil, args...)
}

// claimed decodes the reply of a claim: the claims, and how many lanes are left.
// A job that can't be decoded ends the lot with an error; its lease runs out, so
// it comes back until its attempts are used up and it is a dead letter.
func (d *Dispatcher) claimed(call *script.Call, who Claimant, sent time.Time) ([]Claim, int, error) {
	words, err := call.Words()
	if err != nil {
		return nil, 0, err
	}
	ready, err := strconv.Atoi(words[1])
	if err != nil {
		return nil, 0, fmt.Errorf("claim: reply %q: %w", words[1], err)
	}
	token, err := lease.ParseToken(words[2])
	if err != nil {
		return nil, 0, fmt.Errorf("claim: reply %q: %w", words[2], err)
	}
	rows := words[3:]
	claims := make([]Claim, 0, len(rows)/3)
	var broken error
	for ; len(rows) >= 3; rows = rows[3:] {
		claim, err := decodeClaim(rows[0], rows[1], rows[2])
		if err != nil {
			broken = fmt.Errorf("claim: %w", err)
			continue
		}
		claim.Lease = lease.Lease{Subject: claim.Subject, Token: token, Holder: who.Holder, Proven: sent, TTL: who.TTL}
		claims = append(claims, claim)
	}
	return claims, ready, broken
}

// decodeClaim reads one lane of a claim's reply.
func decodeClaim(canonical, entry, body string) (Claim, error) {
	e, ok := parseEntry(entry)
	if !ok {
		return Claim{}, fmt.Errorf("%w: the head of %s is %q", errCorrupt, textOf(canonical), entry)
	}
	job, err := decode(e.id, body)
	if err != nil {
		return Claim{}, err
	}
	if job.Subject.Canonical() != canonical {
		return Claim{}, fmt.Errorf("%w: %s heads %s but is a job of %s", errCorrupt, job.ID, textOf(canonical), job.Subject)
	}
	return Claim{Job: job, Attempt: e.attempts + 1}, nil
}
