package move_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Each line is checked before anything of it is written, whatever its digest says: the error names the line, the field, the value and
// the rule.
func TestImportChecksLines(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	const (
		header  = `{"type":"header","format":1,"id":"x","namespace":"n","schema":"7","partitions":1,"exported_at":"2026-01-01T00:00:00Z"}` + "\n"
		job     = `{"type":"job","place":"lane","id":"j","subject":"s:a","kind":"k","seq":1,"max_attempts":3`
		dead    = `{"type":"job","place":"dead","id":"j","subject":"s:a","kind":"k","seq":1,"max_attempts":3,"died_at_ms":"5"`
		outcome = `{"type":"outcome","id":"j","subject":"s:a","state":"finished"`
		window  = `{"type":"window","subject":"s:a","kind":"k"`
	)
	far := time.Now().AddDate(101, 0, 0).UnixMicro()
	for _, c := range []struct{ line, says string }{
		{job + `,"attempts":-1}`, `attempts "-1" must be 0 to 3`},
		{job + `,"attempts":4}`, `attempts "4" must be 0 to 3`},
		{job + `,"timeout_ms":-1}`, `timeout_ms "-1" must be 0 to 3153600000000`},
		{job + `,"timeout_ms":3153600000001}`, `timeout_ms "3153600000001" must`},
		{job + `,"timeout_ms":9223372036854775807}`, `timeout_ms "9223372036854775807" must`},
		{job + `,"keep_ms":2592000001}`, `keep_ms "2592000001" must`},
		{job + `,"enqueued_ms":-1}`, `enqueued_ms "-1" must`},
		{job + `,"seq":549755813888}`, `seq "549755813888" must`},
		{job + `,"payload":"` + strings.Repeat("x", 64<<20+1) + `"}`, `payload "67108865 bytes" must have at most 67108864`},
		{job + `,"headers":[["a","` + strings.Repeat("x", 4096) + `"]]}`, `headers "4097 bytes" must have at most 4096`},
		{job + `,"failed_on":["a\nb"]}`, `failed_on "a\nb" must be one line`},
		{job + `,"unique":{}}`, `key or digest "0 and 0 bytes"`},
		{job + `,"unique":{"key":"a","merged":-1}}`, `merged "-1" must`},
		{job + `,"run_at_ms":"5"}`, `time "5" must be`},
		{strings.Replace(job, `"seq":1`, `"seq":1,"flags":"x"`, 1) + `}`, `flags "x" may have`},
		{strings.Replace(job, `"max_attempts":3`, `"max_attempts":0`, 1) + `}`, `max_attempts "0" must`},
		{strings.Replace(job, `"k"`, `"a b"`, 1) + `}`, `kind "a b" may hold`},
		{strings.Replace(job, `"s:a"`, `"s"`, 1) + `}`, `subject`},
		{strings.Replace(job, `"lane"`, `"scheduled","run_at_ms":"1e5"`, 1) + `}`, `time "1e5" must be`},
		{strings.Replace(job, `"lane"`, `"elsewhere"`, 1) + `}`, `place "elsewhere" must be`},
		{dead + `,"attempts":-1}`, `attempts "-1" must be 0 to 2147483647`},
		{dead + `,"reason":"a\nb"}`, `reason "a\nb" must be one line`},
		{strings.Replace(dead, `"5"`, `"inf"`, 1) + `}`, `time "inf" must be`},
		{`{"type":"job","place":"lane","id":"j","stored":""}`, `place "lane" must be dead`},
		{`{"type":"job","place":"dead","id":"j","died_at_ms":"5","stored":"","attempts":-1}`, `attempts "-1" must`},
		{`{"type":"job","place":"dead","id":"","died_at_ms":"5","stored":""}`, `id`},
		{outcome + `,"attempts":-1}`, `attempts "-1" must`},
		{outcome + `,"ended_ms":-1}`, `ended_ms "-1" must`},
		{outcome + `,"until_ms":253402300800000}`, `until_ms "253402300800000" must`},
		{strings.Replace(outcome, "finished", "dead", 1) + `}`, `state "dead" must`},
		{strings.Replace(outcome, `"s:a"`, `"`+subject.SlotKind+`:a"`, 1) + `}`, `that is for slots of limits`},
		{window + `,"key":"a"}`, `id`},
		{window + `,"id":"\"x","key":"a"}`, `not a well-formed quoted string`},
		{window + `,"id":"j"}`, `key or digest "0 and 0 bytes" one must have`},
		{window + `,"id":"j","key":"a","until_ms":-1}`, `until_ms "-1" must`},
		{strings.Replace(window, `"k"`, `""`, 1) + `,"id":"j","key":"a"}`, `kind "" must`},
		{fmt.Sprintf(`{"type":"floor","token":"%d","seq":0}`, far), fmt.Sprintf(`token "%d" must be 0 to 100 years ahead`, far)},
		{`{"type":"floor","token":"-1","seq":0}`, `token "-1" must`},
		{`{"type":"floor","token":"1","seq":9007199254740991}`, `seq "9007199254740991" must`},
		{`{"type":"kind","kind":"a b"}`, `kind "a b" may hold`},
		{`{"type":"kind","kind":"k","declaration":null}`, `declaration "null" must be an object`},
		{`{"type":"kind","kind":"k","declaration":{},"owner":"a b"}`, `must be a word`},
		{`{"type":"kind","kind":"k","last_version":-1}`, `last_version "-1" must`},
		{`{"type":"kind","kind":"k","dead_keep_ms":-1}`, `dead_keep_ms "-1" must`},
		{`{"type":"limit","limit":"kind/k","most":1001,"every_ms":0,"version":1}`, `most "1001" must be 0 to 1000`},
		{`{"type":"limit","limit":"k","most":1,"every_ms":0,"version":1}`, `limit "k" must be that of a kind or of a pool`},
		{`{"type":"limit","limit":"kind/k","most":1,"every_ms":9223372036854775807,"version":1}`, `every_ms "9223372036854775807" must`},
		{`{"type":"lane","subject":"s:a","backoff_until_ms":-1}`, `backoff_until_ms "-1" must`},
		{`{"type":"lane","subject":"s:a","halted":{"at_ms":-1}}`, `at_ms "-1" must`},
	} {
		text := header + c.line + "\n"
		_, _, err := move.Check(strings.NewReader(text), nil)
		if !errors.Is(err, move.ErrDamaged) || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.200s: %.300v, want %s", c.line, err, c.says)
		}
		if len(text) > 1<<20 {
			continue // it takes a second, and import checks as --check does
		}
		name := redistest.Namespace(t, rdb)
		if _, _, brought := move.Import(bg, move.ImportConfig{Redis: rdb, Namespace: name}, strings.NewReader(text)); brought == nil || !strings.HasSuffix(brought.Error(), err.Error()) {
			t.Errorf("%.200s: imported: %.300v", c.line, brought)
		}
		if content := contentOf(t, rdb, name); content != "" {
			t.Errorf("%.200s: there is\n%s", c.line, content)
		}
	}
}

