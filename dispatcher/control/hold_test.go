package control_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/control"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// scopes are holds that bar lane "a" of kind "k" from a claimant of pool "git" on the host "web-1", and do not bar those beside.
var scopes = []struct {
	scope  control.Scope
	name   string
	except []string
	bars   bool
}{
	{control.All, "", nil, true},
	{control.All, "", []string{"k"}, false},
	{control.Kind, "k", nil, true},
	{control.Kind, "other", nil, false},
	{control.Pool, "git", nil, true},
	{control.Pool, "default", nil, false},
	{control.Host, "web-1", nil, true},
	{control.Host, "web-2", nil, false},
	{control.Lanes, "s:a", nil, true},
	{control.Lanes, "s:a", []string{"k"}, false},
	{control.Lanes, "s:b", nil, false},
	{control.Lanes, "s:*", nil, true},
	{control.Lanes, "s:a*", []string{"other"}, true},
	{control.Lanes, "s:b*", nil, false},
}

// U1, U3, I17. Every way in which a job of a held lane could start, with each scope: by a claim, handed over by the call that ended
// the job before, along with a batch, into a hand, and after a failure, a crash or a replay.
func TestU1_EveryWayToStart(t *testing.T) {
	t.Parallel()
	web := session.Claimant{Holder: "web-1:1:ab", Kinds: []string{"k", "other"}, Pool: "git"}
	batch := web
	batch.LaneBatch = map[string]int{"k": 3}
	ways := map[string]func(h *house, hold func()) []session.Claim{
		"claim": func(h *house, hold func()) []session.Claim {
			hold()
			h.put("k", "a")
			return h.turn(h.bare(web), 5)
		},
		"claimed after it was enqueued": func(h *house, hold func()) []session.Claim {
			h.put("k", "a")
			hold()
			return h.turn(h.bare(web), 5)
		},
		"handed over": func(h *house, hold func()) []session.Claim {
			s := h.bare(web)
			h.put("k", "a", "a")
			first := h.turn(s, 5)
			hold()
			return h.turn(s, 5, finished(first)...)
		},
		"in a batch": func(h *house, hold func()) []session.Claim {
			h.put("k", "a", "a")
			hold()
			return h.turn(h.bare(batch), 5)
		},
		"into a hand": func(h *house, hold func()) []session.Claim {
			s := h.bare(web)
			h.put("k", "a", "a", "a", "a", "a")
			p := h.Namespace().Partition(key("a"))
			inHand := map[string]int{"k": 2}
			first := h.turn(s, 5)
			second := s.Turns(bg, []session.Turn{{Partition: p, Claim: true, Want: 5, InHand: inHand, Ends: finished(first)}})[0]
			if len(second.Claims) != 1 || len(second.Claims[0].Along) != 1 {
				h.t.Fatalf("no hand to fill: %+v", second)
			}
			hold()
			end := session.End{Claim: &second.Claims[0], GoesOn: true}
			answer := s.Turns(bg, []session.Turn{{Partition: p, Claim: true, InHand: inHand, Ends: []session.End{end}}})[0]
			if answer.Err != nil || answer.Ended[0].Err != nil {
				h.t.Fatal(answer.Err, answer.Ended[0].Err)
			}
			var more []session.Claim
			for _, job := range answer.Ended[0].More {
				more = append(more, session.Claim{Job: job})
			}
			return more
		},
		"after a failure": func(h *house, hold func()) []session.Claim {
			s := h.bare(web)
			h.put("k", "a")
			first := h.turn(s, 5)
			hold()
			return h.turn(s, 5, session.End{Claim: &first[0], Outcome: session.Retry})
		},
		"after a crash": func(h *house, hold func()) []session.Claim {
			h.put("k", "a")
			h.turn(h.bare(session.Claimant{Kinds: []string{"k"}}), 5)
			hold()
			h.sleep(2 * time.Minute)
			s := h.bare(web)
			var claims []session.Claim
			for p := range s.Partitions() {
				claims = append(claims, s.Turns(bg, []session.Turn{{Partition: p, Reap: true, Claim: true, Want: 5}})[0].Claims...)
			}
			return claims
		},
		"after a replay": func(h *house, hold func()) []session.Claim {
			s := h.bare(web)
			h.put("k", "a")
			first := h.turn(s, 5)
			h.turn(s, 0, session.End{Claim: &first[0], Outcome: session.DeadLettered, Reason: "r"})
			hold()
			if _, err := h.Replay(bg, first[0].Ref(), true); err != nil {
				h.t.Fatal(err)
			}
			return h.turn(s, 5)
		},
	}
	for name, way := range ways {
		for _, c := range scopes {
			redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
				h := newHouse(t, rdb)
				claims := way(h, func() { h.held(c.scope, c.name, c.except...) })
				if (len(claims) == 0) != c.bars {
					t.Errorf("%s, held %s %q but %v: claimed %v", name, c.scope, c.name, c.except, lanes(claims))
				}
			})
		}
	}
}

