package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// What JSON can't carry is refused, with the field; all else comes out as it went in.
func TestG19_Lines(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"{\"subject\":\"artifact:caf\xe9\",\"kind\":\"k\"}":         "subject has bytes that are not UTF-8",
		"{\"subject\":\"a:1\",\"kind\":\"k\xff\"}":                  "kind has bytes that are not UTF-8",
		"{\"subject\":\"a:1\",\"kind\":\"k\",\"id\":\"\xe9\"}":      "id has bytes that are not UTF-8",
		"{\"subject\":\"a:1\",\"kind\":\"k\",\"payload\":\"\xe9\"}": "payload has bytes that are not UTF-8",
		"{\"subject\":\"a:1\",\"payload\":{\"n\":[\"na\xefve\"]}}":  "payload has bytes that are not UTF-8",
		"{\"subject\":\"a:1\",\"unique\":{\"key\":\"\xe9\"}}":       "unique.key has bytes that are not UTF-8",
		"{\"subject\":\"a:1\",\"headers\":{\"h\":\"\xe9\"}}":        "headers.h has bytes that are not UTF-8",
		"{\"subject\":\"a:1\",\"headers\":{\"\xe9\":\"h\"}}":        "headers: the name of the field",
		"{\"subject\":\"a:1\",\"delay\":\"1s\xe9\"}":                "delay has bytes that are not UTF-8",
		"{\"subj\xe9ct\":\"a:1\"}":                                  "the name of the field",
		`{"subject":"a:\ud800","kind":"k"}`:                         "subject has half of a surrogate pair",
		`{"subject":"a:1","payload":"\udc00\ud800"}`:                "payload has half of a surrogate pair",
		`{"subject":"a:1","payload":"\ud83d\u0041"}`:                "payload has half of a surrogate pair",
		`{"subject":"a:1","id":"\ud83d\\ude00"}`:                    "id has half of a surrogate pair",
		`{"subject":"a:1","headers":{"\ud800":"h"}}`:                "half of a surrogate pair",
		`{"subject":"a:1","delay":600}`:                             `delay 600 must be a text such as "90s"`,
		`{"subject":"a:1","delay":"soon"}`:                          `delay "soon" must be a duration`,
		`{"subject":5}`:                                             "subject 5 must be a text",
		`{"max_attempts":"5"}`:                                      `max_attempts "5" must be a whole number, 1 to 2147483647`,
		`{"max_attempts":0}`:                                        "max_attempts 0 must be a whole number",
		`{"max_attempts":1.5}`:                                      "max_attempts 1.5 must be",
		`{"max_attempts":3000000000}`:                               "max_attempts 3000000000 must be",
		`{"timeout":"999us"}`:                                       "timeout \"999us\" must be at least 1ms",
		`{"keep":"0s"}`:                                             "keep \"0s\" must be at least 1ms",
		`{"unique":{"window":"1us"}}`:                               "unique.window",
		`{"unique":{"kee":"x"}}`:                                    `unknown field "unique.kee"`,
		`{"unique":7}`:                                              "unique 7 must be an object",
		`{"headers":{"h":7}}`:                                       "headers.h 7 must be a text",
		`{"headers":["h"]}`:                                         "headers [\"h\"] must be an object",
		`{"headers":{"h":"1","\u0068":"2"}}`:                        `headers: the field "h" is there twice`,
		`{"subject":"a:1","Subject":"b:1"}`:                         `"Subject" is there twice`,
		`{"payload":"x","payload_base64":"AP8="}`:                   "can't both be set",
		`{"payload_base64":"SECRET!"}`:                              "payload_base64 must be a text in base64",
		`{"run_at":"0001-01-01T00:00:00Z"}`:                         "run_at",
		`{"id":"\"x"}`:                                              "not a well-formed quoted string",
		`{"dealy":"1h"}`:                                            `unknown field "dealy"`,
		`[]`:                                                        "must be a JSON object", `{"a"`: "ends in the middle", `{}{}`: "more than one", `nonsense`: "not JSON",
	} {
		_, err := parseLine([]byte(line))
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "Go struct") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%q: %v; want %q", line, err, says)
		}
	}
	job, err := parseLine([]byte(` {"subject":"a:\"caf\\xe9\"","kind":"k","id":"\"\\xff\"","payload":"\ud83d\ude00 \ufffd \u0000","headers":{"A":"1","a":"😀"},` +
		`"unique":{"key":"ключ","scope":"window","window":"1ms","on_conflict":"reject"},"delay":"0s","max_attempts":3,"timeout":null} `))
	if err != nil || job.Subject.ID != "caf\xe9" || job.ID != "\xff" || string(job.Payload) != "😀 \ufffd \x00" || job.Headers["a"] != "😀" ||
		job.Headers["A"] != "1" || job.Unique.Key != "ключ" || job.MaxAttempts != 3 || job.Timeout != 0 {
		t.Errorf("%+v, %v", job, err)
	}
	for text, want := range map[string]string{
		`{"n":9007199254740993, "s":"\ud800"}`: `{"n":9007199254740993, "s":"\ud800"}`, `[1, 2]`: `[1, 2]`, ` 1.0 `: `1.0`, `true`: `true`, `null`: ``, `""`: ``,
	} {
		job, err := parseLine([]byte(`{"subject":"a:1","kind":"k","payload":` + text + `}`))
		if err != nil || string(job.Payload) != want {
			t.Errorf("payload %s is handed on as %q, %v; want %q", text, job.Payload, err, want)
		}
	}
}

