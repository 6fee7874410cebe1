package session

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// claimsOf makes a call that claims, once more each time it is called, and returns what it gave: lanes with
// their jobs, in order.
func claimsOf(t *testing.T, d *dispatcher.Dispatcher, who *Claimant, want int, ends ...End) func() (claims []string, first []Claim) {
	t.Helper()
	members := make([]int, len(ends))
	for i := range ends {
		members[i] = i
	}
	call := unlisted(t, d).turnCall(&Turn{Ends: ends}, who, want, members)
	return func() (claims []string, first []Claim) {
		t.Helper()
		d.Engine().Scripts.Run(t.Context(), call.Call)
		ended := make([]EndReply, len(ends))
		turned, err := call.settle(ends, ended)
		var a TurnReply
		if err == nil {
			err = a.readClaims(turned, who, time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range a.Claims {
			text := c.Subject.ID + ":" + c.ID
			for _, j := range c.Along {
				text += "+" + j.ID
			}
			claims = append(claims, text)
		}
		slices.Sort(claims)
		for i, e := range ended {
			claims = append(claims, fmt.Sprint("end ", i, " lost ", e.Err != nil))
		}
		return claims, a.Claims
	}
}

// I9: a claim whose reply got lost gets its lanes again, all of them, each with the jobs that were claimed with it, and none
// that another holder got in the same ms, nor one that is no longer its own; whatever was asked of them meanwhile.
func TestPairs_RepeatedClaims(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		lanes := []string{"a", "b", "c", "d", "e", "f"}
		mine := []string{"a:a1+a2", "b:b1+b2", "c:c1+c2"}
		sub := func(lane string) subject.Key { return subject.Key{Kind: "s", ID: lane} }
		for name, c := range map[string]struct {
			between func(d *dispatcher.Dispatcher, now *time.Time, claims []Claim) error
			want    []string
		}{
			"nothing": {func(*dispatcher.Dispatcher, *time.Time, []Claim) error { return nil }, mine},
			"cancel": {func(d *dispatcher.Dispatcher, _ *time.Time, _ []Claim) error {
				_, err := d.Cancel(t.Context(), dispatcher.JobRef{ID: "a1"})
				return err
			}, mine},
			"suspend": {func(d *dispatcher.Dispatcher, _ *time.Time, _ []Claim) error {
				_, err := d.Suspend(t.Context(), sub("b"), "")
				return err
			}, mine},
			"suspend and cancel": {func(d *dispatcher.Dispatcher, _ *time.Time, _ []Claim) error {
				if _, err := d.Suspend(t.Context(), sub("b"), ""); err != nil {
					return err
				}
				_, err := d.Cancel(t.Context(), dispatcher.JobRef{ID: "b1"})
				return err
			}, mine},
			"replay": {func(d *dispatcher.Dispatcher, _ *time.Time, _ []Claim) error {
				_, err := d.Replay(t.Context(), dispatcher.JobRef{ID: "c0"}, true)
				return err
			}, mine},
			"a lane goes": {func(d *dispatcher.Dispatcher, _ *time.Time, claims []Claim) error {
				for _, c := range claims {
					if c.Subject.ID == "a" {
						_, err := endOne(t.Context(), d, End{Claim: &c, Outcome: HandedBack})
						return err
					}
				}
				return dispatcher.ErrNotFound
			}, mine[1:]},
			"it goes on with one": {func(d *dispatcher.Dispatcher, _ *time.Time, claims []Claim) error {
				i := slices.IndexFunc(claims, func(c Claim) bool { return c.Subject.ID == "b" })
				return unlisted(t, d).turns(t.Context(), &Claimant{}, []Turn{{Ends: []End{{Claim: &claims[i], GoesOn: true}}}})[0].Ended[0].Err
			}, []string{"a:a1+a2", "b:b2", "c:c1+c2"}},
			"all leases end": {func(d *dispatcher.Dispatcher, now *time.Time, _ []Claim) error {
				*now = now.Add(2 * time.Minute)
				_, err := Reap(t.Context(), d)
				return err
			}, nil},
		} {
			t.Run(name, func(t *testing.T) {
				now := time.UnixMilli(1_000_000)
				cfg := dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb), Partitions: 1, Now: func() time.Time { return now }}
				open := func() *dispatcher.Dispatcher {
					d, err := dispatcher.Open(t.Context(), cfg)
					if err != nil {
						t.Fatal(err)
					}
					return d
				}
				one, two, operator := open(), open(), open()
				put(t, operator, "c", "c0")
				claims, err := claimFor(t.Context(), operator, Claimant{Holder: "x", Kinds: []string{"k"}, TTL: time.Minute}, 1)
				if err == nil {
					_, err = endOne(t.Context(), operator, End{Claim: &claims[0], Outcome: DeadLettered, Reason: "x"})
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, lane := range lanes {
					put(t, operator, lane, lane+"1", lane+"2", lane+"3")
				}
				who := func(holder string) *Claimant {
					return &Claimant{Holder: holder, Kinds: []string{"k"}, TTL: time.Minute, LaneBatch: map[string]int{"k": 2}}
				}
				claim := claimsOf(t, one, who("one"), 3)
				first, own := claim()
				others := claimsOf(t, two, who("two"), 3)
				theirs, _ := others()
				if !slices.Equal(first, mine) || len(theirs) != 3 {
					t.Fatalf("claimed %v and %v", first, theirs)
				}
				if err := c.between(operator, &now, own); err != nil {
					t.Fatal(err)
				}
				if again, _ := claim(); !slices.Equal(again, c.want) {
					t.Errorf("the first again: %v, want %v", again, c.want)
				}
				if again, _ := others(); c.want != nil && !slices.Equal(again, theirs) {
					t.Errorf("the other again: %v, want %v", again, theirs)
				}
			})
		}
	})
}

