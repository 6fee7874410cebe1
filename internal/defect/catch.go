package defect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// stage is some tests of one suite, which run together.
type stage struct {
	*suite
	tests []test
}

const (
	// quick is what a test takes at most to be among those that are tried first.
	quick = time.Second
	// small is how much of tests one stage has: after it the next one is worth a start.
	small = 3 * time.Second
)

// stages returns the tests that can notice a defect in a package, in the order in which to run them:
// its own, the quick ones first, then others' in the same way.
func (n *Net) stages(pkg string, notices func(test) bool) []stage {
	var first, then, last []stage
	for _, s := range n.suites {
		if n.foreign(pkg, s) {
			continue
		}
		var quicks, slows []stage
		sum := time.Duration(0)
		for _, t := range s.tests {
			switch {
			case !notices(t):
				continue
			case t.took > quick && len(slows) == 0:
				slows = append(slows, stage{suite: s})
				fallthrough
			case t.took > quick:
				slows[0].tests = append(slows[0].tests, t)
				continue
			case len(quicks) == 0 || sum > small && len(quicks) < 3:
				quicks, sum = append(quicks, stage{suite: s}), 0
			}
			q := &quicks[len(quicks)-1]
			q.tests, sum = append(q.tests, t), sum+t.took
		}
		switch {
		case s.last:
			last = append(append(last, quicks...), slows...)
		case s.pkg == pkg:
			first = append(append(first, quicks...), slows...)
		default:
			then = append(append(then, quicks...), slows...)
		}
	}
	return slices.Concat(first, then, last)
}

// room is the package that a file belongs to.
func room(file string) string {
	return strings.TrimSuffix(filepath.ToSlash(filepath.Dir(file)), "/parts")
}

// foreign reports whether tests don't use a package that others do: they can't notice a change in it.
func (n *Net) foreign(pkg string, s *suite) bool {
	for _, used := range n.uses {
		if used[pkg] {
			return !n.uses[s.pkg][pkg]
		}
	}
	return false // it is no package, or none that is imported
}

// costs reads from what a verbose run said which tests there are, the cheapest first. What a test's parts took counts
// for it: those that run beside each other are no part of its own time.
func costs(out string) []test {
	took := make(map[string]time.Duration)
	for _, m := range regexp.MustCompile(`(?m)^ *--- PASS: (\w+)\S* \(([\d.]+)s\)`).FindAllStringSubmatch(out, -1) {
		seconds, _ := strconv.ParseFloat(m[2], 64)
		took[m[1]] += time.Duration(seconds * float64(time.Second))
	}
	var tests []test
	for _, name := range slices.Sorted(maps.Keys(took)) {
		tests = append(tests, test{name: name, took: took[name]})
	}
	slices.SortStableFunc(tests, cheapest)
	return tests
}

func cheapest(a, b test) int { return cmp.Compare(a.took, b.took) }

// dies is what is said when nobody knows which test a process died of.
const dies = "a test ends the process"

var (
	hung   = regexp.MustCompile(`panic: test timed out after \S+\n\s+running tests:\n\s+(\w+)`)
	failed = regexp.MustCompile(`--- FAIL: (\w+)`)
	died   = regexp.MustCompile(`(?m)^(panic|fatal error): `)
)

