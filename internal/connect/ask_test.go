package connect

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// answer is what a server says.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// What an error of a trip means depends on who is to blame for it.
func TestD2_Judge(t *testing.T) {
	t.Parallel()
	alive := context.Background()
	cancelled, cancel := context.WithCancel(alive)
	cancel()
	late, cancel := context.WithDeadline(alive, time.Now())
	defer cancel()
	for name, c := range map[string]struct {
		ctx                        context.Context
		err                        error
		unavailable, late, stopped bool
	}{
		"answer":                 {ctx: alive, err: answer("OOM command not allowed")},
		"absent":                 {ctx: alive, err: redis.Nil},
		"closed by the program":  {ctx: alive, err: redis.ErrClosed},
		"starts":                 {ctx: alive, err: answer("LOADING Redis is loading"), unavailable: true},
		"too many clients":       {ctx: alive, err: answer("ERR max number of clients reached"), unavailable: true},
		"connection gone":        {ctx: alive, err: io.EOF, unavailable: true},
		"no connection free":     {ctx: alive, err: redis.ErrPoolTimeout, unavailable: true},
		"own bound":              {ctx: alive, err: context.DeadlineExceeded, unavailable: true},
		"deadline":               {ctx: late, err: context.DeadlineExceeded, unavailable: true, late: true},
		"answer at the deadline": {ctx: late, err: answer("OOM command not allowed")},
		"cancelled":              {ctx: cancelled, err: io.EOF, stopped: true},
	} {
		got := Judge(c.ctx, time.Second, c.err)
		if errors.Is(got, ErrUnavailable) != c.unavailable || errors.Is(got, context.DeadlineExceeded) != c.late ||
			errors.Is(got, context.Canceled) != c.stopped {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A trip that never comes back is left to itself, and no other one is made with a context that
// has ended.
func TestD2_AskDoesNotWaitForATrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := make(chan int)
		trip := func(context.Context) (int, error) { return <-server, nil }
		begin := time.Now()
		if _, err := Ask(t.Context(), trip); !errors.Is(err, ErrUnavailable) || time.Since(begin) != Bound {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begin = time.Now()
		if _, err := Ask(ctx, trip); !errors.Is(err, context.Canceled) || time.Since(begin) != time.Second {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		server <- 1
		server <- 2
		if _, err := Ask(ctx, func(context.Context) (int, error) { t.Error("it set out"); return 0, nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