// U21. Sections and the like obey holds too, and say which one it is.
func TestU21_SectionsObey(t *testing.T) {
	t.Parallel()
	for _, c := range scopes {
		if c.scope == control.Host || c.scope == control.Pool || c.scope == control.Kind || len(c.except) > 0 {
			continue // of no kind, in no pool, and on the host where the test runs
		}
		redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
			h := newHouse(t, rdb)
			hold := h.held(c.scope, c.name)
			ran := 0
			fn := func(context.Context) error { ran++; return nil }
			for name, try := range map[string]func() error{
				"Do at once":  func() error { return h.Do(bg, key("a"), 0, fn) },
				"Do and wait": func() error { return h.Do(bg, key("a"), time.Minute, fn) },
				"Acquire": func() error {
					l, err := h.Leases().Acquire(bg, key("a"), "somebody", time.Second)
					if err == nil {
						ran++
						err = h.Leases().Release(bg, l)
					}
					return err
				},
			} {
				before := ran
				err := try()
				var held *lease.HeldError
				switch {
				case c.bars && (ran != before || !errors.As(err, &held) || held.Hold != hold.ID):
					t.Errorf("%s, held %s %q: ran %d times, %v", name, c.scope, c.name, ran-before, err)
				case !c.bars && (err != nil || ran != before+1):
					t.Errorf("%s, held %s %q: ran %d times, %v", name, c.scope, c.name, ran-before, err)
				}
			}
			before := ran
			did, _, err := h.DoOrEnqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k"}, fn)
			if err != nil || did == c.bars || (ran > before) == c.bars {
				t.Errorf("DoOrEnqueue, held %s %q: ran %v, %v", c.scope, c.name, did, err)
			}
		})
	}
}

// U2. Holds are layers: in every order of setting and releasing three, lane a goes on when the last that bars it is gone.
func TestU2_Layers(t *testing.T) {
	t.Parallel()
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, set := range orders {
			for _, gone := range orders {
				h := newHouse(t, rdb)
				s := h.bare(session.Claimant{Kinds: []string{"k"}})
				h.put("k", "a", "b")
				var holds [3]control.Hold
				for _, i := range set {
					holds[i] = h.holds([]control.Hold{{Scope: control.All}, {Scope: control.Kind, Name: "k"}, {Scope: control.Lanes, Name: "s:a"}}[i])
				}
				for n, i := range gone {
					if got := lanes(h.turn(s, 5)); slices.Contains(got, "a") {
						t.Fatalf("set %v, released %v: claimed %v", set, gone[:n], got)
					}
					h.release(holds[i])
				}
				if got := lanes(h.turn(s, 5)); !slices.Contains(got, "a") {
					t.Errorf("set %v, released %v: claimed %v", set, gone, got)
				}
			}
		}
	})
}

// U20. A hold on lanes costs each of them one claim, once; after its end they go on in the order in which they were.
func TestU20_LanesWaitAside(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb)
		s := h.bare(session.Claimant{Kinds: []string{"k"}})
		var barred []string
		for i := range 300 {
			barred = append(barred, "b"+strings.Repeat("x", i))
		}
		h.put("k", barred...)
		h.put("k", "free")
		hold := h.held(control.Lanes, "s:b*")
		var got []string
		for range 10 {
			got = append(got, lanes(h.turn(s, 125))...)
		}
		if text(got) != "[free]" {
			t.Fatalf("claimed %v", got)
		}
		for p := range 2 {
			if n := rdb.LLen(bg, h.Namespace().Keys(p).Ready("k")).Val(); n != 0 {
				t.Errorf("%d barred lanes are met by each claim", n)
			}
		}
		h.release(hold)
		got = nil
		for range 10 {
			got = append(got, lanes(h.turn(s, 125))...)
		}
		if len(got) != len(barred) {
			t.Fatalf("%d of %d lanes go on", len(got), len(barred))
		}
		for p := range 2 {
			var want, have []string
			for _, lane := range barred {
				if h.Namespace().Partition(key(lane)) == p {
					want = append(want, lane)
				}
			}
			for _, lane := range got {
				if h.Namespace().Partition(key(lane)) == p {
					have = append(have, lane)
				}
			}
			if !slices.Equal(want, have) {
				t.Errorf("partition %d: lanes go on in another order", p)
			}
			keys := h.Namespace().Keys(p)
			if n := rdb.Exists(bg, keys.Barring(), keys.Barred(hold.ID), keys.Parked(), keys.ParkReasons()).Val(); n != 0 {
				t.Errorf("partition %d: something is left of the hold", p)
			}
		}
	})
}