// I9: a turn that ends and claims is remembered with both, those that it handed over and those of an end that was lost.
func TestPairs_RepeatedEndsAndClaims(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		other, err := dispatcher.Open(t.Context(), configOf(d))
		if err != nil {
			t.Fatal(err)
		}
		for _, lane := range []string{"a", "b", "c"} {
			put(t, d, lane, lane+"1", lane+"2", lane+"3", lane+"4")
		}
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute, LaneBatch: map[string]int{"k": 2}}
		_, claims := claimsOf(t, d, who, 3)()
		slices.SortFunc(claims, func(a, b Claim) int { return int(a.Seq - b.Seq) })
		a2, _ := claims[0].Next()
		if _, err := endOne(t.Context(), other, End{Claim: &claims[2], Outcome: HandedBack}); err != nil {
			t.Fatal(err)
		}
		// a goes on and ends, b goes on, and c has gone.
		call := claimsOf(t, d, who, 9, End{Claim: &claims[0], GoesOn: true}, End{Claim: a2}, End{Claim: &claims[1], GoesOn: true}, End{Claim: &claims[2]})
		first, _ := call()
		want := []string{"a:a3+a4", "c:c1+c2", "end 0 lost false", "end 1 lost false", "end 2 lost false", "end 3 lost true"}
		if !slices.Equal(first, want) {
			t.Fatalf("the first time %v, want %v", first, want)
		}
		put(t, other, "a", "a5")
		if again, _ := call(); !slices.Equal(again, want) {
			t.Errorf("again %v, want %v", again, want)
		}
		if lane := mustLane(t, other, "b"); lane.Head.ID != record.PackID("b2") || lane.Lease.Along != 0 || lane.Lease.Holder != "w" {
			t.Errorf("the lane that goes on is %+v", lane)
		}
	})
}

func mustLane(t *testing.T, d *dispatcher.Dispatcher, name string) lanes.Lane {
	t.Helper()
	lane, err := d.Engine().LookAt(t.Context(), key(name))
	if err != nil {
		t.Fatal(err)
	}
	return lane
}
