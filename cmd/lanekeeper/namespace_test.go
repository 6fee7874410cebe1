package main

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// A namespace goes when its name was typed, and stays when anything else was; nobody is asked about an empty one.
func TestNamespaceRemoveAsks(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "j")
	for _, answer := range []string{"", "y", w.namespace + "2"} {
		if code, said := w.typed(answer, "namespace", "rm", w.namespace); code != exitFailed || !strings.Contains(said, "has 1 job, ") || !strings.Contains(said, "nothing was removed") {
			t.Errorf("%q: exit %d\n%s", answer, code, said)
		}
		w.must("job", "show", "j")
	}
	if code, said := w.typed(w.namespace, "namespace", "rm", w.namespace); code != 0 || !strings.Contains(said, "Removed namespace "+w.namespace+": 1 job, ") {
		t.Errorf("exit %d\n%s", code, said)
	}
	w.must("doctor", "--fix")
	var done struct{ Removed string }
	if err := json.Unmarshal([]byte(w.must("namespace", "rm", w.namespace, "-o", "json")), &done); err != nil || done.Removed != w.namespace {
		t.Errorf("an empty one: %+v, %v", done, err)
	}
}

// Of a namespace whose marker is gone the keys are counted, and go when that was said; then there is none of that name.
func TestNamespaceRemoveWithoutMarker(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k")
	redistest.Client(t).Del(t.Context(), "{"+w.namespace+"}:meta")
	if code, _, errOut := w.run("namespace", "rm", w.namespace); code != exitUsage || !strings.Contains(errOut, "has no marker, and ") || !strings.Contains(errOut, "say --yes\n") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	if out := w.must("namespace", "rm", w.namespace, "--yes"); !strings.Contains(out, "Removed namespace "+w.namespace) {
		t.Errorf("%s", out)
	}
	if keys := redistest.Client(t).Keys(t.Context(), "{"+w.namespace+"*").Val(); len(keys) > 0 {
		t.Errorf("%q are left", keys)
	}
	if code, _, errOut := w.run("namespace", "rm", w.namespace, "--yes"); code != exitNotFound || !strings.Contains(errOut, "there is no namespace") {
		t.Errorf("exit %d, %s", code, errOut)
	}
}

// typed runs a command on a terminal on which somebody types an answer, and Enter.
func (w *town) typed(answer string, args ...string) (code int, said string) {
	w.t.Helper()
	keys, tty := pseudoTerminal(w.t)
	if _, err := keys.WriteString(answer + "\n"); err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(built+"/lanekeeper", append([]string{"--redis", w.url, "--namespace", w.namespace}, args...)...)
	cmd.Stdin = tty
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// Nothing is removed under a worker that lives, and the worker is named.
func TestNamespaceRemoveUnderWorkers(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	p := w.start()
	w.until("it is there", func() bool { return strings.Contains(w.must("worker", "ls"), "alive") })
	if code, _, errOut := w.run("namespace", "rm", w.namespace, "--yes"); code != exitFailed || !strings.Contains(errOut, "1 worker lives: ") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	p.signal(syscall.SIGTERM)
	p.exit()
	w.must("namespace", "rm", w.namespace, "--yes")
}

// A list of namespaces that ends early says so, after each number of requests.
func TestNamespaceListIsIncomplete(t *testing.T) {
	t.Parallel()
	s := redistest.Own(t)
	w := &town{t: t, url: s.URL(), namespace: "one", dir: t.TempDir()}
	w.must("enqueue", "s:a", "k")
	w.must("--namespace", "two", "enqueue", "s:a", "k")
	for after := 0; ; after++ {
		proxy, _ := redistest.NewProxy(t, s)
		proxy.EndAfter(after)
		through := *w
		through.url = proxy.URL() + "?max_retries=-1&pool_size=1"
		code, out, errOut := through.run("namespace", "ls", "-q")
		if code == 0 && after > 4 {
			if out != "one\ntwo\n" {
				t.Errorf("the whole list is %q", out)
			}
			return
		}
		if code != exitNoRedis && code != exitIncomplete || out != "" && code != exitIncomplete || after > 60 {
			t.Fatalf("away after %d requests: exit %d\n%s%s", after, code, out, errOut)
		}
	}
}

// kill -9 in the middle of a removal: it stays closed, and the same command goes on.
func TestNamespaceRemoveAfterKill(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	var lines strings.Builder
	for i := range 4000 {
		lines.WriteString(`{"subject":"s:` + strconv.Itoa(i/2) + `","kind":"k"}` + "\n")
	}
	if code, _, errOut := w.runWith(lines.String(), "enqueue", "--from", "-"); code != 0 {
		t.Fatal(errOut)
	}
	proxy, _ := redistest.NewProxy(t, redistest.Shared(t))
	proxy.Slow(5 * time.Millisecond)
	through := *w
	through.url = proxy.URL()
	p := through.startWith("namespace", "rm", w.namespace, "--yes")
	w.until("it has begun", func() bool { code, _, _ := w.run("lane", "ls"); return code != 0 })
	p.signal(syscall.SIGKILL)
	p.exit()
	if code, _, errOut := w.run("enqueue", "s:a", "k"); code != exitFailed || !strings.Contains(errOut, "goes on with that") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	w.must("namespace", "rm", w.namespace)
	if out := w.must("namespace", "ls", "-q"); strings.Contains(out, w.namespace) {
		t.Errorf("it is still there:\n%s", out)
	}
}
