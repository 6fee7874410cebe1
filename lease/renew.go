package lease

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

//go:embed renew.lua
var renewLua string

var renewScript = script.New("renew", renewLua, Lua)

// renewBatch bounds the leases that one script call renews.
const renewBatch = 250

// Renew moves the ends of leases to ttl from now, in one round trip. The error
// at index i is nil, [ErrCancelled], [ErrLost], or that the lease's fate is not known.
func (s *Store) Renew(ctx context.Context, ttl time.Duration, leases ...Lease) []error {
	byPartition := make(map[int][]int)
	for i, l := range leases {
		p := s.ns.Partition(l.Subject)
		byPartition[p] = append(byPartition[p], i)
	}
	var calls []*script.Call
	var members [][]int
	for p, all := range byPartition {
		for len(all) > 0 {
			n := min(len(all), renewBatch)
			args := []any{ttl.Milliseconds()}
			for _, i := range all[:n] {
				args = append(args, leases[i].Subject.Canonical(), leases[i].Token.String())
			}
			calls = append(calls, s.run.Plain(p, renewScript, nil, args...))
			members = append(members, all[:n])
			all = all[n:]
		}
	}
	ctx, cancel := connect.Bounded(ctx)
	defer cancel()
	s.run.Run(ctx, calls...)
	errs := make([]error, len(leases))
	for c, call := range calls {
		words, err := call.Words()
		for at, i := range members[c] {
			switch {
			case err != nil:
				errs[i] = fmt.Errorf("renew lease %s: %w", leases[i].Subject, err)
			case words[at] == "cancel":
				errs[i] = fmt.Errorf("renew lease %s: %w", leases[i].Subject, ErrCancelled)
			case words[at] != "ok":
				errs[i] = fmt.Errorf("renew lease %s: %w", leases[i].Subject, ErrLost)
			}
		}
	}
	return errs
}

// Via returns the same store on another client: a [Keeper] must not wait for a
// connection behind other traffic.
func (s *Store) Via(rdb redis.UniversalClient) *Store {
	return &Store{ns: s.ns, run: s.run.Via(rdb)}
}