// A file in another encoding is refused with the line, and no two of its subjects become one; the
// mark of UTF-8 at its start is no harm.
func TestG19_FilesOfOtherEncodings(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	in := "\ufeff{\"subject\":\"artifact:1\",\"kind\":\"k\"}\r\n" +
		"{\"subject\":\"artifact:caf\xe9\",\"kind\":\"k\",\"id\":\"a\"}\n{\"subject\":\"artifact:caf\xe8\",\"kind\":\"k\",\"id\":\"b\"}\n"
	code, out, errOut := w.runWith(in, "enqueue", "--from", "-", "--on-error", "skip")
	if code != exitFailed || !strings.Contains(out, "1 job enqueued, 0 existed already, 2 bad lines") ||
		!strings.Contains(errOut, "line 2: subject has bytes") || !strings.Contains(errOut, "line 3: subject has bytes") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	if lanes := w.must("lane", "ls", "-q"); lanes != "artifact:1\n" {
		t.Errorf("lanes %q", lanes)
	}
	for text, says := range map[string]string{
		"handlers: {k: \"caf\xe9\"}": "line 1 has bytes that are not UTF-8", "\ufeffhandlers: {k: no-such-program}": "no-such-program",
		`handlers: {k: "\ud800"}`: "surrogate",
	} {
		if code, _, errOut := w.run("work", "--config", w.config(text)); code != exitUsage || !strings.Contains(errOut, says) {
			t.Errorf("%q: exit %d\n%s", text, code, errOut)
		}
	}
}

var oddIDs = []string{
	"two\nlines", "esc\x1b[31m", "caf\xe9", "caf\xe8", "-rf", "two words", "it's", `"q"`, "$HOME", "*", `a\nb`, "~", "plain-1",
}

