package dispatcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/lease"
)

// roller is a holder who keeps several jobs of a lane in hand.
type roller struct {
	*house
	s     *session.Session
	most  int
	claim *session.Claim // what it is at, with its hand along
}

// rolling begins with the only ready lane, and has up to most jobs of it at once.
func (h *house) rolling(holder string, most int) *roller {
	h.t.Helper()
	s, err := session.Bare(bg, h.Dispatcher, session.Claimant{Holder: holder, Kinds: []string{"k"}, TTL: 10 * time.Second})
	h.ok(err)
	r := &roller{house: h, s: s, most: most}
	got := r.turn(10)
	if len(got.Claims) != 1 {
		h.t.Fatalf("claimed %d lanes, want one", len(got.Claims))
	}
	r.claim = &got.Claims[0]
	return r
}

// turn makes a turn of the first partition.
func (r *roller) turn(want int, ends ...session.End) session.TurnReply {
	r.t.Helper()
	got := r.s.Turns(bg, []session.Turn{{Claim: true, Want: want, Ends: ends, InHand: map[string]int{"k": r.most}}})[0]
	r.ok(got.Err)
	return got
}

// end is of the job that it is at, and it goes on; more counts what came into its hand since the claim was made.
func (r *roller) end(more int) session.End {
	return session.End{Claim: r.claim, GoesOn: true, More: more}
}

// goesOn reports the end of the job that it is at, goes on with the next, and returns what came into its hand.
func (r *roller) goesOn() (came []string) {
	r.t.Helper()
	ended := r.turn(0, r.end(0)).Ended[0]
	r.ok(ended.Err)
	next, ok := r.claim.Next()
	if !ok {
		r.t.Fatal("it goes on with nothing")
	}
	next.Along = append(next.Along[:len(next.Along):len(next.Along)], ended.More...)
	r.claim = next
	for _, job := range ended.More {
		came = append(came, job.ID)
	}
	return came
}

// handedOver ends the job and takes the same lane again, as somebody does who has nothing in hand.
func (r *roller) handedOver() {
	r.t.Helper()
	got := r.turn(1, session.End{Claim: r.claim})
	r.ok(got.Ended[0].Err)
	if len(got.Claims) != 1 || got.Claims[0].Subject != r.claim.Subject {
		r.t.Fatalf("claimed %+v, want the same lane again", got.Claims)
	}
	r.claim = &got.Claims[0]
}

// rolled is a holder that has had the first job of the only ready lane, and was given the lane again, with what it has in hand.
func (h *house) rolled(holder string, most int, has ...string) *roller {
	h.t.Helper()
	r := h.rolling(holder, most)
	r.handedOver()
	h.wantAlong(r.claim, has...)
	return r
}

func (h *house) along(lane string) int {
	h.t.Helper()
	l, _, _, err := h.Lane(bg, key(lane), inspect.Page{})
	h.ok(err)
	return l.Along
}

// rollingHouse is of one partition, as all that is told here happens in one.
func rollingHouse(t *testing.T, rdb *redis.Client) *house {
	return newHouse(t, rdb, dispatcher.Config{Partitions: 1})
}

// While nobody waits, the hand of who goes on with a lane is filled behind what is there, in order, under the same lease; a
// lane that was only ready gives one job. Each job in a hand counts as long as it is there.
func TestI5_RollingLane(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		h.enqueued("a", "j1", "j2", "j3", "j4", "j5", "j6", "j7")
		r := h.rolling("w", 3)
		h.wantAlong(r.claim, "j1")
		r.handedOver()
		h.wantAlong(r.claim, "j2", "j3", "j4")
		token := r.claim.Lease.Token
		for _, want := range []struct{ came, holds string }{{"[j5]", "j3"}, {"[j6]", "j4"}, {"[j7]", "j5"}, {"[]", "j6"}, {"[]", "j7"}} {
			if came := r.goesOn(); fmt.Sprint(came) != want.came || r.claim.ID != want.holds {
				t.Fatalf("at %s %v came into its hand, want %s at %s", r.claim.ID, came, want.came, want.holds)
			}
			if h.along("a") != len(r.claim.Along) || r.claim.Lease.Token != token || r.claim.Attempt != 1 {
				t.Errorf("at %s %d jobs stand in the lease, and %d are in hand, attempt %d", r.claim.ID, h.along("a"), len(r.claim.Along), r.claim.Attempt)
			}
			h.none("another")
			h.clean()
		}
		h.ok(r.turn(0, session.End{Claim: r.claim}).Ended[0].Err)
		h.empty()
	})
}