// contentOf is what a namespace stores but for its meta.
func contentOf(t *testing.T, rdb *redis.Client, name string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(dump(t, rdb, name)) {
		if !strings.Contains(line, "{"+name+"}:meta") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Dead letters that nobody can read, and those that break the rules of an enqueue, come back byte by byte, to where they are looked for.
func TestUnreadableDeadLettersComeBack(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		d := opened(t, rdb, redistest.Namespace(t, rdb), 4)
		broken := func(kind string, attempts int) string {
			job := record.Job{Subject: key("a"), Kind: kind, MaxAttempts: attempts, Order: 1, Seq: 1, EnqueuedAt: time.UnixMilli(1)}
			return string(job.Stored(job.Subject.Canonical()))
		}
		letters := map[string]string{"empty": "", "short": "x", "garbage": strings.Repeat("\xff", 40), "kind": broken("?", 3), "nokind": broken("", 3), "attempts": broken("k", 0)}
		p := d.Engine().Partition(key("a"))
		k := d.Engine().Keys(p)
		for id, body := range letters {
			rdb.HSet(bg, k.Jobs(), record.PackID(id), body)
			rdb.HSet(bg, k.Reasons(), record.PackID(id), "2 why\nboom\nand more")
			rdb.ZAdd(bg, k.Dead(), redis.Z{Score: 1000.25, Member: record.PackID(id)})
		}
		name := "3 25u " + record.UniqueField(key("a").Canonical(), "?", "x", nil)
		rdb.HSet(bg, k.Names(), record.PackID("kind"), name)
		text := exported(t, d)
		back := imported(t, rdb, text, 7)
		got := make(map[string]string)
		for p := range 7 {
			k := back.Engine().Keys(p)
			for id, body := range rdb.HGetAll(bg, k.Jobs()).Val() {
				id, _ := record.UnpackID(id)
				got[id] = body
				if reason := rdb.HGet(bg, k.Reasons(), record.PackID(id)).Val(); reason != "2 why\nboom\nand more" {
					t.Errorf("%s: its reason is %q", id, reason)
				}
				if score := rdb.ZScore(bg, k.Dead(), record.PackID(id)).Val(); score != 1000.25 {
					t.Errorf("%s died at %v", id, score)
				}
				if at := back.Engine().Partition(key("a")); strings.Contains("kind nokind attempts", id) && p != at {
					t.Errorf("%s is in partition %d, and looked for in %d", id, p, at)
				}
				if known := rdb.HGet(bg, k.Names(), record.PackID(id)).Val(); id == "kind" && known != name {
					t.Errorf("its unique key is %q", known)
				}
			}
			if kinds := rdb.SMembers(bg, k.Kinds()).Val(); len(kinds) > 0 {
				t.Errorf("kinds %q", kinds)
			}
		}
		for id, body := range letters {
			if is, ok := got[id]; !ok || is != body {
				t.Errorf("%s is %q, %v; it was %q", id, is, ok, body)
			}
		}
		if len(got) != len(letters) {
			t.Errorf("%d came back", len(got))
		}
		if again := unbound(t, exported(t, back)); strings.Join(again, "") != strings.Join(unbound(t, text), "") {
			t.Errorf("it exports\n%s", strings.Join(again, ""))
		}
		if _, err := doctor.New(back).Examine(bg, nil); err != nil {
			t.Error(err)
		}
	})
}

