package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

func open(t *testing.T, rdb *redis.Client) *dispatcher.Dispatcher {
	t.Helper()
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb), Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(t *testing.T, d *dispatcher.Dispatcher, lane string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := d.Enqueue(t.Context(), dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: lane}, Kind: "k", ID: id}); err != nil {
			t.Fatal(err)
		}
	}
}

// A repeated claim gives what its lease was recorded with, though the lane is deeper by
// then; else a job replayed to the front would come between two jobs of the batch.
func TestI9_RepeatedBatchIsNotLarger(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		producer, err := dispatcher.Open(t.Context(), configOf(d))
		if err != nil {
			t.Fatal(err)
		}
		put(t, producer, "a", "j1", "j2")
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute, LaneBatch: map[string]int{"k": 10}}
		call := unlisted(t, d).turnCall(&Turn{}, who, 5, nil)
		for range 2 { // the second time is what go-redis does when the reply was lost
			d.Engine().Scripts.Run(t.Context(), call.Call)
			a, err := call.claims(0, who)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Claims) != 1 || len(a.Claims[0].Along) != 1 || a.Claims[0].Along[0].ID != "j2" {
				t.Fatalf("claimed %+v, want j1 and j2", a.Claims)
			}
			put(t, producer, "a", "j3", "j4")
		}
	})
}

// A pool that finishes, reaps and claims in one trip wakes nobody for what it takes.
func TestTurnThatReapsLeavesNoHint(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		put(t, d, "a", "j1", "j2")
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
		first := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 5}})[0]
		if err := rdb.Del(t.Context(), d.Engine().Keys(0).Wake("k")).Err(); err != nil {
			t.Fatal(err)
		}
		second := unlisted(t, d).turns(t.Context(), who, []Turn{{Ends: []End{{Claim: &first.Claims[0]}}, Reap: true, Claim: true, Want: 5}})[0]
		if len(second.Claims) != 1 || second.Claims[0].ID != "j2" {
			t.Fatalf("claimed %+v, want j2", second.Claims)
		}
		if n := rdb.Exists(t.Context(), d.Engine().Keys(0).Wake("k")).Val(); n != 0 {
			t.Error("a hint was left for a lane that the same trip took")
		}
	})
}

// Lanes that are handed back together keep their order.
func TestHandBackKeepsTheOrderOfLanes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		for _, lane := range []string{"a", "b", "c", "d"} {
			put(t, d, lane, lane)
		}
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
		claims := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 3}})[0].Claims
		var ends []End
		for i := range claims {
			ends = append(ends, End{Claim: &claims[i], Outcome: HandedBack})
		}
		unlisted(t, d).turns(t.Context(), who, []Turn{{Ends: ends}})
		var order []string
		for _, c := range unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 9}})[0].Claims {
			order = append(order, c.ID)
		}
		if got := strings.Join(order, ""); got != "abcd" {
			t.Errorf("lanes came back as %s, want abcd", got)
		}
	})
}

// I11: a lane whose next job is of a kind that the caller does not handle is listed,
// not handed over.
func TestI11_HandOverOnlyToWhoHandlesTheKind(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		put(t, d, "a", "j1")
		if _, err := d.Enqueue(t.Context(), dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: "a"}, Kind: "other", ID: "j2"}); err != nil {
			t.Fatal(err)
		}
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
		first := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 5}})[0]
		second := unlisted(t, d).turns(t.Context(), who, []Turn{{Ends: []End{{Claim: &first.Claims[0]}}, Claim: true, Want: 5}})[0]
		if len(second.Claims) != 0 {
			t.Fatalf("claimed %s of kind %s", second.Claims[0].ID, second.Claims[0].Kind)
		}
		who.Kinds = []string{"other"}
		if third := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 5}})[0]; len(third.Claims) != 1 {
			t.Fatal("the lane is not ready for who handles its kind")
		}
	})
}