// Two ends of a lane in one turn fill its hand once, and those of several lanes each their own.
func TestI5_RollingLanesInOneTurn(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		for _, lane := range []string{"a", "b"} {
			h.enqueued(lane, lane+"1", lane+"2", lane+"3", lane+"4", lane+"5", lane+"6", lane+"7")
		}
		s, err := session.Bare(bg, h.Dispatcher, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: 10 * time.Second})
		h.ok(err)
		r := &roller{house: h, s: s, most: 3}
		heads := r.turn(5).Claims
		claims := r.turn(5, session.End{Claim: &heads[0]}, session.End{Claim: &heads[1]}).Claims
		if len(claims) != 2 || len(claims[0].Along) != 2 || len(claims[1].Along) != 2 {
			t.Fatalf("claimed %+v, want two lanes with two along", claims)
		}
		a, b := &claims[0], &claims[1]
		a2, _ := a.Next()
		ended := r.turn(0, // the hand behind a's first end has the third, behind the second none
			session.End{Claim: a, GoesOn: true}, session.End{Claim: b, GoesOn: true}, session.End{Claim: a2, GoesOn: true},
		).Ended
		var came []string
		for i := range ended {
			h.ok(ended[i].Err)
			came = append(came, ids(ended[i].More))
		}
		if fmt.Sprint(came) != "[[] [b5] [a5 a6]]" {
			t.Errorf("into the hands came %v", came)
		}
		h.clean()
	})
}

func ids(jobs []dispatcher.Job) string {
	all := []string{}
	for _, job := range jobs {
		all = append(all, job.ID)
	}
	return fmt.Sprint(all)
}

// A hand is not filled while a lane waits, for whoever it is, nor with anything that may not begin right behind the head:
// a crash would count for it.
func TestWhatComesIntoNoHand(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		plain := func(id string) dispatcher.NewJob {
			return dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: id, MaxAttempts: 2}
		}
		for name, c := range map[string]struct {
			fourth func(job *dispatcher.NewJob)
			before func(h *house)
			while  func(h *house, r *roller) // j2 runs, and j3 is in hand
			want   string
		}{
			"nothing in the way":          {want: "[j4 j5]"},
			"another lane is ready":       {while: func(h *house, _ *roller) { h.enqueued("b", "b1") }, want: "[]"},
			"of a kind that it takes not": {while: func(h *house, _ *roller) { h.enqueue(dispatcher.NewJob{Subject: key("b"), Kind: "x"}) }, want: "[j4 j5]"},
			"its last attempt":            {fourth: func(j *dispatcher.NewJob) { j.MaxAttempts = 1 }, want: "[]"},
			"its outcome is kept":         {fourth: func(j *dispatcher.NewJob) { j.Keep = time.Minute }, want: "[]"},
			"of another kind":             {fourth: func(j *dispatcher.NewJob) { j.Kind = "x" }, want: "[]"},
			"suspended":                   {while: func(h *house, _ *roller) { h.ok(h.SuspendJob(bg, ref("j4"))) }, want: "[]"},
			"the lane is to be suspended": {while: func(h *house, _ *roller) { _, err := h.Suspend(bg, key("a"), ""); h.ok(err) }, want: "[]"},
			"somebody waits with a ticket": {before: func(h *house) {
				h.enqueue(plain("j3"))
				h.lostTicket("a")
			}, want: "[]"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := rollingHouse(t, rdb)
				h.t = t
				h.enqueue(plain("j1"))
				h.enqueue(plain("j2"))
				if c.before != nil {
					c.before(h)
				} else {
					h.enqueue(plain("j3"))
				}
				fourth := plain("j4")
				if c.fourth != nil {
					c.fourth(&fourth)
				}
				r := h.rolled("w", 2, "j2", "j3")
				h.enqueue(fourth)
				h.enqueue(plain("j5"))
				if c.while != nil {
					c.while(h, r)
				}
				r.most = 4
				if came := fmt.Sprint(r.goesOn()); came != c.want {
					t.Errorf("%s came into the hand, want %s", came, c.want)
				}
				if c.before == nil { // a lost ticket is not all well
					h.clean()
				}
			})
		}
	})
}

