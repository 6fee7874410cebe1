package lease

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/lanekeeper/lanekeeper/subject"
)

type renews struct{}

func (renews) Renew(_ context.Context, _ time.Duration, leases ...Lease) []error {
	return make([]error, len(leases))
}

// wallBack returns t as it would be if the wall clock had been set forward by d since. A time.Time
// holds the seconds of the wall clock in the upper bits of its first word.
func wallBack(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) -= uint64(d/time.Second) << 30
	return t
}

// A wall clock that is set forward ends no work: it says nothing of leases.
func TestH20_WallClockSetForward(t *testing.T) {
	t.Parallel()
	if now := time.Now(); wallBack(now, time.Hour).Sub(now) != 0 || wallBack(now, time.Hour).Round(0).Sub(now.Round(0)) != -time.Hour {
		t.Fatal("a time.Time is not what this test takes it for")
	}
	k := NewKeeper(renews{}, time.Minute, time.Second)
	l := Lease{Subject: subject.Key{Kind: "s", ID: "a"}, Token: 7, Holder: "w", Proven: time.Now(), TTL: time.Minute}
	work, h := k.Keep(t.Context(), l)
	defer h.Release()
	h.lease.Proven, h.renewAt = wallBack(h.lease.Proven, time.Hour), wallBack(h.renewAt, time.Hour)
	if !h.Trusted(work) {
		t.Error("a lease is not trusted any more")
	}
	if k.cancelOver(t.Context()); work.Err() != nil {
		t.Error("the work is cancelled")
	}
	// Between a request and its reply it is all that shows a suspension, and is believed.
	late := Lease{Subject: subject.Key{Kind: "s", ID: "b"}, Token: 8, Proven: wallBack(time.Now(), time.Hour), TTL: time.Minute}
	_, h = k.Keep(t.Context(), late)
	defer h.Release()
	if h.Trusted(t.Context()) {
		t.Error("a lease whose reply came after a suspension is trusted")
	}
}

// A machine that was suspended for longer than the lease lasts ends its work when it wakes, though
// its monotonic clock stood still; one that only napped goes on.
func TestH20_Suspension(t *testing.T) {
	t.Parallel()
	const ttl, margin = 9 * time.Second, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		k := NewKeeper(renews{}, ttl, margin)
		k.slept = func() time.Duration { return time.Duration(slept.Load()) }
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		l := Lease{Subject: subject.Key{Kind: "s", ID: "a"}, Token: 7, Holder: "w", Proven: time.Now(), TTL: ttl}
		work, held := k.Keep(ctx, l)
		defer held.Release()
		slept.Add(int64(ttl / 3)) // due to be renewed, and still one's own
		if end, ok := Until(work); !ok || end.Sub(l.Proven) != ttl-ttl/3 {
			t.Errorf("after a nap the lease ends after %s, %t", end.Sub(l.Proven), ok)
		}
		go k.Run(ctx)
		time.Sleep(2*ttl + time.Second) // no renewal is due now
		if work.Err() != nil {
			t.Fatalf("a nap ends the work: %v", context.Cause(work))
		}
		slept.Add(int64(ttl))
		time.Sleep(time.Second)
		if !errors.Is(context.Cause(work), ErrLost) {
			t.Errorf("the work goes on: %v", context.Cause(work))
		}
		if _, ok := Until(work); ok {
			t.Error("a lost lease has an end yet to come")
		}
	})
}

// Of several leases that work runs under the first end counts.
func TestH11_UntilTheFirstEnd(t *testing.T) {
	t.Parallel()
	k := NewKeeper(renews{}, time.Minute, time.Second)
	now := time.Now()
	slot := Lease{Subject: subject.Slot("k", 1), Token: 1, Proven: now.Add(-time.Second), TTL: time.Minute}
	own := Lease{Subject: subject.Key{Kind: "s", ID: "a"}, Token: 2, Proven: now, TTL: time.Minute}
	outer, heldSlot := k.Keep(t.Context(), slot)
	inner, held := k.Keep(outer, own)
	defer held.Release()
	if end, ok := Until(inner); !ok || !end.Equal(slot.Proven.Add(time.Minute)) {
		t.Errorf("it ends at %s, %t", end, ok)
	}
	heldSlot.Release()
	if _, ok := Until(inner); ok {
		t.Error("one of two leases is enough")
	}
	if _, ok := Until(context.Background()); ok {
		t.Error("work under no lease has one")
	}
}

// naps renews all, and counts how often it was asked; while it is asked the machine may be suspended.
type naps struct {
	asked int
	nap   func()
}

func (n *naps) Renew(_ context.Context, _ time.Duration, leases ...Lease) []error {
	n.asked++
	if n.nap != nil {
		n.nap()
	}
	return make([]error, len(leases))
}

// For how long the machine was suspended counts wherever a lease is looked at: at the last look before work starts,
// when renewals are due, and of a renewal that was under way. The clock that stood still trusted leases that
// others had by then.
func TestH20_EachLookCountsASuspension(t *testing.T) {
	t.Parallel()
	const ttl, margin = time.Hour, time.Minute
	for name, c := range map[string]struct {
		before, during time.Duration // suspended before the look, and while it asks
		asks, trusted  bool
	}{
		"awake":                        {0, 0, false, true},
		"not due yet":                  {ttl/3 - time.Minute, 0, false, true},
		"due":                          {ttl / 3, 0, true, true},
		"just in time":                 {ttl - 2*margin, 0, true, true},
		"within the margin":            {ttl - margin, 0, false, false},
		"over":                         {2 * ttl, 0, false, false},
		"asleep while it was asked":    {ttl / 3, 2 * ttl, true, false},
		"a nap while it was asked":     {ttl / 3, ttl / 2, true, true},
		"asked, and within the margin": {ttl / 3, ttl - margin, true, false},
	} {
		for how, look := range map[string]func(k *Keeper, h *Held) bool{
			"last look": func(k *Keeper, h *Held) bool { return h.Trusted(context.Background()) },
			"renewal": func(k *Keeper, h *Held) bool {
				k.cancelOver(context.Background()) // as it does beside
				k.renewDue(context.Background())
				k.cancelOver(context.Background())
				_, held := k.held[h]
				return held
			},
		} {
			var slept time.Duration
			n := &naps{nap: func() { slept += c.during }}
			k := NewKeeper(n, ttl, margin)
			k.slept = func() time.Duration { return slept }
			l := Lease{Subject: subject.Key{Kind: "s", ID: "a"}, Token: 7, Proven: time.Now(), TTL: ttl}
			_, h := k.Keep(t.Context(), l)
			slept += c.before
			if got := look(k, h); got != c.trusted || (n.asked > 0) != c.asks {
				t.Errorf("%s, %s: trusted %t, asked %d times; want %t and %t", name, how, got, n.asked, c.trusted, c.asks)
			}
			h.Release()
		}
	}
}