// An id that a list or a shell would change can be listed, copied and used, and so can subjects;
// a program gets it as it is.
func TestG19_IDsCanBeCopied(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	for i, id := range oddIDs {
		w.must("enqueue", "s:"+subject.IDText(id), "bad", "--max-attempts", "1", "--id="+subject.IDText(id))
		if i == 0 {
			if out := w.must("enqueue", "s:x", "k", "--id", "raw\tid", "-q"); out != "'\"raw\\tid\"'\n" {
				t.Errorf("enqueue -q prints %q", out)
			}
			w.must("job", "cancel", "raw\tid")
		}
	}
	w.must("work", "--concurrency", "1", "--handle", `bad=sh -c 'printf %s "$LANEKEEPER_JOB" >>`+w.dir+`/ids; echo >>`+w.dir+`/ids; exit 1'`, "--until-empty", "-q")
	raw, _ := os.ReadFile(filepath.Join(w.dir, "ids"))
	for _, id := range oddIDs {
		if !strings.Contains(string(raw), id+"\n") {
			t.Errorf("no program got the id %q", id)
		}
	}
	lanekeeper := fmt.Sprintf("%s --redis %s --namespace %s ", filepath.Join(built, "lanekeeper"), w.url, w.namespace)
	shell := func(line string) string {
		t.Helper()
		out, err := exec.Command("sh", "-c", strings.ReplaceAll(line, "LK ", lanekeeper)).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	dead := func() []string {
		var views []struct{ ID string }
		if err := json.Unmarshal([]byte(w.must("dead", "ls", "-o", "json")), &views); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, v := range views {
			id, err := subject.ParseID(v.ID)
			if err != nil {
				t.Errorf("the id %q: %v", v.ID, err)
			}
			ids = append(ids, id)
			w.must("dead", "show", v.ID)
			w.must("job", "show", v.ID, "-o", "json")
		}
		slices.Sort(ids)
		return ids
	}
	want := slices.Sorted(slices.Values(oddIDs))
	if got := dead(); !slices.Equal(got, want) {
		t.Errorf("JSON has the ids %q, want %q", got, want)
	}
	if table := w.must("dead", "ls"); !strings.Contains(table, `"two\nlines"`) || strings.Contains(table, "\x1b") || !strings.Contains(table, `"caf\xe9"`) {
		t.Errorf("the table is\n%s", table)
	}
	said := shell("LK dead ls -q | xargs LK dead replay")
	for _, id := range oddIDs {
		if !strings.Contains(said, subject.IDWord(id)+" replayed\n") {
			t.Errorf("%q was not replayed by xargs:\n%s", id, said)
		}
	}
	if lanes := shell("LK lane ls -q | xargs -n 1 LK lane show -q"); len(strings.Fields(strings.ReplaceAll(lanes, "two words", ""))) == 0 {
		t.Errorf("the lanes hold %q", lanes)
	}
	// What is said can be pasted into a command line.
	var words []string
	for line := range strings.Lines(said) {
		words = append(words, strings.TrimSuffix(line, " replayed\n"))
	}
	if out := shell("LK job cancel " + strings.Join(words, " ")); strings.Count(out, " cancelled\n") != len(oddIDs) {
		t.Errorf("cancelled:\n%s", out)
	}
	if got := dead(); len(got) != 0 {
		t.Errorf("still dead: %q", got)
	}
}

// Headers reach a program as JSON.
func TestG19_HeadersReachPrograms(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--header", "trace=a\nb \"c\"", "--header", "x=")
	w.must("enqueue", "s:b", "k")
	w.must("work", "--concurrency", "1", "--handle", `k=sh -c 'printf "%s\n" "$LANEKEEPER_HEADERS" >>`+w.dir+`/headers'`, "--until-empty")
	got, _ := os.ReadFile(filepath.Join(w.dir, "headers"))
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	slices.Sort(lines)
	if want := []string{`{"trace":"a\nb \"c\"","x":""}`, `{}`}; !slices.Equal(lines, want) {
		t.Errorf("headers %q, want %q", lines, want)
	}
	if got := headersJSON(map[string]string{"a": "b", "c": "\xff"}); got != `{"a":"b"}` {
		t.Errorf("a header that is not UTF-8: %s", got)
	}
}

