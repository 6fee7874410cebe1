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
	"slices"
	"strings"
	"time"
)

// step is one test command. A defect is looked for in its own package first.
type step struct {
	layer, pkg string
	args       []string
}

var steps = []step{
	{"L1", "subject", nil}, {"L1", "lease", nil}, {"L1", "internal/script", nil},
	{"L1", "dispatcher", []string{"-rapid.shrinktime", "100ms", "-rapid.nofailfile"}},
	{"L1", "worker", []string{"-skip", "TestSimulation|TestHerd"}}, {"L1", ".", nil}, {"L1", "internal/connect", nil},
	{"L1", "cmd/lanekeeper", []string{"-run", "TestG19|TestD9|TestH"}},
	{"L2", "worker", []string{"-run", "TestSimulation", "-sim.seeds", "12"}},
}

// fastest returns the steps in the order in which to look for a defect in a file: L1,
// beginning with the file's own package, and then L2.
func fastest(file string) []step {
	ordered := slices.Clone(steps)
	rank := func(s step) int {
		switch {
		case s.layer == "L2":
			return 2
		case s.pkg == filepath.Dir(file), s.pkg == "cmd/lanekeeper" && filepath.Dir(file) == "docs":
			return 0
		}
		return 1
	}
	slices.SortStableFunc(ordered, func(a, b step) int { return rank(a) - rank(b) })
	return ordered
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
	for _, s := range steps { // else every defect would seem caught
		if name, caught := s.fails(dir); caught {
			return fmt.Errorf("%s of %s fails without any defect: %s", s.layer, s.pkg, name)
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
	for _, s := range fastest(d.file) {
		name, caught := s.fails(dir)
		if strings.HasPrefix(name, notBuilt) {
			return "", fmt.Errorf("%s: %s", d.name, name)
		}
		if !caught {
			continue
		}
		if name != hangs && name != dies {
			s.args = append(slices.Clone(s.args), "-run", "^"+name+"$")
		}
		if _, again := s.fails(dir); again { // what fails only once may be chance
			return s.layer + " " + name, nil
		}
	}
	return "", nil
}

const (
	hangs    = "a test hangs"
	dies     = "a test ends the process"
	notBuilt = "does not build or start: "
)

var (
	failed = regexp.MustCompile(`--- FAIL: (\S+)`)
	died   = regexp.MustCompile(`(?m)^(panic|fatal error): `)
)

// fails runs the tests of a step and returns the one that failed first.
func (s step) fails(dir string) (name string, failing bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	args := append([]string{"test", "-vet=off", "-short", "-failfast", "-timeout", "3m", "./" + s.pkg}, s.args...)
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
		return hangs, true
	case died.Match(out):
		return dies, true
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return notBuilt + lines[0], true
}
