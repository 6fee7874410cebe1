package move_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// With -rewrite the dump of the present schema, and what dumps are read as, are written anew: commit it only when the schema
// was raised, and read what the others say.
var rewrite = flag.Bool("rewrite", false, "rewrite the golden dumps' readings, and the dump of the present schema")

// golden is the namespace of all dumps: the names of keys depend on it.
const golden = "golden"

// goldenNow is a moment after all that happened in a dump, by the clock of those who made it.
var goldenNow = time.UnixMilli(2_000_000)

// loaded is a server of its own with a dump, a command a line.
func loaded(t *testing.T, schema string) *redis.Client {
	t.Helper()
	text, err := os.ReadFile("testdata/schema" + schema + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	rdb := redistest.ClientOf(t, redistest.Own(t))
	for line := range strings.Lines(string(text)) {
		var words []any
		for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimPrefix(rest, " ") {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			word, _ := strconv.Unquote(quoted)
			words, rest = append(words, word), rest[len(quoted):]
		}
		if err := rdb.Do(bg, words...).Err(); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return rdb
}

// dump is all that a namespace stores, as loaded reads it, but for which run has moved it last.
func dump(t *testing.T, rdb *redis.Client, name string) string {
	t.Helper()
	var lines []string
	say := func(words ...string) {
		for i, w := range words {
			words[i] = strconv.Quote(w)
		}
		lines = append(lines, strings.Join(words, " ")+"\n")
	}
	for _, k := range keysOf(t, rdb, "{"+name) {
		switch kind := rdb.Type(bg, k).Val(); {
		case strings.Contains(k, "}:request:"):
		case kind == "hash":
			fields := rdb.HGetAll(bg, k).Val()
			for _, f := range slices.Sorted(maps.Keys(fields)) {
				if f != "mover" {
					say("HSET", k, f, fields[f])
				}
			}
		case kind == "list":
			say(append([]string{"RPUSH", k}, rdb.LRange(bg, k, 0, -1).Val()...)...)
		case kind == "zset":
			for _, z := range rdb.ZRangeWithScores(bg, k, 0, -1).Val() {
				say("ZADD", k, strconv.FormatFloat(z.Score, 'f', -1, 64), z.Member.(string))
			}
		case kind == "set":
			for _, v := range rdb.SMembers(bg, k).Val() {
				say("SADD", k, v)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// reads opens what was loaded, lets the doctor look, and compares all that is in it with what was read from it once.
func reads(t *testing.T, rdb *redis.Client, schema string) {
	t.Helper()
	d, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: golden, Now: func() time.Time { return goldenNow }})
	if err != nil {
		t.Fatal(err)
	}
	findings, err := doctor.New(d).Examine(bg, nil)
	for _, f := range findings {
		if f.Severity == doctor.Wrong {
			t.Errorf("%+v", f)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer // by the clock of the dump nobody lives
	if _, err := move.Export(bg, d, &b, move.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	is, file := strings.Join(unbound(t, b.String()), ""), "testdata/schema"+schema+".jsonl"
	if *rewrite {
		if err := os.WriteFile(file, []byte(is), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(file)
	if err != nil || string(was) != is {
		t.Errorf("%v: it was read as\n%s\nand is read as\n%s", err, was, is)
	}
}

// The dump of each schema is migrated and read as it always was, for ever; there is one of each.
func TestEverySchemaIsMigrated(t *testing.T) {
	t.Parallel()
	present, _ := strconv.Atoi(lanes.Schema())
	for n := lanes.OldestSchema; n <= present; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			if n == present && *rewrite {
				writePresent(t)
			}
			rdb := loaded(t, fmt.Sprint(n))
			if _, err := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: golden}); n < present &&
				(!errors.Is(err, dispatcher.ErrMismatch) || !strings.Contains(err.Error(), "run 'lanekeeper migrate --namespace golden'")) {
				t.Errorf("before: %v", err)
			}
			if from, err := move.Migrate(bg, rdb, golden, nil); err != nil || from != fmt.Sprint(n) {
				t.Fatal(from, err)
			}
			reads(t, rdb, fmt.Sprint(n))
			if from, err := move.Migrate(bg, rdb, golden, nil); err != nil || from != lanes.Schema() {
				t.Errorf("once more: %s, %v", from, err)
			}
		})
	}
}

// writePresent writes the dump of the present schema, of a namespace in which a lot has happened.
func writePresent(t *testing.T) {
	t.Helper()
	rdb := redistest.ClientOf(t, redistest.Own(t))
	livedIn(t, rdb, golden, 3, func() time.Time { return time.UnixMilli(1_000_000) })
	if err := os.WriteFile("testdata/schema"+lanes.Schema()+".txt", []byte(dump(t, rdb, golden)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A migration that is interrupted, after any number of requests, keeps everybody out, goes on, and comes to the same.
func TestMigrationGoesOn(t *testing.T) {
	t.Parallel()
	whole := loaded(t, "6")
	if _, err := move.Migrate(bg, whole, golden, nil); err != nil {
		t.Fatal(err)
	}
	want := dump(t, whole, golden)
	from, s := loaded(t, "6"), redistest.Own(t)
	rdb := redistest.ClientOf(t, s)
	for after, done := 3, false; !done; after += 4 {
		reload(t, from, rdb)
		proxy, through := redistest.NewProxy(t, s)
		proxy.EndAfter(after)
		_, err := move.Migrate(bg, through, golden, nil)
		if done = err == nil; !done {
			_, closed := dispatcher.Open(bg, dispatcher.Config{Redis: rdb, Namespace: golden})
			over := closed == nil && dump(t, rdb, golden) == want // the answer to the last request alone was lost
			if !over && (!errors.Is(closed, dispatcher.ErrMismatch) || !strings.Contains(closed.Error(), "lanekeeper migrate")) {
				t.Errorf("after %d requests: %v", after, closed)
			}
			_, err = move.Migrate(bg, rdb, golden, nil)
		}
		if is := dump(t, rdb, golden); err != nil || is != want {
			t.Fatalf("after %d requests: %v\n%s\nand it is to be\n%s", after, err, is, want)
		}
		if after > 400 {
			t.Fatal("it has no end")
		}
	}
}

// reload puts what was loaded into another server, in the place of all that is there.
func reload(t *testing.T, from, rdb *redis.Client) {
	t.Helper()
	rdb.FlushAll(bg)
	for _, k := range keysOf(t, from, "{"+golden) {
		text, err := from.Dump(bg, k).Result()
		if err == nil {
			err = rdb.Restore(bg, k, 0, text).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Nothing is migrated under workers, which are named; and nothing that no step leads on from.
func TestMigrateRefuses(t *testing.T) {
	t.Parallel()
	rdb := loaded(t, "6")
	rdb.ZAdd(bg, "{golden}:seen", redis.Z{Score: float64(time.Now().UnixMilli()), Member: "old:1:abc"})
	before := dump(t, rdb, golden)
	if _, err := move.Migrate(bg, rdb, golden, nil); !errors.Is(err, move.ErrAlive) || !strings.Contains(err.Error(), "old:1:abc") {
		t.Errorf("under a worker: %v", err)
	}
	for schema, says := range map[string]string{"5": "finish its jobs", "8": "a later release made it", "7 removing": "is being removed", "7 importing": "is being imported"} {
		rdb.HSet(bg, "{golden}:meta", "schema", schema)
		if _, err := move.Migrate(bg, rdb, golden, nil); !errors.Is(err, dispatcher.ErrMismatch) || !strings.Contains(err.Error(), says) {
			t.Errorf("schema %s: %v", schema, err)
		}
	}
	rdb.HSet(bg, "{golden}:meta", "schema", "6")
	if after := dump(t, rdb, golden); after != before {
		t.Error("something was changed")
	}
	if _, err := move.Migrate(bg, rdb, "none", nil); !errors.Is(err, dispatcher.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := move.Migrate(ctx, rdb, golden, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