// U9. A hold ends by itself at its time, by Redis's clock: kinds at once, lanes with the next look.
func TestU9_Until(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb)
		s := h.bare(session.Claimant{Kinds: []string{"k", "l"}})
		h.put("k", "a")
		h.put("l", "b")
		h.holds(control.Hold{Scope: control.Kind, Name: "k", Until: h.now().Add(time.Hour)})
		h.holds(control.Hold{Scope: control.Lanes, Name: "s:b", Until: h.now().Add(time.Hour)})
		if got := lanes(h.turn(s, 5)); len(got) > 0 {
			t.Fatalf("claimed %v", got)
		}
		h.sleep(time.Hour)
		var got []string
		for p := range 2 {
			got = append(got, lanes(s.Turns(bg, []session.Turn{{Partition: p, Reap: true, Claim: true, Want: 5}})[0].Claims)...)
		}
		slices.Sort(got)
		if text(got) != "[a b]" {
			t.Errorf("claimed %v", got)
		}
		if all, err := h.Holds(bg); err != nil || len(all) != 0 {
			t.Errorf("there are still %v, %v", all, err)
		}
		// What is over goes with the next change.
		h.release(h.held(control.All, ""))
		if n := rdb.HLen(bg, h.Namespace().Holds()).Val(); n != 2 {
			t.Errorf("%d fields are left, want the version and the number", n)
		}
	})
}

// U3. What breaks a rule is refused with field, value and rule, and holds nothing.
func TestU3_BadHolds(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Kind{Name: "k", Owner: "o"})
		for want, hold := range map[string]control.Hold{
			"reason":                     {Scope: control.All},
			"one line":                   {Scope: control.All, Reason: "a\nb"},
			"512 bytes":                  {Scope: control.All, Reason: strings.Repeat("x", 513)},
			"scope \"some\"":             {Scope: "some", Reason: "r"},
			"must be empty":              {Scope: control.All, Name: "k", Reason: "r"},
			"not declared: kk":           {Scope: control.Kind, Name: "kk", Reason: "r"},
			"letters, digits":            {Scope: control.Kind, Name: "k k", Reason: "r"},
			"pool":                       {Scope: control.Pool, Name: "a b", Reason: "r"},
			"host":                       {Scope: control.Host, Name: "", Reason: "r"},
			"KIND: and the beginning":    {Scope: control.Lanes, Name: "s*", Reason: "r"},
			"no colon":                   {Scope: control.Lanes, Name: "s", Reason: "r"},
			"must be after now":          {Scope: control.All, Reason: "r", Until: h.now()},
			"not declared: q; 'kind ls'": {Scope: control.All, Reason: "r", Except: []string{"q"}},
		} {
			_, err := h.Hold(bg, hold)
			if err == nil || !strings.Contains(err.Error(), want) || !(errors.Is(err, dispatcher.ErrInvalid) || errors.Is(err, dispatcher.ErrUndeclared)) {
				t.Errorf("%+v: %v, want one that says %q", hold, err, want)
			}
		}
		if n := rdb.Exists(bg, h.Namespace().Holds()).Val(); n != 0 {
			t.Error("something is held")
		}
		for range 32 {
			h.held(control.All, "")
		}
		if _, err := h.Hold(bg, control.Hold{Scope: control.All, Reason: "one too many"}); !errors.Is(err, dispatcher.ErrInvalid) || !strings.Contains(err.Error(), "32") {
			t.Errorf("the 33rd: %v", err)
		}
		if _, err := h.Release(bg, "H-99"); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("release of what is not there: %v", err)
		}
	})
}

// U3. A policy that can't be read bars everything, and so does one that is there when the clock was lost.
func TestU3_FailsClosed(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, break_ := range map[string]func(h *house, clock, policy string){
			"garbled":    func(h *house, clock, _ string) { rdb.HSet(bg, clock, "policy", "what") },
			"a bad line": func(h *house, clock, _ string) { rdb.HSet(bg, clock, "policy", "99\nH-1 0 nonsense\n") },
			"clock lost": func(h *house, clock, _ string) { rdb.Del(bg, clock) },
			"empty":      func(h *house, clock, _ string) { rdb.HSet(bg, clock, "policy", "") },
		} {
			h := newHouse(t, rdb)
			hold := h.held(control.Kind, "k")
			h.put("k", "a")
			for p := range 2 {
				break_(h, h.Namespace().Keys(p).Clock(), h.Namespace().Keys(p).Policy())
			}
			s := h.bare(session.Claimant{Kinds: []string{"k"}})
			answer := s.Turns(bg, []session.Turn{{Partition: h.Namespace().Partition(key("a")), Claim: true, Want: 5}})[0]
			if answer.Err != nil || len(answer.Claims) > 0 {
				t.Errorf("%s: claimed %v, %v", name, lanes(answer.Claims), answer.Err)
			}
			h.release(hold)
			if got := h.turn(s, 5); len(got) != 1 {
				t.Errorf("%s: after the release it does not go on", name)
			}
		}
	})
}

