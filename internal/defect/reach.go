package defect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// reach is lines of Go: by file, the first and the last one of each block.
type reach map[string][][2]int

// module is what stands before a file's path in a profile.
const module = "github.com/lanekeeper/lanekeeper/"

var blockLine = regexp.MustCompile(`^` + module + `(\S+):(\d+)\.\d+,(\d+)\.\d+ \d+ (\d+)$`)

// readReach reads from a coverage profile which blocks there are and which of them ran.
func readReach(profile string) (all, ran reach) {
	all, ran = make(reach), make(reach)
	for line := range strings.Lines(profile) {
		m := blockLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		from, _ := strconv.Atoi(m[2])
		till, _ := strconv.Atoi(m[3])
		all[m[1]] = append(all[m[1]], [2]int{from, till})
		if m[4] != "0" {
			ran[m[1]] = append(ran[m[1]], [2]int{from, till})
		}
	}
	return all, ran
}

// meets reports whether any line of one is in the other.
func (r reach) meets(other reach) bool {
	for file, blocks := range other {
		for _, o := range blocks {
			if slices.ContainsFunc(r[file], func(b [2]int) bool { return b[0] <= o[1] && o[0] <= b[1] }) {
				return true
			}
		}
	}
	return false
}

// changed returns the first and the last line in which a text differs from another one.
func changed(good, bad string) (from, till int) {
	head, tail := 0, 0
	for head < min(len(good), len(bad)) && good[head] == bad[head] {
		head++
	}
	for tail < min(len(good), len(bad))-head && good[len(good)-1-tail] == bad[len(bad)-1-tail] {
		tail++
	}
	return 1 + strings.Count(good[:head], "\n"), 1 + strings.Count(good[:len(good)-tail], "\n")
}

// switchOf returns the line of the switch that a line is a case of, or the line itself: what a case
// asks is counted by Go as part of what it leads to, and is asked by all who come to the switch.
func switchOf(text string, line int) int {
	lines := strings.Split(text, "\n")
	this := lines[line-1]
	indent := this[:len(this)-len(strings.TrimLeft(this, "\t"))]
	if !strings.HasPrefix(this, indent+"case ") {
		return line
	}
	for i := line - 1; i > 0; i-- {
		if strings.HasPrefix(lines[i-1], indent+"switch ") || strings.HasPrefix(lines[i-1], indent+"select ") {
			return i
		}
	}
	return line
}

// runs returns the lines of Go that name a script, which is where it is run: none for what all scripts
// are made of.
func (n *Net) runs(file string) reach {
	lines := make(reach)
	name := strings.TrimSuffix(filepath.Base(file), ".lua")
	defined := regexp.MustCompile(`(?i)\b(\w+Script)\s*=.*\b` + name + `Lua\b`)
	texts := make(map[string]string)
	paths, _ := filepath.Glob(filepath.Join(n.root, filepath.Dir(file), "*.go")) // the pattern is a good one
	var scripts []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil || strings.HasSuffix(path, "_test.go") {
			continue
		}
		texts[filepath.ToSlash(filepath.Join(filepath.Dir(file), filepath.Base(path)))] = string(text)
		for _, m := range defined.FindAllStringSubmatch(string(text), -1) {
			scripts = append(scripts, m[1])
		}
	}
	if len(scripts) == 0 {
		return lines
	}
	named := regexp.MustCompile(`\b(` + strings.Join(scripts, "|") + `)\b`)
	for path, text := range texts {
		for i, line := range strings.Split(text, "\n") {
			if named.MatchString(line) {
				lines[path] = append(lines[path], [2]int{i + 1, i + 1})
			}
		}
	}
	return lines
}

// altered reports whether tests can be told to change a script while they run: those that go through
// the one runner. Others are part of what is built.
func (n *Net) altered(file string) bool {
	if filepath.Ext(file) != ".lua" {
		return false
	}
	raw := regexp.MustCompile(`(?i)redis\.NewScript\([^)]*\b` + strings.TrimSuffix(filepath.Base(file), ".lua") + `Lua\b`)
	paths, _ := filepath.Glob(filepath.Join(n.root, filepath.Dir(file), "*.go")) // the pattern is a good one
	return !slices.ContainsFunc(paths, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && raw.Match(text)
	})
}

// noticing returns a test of those that can notice a defect: it runs what is changed, or nobody
// knows what that is, as of what stands outside of functions.
func (n *Net) noticing(d Defect) func(test) bool {
	from, till := changed(d.Good, d.Bad)
	at := switchOf(d.Good, from)
	lines := reach{d.File: {{from, till}, {at, at}}}
	if filepath.Ext(d.File) == ".lua" {
		lines = n.runs(d.File)
	}
	known := n.blocks.meets(lines)
	return func(t test) bool { return t.ran == nil || !known || t.ran.meets(lines) }
}

// reaches runs the tests of one suite one by one, some at a time, and learns what each costs and
// which lines it runs.
func (n *Net) reaches(ctx context.Context, dir string, s *suite) error {
	bin := n.good[s.pkg] + ".cover"
	if unbuilt, err := build(ctx, dir, s.pkg, bin, "-cover", "-coverpkg=./..."); unbuilt != "" || err != nil {
		return errors.Join(err, errors.New(unbuilt))
	}
	listed, err := s.run(ctx, dir, bin, nil, "-test.list=^Test")
	if err != nil {
		return fmt.Errorf("%s: no list of its tests: %s", s.pkg, listed)
	}
	skip := regexp.MustCompile(s.skip)
	names := slices.DeleteFunc(regexp.MustCompile(`(?m)^Test\w+$`).FindAllString(listed, -1), func(name string) bool {
		return s.skip != "" && skip.MatchString(name)
	})
	var all sync.WaitGroup
	room := make(chan bool, 3*cap(n.free)) // they wait more than they reckon
	found, errs := make([][]test, len(names)), make([]error, len(names))
	profiles := make([]string, len(names))
	for i, name := range names {
		room <- true
		all.Go(func() {
			defer func() { <-room }()
			path := filepath.Join(n.dir, name+".cover")
			var out string
			if out, errs[i] = s.passes(ctx, dir, bin, "-test.run=^"+name+"$", "-test.coverprofile="+path); errs[i] != nil {
				return
			}
			text, err := os.ReadFile(path)
			profiles[i], errs[i] = string(text), errors.Join(err, os.Remove(path))
			found[i] = costs(out)
		})
	}
	all.Wait()
	for i := range found {
		blocks, ran := readReach(profiles[i])
		maps.Copy(n.blocks, blocks)
		for _, t := range found[i] {
			s.tests = append(s.tests, test{t.name, t.took, ran})
		}
	}
	slices.SortStableFunc(s.tests, cheapest)
	return errors.Join(errs...)
}
