package lease_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var bg = context.Background()

// vault is a store in a namespace of its own, with a clock that the test moves.
type vault struct {
	*lease.Store
	t  *testing.T
	ms atomic.Int64
}

func newVault(t *testing.T, rdb *redis.Client) *vault {
	v := &vault{t: t}
	v.ms.Store(1_000_000)
	ns := subject.Namespace{Name: redistest.Namespace(t, rdb), Partitions: 2}
	v.Store = lease.NewStore(rdb, ns, func() time.Time { return time.UnixMilli(v.ms.Load()) })
	return v
}

func (v *vault) acquired(id, holder string) lease.Lease {
	v.t.Helper()
	l, err := v.Acquire(bg, key(id), holder, 10*time.Second)
	if err != nil {
		v.t.Fatal(err)
	}
	return l
}

func (v *vault) held(id, by string) {
	v.t.Helper()
	_, err := v.Acquire(bg, key(id), "intruder", 10*time.Second)
	var held *lease.HeldError
	if !errors.As(err, &held) || !errors.Is(err, lease.ErrHeld) || held.Holder != by {
		v.t.Fatalf("acquire %s: %v, want it held by %s", id, err, by)
	}
}

func (v *vault) lost(err error) {
	v.t.Helper()
	if !errors.Is(err, lease.ErrLost) {
		v.t.Fatalf("%v, want ErrLost", err)
	}
}

func key(id string) subject.Key { return subject.Key{Kind: "s", ID: id} }

func TestI1_OneHolderAtATime(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		v := newVault(t, rdb)
		l := v.acquired("a", "w1")
		v.held("a", "w1")
		v.acquired("b", "w2") // another subject is free
		if err := v.Release(bg, l); err != nil {
			t.Fatal(err)
		}
		v.lost(v.Release(bg, l))
		v.acquired("a", "w3")
	})
}

