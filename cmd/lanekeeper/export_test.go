package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// The lines of an export are an interface: those that a release has written, every later one imports, into any number of
// partitions, and exports the same again.
func TestImportOfAnEarlierExport(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/export.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	w := newTown(t)
	w.must("import", "testdata/export.jsonl", "--partitions", "5")
	// Some of its jobs are due by now, and would take their places.
	if was, is := sortedLines(string(text)), sortedLines(w.must("export", "--while-running")); !slices.Equal(was, is) {
		t.Errorf("it was\n%s\nand is\n%s", strings.Join(was, ""), strings.Join(is, ""))
	}
	w.must("doctor")
}

// sortedLines are those of an export but for the first and the last one.
func sortedLines(text string) []string {
	lines := slices.Collect(strings.Lines(text))
	lines = lines[1 : len(lines)-1]
	slices.Sort(lines)
	return lines
}

// kill -9 of an import, again and again: nobody sees a part of it, and in the end all is there, once.
func TestImportAfterKills(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	var lines strings.Builder
	for i := range 6000 {
		lines.WriteString(`{"subject":"s:` + strconv.Itoa(i%40) + `","kind":"k","id":"` + strconv.Itoa(i) + `","payload":"` + strconv.Itoa(i) + `"}` + "\n")
	}
	if code, _, errOut := w.runWith(lines.String(), "enqueue", "--from", "-"); code != 0 {
		t.Fatal(errOut)
	}
	file, into := filepath.Join(w.dir, "out"), w.namespace+"-new"
	w.must("export", "--to", file)
	proxy, _ := redistest.NewProxy(t, redistest.Shared(t))
	proxy.Slow(4 * time.Millisecond)
	through := *w
	through.url, through.namespace = proxy.URL(), into
	rdb, last := redistest.Client(t), ""
	for kills := range 4 {
		p := through.startWith("import", file, "--partitions", "3")
		at := ""
		w.until("it gets on", func() bool {
			at = rdb.HGet(t.Context(), "{"+into+"}:meta", "import").Val()
			return at != last && !strings.HasSuffix(at, " 0")
		})
		p.signal(syscall.SIGKILL)
		p.exit()
		last = rdb.HGet(t.Context(), "{"+into+"}:meta", "import").Val()
		if code, _, errOut := w.run("--namespace", into, "enqueue", "s:a", "k"); code != exitFailed || !strings.Contains(errOut, "is being imported") {
			t.Fatalf("after %d kills: exit %d, %s", kills, code, errOut)
		}
	}
	w.must("--namespace", into, "import", file)
	if was, is := sortedLines(w.must("export")), sortedLines(w.must("--namespace", into, "export")); !slices.Equal(was, is) {
		t.Errorf("%d lines were exported, %d are there", len(was), len(is))
	}
	w.must("--namespace", into, "doctor")
}

// A file that is there is never written over, and an export that fails leaves none.
func TestExportToAFile(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "j")
	file := filepath.Join(w.dir, "out")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := w.run("export", "--to", file); code != exitUsage {
		t.Errorf("exit %d", code)
	}
	if text, _ := os.ReadFile(file); string(text) != "mine" {
		t.Errorf("it is %q", text)
	}
	proxy, _ := redistest.NewProxy(t, redistest.Shared(t))
	proxy.EndAfter(12)
	through := *w
	through.url = proxy.URL() + "?max_retries=-1&pool_size=1"
	part := filepath.Join(w.dir, "part")
	if code, _, errOut := through.run("export", "--to", part); code != exitNoRedis {
		t.Errorf("exit %d, %s", code, errOut)
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("a part of an export is left")
	}
}

// An export goes through a pipe, and its counts are for programs too.
func TestImportFromAPipe(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "j")
	text := w.must("export")
	if code, out, errOut := w.runWith(text, "import", "-", "--namespace", w.namespace+"-new", "-o", "json"); code != 0 || !strings.Contains(out, `"jobs": 1`) {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
	w.must("--namespace", w.namespace+"-new", "job", "show", "j")
}
