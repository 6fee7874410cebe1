package session

import (
	"context"
	"slices"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

// lostStarts is a request for starts under a limit whose answer did not come: slots may have been given for it,
// which nobody uses until their leases expire. The same request again brings the same answer (I9), and then
// they go back. That works for a minute, as long as Redis remembers the answer; after that the request takes
// starts anew, and these go back.
type lostStarts struct {
	call   *script.Call
	caller *script.Caller // of this request alone, so that nothing overtakes it
	limit  string
	turns  int
}

// lose keeps a request whose answer did not come, with its caller, until [Session.recoverLost] has an answer.
func (s *Session) lose(l lostStarts) {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	s.permits.lost = append(s.permits.lost, l)
}

// lostOf reports whether such a request for a limit is open. Nothing else is asked of the limit meanwhile,
// because each further request could leave more slots that nobody uses; only trips that were under way at the
// same moment can leave several.
func (s *Session) lostOf(limit string) bool {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	return slices.ContainsFunc(s.permits.lost, func(l lostStarts) bool { return l.limit == limit })
}

// recoverLostBeside recovers what got lost while the trip goes on: the home of one limit may be away, and what
// has ended elsewhere is to be reported all the same. It goes on when the trip's context ends, for ten seconds at most.
func (s *Session) recoverLostBeside(ctx context.Context) {
	if len(s.lostNow()) == 0 {
		return
	}
	select {
	case s.permits.recovery <- struct{}{}:
	default:
		return // somebody does already
	}
	go func() {
		defer func() { <-s.permits.recovery }()
		s.recoverLost(context.WithoutCancel(ctx))
	}()
}

// recoverLast recovers what got lost before the session ends, once nobody does it beside: two who do would send one
// call at a time, and rest its caller twice, which is then given to two.
func (s *Session) recoverLast(ctx context.Context) {
	select {
	case s.permits.recovery <- struct{}{}:
		defer func() { <-s.permits.recovery }()
		s.recoverLost(ctx)
	case <-ctx.Done(): // the leases of what is left expire
	}
}

// lostNow returns the requests whose answers did not come.
func (s *Session) lostNow() []lostStarts {
	s.permits.mu.Lock()
	defer s.permits.mu.Unlock()
	return slices.Clone(s.permits.lost)
}

// recoverLost asks again for what got lost, and gives it back: two round trips, or none when nothing got lost.
// A request that is not answered this time either stays lost, and is made again with the next trip. Starts that come now
// are not used: the turns that wanted them are over. The caller has permits.recovery.
func (s *Session) recoverLost(ctx context.Context) {
	ctx, cancel := connect.Bounded(ctx)
	defer cancel()
	lost := s.lostNow()
	if len(lost) == 0 {
		return
	}
	calls := make([]*script.Call, len(lost))
	for i, l := range lost {
		calls[i] = l.caller.Again(l.call)
	}
	s.lanes.Scripts.Run(ctx, calls...)
	var back []*script.Call
	for _, l := range lost {
		got := granted{limit: &limit{name: l.limit}, starts: make([]int, l.turns), slots: make([][]lease.Lease, l.turns)}
		// The turns that asked are over: the rows of the answer are counted from 0 here, and all go back.
		turns := make([]int, l.turns)
		for k := range turns {
			turns[k] = k
		}
		if err := got.read(l.call, turns, s.who, time.Now()); err != nil && lanes.Unanswered(err) {
			continue
		}
		s.found(l)
		if slots := got.allSlots(); got.begun() > 0 && (got.mark != "-" || len(slots) > 0) {
			back = append(back, s.giveBack(l.limit, "", got.mark, slots))
		}
	}
	if len(back) > 0 {
		s.lanes.Scripts.Run(ctx, back...) // what does not arrive ends by itself
	}
}

// found settles one of the lost requests: its caller is free for others, and its limit is asked again.
func (s *Session) found(l lostStarts) {
	s.permits.mu.Lock()
	s.permits.lost = slices.DeleteFunc(s.permits.lost, func(o lostStarts) bool { return o.caller == l.caller })
	s.permits.mu.Unlock()
	l.caller.Rest()
}
