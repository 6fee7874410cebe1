package session

import (
	"context"
	"maps"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// shortOf is a place in the order of those who are short of a limit: one for each partition.
type shortOf struct {
	limit     string
	partition int
}

// asks reports whether the session has, or had, a place in the order of those who are short.
func (s *Session) asks(at shortOf) bool {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	return s.permits.asking[at]
}

func (s *Session) nowAsks(at shortOf, short bool) {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	if short {
		s.permits.asking[at] = true
	} else {
		delete(s.permits.asking, at)
	}
}

// standAside gives up the places in the order of those who are short, but under some limits: the session ends, or
// is blamed for a kind, and claims nothing more under the others. Offers would wait for it.
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