// What failed before goes alone, so neither does it come into a hand, nor does anything behind it.
func TestI6_WhatFailedComesIntoNoHand(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		h.enqueued("a", "j1", "j2", "j3", "j4")
		h.rolled("dead", 3, "j2", "j3", "j4")
		h.advance(11 * time.Second)
		if lost := h.reaped().Lost; len(lost) != 3 {
			t.Fatalf("the crash was charged %d times, want once a job in hand: %+v", len(lost), lost)
		}
		h.enqueued("a", "j5")
		r := h.rolling("w", 3)
		if r.claim.ID != "j2" || r.claim.Attempt != 2 {
			t.Fatalf("claimed %s, attempt %d", r.claim.ID, r.claim.Attempt)
		}
		for _, id := range []string{"j3", "j4", "j5"} {
			r.handedOver()
			h.wantAlong(r.claim, id)
		}
		h.ok(r.turn(0, session.End{Claim: r.claim}).Ended[0].Err)
		h.empty()
	})
}

// A crash counts for what was in the hand by the holder's last word, and not for what it had given back.
func TestI6_PutBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		h.enqueued("a", "j1", "j2", "j3", "j4")
		r := h.rolling("w", 3)
		r.handedOver()
		if _, err := h.Cancel(bg, ref("j3")); !errors.Is(err, dispatcher.ErrRunning) {
			t.Fatalf("cancel of a job in hand: %v", err)
		}
		if err := h.SuspendJob(bg, ref("j3")); !errors.Is(err, dispatcher.ErrRunning) {
			t.Fatalf("suspension of a job in hand: %v", err)
		}
		stale := *r.claim
		stale.Lease.Token--
		r.s.Turns(bg, []session.Turn{{PutBack: []*session.Claim{&stale}}})
		if h.along("a") != 2 {
			t.Fatal("a token that is over put jobs back")
		}
		// Who asks for a job in a hand is asking still when it goes back.
		time.AfterFunc(100*time.Millisecond, func() { r.s.Turns(bg, []session.Turn{{PutBack: []*session.Claim{r.claim}}}) })
		if _, err := h.Cancel(bg, ref("j3")); err != nil {
			t.Fatalf("cancel of a job that goes back: %v", err)
		}
		if h.along("a") != 0 {
			t.Fatalf("%d jobs are in hand still", h.along("a"))
		}
		h.clean()
		h.advance(11 * time.Second)
		if lost := h.reaped().Lost; len(lost) != 1 || lost[0].Job != "j2" {
			t.Errorf("the crash was charged to %+v, want j2 alone", lost)
		}
		h.ok(h.Finish(bg, h.head("v", "j2", 2)))
		h.ok(h.Finish(bg, h.head("v", "j4", 1)))
		h.empty()
	})
}

