package move_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// pause is a hook by which a client stands still before one of its requests, while something else happens.
type pause struct {
	left      atomic.Int32
	meanwhile func()
}

func (p *pause) request() {
	if p.left.Add(-1) == 0 {
		p.meanwhile()
	}
}

func (p *pause) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (p *pause) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { p.request(); return next(ctx, cmd) }
}

func (p *pause) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { p.request(); return next(ctx, cmds) }
}

// paused is a client like rdb that stands still before its n-th request; came says whether it has come to that.
func paused(t *testing.T, rdb *redis.Client, n int, meanwhile func()) (through *redis.Client, came func() bool) {
	t.Helper()
	through = redis.NewClient(rdb.Options())
	t.Cleanup(func() { _ = through.Close() })
	p := &pause{meanwhile: meanwhile}
	p.left.Store(int32(n))
	through.AddHook(p)
	return through, func() bool { return p.left.Load() <= 0 }
}

// lives is what happens in a namespace that was opened: jobs run, and operators act.
func lives(t *testing.T, rdb *redis.Client, name string) {
	t.Helper()
	d := opened(t, rdb, name, 0)
	s, err := session.Bare(bg, d, session.Claimant{Holder: "w", Kinds: []string{"k", "skip", "halt", "limited"}, TTL: time.Minute})
	if err != nil {
		t.Error(err)
		return
	}
	for p := range d.Namespace().Partitions {
		for _, c := range s.Turns(bg, []session.Turn{{Partition: p, Claim: true, Want: 100}})[0].Claims {
			s.Turns(bg, []session.Turn{{Partition: p, Ends: []session.End{{Claim: &c, Outcome: session.Finished}}}})
		}
	}
	for _, lane := range []string{"a", "b\x00\xff", "c}:{*", "d", "e", "f", "empty"} {
		_ = d.Resume(bg, key(lane))
	}
	_ = d.Undeclare(bg, "skip")
}

// A run of an import that stands still before any of its requests, until another has taken over, opened the namespace, and jobs have run,
// changes nothing when it goes on: jobs, stops, kinds, limits and windows of before do not come again.
func TestImportStandsStill(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		text := exported(t, lived(t, rdb, 3))
		for _, word := range []string{`"type":"lane"`, `"window"`, `"outcome"`, `"limit"`, `"kind"`, `"place":"lane"`} {
			if !strings.Contains(text, word) {
				t.Fatalf("there is no %s", word)
			}
		}
		for n := 1; ; n++ {
			name, before := redistest.Namespace(t, rdb), ""
			cfg := move.ImportConfig{Redis: rdb, Namespace: name, Partitions: 3}
			late := cfg
			var came func() bool
			late.Redis, came = paused(t, rdb, n, func() {
				if _, _, err := move.Import(bg, cfg, strings.NewReader(text)); err != nil && !errors.Is(err, move.ErrExists) {
					t.Errorf("before request %d: %v", n, err)
				}
				lives(t, rdb, name)
				before = dump(t, rdb, name)
			})
			_, _, err := move.Import(bg, late, strings.NewReader(text))
			if !came() {
				if err != nil || n < 15 {
					t.Errorf("%d requests, %v", n-1, err)
				}
				return
			}
			if !errors.Is(err, dispatcher.ErrMismatch) && !errors.Is(err, move.ErrExists) {
				t.Errorf("before request %d: it comes to its end: %v", n, err)
			}
			if after := dump(t, rdb, name); after != before {
				t.Errorf("before request %d: it was\n%s\nand is\n%s", n, before, after)
			}
		}
	})
}