func TestI2_TokensRise(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		v := newVault(t, rdb)
		var last lease.Token
		for _, jump := range []time.Duration{0, time.Second, -time.Hour, 0, time.Minute} {
			v.ms.Add(jump.Milliseconds()) // the clock may be set back; tokens still rise
			l := v.acquired("a", "w")
			if l.Token <= last {
				t.Fatalf("token %s after %s", l.Token, last)
			}
			last = l.Token
			if err := v.Release(bg, l); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// With Redis's own clock tokens have 16 digits, which tostring() in Redis' Lua
// would cut to 14.
func TestI2_TokensOfTheRealClock(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		ns := subject.Namespace{Name: redistest.Namespace(t, rdb), Partitions: 1}
		s := lease.NewStore(rdb, ns, nil)
		var last lease.Token
		for range 5 {
			l, err := s.Acquire(bg, key("a"), "w", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if l.Token <= last || time.Since(time.UnixMicro(int64(l.Token))).Abs() > time.Minute {
				t.Fatalf("token %s after %s is no time in microseconds", l.Token, last)
			}
			last = l.Token
			if err := s.Renew(bg, time.Minute, l)[0]; err != nil {
				t.Fatal(err)
			}
			if err := s.Release(bg, l); err != nil {
				t.Fatal(err)
			}
		}
		// The clock was set back: tokens go on by one, with all their sixteen digits, which
		// Redis' tostring does not print.
		const ahead = 9007199254740001
		if err := rdb.HSet(bg, ns.Keys(0).Clock(), "token", ahead).Err(); err != nil {
			t.Fatal(err)
		}
		for want := lease.Token(ahead + 1); want < ahead+4; want++ {
			l, err := s.Acquire(bg, key("a"), "w", time.Minute)
			if err != nil || l.Token != want {
				t.Fatalf("token %s, %v, want %s", l.Token, err, want)
			}
			if err := s.Release(bg, l); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRenewMovesTheEnd(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		v := newVault(t, rdb)
		l, other := v.acquired("a", "w1"), v.acquired("b", "w1")
		v.ms.Add(9_999)
		errs := v.Renew(bg, 10*time.Second, l, lease.Lease{Subject: key("b"), Token: other.Token - 1}, other)
		if errs[0] != nil || errs[2] != nil {
			t.Fatal(errs)
		}
		v.lost(errs[1])
		v.ms.Add(9_999)
		v.held("a", "w1")
		v.ms.Add(1)
		// Over: it can be taken, and its holder can't renew even if nobody does.
		v.lost(v.Renew(bg, 10*time.Second, l)[0])
		next := v.acquired("a", "w2")
		v.lost(v.Release(bg, l))
		if err := v.Release(bg, next); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAcquireRefusesNonsense(t *testing.T) {
	t.Parallel()
	_, rdb := redistest.Mini(t)
	v := newVault(t, rdb)
	for _, c := range []struct {
		key    subject.Key
		holder string
		ttl    time.Duration
	}{
		{subject.Key{}, "w", time.Second}, {key("a"), "", time.Second}, {key("a"), "w", 0},
	} {
		if _, err := v.Acquire(bg, c.key, c.holder, c.ttl); err == nil {
			t.Errorf("acquire %+v: no error", c)
		}
	}
}

// Leases are renewed 250 in a call, and the rest in others: each has its own answer, and its end moves.
func TestRenewOfMoreThanOneCallTakes(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for n, calls := range map[int]int{250: 1, 251: 2, 500: 2, 501: 3} {
			count := &trips{}
			rdb := redis.NewClient(rdb.Options())
			defer rdb.Close()
			rdb.AddHook(count)
			ns := subject.Namespace{Name: redistest.Namespace(t, rdb), Partitions: 1}
			v := &vault{t: t}
			v.Store = lease.NewStore(rdb, ns, func() time.Time { return time.UnixMilli(v.ms.Load()) })
			v.ms.Store(1_000_000)
			var leases []lease.Lease
			for i := range n {
				leases = append(leases, v.acquired(fmt.Sprint(i), "w"))
			}
			for _, i := range []int{0, 249, n - 1} {
				leases[i].Token--
			}
			v.Renew(bg, 10*time.Second, leases[0]) // the server knows the script from here on
			v.ms.Add(9_999)
			count.n = 0
			errs := v.Renew(bg, 10*time.Second, leases...)
			if count.n != calls {
				t.Errorf("%d leases are renewed in %d calls, want %d", n, count.n, calls)
			}
			v.ms.Add(9_999)
			for i, err := range errs {
				switch lost := i == 0 || i == 249 || i == n-1; {
				case lost:
					v.lost(err)
				case err != nil:
					t.Errorf("lease %d of %d: %v", i, n, err)
				case i%50 == 1:
					v.held(fmt.Sprint(i), "w")
				}
			}
		}
	})
}

// trips counts the commands of pipelines.
type trips struct{ n int }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { c.n += len(cmds); return next(ctx, cmds) }
}

// H6: a request that arrives after the one that gave it up leaves no lease to somebody who has gone,
// also when memory is full [I10].
func TestH6_LateRequest(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{false, true} {
		rdb := redistest.ClientOf(t, redistest.Own(t, "--maxmemory-policy", "noeviction"))
		v := newVault(t, rdb)
		v.held("a", v.acquired("a", "other").Holder) // scripts are known by now
		if full {
			if err := rdb.ConfigSet(bg, "maxmemory", "1").Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := lease.LateAcquire(bg, v.Store, key("b"), "gone", time.Minute); !errors.Is(err, script.ErrStale) {
			t.Errorf("the late request, memory full %v: %v, want stale", full, err)
		}
	}
}

// liar is a client's hook that answers scripts with something else.
type liar struct{ says []string }

func (l *liar) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (l *liar) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (l *liar) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, c := range cmds {
			if c, ok := c.(*redis.StringSliceCmd); ok && c.Name() == "evalsha" && l.says != nil {
				c.SetVal(l.says)
			}
		}
		return err
	}
}

// A token that can't be read is an error, and no lease.
func TestAcquireOfATokenThatIsNone(t *testing.T) {
	t.Parallel()
	rdb := redistest.ClientOf(t, redistest.Shared(t))
	l := &liar{}
	rdb.AddHook(l)
	v := newVault(t, rdb)
	v.acquired("a", "w")
	for _, token := range []string{"", "x", "1x"} {
		l.says = []string{"ok", token}
		if got, err := v.Acquire(bg, key("b"), "w", time.Minute); err == nil || got != (lease.Lease{}) {
			t.Errorf("the token %q gives %+v, %v", token, got, err)
		}
	}
}
