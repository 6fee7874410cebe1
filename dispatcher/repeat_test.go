package dispatcher

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

func open(t *testing.T, rdb *redis.Client) *Dispatcher {
	t.Helper()
	d, err := Open(t.Context(), Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb), Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(t *testing.T, d *Dispatcher, lane string, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if _, err := d.Enqueue(t.Context(), NewJob{Subject: subject.Key{Kind: "s", ID: lane}, Kind: "k", ID: id}); err != nil {
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
		producer, err := Open(t.Context(), d.cfg)
		if err != nil {
			t.Fatal(err)
		}
		put(t, producer, "a", "j1", "j2")
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute, LaneBatch: map[string]int{"k": 10}}
		call := d.turnCall(0, who, 5, nil, nil)
		for range 2 { // the second time is what go-redis does when the reply was lost
			d.run.Run(t.Context(), call.Call)
			var a Turned
			words, err := call.Words()
			if err == nil {
				err = a.readClaims(words, 0, who, time.Now())
			}
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
		first := d.turns(t.Context(), who, []Turn{{Claim: true, Want: 5}})[0]
		if err := rdb.Del(t.Context(), d.keys[0].Wake("k")).Err(); err != nil {
			t.Fatal(err)
		}
		second := d.turns(t.Context(), who, []Turn{{Ends: []End{{Claim: &first.Claims[0]}}, Reap: true, Claim: true, Want: 5}})[0]
		if len(second.Claims) != 1 || second.Claims[0].ID != "j2" {
			t.Fatalf("claimed %+v, want j2", second.Claims)
		}
		if n := rdb.Exists(t.Context(), d.keys[0].Wake("k")).Val(); n != 0 {
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
		claims := d.turns(t.Context(), who, []Turn{{Claim: true, Want: 3}})[0].Claims
		var ends []End
		for i := range claims {
			ends = append(ends, End{Claim: &claims[i], Outcome: HandedBack})
		}
		d.turns(t.Context(), who, []Turn{{Ends: ends}})
		var order []string
		for _, c := range d.turns(t.Context(), who, []Turn{{Claim: true, Want: 9}})[0].Claims {
			order = append(order, c.ID)
		}
		if got := strings.Join(order, ""); got != "abcd" {
			t.Errorf("lanes came back as %s, want abcd", got)
		}
	})
}

// A job whose caller gave up before its trip set out is not sent.
func TestEnqueueGivenUpIsNotSent(t *testing.T) {
	t.Parallel()
	var sent []string
	arrived, answer := make(chan bool), make(chan bool)
	s := &singles{send: func(jobs []prepared) []Enqueued {
		arrived <- true
		<-answer
		for _, j := range jobs {
			sent = append(sent, j.id)
		}
		return make([]Enqueued, len(jobs))
	}}
	done := make(chan error)
	for range maxFlights {
		go func() {
			_, err := s.enqueue(context.Background(), prepared{id: "first"})
			done <- err
		}()
		<-arrived
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.enqueue(ctx, prepared{id: "given up"}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not sent") {
		t.Errorf("the error is %v, want one that says it was not sent", err)
	}
	for range maxFlights {
		answer <- true
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if strings.Join(sent, " ") != "first first" {
		t.Errorf("sent %v", sent)
	}
}

// D2: nor is one whose trip can't set out because those before it do not come back.
func TestD2_EnqueueDoesNotWaitForOthersTrips(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan bool)
		s := &singles{send: func(jobs []prepared) []Enqueued {
			<-answer
			return make([]Enqueued, len(jobs))
		}}
		begin := time.Now()
		var all sync.WaitGroup
		for i := range maxFlights + 1 {
			says := []string{"not known whether it was stored", "not sent"}[i/maxFlights]
			all.Go(func() {
				_, err := s.enqueue(context.Background(), prepared{})
				if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), says) {
					t.Errorf("the error of job %d is %v, want one that says %q", i, err, says)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if took := time.Since(begin); took != connect.Bound {
			t.Errorf("they waited for %s, want %s", took, connect.Bound)
		}
		close(answer)
	})
}

// I11: a lane whose next job is of a kind that the caller does not handle is listed,
// not handed over.
func TestI11_HandOverOnlyToWhoHandlesTheKind(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		put(t, d, "a", "j1")
		if _, err := d.Enqueue(t.Context(), NewJob{Subject: subject.Key{Kind: "s", ID: "a"}, Kind: "other", ID: "j2"}); err != nil {
			t.Fatal(err)
		}
		who := &Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}
		first := d.turns(t.Context(), who, []Turn{{Claim: true, Want: 5}})[0]
		second := d.turns(t.Context(), who, []Turn{{Ends: []End{{Claim: &first.Claims[0]}}, Claim: true, Want: 5}})[0]
		if len(second.Claims) != 0 {
			t.Fatalf("claimed %s of kind %s", second.Claims[0].ID, second.Claims[0].Kind)
		}
		who.Kinds = []string{"other"}
		if third := d.turns(t.Context(), who, []Turn{{Claim: true, Want: 5}})[0]; len(third.Claims) != 1 {
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
		done, err := d.EnqueueMany(t.Context(), []NewJob{
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
