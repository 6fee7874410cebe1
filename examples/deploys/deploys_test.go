package deploys_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/examples/deploys"
	"github.com/lanekeeper/lanekeeper/lanekeepertest"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
	"github.com/lanekeeper/lanekeeper/worker"
)

var web1 = subject.Of("host", "web-1")

// hosts answer what they are told, one answer an install, and then nil.
type hosts struct{ answers []error }

func (h *hosts) Install(_ context.Context, _, _ string, _ lease.Token) (err error) {
	if len(h.answers) > 0 {
		err, h.answers = h.answers[0], h.answers[1:]
	}
	return err
}

// What is enqueued, without running it.
func TestRequest(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{}) // a server in the process
	if err := deploys.Request(t.Context(), k.Dispatcher, "web-1", deploys.Rollout{Version: "v2"}); err != nil {
		t.Fatal(err)
	}
	k.LaneOrder(web1, "deploy") // the check is in no lane yet
	check := lanekeepertest.Enqueued(k, deploys.Check, web1, deploys.Rollout{Version: "v2"})
	if wait := check.RunAt.Sub(k.Now()); wait != time.Hour {
		t.Errorf("the check runs in %s", wait)
	}
}

// What becomes of it: the host is busy, so the deploy is tried again a minute later, and an hour later comes the check.
func TestBusyHost(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	pool, err := deploys.NewPool(k.Dispatcher, &hosts{answers: []error{deploys.ErrBusy}})
	if err != nil {
		t.Fatal(err)
	}
	if err := deploys.Request(t.Context(), k.Dispatcher, "web-1", deploys.Rollout{Version: "v2"}); err != nil {
		t.Fatal(err)
	}
	ran, left := k.Drain(t.Context(), pool)
	if len(ran) != 1 || !errors.Is(ran[0].Err, deploys.ErrBusy) || left[0].Code != inspect.WhyBackoff {
		t.Fatalf("ran %v, left %v", ran, left)
	}
	k.Advance(ran[0].Wait) // time stands still otherwise
	ran, _ = k.Drain(t.Context(), pool)
	if len(ran) != 1 || ran[0].Attempt != 2 || ran[0].Became != dispatcher.JobFinished {
		t.Fatalf("ran %v", ran)
	}
	k.Advance(time.Hour)
	ran, left = k.Drain(t.Context(), pool)
	if len(ran) != 1 || ran[0].Kind != "check" || len(left) != 0 {
		t.Fatalf("ran %v, left %v", ran, left)
	}
	k.NothingEnqueued()
}

// A handler is a function: this needs no server. Of its error the pool asks these two questions.
func TestHandler(t *testing.T) {
	t.Parallel()
	for answer, want := range map[error]struct {
		permanent bool
		wait      time.Duration
		result    string
	}{
		nil:                      {result: "v2"},
		deploys.ErrNoSuchVersion: {permanent: true},
		deploys.ErrBusy:          {wait: time.Minute},
		errors.New("on fire"):    {},
	} {
		t.Run(fmt.Sprint(answer), func(t *testing.T) {
			ctx := lanekeepertest.Attempt(t.Context(), session.Claim{Job: dispatcher.Job{Subject: web1}, Attempt: 3})
			err := deploys.Handle(&hosts{answers: []error{answer}})(ctx, deploys.Rollout{Version: "v2"})
			if !errors.Is(err, answer) || worker.IsPermanent(err) != want.permanent {
				t.Errorf("it returned %v", err)
			}
			if wait, _ := worker.RetryWait(err); wait != want.wait {
				t.Errorf("it asks for %s", wait)
			}
			if result := lanekeepertest.Result(ctx); string(result) != want.result {
				t.Errorf("it left %q", result)
			}
		})
	}
}

// What the code does when the server is away, hangs, or is full; and that it goes on after that.
func TestOutage(t *testing.T) {
	t.Parallel()
	k := lanekeepertest.New(t, dispatcher.Config{})
	request := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return deploys.Request(ctx, k.Dispatcher, "web-1", deploys.Rollout{Version: "v2"})
	}
	k.Away()
	if err := request(); !errors.Is(err, dispatcher.ErrUnavailable) {
		t.Errorf("away: %v", err)
	}
	k.Back()
	k.Full()
	if err := request(); err == nil || errors.Is(err, dispatcher.ErrUnavailable) {
		t.Errorf("full: %v", err)
	}
	k.NothingEnqueued()
	k.Back()
	if err := deploys.Request(t.Context(), k.Dispatcher, "web-1", deploys.Rollout{Version: "v2"}); err != nil {
		t.Errorf("back: %v", err)
	}
	k.Slow(time.Hour)
	if err := request(); !errors.Is(err, dispatcher.ErrUnavailable) {
		t.Errorf("hanging: %v", err)
	}
}
