package lanekeepertest

import (
	"context"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// ClaimAndDie has a worker claim one job of a kind, and never be heard of again: the lane of the job is taken over when ttl is
// over, by the time that Advance moves. It returns the claim, whose lease has the token that a store is to refuse after that. When no
// lane of that kind is ready t fails, and is told what stands.
func (k *Kit) ClaimAndDie(ctx context.Context, kind string, ttl time.Duration) session.Claim {
	k.t.Helper()
	k.dead++
	s, err := session.Bare(ctx, k.Dispatcher, session.Claimant{Holder: fmt.Sprintf("dead-%d", k.dead), Kinds: []string{kind}, TTL: ttl})
	if err != nil {
		k.t.Fatalf("lanekeepertest: ClaimAndDie: %v", err)
	}
	for part := range s.Partitions() {
		reply := s.Turns(ctx, []session.Turn{{Partition: part, Claim: true, Want: 1}})[0]
		if reply.Err != nil {
			k.t.Fatalf("lanekeepertest: ClaimAndDie: %v", reply.Err)
		}
		if len(reply.Claims) > 0 {
			return reply.Claims[0]
		}
	}
	left, err := k.standing(ctx)
	k.t.Fatalf("lanekeepertest: ClaimAndDie: no lane is ready whose head is of kind %s (%v)\n%s", kind, err, report(nil, left))
	return session.Claim{}
}