// A run that stands still while another takes over and is interrupted does not go on beside a third, which brings all, once.
func TestImportIsTakenOver(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	text := exported(t, lived(t, rdb, 3))
	for n := 1; ; n++ {
		name := redistest.Namespace(t, rdb)
		cfg := move.ImportConfig{Redis: rdb, Namespace: name, Partitions: 2}
		late := cfg
		var came func() bool
		late.Redis, came = paused(t, rdb, n, func() {
			ctx, cancel := context.WithCancel(bg)
			second := cfg
			second.Progress = func(lines int) {
				if lines == 30 {
					cancel()
				}
			}
			_, _, _ = move.Import(ctx, second, strings.NewReader(text))
			cancel()
		})
		_, _, err := move.Import(bg, late, strings.NewReader(text))
		if err != nil && !errors.Is(err, dispatcher.ErrMismatch) {
			t.Errorf("before request %d: %v", n, err)
		}
		if err != nil {
			if _, _, err := move.Import(bg, cfg, strings.NewReader(text)); err != nil {
				t.Errorf("before request %d: the third: %v", n, err)
			}
		}
		if !slices.Equal(unbound(t, text), unbound(t, exported(t, opened(t, rdb, name, 2)))) {
			t.Errorf("before request %d: it is not what it was", n)
		}
		if !came() {
			return
		}
	}
}

// The same with a migration: what was rewritten, and has lived since, is not rewritten again.
func TestMigrationStandsStill(t *testing.T) {
	t.Parallel()
	from, rdb := loaded(t, "6"), redistest.ClientOf(t, redistest.Own(t))
	for n := 1; ; n++ {
		reload(t, from, rdb)
		before := ""
		late, came := paused(t, rdb, n, func() {
			if _, err := move.Migrate(bg, rdb, golden, nil); err != nil {
				t.Errorf("before request %d: %v", n, err)
			}
			lives(t, rdb, golden)
			before = dump(t, rdb, golden)
		})
		_, err := move.Migrate(bg, late, golden, nil)
		if !came() {
			if err != nil || n < 20 {
				t.Errorf("%d requests, %v", n-1, err)
			}
			return
		}
		if err != nil && !errors.Is(err, dispatcher.ErrMismatch) {
			t.Errorf("before request %d: %v", n, err)
		}
		if after := dump(t, rdb, golden); after != before {
			t.Fatalf("before request %d: it was\n%s\nand is\n%s", n, before, after)
		}
	}
}

// The same with a removal: what was made under the name since stays.
func TestRemovalStandsStill(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for n := 1; ; n++ {
			name, before := redistest.Namespace(t, rdb), ""
			fill := func() {
				d := opened(t, rdb, name, 3)
				for _, lane := range []string{"a", "b", "c", "d", "e", "f"} {
					enqueued(t, d, dispatcher.NewJob{Subject: key(lane)}, dispatcher.NewJob{Subject: key(lane)})
				}
			}
			fill()
			begun := false
			late, came := paused(t, rdb, n, func() {
				begun = rdb.HGet(bg, "{"+name+"}:meta", "schema").Val() == "7 removing"
				if _, err := move.Remove(bg, rdb, name, false, nil); err != nil && !errors.Is(err, dispatcher.ErrNotFound) {
					t.Errorf("before request %d: %v", n, err)
				}
				fill()
				before = dump(t, rdb, name)
			})
			_, err := move.Remove(bg, late, name, false, nil)
			if !came() {
				if err != nil || n < 8 {
					t.Errorf("%d requests, %v", n-1, err)
				}
				return
			}
			// Before it has begun it is the removal of what is there when it does.
			if begun != errors.Is(err, dispatcher.ErrMismatch) || !begun && err != nil {
				t.Errorf("before request %d: begun %v, %v", n, begun, err)
			}
			if after := dump(t, rdb, name); begun && after != before {
				t.Errorf("before request %d: it was\n%s\nand is\n%s", n, before, after)
			}
		}
	})
}