// A job that waits and that no import would take makes an export fail, and names it: a backup that can't be read is none.
func TestExportOfWhatNoImportTakes(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	d := opened(t, rdb, redistest.Namespace(t, rdb), 1)
	enqueued(t, d, dispatcher.NewJob{Subject: key("a"), ID: "j"})
	k := d.Engine().Keys(0)
	job := record.Job{Subject: key("a"), Kind: "k", MaxAttempts: 0, Order: 1, Seq: 1, EnqueuedAt: time.UnixMilli(1)}
	rdb.HSet(bg, k.Jobs(), record.PackID("j"), job.Stored(job.Subject.Canonical()))
	if _, err := move.Export(bg, d, new(strings.Builder), move.ExportOptions{}); err == nil || !strings.Contains(err.Error(), `job j: `) || !strings.Contains(err.Error(), `max_attempts "0" must`) {
		t.Errorf("%v", err)
	}
}

// A namespace whose marker is gone is removed by its keys; without any there is none.
func TestRemoveWithoutAMarker(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		name := redistest.Namespace(t, rdb)
		enqueued(t, opened(t, rdb, name, 3), dispatcher.NewJob{Subject: key("a")}, dispatcher.NewJob{Subject: key("b")})
		rdb.Del(bg, "{"+name+"}:meta")
		left, err := move.Left(bg, rdb, name, nil)
		if err != nil || left == 0 {
			t.Errorf("%d, %v", left, err)
		}
		n := lanes.Closed(rdb, opened(t, rdb, name+"-other", 1).Namespace())
		t.Cleanup(func() { rdb.Del(bg, n.Meta()) })
		if _, err := move.Remove(bg, rdb, name, false, nil); err != nil || len(keysOf(t, rdb, "{"+name+":")) > 0 || rdb.Exists(bg, "{"+name+"}:meta").Val() != 0 {
			t.Errorf("%v, %v are left", err, keysOf(t, rdb, "{"+name+":"))
		}
		if rdb.Exists(bg, n.Meta()).Val() != 1 {
			t.Error("a neighbour is gone")
		}
		if _, err := move.Remove(bg, rdb, name, false, nil); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("once more: %v", err)
		}
	})
}
