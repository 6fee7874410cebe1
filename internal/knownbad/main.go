// Command knownbad puts defects into a copy of this repository, one at a time, and runs
// the fast layers of tests on each: L1, the tests of packages on miniredis and
// redis-server, and where these find nothing L2, the simulator. Every defect must be
// caught. 'make known-bad' runs it from the root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// layers are the test commands, the fastest first.
var layers = []struct {
	name string
	args []string
}{
	{"L1", []string{"test", "-short", "-failfast", "-timeout", "100s", "-skip", "TestSimulation",
		"./subject", "./lease", "./internal/script", "./dispatcher", "./worker", "."}},
	{"L2", []string{"test", "-short", "-failfast", "-timeout", "100s", "-run", "TestSimulation", "./worker", "-sim.seeds", "12"}},
}

func main() {
	only := flag.String("only", "", "only defects whose name contains this")
	flag.Parse()
	if err := run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "knownbad:", err)
		os.Exit(1)
	}
}

func run(only string) error {
	dir, err := os.MkdirTemp("", "lanekeeper-knownbad-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		return err
	}
	for _, l := range layers { // else every defect would seem caught
		if name, caught := fails(dir, l.args); caught {
			return fmt.Errorf("%s fails without any defect: %s", l.name, name)
		}
	}
	total, caught := 0, 0
	for _, d := range defects {
		if !strings.Contains(d.name, only) {
			continue
		}
		total++
		by, err := try(dir, d)
		if err != nil {
			return err
		}
		verdict := "NOT CAUGHT"
		if by != "" {
			caught++
			verdict = by
		}
		fmt.Printf("%-62s %s\n", d.name, verdict)
	}
	fmt.Printf("%d of %d caught\n", caught, total)
	if caught != total {
		return errors.New("some defects are not caught")
	}
	return nil
}

// try puts a defect in, returns the layer and the test that caught it, and takes it out.
func try(dir string, d defect) (by string, err error) {
	path := filepath.Join(dir, d.file)
	good, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(good), d.good); n != 1 {
		return "", fmt.Errorf("%s: what it changes in %s is there %d times, not once: bring the list up to date", d.name, d.file, n)
	}
	bad := strings.Replace(string(good), d.good, d.bad, 1)
	if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, good, 0o600)) }()
	for _, l := range layers {
		if name, caught := fails(dir, l.args); caught {
			return l.name + " " + name, nil
		}
	}
	return "", nil
}

var failed = regexp.MustCompile(`--- FAIL: (\S+)`)

// fails runs go and returns the test that failed first.
func fails(dir string, args []string) (name string, failing bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", false
	}
	switch m := failed.FindSubmatch(out); {
	case m != nil:
		return string(m[1]), true
	case strings.Contains(string(out), "test timed out"):
		return "a test hangs", true
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return "does not build or start: " + lines[0], true
}
