package lease

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

//go:embed release.lua
var releaseLua string

var releaseScript = script.New("release", releaseLua, Lua)

// Release gives a lease back before its end. Jobs that came into the lane
// meanwhile become claimable. It returns [ErrLost] when the lease has passed on.
func (s *Store) Release(ctx context.Context, l Lease) error {
	call := s.run.Once(s.ns.Partition(l.Subject), releaseScript, nil,
		l.Subject.Canonical(), l.Token.String(), l.Holder)
	words, err := s.run.Ask(ctx, call)
	if err == nil && words[0] != "ok" {
		err = ErrLost
	}
	if err != nil {
		return fmt.Errorf("release lease %s: %w", l.Subject, err)
	}
	return nil
}