// I9: a turn whose answer was lost and that go-redis repeats brings the same jobs; and who never had the answer, and so says
// that fewer are in its hand, gets those that it did not know of, in order.
func TestI9_HandOfALostAnswer(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		h.enqueued("a", "j1", "j2", "j3", "j4", "j5", "j6", "j7", "j8")
		r := h.rolling("w", 3)
		r.handedOver()                         // j2, with j3 and j4 in hand
		h.ok(r.turn(0, r.end(0)).Ended[0].Err) // j5 comes; it does not learn that
		second := *r.claim
		r.claim, _ = r.claim.Next()
		again := r.turn(0, session.End{Claim: &second, GoesOn: true}, r.end(0)).Ended // as a pool says what was not answered
		if !errors.Is(again[0].Err, lease.ErrLost) || again[1].Err != nil || ids(again[1].More) != "[j5 j6]" {
			t.Fatalf("the answers are %+v, want that the first is over, and j5 and j6 in the hand", again)
		}
		r.claim, _ = r.claim.Next()
		if r.claim.ID != "j4" || h.along("a") != 2 {
			t.Errorf("at %s %d jobs stand in the lease", r.claim.ID, h.along("a"))
		}
		h.clean()
	})
}

// Hands are filled up to the bounds of one call: so many jobs, and no more bytes than it may read (I16).
func TestI16_HandsThatAreFull(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		for call := range 3 {
			jobs := make([]dispatcher.NewJob, 200)
			for i := range jobs {
				jobs[i] = dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: fmt.Sprint("j", 200*call+i), MaxAttempts: 2}
			}
			_, err := h.EnqueueMany(bg, jobs)
			h.ok(err)
		}
		r := h.rolling("w", 400)
		r.handedOver()
		if len(r.claim.Along) != session.MaxLaneBatch-1 {
			t.Errorf("%d are in hand, want the most that one call gives", len(r.claim.Along))
		}
		r.most = 600
		if came := r.goesOn(); len(came) != session.MaxLaneBatch {
			t.Errorf("%d came, want the most that one call gives", len(came))
		}
		large := rollingHouse(t, rdb)
		large.enqueued("a", "j1", "j2", "j3")
		r = large.rolling("w", 2)
		r.handedOver()
		for _, id := range []string{"j4", "j5", "j6"} {
			large.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: id, MaxAttempts: 2, Payload: bytes.Repeat([]byte{'x'}, 1<<20-1000)})
		}
		r.most = 9
		if came := fmt.Sprint(r.goesOn()); came != "[j4 j5]" {
			t.Errorf("%s came, want as many as one call may read", came)
		}
		h.clean()
	})
}

// TestRollingFields shows what the fields of a turn are for that lanes roll by: without them a lane is given job by job.
func TestRollingFields(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		h.enqueued("a", "j1", "j2", "j3", "j4", "j5")
		r := h.rolled("w", 1, "j2")
		r.most = 2
		r.handedOver()
		h.wantAlong(r.claim, "j3", "j4")
		came := r.turn(0, r.end(0)).Ended[0].More
		if ids(came) != "[j5]" {
			t.Fatalf("%s came into the hand", ids(came))
		}
		next, _ := r.claim.Next() // to which the pool has not added what came
		r.claim = next
		ended := r.turn(0, r.end(len(came))).Ended[0]
		if ended.Err != nil || h.along("a") != 0 {
			t.Errorf("after %v %d stand in the lease, want none behind j5", ended.Err, h.along("a"))
		}
		h.clean()
	})
}

