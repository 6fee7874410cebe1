package session

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// What operators hold is decided in the scripts that give leases (I17), whatever a session knows of it. What it knows spares
// claims in vain: kinds that are held for it are not asked for. It hears of a change by a hint, by a claim that met a hold
// which it did not know, and while there are holds, or hints can't be heard, by a look every second.

// policyEvery is how often a session looks that knows of holds, or hears no news of them.
const policyEvery = time.Second

// policy is what a session knows of the holds of its namespace.
type policy struct {
	known   atomic.Pointer[lanes.Holds]
	on      atomic.Uint64 // of the known ones, a bit for each that is on
	looked  atomic.Int64  // Unix ms of the last look
	imposed atomic.Int64  // version that every partition obeys, as far as is known
	changed chan struct{} // has room for one signal
}

// rules are the holds that the session knows; mostly none.
func (s *Session) rules() []record.HoldRule {
	if known := s.policy.known.Load(); known != nil {
		return known.Rules
	}
	return nil
}

// holdsKind reports whether a hold that the session knows keeps it from a kind, and whether it keeps everybody from it.
func (s *Session) holdsKind(kind string) (is, everybody bool) {
	rules := s.rules()
	if len(rules) == 0 {
		return false, false
	}
	now := s.lanes.Clock()
	for _, r := range rules {
		if r.On(now) && r.BarsClaims(kind, s.pool(), record.HostOf(s.who.Holder), now) {
			is, everybody = true, everybody || r.Scope != record.HoldPool && r.Scope != record.HoldHost
		}
	}
	return is, everybody
}

// Bars reports whether a hold that the session knows keeps it from a job that it has claimed and not begun: that goes back.
func (s *Session) Bars(c *Claim) bool {
	rules := s.rules()
	if len(rules) == 0 {
		return false
	}
	if is, _ := s.holdsKind(c.Kind); is {
		return true
	}
	now := s.lanes.Clock()
	return slices.ContainsFunc(rules, func(r record.HoldRule) bool {
		return r.On(now) && r.BarsLane(c.Subject.Canonical(), c.Kind)
	})
}

// Held gets a signal when what operators hold has changed, as far as the session knows: then it may be able to claim what it
// was not, and what it has claimed and not begun may have to go back.
func (s *Session) Held() <-chan struct{} { return s.policy.changed }

// unheld takes the kinds out of a claimant's that are held for it.
func (s *Session) unheld(who *Claimant) {
	if len(s.rules()) == 0 {
		return
	}
	who.Kinds = slices.DeleteFunc(slices.Clone(who.Kinds), func(kind string) bool {
		is, _ := s.holdsKind(kind)
		return is
	})
}

// pool is the pool that holds may be on.
func (s *Session) pool() string {
	if s.who.Pool == "" {
		return dispatcher.DefaultPool
	}
	return s.who.Pool
}

// metHold reads the holds again after a claim in a partition met one that the session did not know. When that partition
// still obeys what is no more, it is told. A bare session would not hear of their end, and so asks anew each time.
func (s *Session) metHold(ctx context.Context, p int) {
	if s.leave == nil {
		return
	}
	before := s.policy.looked.Load()
	if now := time.Now().UnixMilli(); now-before < policyEvery.Milliseconds() && before > 0 {
		return
	}
	if holds, ok := s.readHolds(ctx); ok {
		_, _, _ = s.lanes.Impose(ctx, holds.Policy(), []int{p}) // else with the next beat
	}
}

// readHolds reads the holds of the namespace. What can't be read is as it was.
func (s *Session) readHolds(ctx context.Context) (*lanes.Holds, bool) {
	s.policy.looked.Store(time.Now().UnixMilli())
	holds, err := s.lanes.ReadHolds(ctx)
	if err != nil {
		return nil, false
	}
	before := s.policy.known.Swap(&holds)
	if s.turned() || before != nil && before.Version != holds.Version || before == nil && holds.Version > 0 {
		s.tellHeld()
	}
	return &holds, true
}

// turned notes which of the known holds are on, and reports whether that was otherwise before: one may begin or end by the clock.
func (s *Session) turned() bool {
	on := uint64(0)
	if rules := s.rules(); len(rules) > 0 {
		now := s.lanes.Clock()
		for i, r := range rules {
			if r.On(now) {
				on |= 1 << (i % 64)
			}
		}
	}
	return s.policy.on.Swap(on) != on
}

func (s *Session) tellHeld() {
	select {
	case s.policy.changed <- struct{}{}:
	default: // it has a signal already
	}
}

// imposeHolds has every partition obey the holds of the namespace: a command that set or released one may have died on its way,
// and a failover may have lost it. It asks nothing of them where there never was a hold.
func (s *Session) imposeHolds(ctx context.Context) {
	holds, ok := s.readHolds(ctx)
	if !ok || len(holds.Rules) == 0 && holds.Version == s.policy.imposed.Load() {
		return
	}
	_, missing, err := s.lanes.Impose(ctx, holds.Policy(), s.lanes.EveryPartition())
	if err == nil && missing == nil { // else with the next beat
		s.policy.imposed.Store(holds.Version)
	}
}

// watchPolicy reads the holds when there is news of them, and looks for their version every second while there are any, or no
// news can be heard, until the session ends.
func (s *Session) watchPolicy(news <-chan struct{}) {
	tick := time.NewTicker(policyEvery)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), BeatEvery)
		select {
		case <-s.over:
			cancel()
			return
		case <-news:
			s.readHolds(ctx)
		case <-tick.C:
			s.lookForHolds(ctx)
		}
		cancel()
	}
}

// lookForHolds looks whether the holds are others than those that the session knows, and whether one of them has begun or
// ended by the clock. Where it knows of none and hears the news it asks nothing.
func (s *Session) lookForHolds(ctx context.Context) {
	if len(s.rules()) == 0 && s.lanes.News.Hears(s.lanes.PolicyNews()) {
		return
	}
	if s.turned() {
		s.tellHeld()
	}
	known := int64(0)
	if holds := s.policy.known.Load(); holds != nil {
		known = holds.Version
	}
	if version, err := s.lanes.HoldsVersion(ctx); err == nil && version != known {
		s.readHolds(ctx)
	}
}
