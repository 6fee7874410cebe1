// Package defect puts mistakes into copies of this repository, one at a time, and finds the test
// that notices. 'make known-bad' does so with mistakes that somebody thought of or shipped, 'make
// mutants' with mistakes that nobody chose.
//
// The tests are the fast layers: those of packages, the stories, those of the commands, and after
// them the simulator. The test that noticed last time runs first; then the cheapest, and those of the mistake's own package
// before others; what never runs a line of Go that is changed is left out. So most mistakes cost a build and a second. What
// tests cost and reach is measured when the first mistake needs more than its hint.
package defect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
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
	good   map[string]string        // the tests of packages, built without any defect
	hints  map[string]time.Duration // tests that noticed last time, "package TestName", and what they cost
	plain  *copied                  // for what has no defect
	free   chan *copied

	alone   sync.RWMutex // measuring runs alone: beside it a test that noticed last time might seem to hang
	measure func() error // once
	blocks  reach        // all lines of which it is known who reaches them
	uses    map[string]map[string]bool
}

// copied is a copy of the repository in which one defect at a time is put.
type copied struct{ dir string }

// New copies the repository at root for n defects at a time, builds its tests, and runs those that
// noticed last time, each "package TestName": a test that fails without any defect would seem to notice all of them.
func New(ctx context.Context, root string, n int, hints []string) (*Net, error) {
	dir, err := os.MkdirTemp("", "lanekeeper-defects-")
	if err != nil {
		return nil, err
	}
	net := &Net{
		dir: dir, free: make(chan *copied, n), plain: &copied{filepath.Join(dir, "plain")}, suites: fastLayers(),
		good: make(map[string]string), hints: make(map[string]time.Duration), blocks: make(reach),
	}
	net.measure = sync.OnceValue(func() error { return net.measureAll(ctx) })
	err = copyTree(net.plain.dir, root)
	for i := range n {
		c := &copied{filepath.Join(dir, fmt.Sprint("copy", i))}
		err = errors.Join(err, copyTree(c.dir, root))
		net.free <- c
	}
	if err == nil {
		err = errors.Join(net.buildAll(ctx), net.vouch(ctx, hints))
	}
	if err != nil {
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

// buildAll builds every suite without a defect, and learns which packages each uses.
func (n *Net) buildAll(ctx context.Context) error {
	n.uses = make(map[string]map[string]bool)
	for _, s := range n.suites {
		if n.good[s.pkg] != "" {
			continue
		}
		n.good[s.pkg] = filepath.Join(n.dir, fmt.Sprintf("good%d.test", len(n.good)))
		if unbuilt, err := build(ctx, n.plain.dir, s.pkg, n.good[s.pkg]); unbuilt != "" || err != nil {
			return errors.Join(err, errors.New(unbuilt))
		}
		list := exec.CommandContext(ctx, "go", "list", "-deps", "-test", "-f", "{{.ImportPath}}", "./"+s.pkg)
		list.Dir = n.plain.dir
		paths, err := list.Output()
		if err != nil {
			return fmt.Errorf("what %s uses: %w", s.pkg, err)
		}
		n.uses[s.pkg] = make(map[string]bool)
		for path := range strings.FieldsSeq(string(paths)) {
			if own, ok := strings.CutPrefix(path+"/", module); ok {
				n.uses[s.pkg][cmp.Or(strings.TrimSuffix(own, "/"), ".")] = true
			}
		}
	}
	return nil
}

// vouch runs the tests that hints name, and keeps those that there are.
func (n *Net) vouch(ctx context.Context, hints []string) error {
	for _, s := range n.suites {
		var names []string
		for _, hint := range hints {
			if pkg, name, _ := strings.Cut(hint, " "); s.has(pkg, name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		out, err := s.passes(ctx, n.plain.dir, n.good[s.pkg], nil, "-test.run=^("+strings.Join(names, "|")+")$")
		if err != nil {
			return err
		}
		for _, t := range costs(out) {
			n.hints[s.pkg+" "+t.name] = t.took
		}
	}
	return nil
}

// has reports whether a test of a package is one of the suite's.
func (s *suite) has(pkg, name string) bool {
	return s.pkg == pkg && (s.skip == "" || !regexp.MustCompile(s.skip).MatchString(name))
}

// hinted is the stage of a test that noticed a defect last time, if there is one.
func (n *Net) hinted(by string) (stage, bool) {
	took, ok := n.hints[by]
	pkg, name, _ := strings.Cut(by, " ")
	for _, s := range n.suites {
		if ok && s.has(pkg, name) {
			return stage{s, []test{{name: name, took: took}}}, true
		}
	}
	return stage{}, false
}

// measureAll learns what the tests cost and reach.
func (n *Net) measureAll(ctx context.Context) error {
	n.alone.Lock()
	defer n.alone.Unlock()
	for _, s := range n.suites {
		ask := n.costs
		if !s.whole {
			ask = n.reaches
		}
		if err := ask(ctx, n.plain.dir, s); err != nil {
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

// build builds the tests of a package as the copy stands, unoptimized: that takes half the time, and they mostly wait.
func build(ctx context.Context, dir, pkg, bin string, flags ...string) (unbuilt string, err error) {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"test", "-c", "-vet=off", "-gcflags=" + module + "...=-N -l", "-ldflags=-s -w", "-o", bin}, flags, []string{"./" + pkg})...)
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