// What is asked while jobs are in a hand counts for them as for all that were given out: nothing comes before them, and what is
// for the job that runs is not for the next one.
func TestPairs_InHand(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		kinds := []dispatcher.Kind{{Name: "k", Owner: "o"}, {Name: "halts", Owner: "o", OnFailure: dispatcher.Halt}}
		for name, c := range map[string]struct {
			asks func(h *house, r *roller) // while j2 runs, with j3 in hand, before j4
			came string                    // into the hand with the end of j2, of which it may have four
			left func(h *house, r *roller) // when j3 is at work
		}{
			"a cancel of the job that runs, which finishes": {
				asks: func(h *house, _ *roller) {
					holder, err := h.Cancel(bg, ref("j2"))
					if err != nil || holder != "w" {
						h.t.Fatalf("asked %q, %v", holder, err)
					}
				},
				came: "[j4]", // the cancel is over with its job
				left: func(h *house, r *roller) {
					ended := r.turn(0, session.End{Claim: r.claim, Outcome: session.HandedBack}).Ended[0]
					if ended.Err != nil || ended.Cancelled {
						h.t.Errorf("j3 ends with %+v, as if the cancel were for it", ended)
					}
					h.ok(h.Finish(bg, h.head("v", "j3", 1)))
					h.ok(h.Finish(bg, h.head("v", "j4", 1)))
				},
			},
			"a suspension of the lane": {
				asks: func(h *house, _ *roller) { _, err := h.Suspend(bg, key("a"), ""); h.ok(err) },
				came: "[]",
				left: func(h *house, r *roller) {
					h.ok(r.turn(5, session.End{Claim: r.claim}).Ended[0].Err)
					h.none("v")
					h.ok(h.Resume(bg, key("a")))
					h.ok(h.Finish(bg, h.head("v", "j4", 1)))
				},
			},
			"a key of a job in the hand": { // it has begun, as far as anybody knows
				asks: func(h *house, _ *roller) {
					h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "u1", MaxAttempts: 3, Unique: dispatcher.Coalesce})
				},
				came: "[j4 u1]",
				left: func(h *house, r *roller) {
					done := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "u2", MaxAttempts: 3, Unique: dispatcher.Coalesce})
					if done.ID != "u2" {
						h.t.Errorf("it was merged into %s, which is in a hand", done.ID)
					}
					h.ok(r.turn(0, r.end(0)).Ended[0].Err)
					r.claim, _ = r.claim.Next()
					h.ok(r.turn(0, r.end(0)).Ended[0].Err)
					r.claim, _ = r.claim.Next()
					h.ok(h.Finish(bg, *r.claim))
					h.ok(h.Finish(bg, h.head("v", "u2", 1)))
				},
			},
			"a job that halts its lane": {
				asks: func(h *house, _ *roller) {
					h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "halts", ID: "h1"})
				},
				came: "[j4]",
				left: func(h *house, r *roller) {
					h.ok(r.turn(0, r.end(0)).Ended[0].Err)
					r.claim, _ = r.claim.Next()
					h.ok(h.Finish(bg, *r.claim))
					for _, c := range h.claimedKinds("v", 1, "halts") {
						h.ok(h.Finish(bg, c))
					}
				},
			},
			"a delayed job that falls due": {
				asks: func(h *house, _ *roller) {
					h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "late", Delay: time.Second, MaxAttempts: 3})
					h.advance(2 * time.Second)
					h.reaped()
				},
				came: "[j4 late]",
				left: func(h *house, r *roller) {
					h.ok(r.turn(0, r.end(0)).Ended[0].Err)
					r.claim, _ = r.claim.Next()
					h.ok(r.turn(0, r.end(0)).Ended[0].Err)
					r.claim, _ = r.claim.Next()
					h.ok(h.Finish(bg, *r.claim))
				},
			},
			"a failure of the next one": {
				asks: func(*house, *roller) {},
				came: "[j4]",
				left: func(h *house, r *roller) {
					dead, err := h.Retry(bg, *r.claim, 0, "boom")
					h.ok(err)
					if dead {
						h.t.Error("it is a dead letter")
					}
					h.ok(h.Finish(bg, h.head("v", "j3", 2)))
					h.ok(h.Finish(bg, h.head("v", "j4", 1))) // which was in the hand, and costs no attempt
				},
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: kinds})
				h.t = t
				h.enqueued("a", "j1", "j2", "j3")
				r := h.rolled("w", 2, "j2", "j3")
				h.enqueued("a", "j4")
				c.asks(h, r)
				r.most = 4
				if came := fmt.Sprint(r.goesOn()); came != c.came || r.claim.ID != "j3" {
					t.Fatalf("%s came into the hand at %s, want %s", came, r.claim.ID, c.came)
				}
				h.clean()
				c.left(h, r)
				h.clean()
				h.empty()
			})
		}
	})
}