// What a run sends once another has taken over is refused, and so it is after its own end: a packet that comes late opens nothing
// again.
func TestMoverIsFenced(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := opened(t, rdb, redistest.Namespace(t, rdb), 2)
		job := record.Job{Subject: key("a"), Kind: "k", MaxAttempts: 3, Order: 1, Seq: 1, EnqueuedAt: time.UnixMilli(1)}
		canonical := job.Subject.Canonical()
		jobs, outcomes := make([][]lanes.Brought, 2), make([][]lanes.BroughtOutcome, 2)
		jobs[d.Engine().Partition(job.Subject)] = []lanes.Brought{{Subject: canonical, Entry: job.Entry(record.PackID("j")), Body: job.Stored(canonical), Place: "lane"}}
		outcomes[0] = []lanes.BroughtOutcome{{ID: record.PackID("o"), Record: "x", Ended: 1, Until: 2}}
		refused := func(when string, m *lanes.Mover) {
			t.Helper()
			before := dump(t, rdb, d.Namespace().Name)
			_, fenced := m.Fence(bg)
			for what, err := range map[string]error{
				"jobs": m.BringAll(bg, jobs, make([][]lanes.BroughtOutcome, 2)), "outcomes": m.BringAll(bg, make([][]lanes.Brought, 2), outcomes),
				"a write": m.Write(bg, m.Keys(1).Clock(), func(tx redis.Pipeliner) { tx.HSet(bg, m.Keys(1).Notes(), "x", "y") }),
				"a note":  m.Note(bg, "import", "x"), "a fence": fenced, "keys": m.Unlink(bg, map[string][]string{m.Meta(): {m.Meta()}}),
			} {
				if !errors.Is(err, dispatcher.ErrMismatch) {
					t.Errorf("%s, %s: %v", when, what, err)
				}
			}
			if after := dump(t, rdb, d.Namespace().Name); after != before {
				t.Errorf("%s: it was\n%s\nand is\n%s", when, before, after)
			}
		}
		first := mover(t, rdb, d.Namespace().Name, lanes.Importing)
		second := mover(t, rdb, d.Namespace().Name, lanes.Importing)
		refused("another has taken over", first)
		if err := first.Open(bg, lanes.Schema()); !errors.Is(err, dispatcher.ErrMismatch) {
			t.Errorf("the first opens it: %v", err)
		}
		for range 2 { // also when its answer was lost
			if err := second.Open(bg, lanes.Schema()); err != nil {
				t.Error(err)
			}
		}
		refused("it is open", first)
		refused("it is open", second)
	})
}

// A mark changes only from what its caller has read: any other is somebody else's.
func TestMarksOfOthers(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		name := redistest.Namespace(t, rdb)
		opened(t, rdb, name, 1)
		read, _, err := lanes.ReadMeta(bg, rdb, name)
		if err != nil {
			t.Fatal(err)
		}
		n := lanes.Closed(rdb, read.Namespace)
		for _, said := range []string{"6", "8", "7 removing", ""} {
			rdb.HSet(bg, n.Meta(), "schema", said)
			if _, err := n.TakeOver(bg, read, lanes.Importing); !errors.Is(err, dispatcher.ErrMismatch) || !strings.Contains(err.Error(), `meanwhile, and not "7"`) {
				t.Errorf("from %q: %v", said, err)
			}
			if is := rdb.HGet(bg, n.Meta(), "schema").Val(); is != said {
				t.Errorf("from %q: it says %q", said, is)
			}
		}
		rdb.HSet(bg, n.Meta(), "schema", "7")
		m := mover(t, rdb, name, lanes.Importing)
		rdb.HSet(bg, n.Meta(), "schema", "7 migrating")
		if err := m.Note(bg, "import", "x"); !errors.Is(err, dispatcher.ErrMismatch) || rdb.HExists(bg, n.Meta(), "import").Val() {
			t.Errorf("a note: %v", err)
		}
		if err := m.Open(bg, "7"); !errors.Is(err, dispatcher.ErrMismatch) {
			t.Errorf("it is opened: %v", err)
		}
	})
}
