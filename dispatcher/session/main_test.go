package session

import (
	"context"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// unlisted is a session that says nothing of itself.
func unlisted(t *testing.T, d *dispatcher.Dispatcher) *Session {
	t.Helper()
	s, err := Bare(t.Context(), d, Claimant{Holder: "unlisted", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// claimFor takes the heads of up to n ready lanes, from whichever partition.
func claimFor(ctx context.Context, d *dispatcher.Dispatcher, who Claimant, n int) (claims []Claim, err error) {
	s, err := Bare(ctx, d, who)
	for p := 0; err == nil && p < d.Namespace().Partitions && len(claims) < n; p++ {
		got := s.Turns(ctx, []Turn{{Partition: p, Claim: true, Want: n - len(claims)}})[0]
		claims, err = append(claims, got.Claims...), got.Err
	}
	return claims, err
}

// endOne reports one end on its own.
func endOne(ctx context.Context, d *dispatcher.Dispatcher, e End) (EndReply, error) {
	s, err := Bare(ctx, d, Claimant{Holder: e.Claim.Lease.Holder, TTL: time.Minute})
	if err != nil {
		return EndReply{}, err
	}
	got := s.Turns(ctx, []Turn{{Partition: d.Namespace().Partition(e.Claim.Subject), Ends: []End{e}}})[0].Ended[0]
	return got, got.Err
}

// finishWith is the end of a handler that leaves a result.
func finishWith(ctx context.Context, d *dispatcher.Dispatcher, c Claim, result []byte) error {
	_, err := endOne(ctx, d, End{Claim: &c, Outcome: Finished, Result: result})
	return err
}

// claims reads what a call that has run gave.
func (c endCall) claims(finished int, who *Claimant) (a TurnReply, err error) {
	turned, err := lanes.ReadTurn(c.Call, finished)
	if err == nil {
		err = a.readClaims(&turned, who, time.Now())
	}
	return a, err
}

func key(id string) subject.Key { return subject.Key{Kind: "s", ID: id} }

// configOf is the configuration of another process in d's namespace.
func configOf(d *dispatcher.Dispatcher) dispatcher.Config {
	return dispatcher.Config{Redis: d.Engine().Redis, Namespace: d.Namespace().Name, Now: d.Engine().Clock}
}
