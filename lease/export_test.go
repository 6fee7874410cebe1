package lease

import (
	"context"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

// LateAcquire asks for a lease with a request that arrives after the one that gave it up.
func LateAcquire(ctx context.Context, s *Store, key subject.Key, holder string, ttl time.Duration) error {
	caller, p := s.run.Caller(), s.ns.Partition(key)
	defer caller.Rest()
	late := caller.Once(p, acquireScript, nil, key.Canonical(), holder, ttl.Milliseconds())
	s.run.Ride(ctx, caller.Once(p, releaseScript, nil, key.Canonical(), "", holder))
	s.run.Ride(ctx, late)
	_, err := late.Words()
	return err
}
