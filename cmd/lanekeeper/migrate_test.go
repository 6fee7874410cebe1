package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// ofSchema6 is a town on a server of its own, as the release with schema 6 left it (dispatcher/move/testdata).
func ofSchema6(t *testing.T) (*town, *redistest.Server) {
	t.Helper()
	s := redistest.Own(t)
	rdb := redistest.ClientOf(t, s)
	text, err := os.ReadFile("../../dispatcher/move/testdata/schema6.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var words []any
		for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimPrefix(rest, " ") {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatal(err)
			}
			word, _ := strconv.Unquote(quoted)
			words, rest = append(words, word), rest[len(quoted):]
		}
		if err := rdb.Do(t.Context(), words...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return &town{t: t, url: s.URL(), namespace: "golden", dir: t.TempDir()}, s
}

// Who meets a namespace of an earlier release is told what to type, types it, and has all jobs.
func TestMigrate(t *testing.T) {
	t.Parallel()
	w, _ := ofSchema6(t)
	if code, _, errOut := w.run("stats"); code != exitFailed || !strings.Contains(errOut, "run 'lanekeeper --redis "+w.url+" migrate --namespace golden'") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	if out := w.must("namespace", "ls"); !strings.Contains(out, "lanekeeper migrate") {
		t.Errorf("the list says\n%s", out)
	}
	if out := w.must("migrate"); !strings.Contains(out, "from schema 6 to 7: 31 jobs, 2 dead letters") {
		t.Errorf("%s", out)
	}
	w.must("doctor")
	if out := w.must("job", "show", "f1"); !strings.Contains(out, "boom") || !strings.Contains(out, "1 of 25") {
		t.Errorf("%s", out)
	}
}

// kill -9 in the middle of a migration: the namespace stays closed, and the same command goes on.
func TestMigrateAfterKill(t *testing.T) {
	t.Parallel()
	w, s := ofSchema6(t)
	rdb := redistest.ClientOf(t, s)
	schema := func() string { return rdb.HGet(t.Context(), "{golden}:meta", "schema").Val() }
	proxy, _ := redistest.NewProxy(t, s)
	proxy.Slow(30 * time.Millisecond)
	through := *w
	through.url = proxy.URL()
	p := through.startWith("migrate")
	w.until("it has begun", func() bool { return schema() == "6 migrating" })
	p.signal(syscall.SIGKILL)
	p.exit()
	if is := schema(); is != "6 migrating" {
		t.Fatalf("it was too fast: schema %s", is)
	}
	if code, _, errOut := w.run("enqueue", "s:a", "k"); code != exitFailed || !strings.Contains(errOut, "'lanekeeper --redis "+w.url+" migrate --namespace golden' goes on") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	w.must("migrate")
	w.must("doctor")
}
