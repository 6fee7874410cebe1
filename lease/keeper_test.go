package lease_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/lease"
)

// renewer answers renewals as a test says, and notes when they came.
type renewer struct {
	mu     sync.Mutex
	answer func(ctx context.Context) error
	at     []time.Time
}

func (r *renewer) Renew(ctx context.Context, _ time.Duration, leases ...lease.Lease) []error {
	r.mu.Lock()
	r.at = append(r.at, time.Now())
	answer := r.answer
	r.mu.Unlock()
	errs := make([]error, len(leases))
	if answer != nil {
		err := answer(ctx)
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// asked returns when renewals came.
func (r *renewer) asked() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

func (r *renewer) set(answer func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

const (
	ttl    = 9 * time.Second
	margin = 2100 * time.Millisecond // so that no deadline is a multiple of the time between two looks
)

// keep runs a keeper in a bubble of fake time over one lease proven now.
func keep(t *testing.T, r *renewer, story func(work context.Context, held *lease.Held)) {
	synctest.Test(t, func(t *testing.T) {
		k := lease.NewKeeper(r, ttl, margin)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go k.Run(ctx)
		l := lease.Lease{Subject: key("a"), Token: 7, Holder: "w", Proven: time.Now(), TTL: ttl}
		story(k.Keep(ctx, l))
	})
}

func TestKeeperRenewsAtAThirdOfTheTTL(t *testing.T) {
	t.Parallel()
	r := &renewer{}
	keep(t, r, func(work context.Context, held *lease.Held) {
		start := time.Now()
		time.Sleep(10*ttl + time.Second)
		if work.Err() != nil {
			t.Fatal("work was cancelled though every renewal succeeded")
		}
		if !held.Trusted(work) {
			t.Fatal("a lease that is renewed is not trusted")
		}
		held.Release()
		if !errors.Is(context.Cause(work), context.Canceled) {
			t.Errorf("after release the cause is %v", context.Cause(work))
		}
		if len(r.asked()) < 30 || len(r.asked()) > 31 {
			t.Errorf("%d renewals in ten TTLs, want thirty", len(r.asked()))
		}
		if first := r.asked()[0].Sub(start); first != ttl/3 {
			t.Errorf("first renewal after %s, want %s", first, ttl/3)
		}
	})
}

func TestKeeperCancelsWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	r := &renewer{answer: func(context.Context) error { return lease.ErrLost }}
	keep(t, r, func(work context.Context, held *lease.Held) {
		start := time.Now()
		<-work.Done()
		if !errors.Is(context.Cause(work), lease.ErrLost) || time.Since(start) != ttl/3 {
			t.Fatalf("cancelled after %s with %v, want at the first renewal with ErrLost",
				time.Since(start), context.Cause(work))
		}
		if held.Trusted(context.Background()) {
			t.Error("a lost lease is trusted")
		}
	})
}

// What is not known is tried again until the window closes, margin before the
// lease can pass on; and a renewal that hangs delays nothing.
func TestKeeperCancelsWhenItCannotProveTheLease(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(context.Context) error{
		"refused": func(context.Context) error { return errors.New("connection refused") },
		"hangs":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &renewer{answer: answer}
			keep(t, r, func(work context.Context, held *lease.Held) {
				start := time.Now()
				<-work.Done()
				took := time.Since(start)
				if !errors.Is(context.Cause(work), lease.ErrLost) || took < ttl-margin || took > ttl-margin+time.Millisecond {
					t.Fatalf("cancelled after %s with %v, want after %s with ErrLost", took, context.Cause(work), ttl-margin)
				}
				if len(r.asked()) < 2 {
					t.Errorf("%d renewals tried, want more than one", len(r.asked()))
				}
			})
		})
	}
}

func TestKeeperGoesOnAfterOneFailedRenewal(t *testing.T) {
	t.Parallel()
	r := &renewer{answer: func(context.Context) error { return errors.New("reset") }}
	keep(t, r, func(work context.Context, held *lease.Held) {
		time.Sleep(ttl/3 + time.Millisecond)
		r.set(nil)
		time.Sleep(5 * ttl)
		if work.Err() != nil {
			t.Fatalf("one failed renewal ended the work: %v", context.Cause(work))
		}
	})
}

