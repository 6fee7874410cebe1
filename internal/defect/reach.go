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

	"github.com/lanekeeper/lanekeeper/internal/redistest"
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

// noticing returns a test of those that can notice a defect: it runs what is changed, or nobody
// knows what that is, as of what stands outside of functions.
func (n *Net) noticing(d Defect) func(test) bool {
	switch filepath.Ext(d.File) {
	case ".go":
		from, till := changed(d.Good, d.Bad)
		at := switchOf(d.Good, from)
		lines := reach{d.File: {{from, till}, {at, at}}}
		if known := n.blocks.meets(lines); known {
			return func(t test) bool { return t.ran == nil || t.ran.meets(lines) }
		}
	case ".lua":
		return func(t test) bool { return t.ran == nil || strings.Contains(t.scripts, d.Good) }
	}
	return func(test) bool { return true }
}

// reaches runs the tests of one suite one by one, some at a time, and learns what each costs and
// which lines it runs.
func (n *Net) reaches(ctx context.Context, dir string, s *suite) error {
	bin := n.good[s.pkg] + ".cover"
	if unbuilt, err := build(ctx, dir, s.pkg, bin, "-cover", "-coverpkg=./..."); unbuilt != "" || err != nil {
		return errors.Join(err, errors.New(unbuilt))
	}
	listed, err := s.run(ctx, dir, bin, nil, "-test.list=.")
	if err != nil {
		return fmt.Errorf("%s: no list of its tests: %s", s.pkg, listed)
	}
	names := slices.DeleteFunc(regexp.MustCompile(`(?m)^(Test|Fuzz|Example)\w*$`).FindAllString(listed, -1), func(name string) bool {
		return !s.has(s.pkg, name)
	})
	var all sync.WaitGroup
	room := make(chan bool, 3*cap(n.free)) // they wait more than they reckon
	found, errs := make([][]test, len(names)), make([]error, len(names))
	profiles := make([]string, len(names))
	for i, name := range names {
		room <- true
		all.Go(func() {
			defer func() { <-room }()
			found[i], profiles[i], errs[i] = s.reach(ctx, dir, bin, name)
		})
	}
	all.Wait()
	for i := range found {
		blocks, ran := readReach(profiles[i])
		maps.Copy(n.blocks, blocks)
		for _, t := range found[i] {
			if !t.elsewhere {
				t.ran = ran
			}
			s.tests = append(s.tests, t)
		}
	}
	slices.SortStableFunc(s.tests, cheapest)
	return errors.Join(errs...)
}

// reach runs one test, and returns it with what it ran. What processes do that it starts is in no profile.
func (s *suite) reach(ctx context.Context, dir, bin, name string) (found []test, profile string, err error) {
	trace, err := os.MkdirTemp(filepath.Dir(bin), "trace-")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(trace)
	path := filepath.Join(trace, "cover")
	out, err := s.passes(ctx, dir, bin, []string{redistest.TraceVar + "=" + trace}, "-test.run=^"+name+"$", "-test.coverprofile="+path)
	if err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	processes, err := filepath.Glob(filepath.Join(trace, "process-*"))
	if err != nil {
		return nil, "", err
	}
	scripts, err := filepath.Glob(filepath.Join(trace, "*.lua"))
	if err != nil {
		return nil, "", err
	}
	var all strings.Builder
	for _, path := range scripts {
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, "", err
		}
		all.Write(source)
	}
	found = costs(out)
	for i := range found {
		found[i].elsewhere, found[i].scripts = len(processes) > 1, all.String()
	}
	return found, string(text), nil
}