// The short reply, all created, is only for jobs that all took their place at once.
func TestScheduledJobsHaveNoSequenceNumberYet(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		a := subject.Key{Kind: "s", ID: "a"}
		done, err := d.EnqueueMany(t.Context(), []dispatcher.NewJob{
			{Subject: a, Kind: "k", Delay: time.Hour}, {Subject: a, Kind: "k"}, {Subject: a, Kind: "k", Delay: time.Hour}, {Subject: a, Kind: "k"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []int64{0, 2, 0, 4} { // a scheduled one's number is for its turn among those due
			if done[i].Err != nil || !done[i].Created || done[i].Seq != want {
				t.Errorf("job %d: %+v, want created with seq %d", i, done[i], want)
			}
		}
	})
}

// I9: a claim that is repeated gives back all its lanes, up to the most that one gives, with their
// jobs, and none of those that others claimed in the same ms, however many: lanes that it left out
// were leased to nobody until their leases were over, and those of others had two holders.
func TestI9_RepeatedClaimGivesItsOwnLanes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for _, n := range []int{1, 2, 100, MaxClaim} {
			for _, along := range []int{1, 2} {
				d := openAt(t, rdb)
				other, err := dispatcher.Open(t.Context(), configOf(d))
				if err != nil {
					t.Fatal(err)
				}
				const lanes, others = 2*MaxClaim + 1, 63
				for i := range lanes {
					put2(t, d, fmt.Sprint("lane", i), 2)
				}
				claim := func(holder string, n int) *endCall {
					who := &Claimant{Holder: holder, Kinds: []string{"k"}, TTL: time.Minute, LaneBatch: map[string]int{"k": along}}
					call := unlisted(t, d).turnCall(&Turn{}, who, n, nil)
					if holder != "w" {
						call = unlisted(t, other).turnCall(&Turn{}, who, n, nil)
					}
					return &call
				}
				read := func(call *endCall) (got []string) {
					d.Engine().Scripts.Run(t.Context(), call.Call)
					a, err := call.claims(0, &Claimant{})
					if err != nil {
						t.Fatal(err)
					}
					for _, c := range a.Claims {
						for _, job := range c.Each() {
							got = append(got, fmt.Sprint(job.Subject.ID, " ", job.ID, " ", job.Lease.Token))
						}
					}
					slices.Sort(got)
					return got
				}
				read(claim("before", others))
				mine := claim("w", n)
				first := read(mine)
				read(claim("after", others))
				if again := read(mine); !slices.Equal(again, first) || len(first) != n*min(along, 250/n) {
					t.Errorf("%d lanes with %d jobs each: %d jobs at first, and then %d", n, along, len(first), len(again))
				}
			}
		}
	})
}

// I9: the same where more leases end in one ms than are looked at together.
func TestI9_RepeatedClaimAmongAThousand(t *testing.T) {
	t.Parallel()
	d := openAt(t, redistest.Client(t))
	who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
	for i := range 10 * MaxClaim {
		put2(t, d, fmt.Sprintf("lane%04d", i), 1)
	}
	for range 10 {
		call := unlisted(t, d).turnCall(&Turn{}, who, MaxClaim, nil)
		var tokens [2]string
		for i := range tokens {
			d.Engine().Scripts.Run(t.Context(), call.Call)
			words, err := call.Words()
			if err != nil || len(words) != 4+3*MaxClaim {
				t.Fatalf("call %d gives %d words, %v", i, len(words), err)
			}
			tokens[i] = words[2]
		}
		if tokens[0] != tokens[1] {
			t.Errorf("tokens %v", tokens)
		}
	}
}

// openAt is open with a clock that stands still.
func openAt(t *testing.T, rdb *redis.Client) *dispatcher.Dispatcher {
	t.Helper()
	d := open(t, rdb)
	cfg := configOf(d)
	cfg.Now = func() time.Time { return time.UnixMilli(1_000_000) }
	d, err := dispatcher.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// put2 enqueues n jobs in one lane, in one call.
func put2(t *testing.T, d *dispatcher.Dispatcher, lane string, n int) {
	t.Helper()
	jobs := make([]dispatcher.NewJob, n)
	for i := range jobs {
		jobs[i] = dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: lane}, Kind: "k"}
	}
	if _, err := d.EnqueueMany(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
}

