package lanes

import (
	"context"
	"fmt"
	"os"

	"github.com/google/uuid"

	"github.com/lanekeeper/lanekeeper/lease"
)

// NewHolder returns a holder name that no other process start has: host, process
// id, and a random part, because hosts and ids come again (oban#862).
func NewHolder() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	return fmt.Sprintf("%.64s:%d:%s", host, os.Getpid(), uuid.NewString()[:8])
}

// holding is what the work of a context has, and what the work around it has: a section inside of a handler has
// both leases. The chain is what tells a deadlock from a wait.
type holding struct {
	lease lease.Lease
	outer *holding
}

type holdingKey struct{}

// WithLease returns the context of work that runs under a lease. It does not end with the lease; its keeper
// sees to that.
func WithLease(ctx context.Context, l lease.Lease) context.Context {
	outer, _ := ctx.Value(holdingKey{}).(*holding)
	return context.WithValue(ctx, holdingKey{}, &holding{l, outer})
}

// LeasesOf returns the leases that the work of a context runs under, the innermost first.
func LeasesOf(ctx context.Context) (all []lease.Lease) {
	h, _ := ctx.Value(holdingKey{}).(*holding)
	for ; h != nil; h = h.outer {
		all = append(all, h.lease)
	}
	return all
}