// noticed reads from what a run said which of its tests failed.
func noticed(out string) string {
	if m := hung.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	switch m := failed.FindStringSubmatch(out); {
	case m != nil:
		return m[1]
	case died.MatchString(out):
		return dies
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

// Each catches the defects that next returns, as many at a time as there are copies, and tells what
// became of each. next and tell are called one at a time. It ends when there is none left, or with an error.
func (n *Net) Each(ctx context.Context, next func() (Defect, bool), tell func(Defect, Catch)) error {
	var mu sync.Mutex
	var failed error
	draw := func() (Defect, bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed != nil {
			return Defect{}, false
		}
		return next()
	}
	var crew sync.WaitGroup
	for range cap(n.free) {
		crew.Go(func() {
			for d, ok := draw(); ok; d, ok = draw() {
				caught, err := n.Catch(ctx, d)
				mu.Lock()
				if failed = errors.Join(failed, err); err == nil {
					tell(d, caught)
				}
				mu.Unlock()
			}
		})
	}
	crew.Wait()
	return failed
}

// Catch puts a defect in, says which test notices, and takes it out. It is safe for concurrent
// use: as many at a time run as there are copies.
func (n *Net) Catch(ctx context.Context, d Defect) (Catch, error) {
	at := <-n.free
	defer func() { n.free <- at }()
	path := filepath.Join(at.dir, d.File)
	if err := os.WriteFile(path, []byte(d.Bad), 0o600); err != nil {
		return Catch{}, err
	}
	caught, err := n.look(ctx, at, d)
	return caught, errors.Join(err, os.WriteFile(path, []byte(d.Good), 0o600))
}

func (n *Net) look(ctx context.Context, at *copied, d Defect) (Catch, error) {
	var env []string
	altered := filepath.Ext(d.File) == ".lua"
	if altered {
		text, err := json.Marshal(redistest.Defect{Good: d.Good, Bad: d.Bad})
		if err != nil {
			return Catch{}, err
		}
		path := at.dir + ".defect"
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return Catch{}, err
		}
		env = append(env, redistest.DefectVar+"="+path)
	}
	bins := make(map[string]string) // by package
	try := func(s stage) (Catch, error) {
		n.alone.RLock()
		defer n.alone.RUnlock()
		bin, ok := bins[s.pkg]
		switch {
		case ok:
		case altered || filepath.Ext(d.File) == ".md": // pages are read while it runs
			bin = n.good[s.pkg]
		default:
			bin = fmt.Sprint(at.dir, len(bins), ".test")
			if unbuilt, err := build(ctx, at.dir, s.pkg, bin); unbuilt != "" || err != nil {
				return Catch{Unbuilt: unbuilt}, err
			}
		}
		bins[s.pkg] = bin
		by, err := s.fails(ctx, at.dir, bin, env)
		return Catch{By: by}, err
	}
	if s, ok := n.hinted(d.By); ok {
		if caught, err := try(s); caught != (Catch{}) || err != nil {
			return caught, err
		}
	}
	if err := n.measure(); err != nil {
		return Catch{}, err
	}
	for _, s := range n.stages(room(d.File), n.noticing(d)) {
		if caught, err := try(s); caught != (Catch{}) || err != nil {
			return caught, err
		}
	}
	return Catch{}, nil
}

// fails runs a stage and returns which test failed, if that fails again by itself: what fails once
// may be chance.
func (s stage) fails(ctx context.Context, dir, bin string, env []string) (string, error) {
	names := make([]string, len(s.tests))
	for i, t := range s.tests {
		names[i] = t.name
	}
	run := func(names []string) (string, error) {
		limit := 15 * time.Second // for whoever hangs; on a busy machine all take longer
		for _, t := range s.tests {
			if slices.Contains(names, t.name) {
				limit += 4 * t.took
			}
		}
		out, err := s.run(ctx, dir, bin, env, "-test.run=^("+strings.Join(names, "|")+")$", "-test.timeout="+limit.String())
		if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
			return "", errors.Join(err, ctx.Err())
		} else if err == nil {
			return "", nil
		}
		return noticed(out), nil
	}
	for len(names) > 0 {
		name, err := run(names)
		if name == "" || err != nil {
			return "", err
		}
		suspects := names // what died or left something behind is none of them alone
		if slices.Contains(names, name) {
			suspects = []string{name}
		}
		if again, err := run(suspects); again != "" || err != nil {
			return s.pkg + " " + name, err
		}
		// Those behind it have not run.
		names = slices.DeleteFunc(names, func(n string) bool { return n == name })
		if len(suspects) > 1 {
			break
		}
	}
	return "", nil
}