// U16. Two operators at once, and packets between home and partitions that are repeated, delayed and overtaken: the latest policy stays.
func TestU16_LatestPolicyStays(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb)
		engine := h.Engine()
		var policies []string
		policy := func() string {
			all, err := engine.ReadHolds(bg)
			if err != nil {
				t.Fatal(err)
			}
			return all.Policy()
		}
		one := h.held(control.Kind, "k")
		policies = append(policies, policy())
		h.held(control.Kind, "l")
		policies = append(policies, policy())
		h.release(one)
		policies = append(policies, policy())
		for _, order := range [][]int{{2, 0, 1}, {0, 0, 2, 1}, {1, 2, 0, 2, 0}} {
			for p := range 2 {
				keys := h.Namespace().Keys(p)
				rdb.HDel(bg, keys.Clock(), "policy")
				rdb.Del(bg, keys.Policy())
			}
			for _, i := range order {
				if _, missing, err := engine.Impose(bg, policies[i], engine.EveryPartition()); err != nil || missing != nil {
					t.Fatal(missing, err)
				}
			}
			for p := range 2 {
				if got := rdb.HGet(bg, h.Namespace().Keys(p).Clock(), "policy").Val(); got != policies[2] {
					t.Errorf("%v: partition %d obeys %q", order, p, got)
				}
			}
		}
		if in, err := h.InForce(bg); err != nil || in != 2 {
			t.Errorf("in force in %d, %v", in, err)
		}
	})
}

// U11, U42. Each change is one line of the log, written by the script that makes it.
func TestU11_Log(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb)
		ctx := dispatcher.As(bg, dispatcher.Actor{Who: "ada", Face: "cli", Why: "because"})
		hold, err := h.Hold(ctx, control.Hold{Scope: control.Kind, Name: "k", Reason: "mirror", By: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Release(ctx, hold.ID); err != nil {
			t.Fatal(err)
		}
		entries := rdb.XRange(bg, h.Namespace().Audit(), "-", "+").Val()
		if len(entries) != 2 {
			t.Fatalf("%d lines", len(entries))
		}
		for i, want := range []map[string]any{
			{"verb": "hold", "hold": "H-1", "who": "ada", "face": "cli", "why": "because", "before": "", "after": "kind k: mirror"},
			{"verb": "release", "hold": "H-1", "who": "ada", "face": "cli", "why": "because", "before": "kind k: mirror", "after": "released"},
		} {
			if text(entries[i].Values) != text(want) {
				t.Errorf("line %d is %v, want %v", i, entries[i].Values, want)
			}
		}
	})
}

// U23. Workers of a release that knows of no holds are named, and can't start anew once there was a hold.
func TestU23_OldWorkers(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb)
		ns := h.Namespace()
		rdb.HSet(bg, ns.Workers(), "old-1:7:ab", `{"holder":"old-1:7:ab","kinds":["k"],"concurrency":1}`)
		rdb.ZAdd(bg, ns.Seen(), redis.Z{Score: float64(h.ms.Load()), Member: "old-1:7:ab"})
		_, err := h.Hold(bg, control.Hold{Scope: control.All, Reason: "r"})
		var disobeys *control.DisobeyError
		if !errors.As(err, &disobeys) || text(disobeys.Holders) != "[old-1:7:ab]" {
			t.Fatalf("with an old worker: %v", err)
		}
		if got := rdb.HGet(bg, ns.Meta(), "schema").Val(); strings.Contains(got, "holding") {
			t.Errorf("the refused hold has closed the namespace: %s", got)
		}
		hold, err := h.Hold(bg, control.Hold{Scope: control.All, Reason: "r", Forced: true})
		if err != nil || !hold.Forced {
			t.Fatal(err)
		}
		if got := rdb.HGet(bg, ns.Meta(), "schema").Val(); got != "7 holding" { // what releases before refuse
			t.Errorf("the schema says %q", got)
		}
		if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: ns.Name}); err != nil {
			t.Errorf("this release can't open it: %v", err)
		}
	})
}