// The window is counted from before the request was sent: a claim whose reply took
// long has less of it left.
func TestKeeperCountsFromTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &renewer{answer: func(context.Context) error { return errors.New("down") }}
		k := lease.NewKeeper(r, ttl, margin)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go k.Run(ctx)
		l := lease.Lease{Subject: key("a"), Token: 7, Proven: time.Now().Add(-5 * time.Second), TTL: ttl}
		work, held := k.Keep(ctx, l)
		defer held.Release()
		start := time.Now()
		<-work.Done()
		if took := time.Since(start); took > ttl-margin-5*time.Second+time.Second {
			t.Errorf("cancelled after %s, want within a second of %s", took, ttl-margin-5*time.Second)
		}
		old := lease.Lease{Subject: key("b"), Token: 8, Proven: time.Now().Add(-ttl + margin), TTL: ttl}
		_, over := k.Keep(ctx, old)
		defer over.Release()
		if over.Trusted(ctx) {
			t.Error("a lease whose window has closed is trusted")
		}
	})
}

// The last look asks Redis when the lease was not proven lately.
func TestKeeperLastLookAsksWhenStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := &renewer{}
		k := lease.NewKeeper(r, ttl, margin) // not running: nothing renews by itself
		stale := lease.Lease{Subject: key("a"), Token: 7, Proven: time.Now().Add(-ttl / 2), TTL: ttl}
		_, held := k.Keep(t.Context(), stale)
		defer held.Release()
		if !held.Trusted(t.Context()) || len(r.asked()) != 1 {
			t.Fatalf("a stale lease that Redis confirms: %d questions asked", len(r.asked()))
		}
		if !held.Trusted(t.Context()) || len(r.asked()) != 1 {
			t.Fatalf("a fresh lease: %d questions asked, want no more", len(r.asked()))
		}
		r.set(func(context.Context) error { return lease.ErrLost })
		gone := lease.Lease{Subject: key("b"), Token: 8, Proven: time.Now().Add(-ttl / 2), TTL: ttl}
		work, denied := k.Keep(t.Context(), gone)
		defer denied.Release()
		if denied.Trusted(t.Context()) || !errors.Is(context.Cause(work), lease.ErrLost) {
			t.Error("a stale lease that Redis denies is trusted")
		}
	})
}

// A renewal whose reply took long moves the window only from when it was sent.
func TestKeeperCountsARenewalFromTheRequest(t *testing.T) {
	t.Parallel()
	const slow = 2 * time.Second
	r := &renewer{answer: func(context.Context) error { time.Sleep(slow); return nil }}
	keep(t, r, func(work context.Context, held *lease.Held) {
		start := time.Now()
		time.Sleep(ttl/3 + slow + time.Millisecond) // the first renewal has come back
		r.set(func(context.Context) error { return errors.New("down") })
		<-work.Done()
		if took, want := time.Since(start), ttl/3+ttl-margin; took < want || took > want+time.Millisecond {
			t.Errorf("cancelled after %s, want after %s: a third of the TTL, and a window from there", took, want)
		}
	})
}

// crash is an error that can't be asked what it is.
type crash struct{}

func (crash) Error() string { return "crash" }
func (crash) Is(error) bool { panic("Is") }

// H1: a renewer that panics, or whose errors do, has not answered: the work is cancelled in time, and the cause
// says why. It goes on when that was once.
func TestH1_RenewerPanics(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(context.Context) error{
		"the renewer": func(context.Context) error { panic("ouch") },
		"its error":   func(context.Context) error { return crash{} },
	} {
		for _, once := range []bool{false, true} {
			r := &renewer{answer: answer}
			keep(t, r, func(work context.Context, held *lease.Held) {
				defer held.Release()
				time.Sleep(ttl / 2)
				if once {
					r.set(nil)
				}
				time.Sleep(2 * ttl)
				cause := context.Cause(work)
				if errors.Is(cause, lease.ErrLost) == once {
					t.Errorf("%s, once %t: cause %v", name, once, cause)
				}
				if !once && !strings.Contains(cause.Error(), "panicked with a string") {
					t.Errorf("%s: cause %v", name, cause)
				}
			})
		}
	}
}
