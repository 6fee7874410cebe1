// Package defect puts mistakes into copies of this repository, one at a time, and finds the test
// that notices. 'make known-bad' does so with mistakes that somebody thought of or shipped, 'make
// mutants' with mistakes that nobody chose.
//
// The tests are the fast layers: those of packages, the stories, those of the commands, and after
// them the simulator. The cheapest run first, and those of the mistake's own package before others;
// what never runs a line of Go that is changed is left out. So most mistakes cost a build and a second.
package defect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Defect is one mistake: the text of a file, and what it would be.
type Defect struct {
	Name, File string // File is a path from the root of the repository
	Good, Bad  string
	By         string // the test that noticed last time, as [Catch] named it, if any: it runs first
}

// Catch is what became of a defect.
type Catch struct {
	// By is the test that failed, "package TestName", or that a package's tests die; it is empty
	// when no test did.
	By string
	// Unbuilt is what the compiler said, when the text is no program: no test can notice that.
	Unbuilt string
}

// suite is the tests of one package, as far as they belong to the fast layers.
type suite struct {
	pkg   string
	args  []string // besides those that all get
	skip  string   // tests that are no part of it
	tests []test   // by cost
	whole bool     // it runs processes of its own or many seeds: which lines it reaches is not asked
	last  bool     // it costs more than all others
}

// test is a test, how long it took without any defect, and which lines it ran then.
type test struct {
	name string
	took time.Duration
	ran  reach // nil when not known

	scripts   string // the sources of those that it called
	elsewhere bool   // it starts processes like its own
}

// Net is the tests, ready to run.
type Net struct {
	dir    string
	suites []*suite
	good   map[string]string // the tests of packages, built without any defect
	blocks reach             // all lines of which it is known who reaches them

	free chan *copied
}

// copied is a copy of the repository in which one defect at a time is put.
type copied struct{ dir string }

// New copies the repository at root for n defects at a time, builds its tests, and runs them: a
// test that fails without any defect would seem to notice all of them.
func New(ctx context.Context, root string, n int) (*Net, error) {
	dir, err := os.MkdirTemp("", "lanekeeper-defects-")
	if err != nil {
		return nil, err
	}
	net := &Net{dir: dir, free: make(chan *copied, n), suites: fastLayers(), good: make(map[string]string), blocks: make(reach)}
	for i := range n {
		c := &copied{filepath.Join(dir, fmt.Sprint("copy", i))}
		if err := copyTree(c.dir, root); err != nil {
			return nil, errors.Join(err, net.Close())
		}
		net.free <- c
	}
	if err := net.measure(ctx); err != nil {
		return nil, errors.Join(err, net.Close())
	}
	return net, nil
}

// copyTree copies a repository, but for its history.
func copyTree(to, from string) error {
	entries, err := os.ReadDir(from)
	if err == nil {
		err = os.MkdirAll(to, 0o700)
	}
	for _, e := range entries {
		path, into := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case err != nil:
			return err
		case e.Name() == ".git":
		case e.IsDir():
			err = os.CopyFS(into, os.DirFS(path))
		case e.Type().IsRegular():
			var text []byte
			if text, err = os.ReadFile(path); err == nil {
				err = os.WriteFile(into, text, 0o600)
			}
		}
	}
	return err
}

// Close removes what New made.
func (n *Net) Close() error { return os.RemoveAll(n.dir) }

// fastLayers are the suites in the order in which a defect of no package of theirs is looked for. Left out are tests that
// hold scripts to a text: any change of a line that they know would seem noticed.
func fastLayers() []*suite {
	return []*suite{
		{pkg: "internal/history"}, {pkg: "internal/sim"}, {pkg: "internal/record"},
		{pkg: "subject"}, {pkg: "lease"}, {pkg: "internal/script"}, {pkg: "internal/connect"},
		{pkg: "dispatcher/internal/lanes"}, {pkg: "dispatcher/session"}, {pkg: "dispatcher/inspect"},
		{pkg: "dispatcher", args: []string{"-rapid.shrinktime=100ms", "-rapid.nofailfile"}, skip: "^TestLuaHeaders"},
		{pkg: "worker", skip: "^(TestSimulation|TestHerd|TestDarkBranches)"}, {pkg: "."},
		{pkg: "cmd/lanekeeper", skip: "^TestChaos", whole: true},
		{pkg: "worker", args: []string{"-sim.seeds=4"}, skip: "^Test([^S]|S[^i])", whole: true, last: true},
	}
}

// measure builds every suite without a defect and learns what its tests cost and reach.
func (n *Net) measure(ctx context.Context) error {
	at := <-n.free
	defer func() { n.free <- at }()
	for _, s := range n.suites {
		if n.good[s.pkg] == "" {
			n.good[s.pkg] = filepath.Join(n.dir, fmt.Sprintf("good%d.test", len(n.good)))
			if unbuilt, err := build(ctx, at.dir, s.pkg, n.good[s.pkg]); unbuilt != "" || err != nil {
				return errors.Join(err, errors.New(unbuilt))
			}
		}
	}
	for _, s := range n.suites {
		ask := n.costs
		if !s.whole {
			ask = n.reaches
		}
		if err := ask(ctx, at.dir, s); err != nil {
			return err
		}
	}
	return nil
}

// costs learns what the tests of one suite cost.
func (n *Net) costs(ctx context.Context, dir string, s *suite) error {
	out, err := s.passes(ctx, dir, n.good[s.pkg], nil, "-test.skip="+s.skip)
	s.tests = costs(out)
	return err
}

// passes runs tests without any defect. A test that fails may do so by chance: one that does now and
// then is broken, but tells of others still.
func (s *suite) passes(ctx context.Context, dir, bin string, env []string, args ...string) (string, error) {
	args = append([]string{"-test.v"}, args...)
	out, err := s.run(ctx, dir, bin, env, args...)
	if err != nil {
		name := noticed(out)
		fmt.Fprintf(os.Stderr, "%s %s fails without any defect\n%s\n", s.pkg, name, out[max(0, len(out)-2000):])
		if out, err = s.run(ctx, dir, bin, env, args...); err != nil {
			return "", fmt.Errorf("%s fails without any defect: %s, and %s again", s.pkg, name, noticed(out))
		}
	}
	return out, nil
}

// thrifty is what makes builds and tests in a copy cost less: paths don't count, so what one copy compiled
// no other one compiles again; collecting garbage is an eighth of what tests cost; and what is compiled for defects,
// gigabytes in a night, goes with the copies.
func thrifty(dir string) []string {
	return []string{"GOFLAGS=-trimpath", "GOGC=400", "GOCACHE=" + filepath.Join(filepath.Dir(dir), "cache")}
}

// build builds the tests of a package as the copy stands.
func build(ctx context.Context, dir, pkg, bin string, flags ...string) (unbuilt string, err error) {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", bin}, flags, []string{"./" + pkg})...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), thrifty(dir)...)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) && ctx.Err() == nil {
		return strings.TrimSpace(string(out)), nil
	}
	return "", err
}

// run runs a suite's binary in its package of a copy.
func (s *suite) run(ctx context.Context, dir, bin string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, bin, append(append([]string{"-test.short", "-test.failfast", "-test.parallel=8"}, s.args...), args...)...)
	cmd.Dir = filepath.Join(dir, s.pkg)
	cmd.Env = slices.Concat(os.Environ(), thrifty(dir), env)
	// What a test started goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return string(out), err
}
