package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { Main(m) }

// What is started is what REDIS_SERVER names, for the servers of clusters and for Sentinels too; a path that is wrong is said
// to be, and another server is not taken in its place. It is read once a process, so processes of their own try it.
func TestServerIsTheOneThatIsNamed(t *testing.T) {
	t.Parallel()
	real, err := exec.LookPath(binary())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	named, log := filepath.Join(dir, "server"), filepath.Join(dir, "log")
	text := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s\nexec %s \"$@\"\n", log, real)
	if err := os.WriteFile(named, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := starts(named)
	started, _ := os.ReadFile(log)
	if err != nil || !strings.Contains(out, "tests ran on "+named+": ") {
		t.Errorf("%v\n%s", err, out)
	}
	for what, times := range map[string]int{"--cluster-enabled yes": 6, "--sentinel": 3, "--replicaof": 1} {
		if n := strings.Count(string(started), what); n < times {
			t.Errorf("%d of %d were started with %s from it:\n%s", n, times, what, started)
		}
	}
	if out, err := starts(filepath.Join(dir, "none")); err == nil || !strings.Contains(out, "REDIS_SERVER") {
		t.Errorf("a server that is not there: %v\n%s", err, out)
	}
	if out, err := starts("/bin/echo"); err == nil || !strings.Contains(out, "no version of Redis or Valkey") {
		t.Errorf("something else: %v\n%s", err, out)
	}
}

// starts runs TestStarts in a process of its own, whose server is the one named.
func starts(server string) (string, error) {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestStarts$")
	cmd.Env = append(os.Environ(), ServerVar+"="+server)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// One of each starts.
func TestStarts(t *testing.T) {
	t.Parallel()
	Shared(t)
	OwnCluster(t)
	OwnSentinels(t)
}