// A zero, or what would become one, is refused where it is no value, and never the default.
func TestG19_ZeroIsNoDefault(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	fails := func(says string, args ...string) {
		t.Helper()
		if code, out, errOut := w.run(args...); code != exitUsage || !strings.Contains(errOut, says) {
			t.Errorf("%v: exit %d, want %d and %q\n%s%s", args, code, exitUsage, says, out, errOut)
		}
	}
	for says, flags := range map[string][]string{
		"--max-attempts 0 must be 1 to 2147483647":          {"--max-attempts", "0"},
		"--max-attempts 3000000000 must be 1 to 2147483647": {"--max-attempts", "3000000000"},
		"--timeout 999µs must be at least 1ms":              {"--timeout", "999us"},
		"--timeout 0s must be at least 1ms":                 {"--timeout", "0"},
		"--keep 0s must be at least 1ms":                    {"--keep", "0s"},
		"--wait-for -5s must be over 0s":                    {"--wait", "--wait-for", "-5s"},
		"--replicas-within 0s must be 1ms to 1m":            {"--replicas-within", "0"},
		"--at \"0001-01-01T00:00:00Z\" must lie between":    {"--at", "0001-01-01T00:00:00Z"},
	} {
		fails(says, append([]string{"enqueue", "s:a", "k"}, flags...)...)
	}
	fails("--lease-ttl 0s must be", "exec", "s:a", "--lease-ttl", "0", "--", "true")
	for says, flags := range map[string][]string{
		"--concurrency 0 must be 1 to 10000": {"--concurrency", "0"}, "--lease-ttl 0s must be": {"--lease-ttl", "0"}, "--timeout 0s must be": {"--timeout", "0"},
	} {
		fails(says, append([]string{"work", "--handle", "k=true", "--until-empty"}, flags...)...)
	}
	for yaml, says := range map[string]string{
		"concurrency: 0":                       "concurrency: 0 must be more than 0",
		"concurrency: 1.5":                     "concurrency: 1.5 must be a whole number",
		"pools: {default: 1.5}":                "pools.default: 1.5 must be a whole number",
		"lane_batch: {k: 2.0}":                 "lane_batch.k: 2.0 must be a whole number",
		"timeout: 60":                          "timeout: 60 must be a duration such as",
		"lease_ttl: 0s":                        "lease_ttl: 0s must be more than 0",
		"kinds:\n  k: {owner: o, every: 5}":    "line 2: kinds.k.every: 5 must be a duration",
		"kinds:\n  k: {owner: o, limit: 1.5}":  "line 2: kinds.k.limit: 1.5 must be a whole number",
		"kinds: {k: {owner: o, limit: 0}}":     "kinds.k.limit: 0 must be more than 0",
		"kinds: {k: {owner: o, timeout: 1us}}": "timeout",
		"concurrency: 1\n---\nconcurrency: 2":  "several documents",
		"handlers: [k]":                        "line 1:",
	} {
		fails(says, "work", "--handle", "k=true", "--until-empty", "--config", w.config(yaml))
	}
	// The whole line is shown, and where in it.
	_, _, errOut := w.run("work", "--config", w.config("kinds:\n  expire: {owner: storage, subject: artifact, limit: x, priority: 1.5}\n"))
	if !strings.Contains(errOut, "  2 |   expire: {owner: storage, subject: artifact, limit: x, priority: 1.5}\n") || strings.Contains(errOut, "Go struct") {
		t.Errorf("the error shows\n%s", errOut)
	}
	// --stop-timeout 0 does not wait at all.
	w.must("enqueue", "s:a", "k", `{"block":true}`, "--id", "blocks")
	p := w.start("--stop-timeout", "0", "--lease-ttl", "5s")
	w.until("it runs", func() bool { return w.logged("start") == 1 })
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 1 || !strings.Contains(p.out.String(), "1 jobs handed back") {
		t.Errorf("exit %d\n%s", code, p.out.String())
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("--stop-timeout 0 waits %s", took)
	}
	if _, set, err := parseConfig([]byte("stop_timeout: 0s")); err != nil || !set["stop_timeout"] {
		t.Errorf("a stop timeout of 0s in a file: %v, %v", set, err)
	}
}

// Too large is a mistake in the command, as too long is, on every way in.
func TestG19_TooLarge(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	large := strings.Repeat("x", dispatcher.DefaultMaxPayload+1)
	for what, run := range map[string]func() (int, string, string){
		"an argument's payload": func() (int, string, string) { return w.runWith(large, "enqueue", "s:a", "k", "-") },
		"headers":               func() (int, string, string) { return w.run("enqueue", "s:a", "k", "--header", "h="+large[:5000]) },
		"a line": func() (int, string, string) {
			return w.runWith(`{"subject":"s:a","kind":"k","payload":"`+large+`"}`, "enqueue", "--from", "-")
		},
		"an id": func() (int, string, string) { return w.run("enqueue", "s:a", "k", "--id", large[:129]) },
	} {
		if code, _, errOut := run(); code != exitUsage {
			t.Errorf("%s that is too large: exit %d\n%.200s", what, code, errOut)
		}
	}
	if code, _, errOut := w.runWith(large[1:], "enqueue", "s:a", "k", "-"); code != 0 {
		t.Errorf("the largest payload: exit %d\n%.200s", code, errOut)
	}
}
