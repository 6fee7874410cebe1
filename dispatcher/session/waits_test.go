package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// signal waits for a signal that must come.
func signal(t *testing.T, what string, heard <-chan struct{}) {
	t.Helper()
	select {
	case <-heard:
	case <-time.After(20 * time.Second):
		t.Fatalf("no signal %s", what)
	}
}

// channels are those of a namespace that anybody listens to.
func channels(t *testing.T, rdb *redis.Client, namespace string) []string {
	t.Helper()
	list, err := rdb.PubSubChannels(t.Context(), "{"+namespace+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// Whatever waits leaves its channels, however the wait ends, while somebody else listens all the time.
func TestEachWaitLeavesItsChannels(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := open(t, rdb)
		ns, a := d.Namespace().Name, subject.Key{Kind: "s", ID: "a"}
		stays, leave := d.Engine().News.Listen(d.Engine().Keys(0).News("stays"))
		defer leave()
		signal(t, "of who stays", stays)
		put := func() dispatcher.JobRef {
			done, err := d.Enqueue(t.Context(), dispatcher.NewJob{Subject: a, Kind: "k", Keep: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			return done.Ref()
		}
		finish := func() {
			claims, err := claimFor(t.Context(), d, Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 1)
			if err == nil && len(claims) == 1 {
				err = finishWith(t.Context(), d, claims[0], nil)
			}
			if err != nil {
				t.Error(err)
			}
		}
		listens := func(n int) func() bool { return func() bool { return len(channels(t, rdb, ns)) == 1+n } }
		for name, wait := range map[string]func(t *testing.T){
			"a job that ends": func(t *testing.T) {
				ref, ended := put(), make(chan error)
				go func() { _, err := d.WaitFor(t.Context(), ref); ended <- err }()
				redistest.Until(t, "it listens", listens(1))
				finish()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			},
			"a wait that is given up": func(t *testing.T) {
				ref, ended := put(), make(chan error)
				ctx, cancel := context.WithCancel(t.Context())
				go func() { _, err := d.WaitFor(ctx, ref); ended <- err }()
				redistest.Until(t, "it listens", listens(1))
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				finish()
			},
			"a section that gets its turn": func(t *testing.T) {
				put()
				ended := make(chan error)
				go func() { ended <- d.Do(t.Context(), a, time.Minute, func(context.Context) error { return nil }) }()
				redistest.Until(t, "it listens", listens(1))
				finish()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			},
			"a section that is given up": func(t *testing.T) {
				put()
				ended := make(chan error)
				ctx, cancel := context.WithCancel(t.Context())
				go func() { ended <- d.Do(ctx, a, time.Minute, nil) }()
				redistest.Until(t, "it listens", listens(1))
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				finish()
			},
			"a session": func(t *testing.T) {
				s, err := Join(t.Context(), d, Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 1)
				if err != nil {
					t.Fatal(err)
				}
				redistest.Until(t, "it listens", listens(4)) // for what is asked of it, for slots, for limits, and for holds
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			},
		} {
			wait(t)
			redistest.Until(t, name+" has left its channels", listens(0))
			if t.Failed() {
				return
			}
		}
	})
}

// What was said is of the session, and nothing that may have been missed is taken for all.
func TestOfferedIsWhatWasSaid(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := open(t, rdb)
	s, err := Join(t.Context(), d, Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	signal(t, "that listening has begun", s.Slots())
	if got := s.Offered(); got != nil {
		t.Errorf("when something may have been missed %v is offered, want any", got)
	}
	for _, c := range []struct{ said, want string }{{"0", "[0]"}, {"7", "[]"}, {"x", "[]"}} {
		if err := rdb.Publish(t.Context(), d.Engine().Keys(0).News("w/slots"), c.said).Err(); err != nil {
			t.Fatal(err)
		}
		signal(t, "of "+c.said, s.Slots())
		if got := fmt.Sprint(s.Offered()); got != c.want {
			t.Errorf("%q was said: %s, want %s", c.said, got, c.want)
		}
	}
	if !strings.Contains(fmt.Sprint(channels(t, rdb, d.Namespace().Name)), "limits") {
		t.Error("nobody listens for limits")
	}
}

// While somebody asks again for what got lost, the session's end waits for that and does not ask beside it: two would send
// one call at a time.
func TestOneRecoveryAtATime(t *testing.T) {
	t.Parallel()
	d, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: redistest.Client(t), Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Join(t.Context(), d, Claimant{Holder: NewHolder(), Kinds: []string{"k"}, TTL: time.Minute}, 1)
	if err != nil {
		t.Fatal(err)
	}
	caller := s.lanes.Scripts.Caller()
	call := s.lanes.Slot(caller, lanes.KindLimit("k"), s.who.Holder, s.who.TTL, []lanes.Ask{{Partition: 0, Want: 1, Ready: 1}})
	s.lose(lostStarts{call, caller, lanes.KindLimit("k"), 1})
	s.permits.recovery <- struct{}{} // somebody does
	over, cancel := context.WithCancel(t.Context())
	cancel()
	s.recoverLast(over)
	s.recoverLostBeside(t.Context())
	if lost := s.lostNow(); len(lost) != 1 {
		t.Errorf("%d requests are out, want the one that somebody else asks for", len(lost))
	}
	<-s.permits.recovery
	if err := s.Close(t.Context()); err != nil || len(s.lostNow()) != 0 {
		t.Errorf("closed with %v, and %d requests are out", err, len(s.lostNow()))
	}
}

// blocks notes for how many seconds each wait blocks, and answers with an error of its own.
type blocks struct {
	answers []error
	seconds []any
}

func (b *blocks) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *blocks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *blocks) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		args := cmd.Args()
		answer := b.answers[len(b.seconds)]
		b.seconds = append(b.seconds, args[len(args)-1])
		cmd.SetErr(answer)
		return answer
	}
}

// C14: the first wait after one that has failed is short, for its end is what says that Redis is back.
func TestC14_AWaitAfterAFailureIsShort(t *testing.T) {
	t.Parallel()
	d := open(t, redistest.Client(t))
	s, err := Join(t.Context(), d, Claimant{Holder: "w", Kinds: []string{"k"}, TTL: time.Minute}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	said := &blocks{answers: []error{redis.Nil, net.ErrClosed, net.ErrClosed, redis.Nil, redis.Nil}}
	s.waiting.AddHook(said)
	for range said.answers {
		_, _, _ = s.Wait(t.Context(), 0)
	}
	if got := fmt.Sprint(said.seconds); got != "[10 10 1 1 10]" {
		t.Errorf("it blocks for %s s", got)
	}
}