// I6: a head of a kind that skips and whose worker dies is set aside, and what was in the hand keeps its place.
func TestPairs_InHandOfWhoDies(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", OnFailure: dispatcher.Skip}}})
		h.enqueued("a", "j1", "j2", "j3", "j4")
		h.rolled("w", 2, "j2", "j3")
		h.advance(11 * time.Second)
		h.reaped()
		h.ok(h.Finish(bg, h.head("v", "j3", 2))) // it may have run
		h.ok(h.Finish(bg, h.head("v", "j4", 1)))
		h.advance(time.Minute)
		h.reaped()
		h.ok(h.Finish(bg, h.head("v", "j2", 2)))
		h.empty()
	})
}

// I5: a dead letter that is replayed to the front stands behind the hand, and comes into it next.
func TestPairs_ReplayBehindTheHand(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := rollingHouse(t, rdb)
		h.enqueued("a", "d", "j1", "j2", "j3", "j4")
		h.ok(h.DeadLetter(bg, h.head("v", "d", 1), "why", "boom"))
		r := h.rolled("w", 2, "j2", "j3")
		_, err := h.Replay(bg, ref("d"), true)
		h.ok(err)
		r.most = 4
		if came := fmt.Sprint(r.goesOn()); came != "[d j4]" {
			t.Errorf("%s came into the hand, want [d j4]", came)
		}
		h.clean()
	})
}

// What goes back does so also in a session under limits, whose trips have other steps; and a server that does not hear of it is away.
func TestI6_PutBackUnderLimits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}, {Name: "few", Owner: "o", Limit: 1}}})
		h.enqueued("a", "j1", "j2", "j3", "j4")
		r := h.rolling("w", 3)
		r.handedOver()
		limited, err := session.Bare(bg, h.Dispatcher, session.Claimant{Holder: "w", Kinds: []string{"k", "few"}, TTL: 10 * time.Second})
		h.ok(err)
		back := []session.Turn{{PutBack: []*session.Claim{r.claim}}}
		gone, cancel := context.WithCancel(bg)
		cancel()
		for _, s := range []*session.Session{r.s, limited} {
			if err := s.Turns(gone, back)[0].Err; err == nil || h.along("a") != 2 {
				t.Errorf("with a context that is over it says %v, and %d are in hand", err, h.along("a"))
			}
		}
		limited.Turns(bg, []session.Turn{{PutBack: back[0].PutBack, Claim: true, Want: 1}})
		if h.along("a") != 0 {
			t.Errorf("%d are in hand still", h.along("a"))
		}
		h.clean()
	})
}

// Of two lanes that end in one turn the one that is handed over is taken job by job when the other one has to wait; and what was set
// aside after a failure comes into no hand when it is back.
func TestI6_NotDeepWhileAnotherWaits(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", OnFailure: dispatcher.Skip}}})
		h.enqueued("a", "a1", "a2", "a3")
		h.enqueued("b", "b1", "b2")
		s, err := session.Bare(bg, h.Dispatcher, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: 10 * time.Second})
		h.ok(err)
		r := &roller{house: h, s: s, most: 3}
		heads := r.turn(5).Claims
		if got := r.turn(1, session.End{Claim: &heads[0]}, session.End{Claim: &heads[1]}).Claims; len(got) != 1 || len(got[0].Along) > 0 {
			t.Errorf("claimed %+v, want one job of one lane", got)
		}

		h = newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", OnFailure: dispatcher.Skip}}})
		h.enqueued("a", "s", "j1", "j2", "j3")
		_, err = h.Retry(bg, h.head("v", "s", 1), time.Second, "boom")
		h.ok(err)
		h.advance(2 * time.Second)
		h.reaped() // s stands behind j3
		r = h.rolling("w", 2)
		r.handedOver()
		h.wantAlong(r.claim, "j2", "j3")
		r.most = 4
		if came := r.goesOn(); len(came) > 0 {
			t.Errorf("%v came into the hand", came)
		}
		h.clean()
	})
}
