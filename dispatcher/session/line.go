package session

import (
	"context"
	"maps"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// shortOf is a place in the line of those who are short of a limit: one for each partition of a session, in
// which it has lanes that may not start.
type shortOf struct {
	limit     string
	partition int
}

// asks reports whether the session has, or had, a place in the line of those who are short. It may have lost
// the place without being told, by letting an offer pass; to ask for it then does no harm.
func (s *Session) asks(at shortOf) bool {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	return s.permits.asking[at]
}

// nowAsks notes whether a partition got less than it could use: then the script has put it in line (I15), and
// it is asked again, if only to give the place up.
func (s *Session) nowAsks(at shortOf, short bool) {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	if short {
		s.permits.asking[at] = true
	} else {
		delete(s.permits.asking, at)
	}
}

// standAside gives up the places in the line of those who are short, but for those under the limits in `but`:
// the session ends, or is blamed for a kind, and claims nothing more under the others. Offers would wait for
// it, 100 ms each, while others could start. A place is given up by asking for nothing there, in one round trip
// for all of them.
func (s *Session) standAside(ctx context.Context, but []limit) {
	s.permits.mu.Lock()
	places := slices.Collect(maps.Keys(s.permits.asking))
	s.permits.mu.Unlock()
	var calls []*script.Call
	for _, at := range places {
		if slices.ContainsFunc(but, func(l limit) bool { return l.name == at.limit }) {
			continue // nobody would tell the session any more
		}
		calls = append(calls, s.lanes.Slot(nil, at.limit, s.who.Holder, s.who.TTL, []lanes.Ask{{Partition: at.partition}}))
	}
	if len(calls) > 0 {
		s.lanes.Scripts.Run(ctx, calls...) // or others let them pass
	}
}
