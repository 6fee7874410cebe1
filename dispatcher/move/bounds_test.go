package move_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// weigher is a hook that notes the most bytes that one request has sent, and that one command has brought.
type weigher struct{ sent, brought atomic.Int64 }

func (w *weigher) weigh(most *atomic.Int64, words []any) {
	sum := int64(0)
	for _, word := range words {
		switch word := word.(type) {
		case string:
			sum += int64(len(word))
		case *string:
			sum += int64(len(*word))
		case []byte:
			sum += int64(len(word))
		}
	}
	most.Store(max(most.Load(), sum))
}

func (w *weigher) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (w *weigher) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (w *weigher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var sent []any
		for _, cmd := range cmds {
			sent = append(sent, cmd.Args()...)
		}
		w.weigh(&w.sent, sent)
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if reply, ok := cmd.(*redis.SliceCmd); ok {
				w.weigh(&w.brought, reply.Val())
			}
		}
		return err
	}
}

// I16: no command of an export reads more than 2 MiB of jobs, and no trip of an import brings more than 1 MiB and a line.
func TestI16_MovesAreBounded(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	name := redistest.Namespace(t, rdb)
	d := opened(t, rdb, name, 1)
	const payload = 100 << 10
	for i := range 60 {
		enqueued(t, d, dispatcher.NewJob{Subject: key(fmt.Sprint(i % 3)), Payload: bytes.Repeat([]byte("x"), payload)})
	}
	through, w := redis.NewClient(rdb.Options()), new(weigher)
	t.Cleanup(func() { _ = through.Close() })
	through.AddHook(w)
	text := exported(t, opened(t, through, name, 1))
	if most := w.brought.Load(); most > lanes.MostBytes || most < payload {
		t.Errorf("a command of the export has read %d bytes", most)
	}
	w.sent.Store(0)
	cfg := move.ImportConfig{Redis: through, Namespace: redistest.Namespace(t, rdb)}
	if _, _, err := move.Import(bg, cfg, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if most := w.sent.Load(); most > lanes.MostBytes/2+2*payload || most < payload {
		t.Errorf("a trip of the import has sent %d bytes", most)
	}
}

// A worker counts as alive for 15 s after its last sign of life, and no longer.
func TestAliveForSoLong(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	name := redistest.Namespace(t, rdb)
	d := opened(t, rdb, name, 1)
	now := rdb.Time(bg).Val()
	rdb.ZAdd(bg, d.Namespace().Seen(), redis.Z{Score: float64(now.Add(-15 * time.Second).UnixMilli()), Member: "lost"})
	if one, err := move.Look(bg, rdb, name); err != nil || len(one.Alive) != 0 {
		t.Errorf("after 15 s: %+v, %v", one, err)
	}
	rdb.ZAdd(bg, d.Namespace().Seen(), redis.Z{Score: float64(now.Add(-10500 * time.Millisecond).UnixMilli()), Member: "late"})
	if one, err := move.Look(bg, rdb, name); err != nil || !slices.Equal(one.Alive, []string{"late"}) {
		t.Errorf("after 10.5 s: %+v, %v", one, err)
	}
}

// once is a writer that does something with its first write, and keeps all.
type once struct {
	bytes.Buffer
	sync.Once
	do func()
}

func (w *once) Write(b []byte) (int, error) { w.Do(w.do); return w.Buffer.Write(b) }

// A worker that joins while a namespace is exported is found at the end.
func TestExportLooksTwice(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := opened(t, rdb, redistest.Namespace(t, rdb), 2)
	enqueued(t, d, dispatcher.NewJob{Subject: key("a")})
	w := &once{do: func() { joined(t, d, "k") }}
	if _, err := move.Export(bg, d, w, move.ExportOptions{}); !errors.Is(err, move.ErrAlive) || strings.Contains(w.String(), "trailer") {
		t.Errorf("%v\n%s", err, w.String())
	}
}

// A worker that joins at any time before the end of a migration keeps the namespace closed; before it is closed nothing is rewritten.
func TestMigrationLooksAgain(t *testing.T) {
	t.Parallel()
	from, rdb := loaded(t, "6"), redistest.ClientOf(t, redistest.Own(t))
	said := func(field string) string { return rdb.HGet(bg, "{golden}:meta", field).Val() }
	content := func() string {
		var lines []string
		for line := range strings.Lines(dump(t, rdb, golden)) {
			if !strings.Contains(line, "}:meta") && !strings.Contains(line, "}:seen") {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "")
	}
	seen := make(map[string]bool)
	for n := 1; ; n++ {
		reload(t, from, rdb)
		before, when := content(), ""
		partitions := said("partitions")
		through, came := paused(t, rdb, n, func() {
			now := rdb.Time(bg).Val()
			rdb.ZAdd(bg, "{golden}:seen", redis.Z{Score: float64(now.UnixMilli()), Member: "late"})
			switch {
			case said("schema") == "6":
				when = "before"
			case said("schema") == "6 migrating" && said("migrated") != partitions:
				when = "under way"
			default:
				when = "at the end"
			}
		})
		_, err := move.Migrate(bg, through, golden, nil)
		if !came() {
			break
		}
		seen[when] = true
		open := said("schema") != "6" && said("schema") != "6 migrating"
		if when != "at the end" && (!errors.Is(err, move.ErrAlive) || open) || when == "before" && content() != before {
			t.Errorf("before request %d, %s: schema %s, %v", n, when, said("schema"), err)
		}
		if open == errors.Is(err, move.ErrAlive) {
			t.Errorf("before request %d, %s: schema %s, %v", n, when, said("schema"), err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("it came %v", seen)
	}
}

// A job that is stored and stands nowhere, and one that stands somewhere and is not stored, make an export fail: it would be no backup.
func TestExportFindsAll(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := opened(t, rdb, redistest.Namespace(t, rdb), 1)
	enqueued(t, d, dispatcher.NewJob{Subject: key("a"), ID: "a"})
	k := d.Engine().Keys(0)
	rdb.HSet(bg, k.Jobs(), "inowhere", "x")
	if _, err := move.Export(bg, d, io.Discard, move.ExportOptions{}); err == nil || !strings.Contains(err.Error(), "2 are stored, 1 were found") {
		t.Errorf("one that stands nowhere: %v", err)
	}
	rdb.HDel(bg, k.Jobs(), "inowhere")
	// What stands twice may not stand for what stands nowhere.
	rdb.HSet(bg, k.Jobs(), "iother", rdb.HGet(bg, k.Jobs(), "ia").Val())
	rdb.ZAdd(bg, k.Dead(), redis.Z{Score: 1, Member: "ia"})
	if _, err := move.Export(bg, d, io.Discard, move.ExportOptions{}); err == nil || !strings.Contains(err.Error(), "2 are stored, 1 were found") {
		t.Errorf("one that stands twice: %v", err)
	}
	rdb.HDel(bg, k.Jobs(), "iother")
	rdb.ZRem(bg, k.Dead(), "ia")
	rdb.ZAdd(bg, k.Dead(), redis.Z{Score: 1, Member: "igone"})
	if _, err := move.Export(bg, d, io.Discard, move.ExportOptions{}); err == nil || !strings.Contains(err.Error(), "of dead gone there is no job") {
		t.Errorf("one that is not stored: %v", err)
	}
}

// What goes out of a sorted set while it is read moves nothing else past the reader, and what comes into it comes to nobody twice: also
// among many of one score.
func TestExportReadsOnWhereItWas(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		n := opened(t, rdb, redistest.Namespace(t, rdb), 1).Engine()
		set := n.Keys(0).Dead()
		member := func(i int) string { return fmt.Sprintf("\xff\x00%04d", i) }
		for i := range 1000 {
			rdb.ZAdd(bg, set, redis.Z{Score: 5.25 + float64(i/400), Member: member(i)})
		}
		var last *redis.Z
		found := make(map[string]int)
		for i := 0; ; i++ {
			some, err := n.After(bg, set, last, 70)
			if err != nil {
				t.Fatal(err)
			}
			if len(some) == 0 {
				break
			}
			for _, z := range some {
				found[z.Member.(string)]++
			}
			last = &some[len(some)-1]
			// Those that were read go, the last among them, and others come to where it was read.
			for _, z := range some[len(some)/2:] {
				rdb.ZRem(bg, set, z.Member)
			}
			for j := range 5 {
				rdb.ZAdd(bg, set, redis.Z{Score: 1, Member: "new" + strconv.Itoa(i*10+j)}, redis.Z{Score: 5.25, Member: fmt.Sprintf("\xff\x00-%d-%d", i, j)})
			}
		}
		for i := range 1000 {
			if found[member(i)] != 1 {
				t.Fatalf("%q came %d times", member(i), found[member(i)])
			}
		}
		if some, err := n.After(bg, set, &redis.Z{Score: 1e300, Member: "z"}, 10); err != nil || len(some) != 0 {
			t.Errorf("behind all: %v, %v", some, err)
		}
	})
}

// As many jobs must be stored as an export says it has: others were written meanwhile, or lost.
func TestImportCounts(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := opened(t, rdb, redistest.Namespace(t, rdb), 1)
	enqueued(t, d, dispatcher.NewJob{Subject: key("a")}, dispatcher.NewJob{Subject: key("a")})
	text := strings.Replace(exported(t, d), `"stored":2`, `"stored":3`, 1)
	if _, _, err := move.Check(strings.NewReader(text), nil); err != nil {
		t.Fatal(err)
	}
	name := redistest.Namespace(t, rdb)
	_, _, err := move.Import(bg, move.ImportConfig{Redis: rdb, Namespace: name}, strings.NewReader(text))
	if !errors.Is(err, move.ErrDamaged) || !strings.Contains(err.Error(), "it has 3 jobs, and 2 are stored") {
		t.Errorf("%v", err)
	}
	if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: name}); !errors.Is(err, dispatcher.ErrMismatch) {
		t.Errorf("it is open: %v", err)
	}
}

// An import that is interrupted after any number of requests goes on, and all is there once.
func TestImportAfterEachRequest(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t)
	rdb := redistest.ClientOf(t, s)
	text := exported(t, livedIn(t, rdb, rand.Text(), 4, nil))
	for after, done := 3, false; !done; after += 7 {
		name := rand.Text()
		proxy, through := redistest.NewProxy(t, s)
		proxy.EndAfter(after)
		_, _, err := move.Import(bg, move.ImportConfig{Redis: through, Namespace: name, Partitions: 3}, strings.NewReader(text))
		if done = err == nil; !done {
			_, _, err = move.Import(bg, move.ImportConfig{Redis: rdb, Namespace: name, Partitions: 3}, strings.NewReader(text))
		}
		if err != nil && !errors.Is(err, move.ErrExists) { // the answer to the last request alone was lost
			t.Fatalf("after %d requests: %v", after, err)
		}
		if !slices.Equal(unbound(t, text), unbound(t, exported(t, opened(t, rdb, name, 3)))) {
			t.Errorf("after %d requests it is not what it was", after)
		}
	}
}