// I9: a turn that is repeated says the same of what it ended, in its order, and gives the same lanes,
// those that are still its own.
func TestI9_RepeatedTurnSaysTheSame(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := openAt(t, rdb)
		other, err := dispatcher.Open(t.Context(), configOf(d))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 9 {
			put2(t, d, fmt.Sprint("lane", i), 2)
		}
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
		claims := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 5}})[0].Claims
		var ends []End
		for i := range claims {
			ends = append(ends, End{Claim: &claims[i]})
		}
		if err := finishWith(t.Context(), other, claims[1], nil); err != nil { // so that this one is lost
			t.Fatal(err)
		}
		call := unlisted(t, d).turnCall(&Turn{Ends: ends}, who, 8, []int{0, 1, 2, 3, 4})
		var said []string
		for i := range 3 {
			d.Engine().Scripts.Run(t.Context(), call.Call)
			words, err := call.Words()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(words[4:4+5], " "); got != "ok lost ok ok ok" {
				t.Errorf("call %d says of the ends %s", i, got)
			}
			if left := words[1]; i > 0 && left != "0" { // whoever comes next looks: the first call left a hint
				t.Errorf("call %d says that %s lanes are left, which it can't know", i, left)
			}
			var left []string
			for rows := words[4+5:]; len(rows) > 0; rows = rows[3:] {
				left = append(left, rows[0])
			}
			slices.Sort(left)
			switch {
			case i == 0 && len(left) != 8:
				t.Fatalf("claimed %d lanes, want 8", len(left))
			case i == 1 && !slices.Equal(left, said):
				t.Errorf("at first it gave %q, and then %q", said, left)
			case i == 2 && len(left) != 7:
				t.Errorf("one of its left is another's by now; it gave %d of 8", len(left))
			}
			said = left
			if i == 1 { // what the second call gave is used, and another one gets the lane
				key, err := subject.FromCanonical(left[0])
				var token int64
				_, _ = fmt.Sscan(words[2], &token)
				if err == nil {
					err = other.Engine().Leases.Release(t.Context(), lease.Lease{Subject: key, Token: lease.Token(token)})
				}
				if err != nil {
					t.Fatal(err)
				}
				unlisted(t, other).turns(t.Context(), &Claimant{Holder: "other", Kinds: []string{"k"}, TTL: time.Minute}, []Turn{{Claim: true, Want: 9}})
			}
		}
	})
}

