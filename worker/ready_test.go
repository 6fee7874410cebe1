package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// What an error asks of the pool is asked of all that it wraps.
func TestWhatErrorsAsk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err       error
		permanent bool
		wait      time.Duration
		asks      bool
	}{
		"none":      {},
		"plain":     {err: errBoom},
		"permanent": {err: Permanent(errBoom), permanent: true},
		"later":     {err: RetryAfter(time.Minute, errBoom), wait: time.Minute, asks: true},
		"at once":   {err: RetryAfter(0, errBoom), asks: true},
		"wrapped":   {err: fmt.Errorf("a: %w", errors.Join(Permanent(errBoom), RetryAfter(time.Second, errBoom))), permanent: true, wait: time.Second, asks: true},
	} {
		wait, asks := RetryWait(c.err)
		if IsPermanent(c.err) != c.permanent || wait != c.wait || asks != c.asks {
			t.Errorf("%s: permanent %t, wait %s, %t", name, IsPermanent(c.err), wait, asks)
		}
	}
}

// RunReady claims one lane at a time, however fast handlers are, and with nothing in hand; it begins again each time, and the
// pool's counts go on.
func TestRunReadyGoesOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hints = make(chan session.Hint, 100)
		p, err := newPool(Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, func(context.Context, session.Claimant, int) (source, error) { return f, nil })
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		p.Handle("k", func(context.Context, []byte) error {
			if running++; running > 1 || f.closed {
				t.Error("two run at once, or the session is over")
			}
			running--
			return nil
		})
		for round := 1; round <= 2; round++ {
			f.closed = false
			f.add(jobs(300)...)
			looked := false
			ran, err := RunReady(t.Context(), p, func(context.Context) { looked = !f.closed && len(f.queue) == 0 })
			if err != nil || len(ran) != 300 || !looked || !f.closed || f.most != 1 {
				t.Errorf("%d ran, %v; looked %t, closed %t, most %d", len(ran), err, looked, f.closed, f.most)
			}
			for i, r := range ran {
				if r.ID != fmt.Sprint("j", i) || r.Became != "finished" {
					t.Fatalf("number %d is %+v", i, r)
				}
			}
			if n := p.Counts(); n.Started != int64(300*round) || n.Finished != int64(300*round) {
				t.Errorf("counts %+v", n)
			}
		}
		f.add(jobs(1)...)
		f.closed, f.lost = false, map[string]bool{"j0": true}
		if ran, err := RunReady(t.Context(), p, func(context.Context) {}); err != nil || len(ran) != 1 || ran[0].Became != "" || ran[0].Reason != "lease lost" {
			t.Errorf("ran %+v, %v", ran, err)
		}
	})
}

// A context that is over ends RunReady, and the handler with it; its error says where it was.
func TestRunReadyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hints = make(chan session.Hint, 100)
		p, err := newPool(Config{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, func(context.Context, session.Claimant, int) (source, error) { return f, nil })
		if err != nil {
			t.Fatal(err)
		}
		var cause error
		p.Handle("k", func(ctx context.Context, _ []byte) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return cause
		})
		f.add(jobs(1)...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ran, err := RunReady(ctx, p, func(ctx context.Context) {
			if ctx.Err() != nil {
				t.Error("there is no time to look")
			}
		})
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(cause, ErrStopped) || len(ran) != 1 || ran[0].Became != "" {
			t.Errorf("ran %v, %v; the handler ended for %v", ran, err, cause)
		}
		if end, ok := f.end("j0"); !ok || end.Outcome != session.HandedBack {
			t.Errorf("its end is %+v", end)
		}
	})
}