// state is all that a namespace holds but memories of requests and hints.
func state(t *testing.T, rdb *redis.Client, namespace string) string {
	t.Helper()
	var all []string
	iter := rdb.Scan(t.Context(), 0, "{"+namespace+"*", 1000).Iterator()
	for iter.Next(t.Context()) {
		if key := iter.Val(); !strings.Contains(key, "}:request:") && !strings.Contains(key, "}:wake:") {
			all = append(all, key+" "+rdb.Dump(t.Context(), key).Val())
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// I9: each request about several jobs that comes twice says the same of each of them, and changes nothing the second time.
func TestI9_EachRequestTwice(t *testing.T) {
	t.Parallel()
	const many = 4
	ends := func(outcome Outcome) func(t *testing.T, d *dispatcher.Dispatcher, claims []Claim) *script.Call {
		return func(t *testing.T, d *dispatcher.Dispatcher, claims []Claim) *script.Call {
			var all []End
			for i := range claims {
				all = append(all, End{Claim: &claims[i], Outcome: outcome, Wait: time.Second, Error: "boom", Reason: "why", Result: []byte("r")})
			}
			claims[1].Lease.Token-- // somebody else's by now
			return unlisted(t, d).endCall(0, all, []int{0, 1, 2, 3}, nil).Call
		}
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, d *dispatcher.Dispatcher, claims []Claim) *script.Call
		want string
	}{
		"finish, kept": {ends(Finished), "gone - lost - gone - gone -"}, "retry": {ends(Retry), "again - lost - again - again -"},
		"dead letter": {ends(DeadLettered), "dead fatal lost - dead fatal dead fatal"}, "hand back": {ends(HandedBack), "again - lost - again - again -"},
		"a batch": {func(t *testing.T, d *dispatcher.Dispatcher, claims []Claim) *script.Call {
			c := &claims[3]
			end := End{Claim: c, Outcome: Several}
			for i, job := range c.Each() {
				end.Each = append(end.Each, End{Claim: job, Outcome: []Outcome{Finished, Retry, DeadLettered}[i], Wait: time.Second, Error: "boom"})
			}
			return unlisted(t, d).endCall(0, []End{end}, []int{0}, nil).Call
		}, "gone - again - dead fatal"},
		"enqueue": {func(t *testing.T, d *dispatcher.Dispatcher, claims []Claim) *script.Call {
			canonical := claims[0].Subject.Canonical()
			var jobs []*lanes.Arriving
			for _, c := range []struct{ id, when, key, onConflict string }{
				{"new", "", "", ""}, {claims[0].ID, "", "", ""}, {"later", "+3600000", "", ""}, {"first", "", "u", "merge"},
				{"merged", "", "u", "merge"}, {"taken", "", "u", "reject"},
			} {
				stored := record.Job{Subject: claims[0].Subject, Kind: "k", MaxAttempts: 25}
				if c.key != "" {
					stored.Flags = record.FlagUnique
				}
				a := &lanes.Arriving{
					Subject: canonical, Kind: "k", When: c.when, Body: stored.Encode(canonical),
					Entry: record.Entry{ID: record.PackID(c.id), Kind: "k", Max: 25, Flags: stored.Flags}.String(),
				}
				if c.key != "" {
					a.Unique = &lanes.UniqueKey{Field: record.UniqueField(canonical, "k", c.key, nil), Scope: "waiting", OnConflict: c.onConflict}
				}
				jobs = append(jobs, a)
			}
			return d.Engine().Enqueue(0, "each", 1000, jobs)
		}, ""},
		"slots": {func(t *testing.T, d *dispatcher.Dispatcher, _ []Claim) *script.Call {
			if err := d.Engine().WriteLimits(t.Context(), map[string]record.Limit{"kind/k": {Most: 5, Version: 1}}); err != nil {
				t.Fatal(err)
			}
			return d.Engine().Scripts.Once(d.Engine().LimitHome(lanes.KindLimit("k")), lanes.Script("slot"), nil, lanes.KindLimit("k"), "w", 60000, 1, record.Slots(lanes.KindLimit("k")), 0, 2, 2, 1, 2, 2, 2, 3, 3)
		}, ""},
		"give back": {func(t *testing.T, d *dispatcher.Dispatcher, _ []Claim) *script.Call {
			if err := d.Engine().WriteLimits(t.Context(), map[string]record.Limit{"kind/k": {Most: 5, Version: 1}}); err != nil {
				t.Fatal(err)
			}
			call := d.Engine().Scripts.Plain(d.Engine().LimitHome(lanes.KindLimit("k")), lanes.Script("slot"), nil, lanes.KindLimit("k"), "w", 60000, 1, record.Slots(lanes.KindLimit("k")), 0, 3, 3)
			d.Engine().Scripts.Run(t.Context(), call)
			words, err := call.Words()
			if err != nil {
				t.Fatal(err)
			}
			return d.Engine().Scripts.Once(d.Engine().LimitHome(lanes.KindLimit("k")), lanes.Script("giveback"), nil, lanes.KindLimit("k"), "w", "", "-", 1, record.Slots(lanes.KindLimit("k"))+words[6], words[4], record.Slots(lanes.KindLimit("k"))+words[7], words[4])
		}, "ok"},
		"discard": {func(t *testing.T, d *dispatcher.Dispatcher, claims []Claim) *script.Call {
			for _, i := range []int{0, 2} {
				if _, err := endOne(t.Context(), d, End{Claim: &claims[i], Outcome: DeadLettered, Reason: "x"}); err != nil {
					t.Fatal(err)
				}
			}
			return d.Engine().Scripts.Once(0, lanes.Script("discard"), nil, "", "", record.PackID(claims[0].ID), "", record.PackID(claims[1].ID), "", record.PackID(claims[2].ID))
		}, "ok missing ok"},
		"refund": {func(t *testing.T, d *dispatcher.Dispatcher, claims []Claim) *script.Call {
			if _, err := endOne(t.Context(), d, End{Claim: &claims[0], Outcome: Retry, Wait: time.Hour, Error: "boom"}); err != nil {
				t.Fatal(err)
			}
			return d.Engine().Scripts.Once(0, lanes.Script("refund"), nil, "w", claims[0].Subject.Canonical(), record.PackID(claims[0].ID))
		}, "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			d := openAt(t, rdb)
			maker, err := dispatcher.Open(t.Context(), configOf(d)) // whose callers are its own
			if err != nil {
				t.Fatal(err)
			}
			for i := range many {
				for k := range 3 {
					job := dispatcher.NewJob{Subject: subject.Key{Kind: "s", ID: fmt.Sprint("lane", i)}, Kind: "k", ID: fmt.Sprint("j", i, k)}
					if name == "finish, kept" {
						job.Keep = time.Hour
					}
					if _, err := d.Enqueue(t.Context(), job); err != nil {
						t.Fatal(err)
					}
				}
			}
			who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
			claims := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: many - 1}})[0].Claims
			who.LaneBatch = map[string]int{"k": 3}
			claims = append(claims, unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 1}})[0].Claims...)
			call := c.make(t, maker, claims)
			run := func() string {
				maker.Engine().Scripts.Run(t.Context(), call)
				words, err := call.Words()
				if err != nil {
					t.Fatal(err)
				}
				return strings.Join(words, " ")
			}
			first := run()
			after := state(t, rdb, d.Namespace().Name)
			if c.want != "" && first != c.want {
				t.Errorf("it says %q, want %q", first, c.want)
			}
			for range 2 {
				if again := run(); again != first {
					t.Errorf("at first it says %q, and then %q", first, again)
				}
			}
			if state(t, rdb, d.Namespace().Name) != after {
				t.Error("the second time changes something")
			}
		})
	}
}

// I9: a turn that filled a hand fills it with the same jobs when it is repeated.
func TestI9_RepeatedTurnFillsTheSameHand(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := openAt(t, rdb)
		put2(t, d, "a", 8)
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
		first := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 1}})[0].Claims
		second := unlisted(t, d).turns(t.Context(), who, []Turn{{Claim: true, Want: 2, Ends: []End{{Claim: &first[0]}}, InHand: map[string]int{"k": 3}}})[0].Claims
		if len(second) != 1 || len(second[0].Along) != 2 {
			t.Fatalf("claimed %+v, want a lane with two along", second)
		}
		turn := &Turn{Ends: []End{{Claim: &second[0], GoesOn: true}}, InHand: map[string]int{"k": 4}}
		call := unlisted(t, d).turnCall(turn, who, 0, []int{0})
		var said []string
		for i := range 3 {
			d.Engine().Scripts.Run(t.Context(), call.Call)
			words, err := call.Words()
			if err != nil || len(words) != 4+1+2*3 || words[4] != "ok+2" {
				t.Fatalf("call %d says %q, %v, want two jobs in the hand", i, words, err)
			}
			if got := words[5:]; i > 0 && !slices.Equal(got, said) {
				t.Errorf("call %d fills the hand with %q, the first one did with %q", i, got, said)
			}
			said = words[5:]
		}
	})
}
