// Command mutants measures the tests by mistakes that nobody chose: it takes a random sample of
// small changes to the Lua and the Go of lease, dispatcher and worker, looks for each whether a
// test notices, and prints the score and what survived. 'make mutants' runs it from the root of
// the repository.
//
// A change that changes nothing that anybody could observe is explained in equivalent.txt; it
// counts neither way.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/defect"
)

func main() {
	count := flag.String("n", "60", "how many mutants, or 'all'")
	seed := flag.Uint64("seed", 0, "draws the sample: the same sources and seed give the same one; 0 is the time")
	in := flag.String("in", "", "only of files whose path contains this")
	at := flag.Int("at", 1+runtime.NumCPU(), "how many at a time: tests wait now and then")
	list := flag.Bool("list", false, "print the sample and run nothing")
	again := flag.String("again", "", "only mutants on the 'survived:' lines of this file, what an earlier run printed; lines of sources may have moved")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *seed == 0 {
		*seed = uint64(time.Now().Unix())
	}
	if err := run(ctx, *count, *in, *again, *seed, *at, *list); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// mutant is one change of one line, as it was and as it is.
type mutant struct {
	file      string
	line      int
	was, is   string
	name      string
	good, bad string
}

// sources are what is mutated, from the root of the repository.
var sources = []string{"internal/record/*.lua", "internal/record/*.go", "internal/script/*.lua", "lease/*.lua", "dispatcher/internal/lanes/*.lua", "dispatcher/internal/lanes/parts/*.lua", "lease/*.go", "dispatcher/*.go", "dispatcher/session/*.go", "dispatcher/inspect/*.go", "dispatcher/doctor/*.go", "dispatcher/internal/lanes/*.go", "worker/*.go"}

// mutants returns those of all sources under root, by file.
func mutants(root string) (map[string][]mutant, error) {
	all := make(map[string][]mutant)
	for _, pattern := range sources {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			file, err := filepath.Rel(root, path)
			if err != nil {
				return nil, err
			}
			if file = filepath.ToSlash(file); strings.HasSuffix(file, ".lua") {
				all[file] = mutateLua(file, string(text))
			} else if all[file], err = mutateGo(file, string(text)); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// sample puts mutants in a random order, in which each line is as likely as any other: the first
// ones are a sample in proportion to the lines of files. A line comes again when all have been.
func sample(all map[string][]mutant, rnd *rand.Rand) []mutant {
	lines := make(map[string][]mutant)
	for _, file := range all {
		for _, m := range file {
			at := fmt.Sprint(m.file, ":", m.line)
			lines[at] = append(lines[at], m)
		}
	}
	type placed struct {
		round int
		order float64
		mutant
	}
	var order []placed
	for _, at := range slices.Sorted(maps.Keys(lines)) {
		for round, i := range rnd.Perm(len(lines[at])) {
			order = append(order, placed{round, rnd.Float64(), lines[at][i]})
		}
	}
	slices.SortFunc(order, func(a, b placed) int {
		if a.round != b.round {
			return a.round - b.round
		}
		if a.order < b.order {
			return -1
		}
		return 1
	})
	drawn := make([]mutant, len(order))
	for i, p := range order {
		drawn[i] = p.mutant
	}
	return drawn
}

var lineNumber = regexp.MustCompile(`:\d+: `)

// nameless is a mutant's name without the number of its line.
func nameless(name string) string { return lineNumber.ReplaceAllString(name, ": ") }

// readNames reads names of mutants from what a run has printed.
func readNames(path string) (map[string]bool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	named := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "survived: "); ok {
			named[nameless(name)] = true
		}
	}
	return named, nil
}

// score is what became of mutants of one language.
type score struct{ killed, survived, explained int }

func (s score) String() string {
	tried := s.killed + s.survived
	return fmt.Sprintf("%d of %d killed (%.0f %%), %d explained as equivalent", s.killed, tried, 100*float64(s.killed)/float64(max(tried, 1)), s.explained)
}

func run(ctx context.Context, count, in, again string, seed uint64, crew int, list bool) error {
	all, err := mutants(".")
	if err != nil {
		return err
	}
	equal, err := readEquivalents("internal/mutants/equivalent.txt")
	if err != nil {
		return err
	}
	named, err := readNames(again)
	if err != nil {
		return err
	}
	drawn := slices.DeleteFunc(sample(all, rand.New(rand.NewPCG(seed, 0))), func(m mutant) bool {
		return !strings.Contains(m.file, in) || again != "" && !named[nameless(m.name)]
	})
	most := len(drawn)
	if count != "all" {
		if most, err = strconv.Atoi(count); err != nil || most < 0 {
			return fmt.Errorf("-n %q: it must be a number from 0 on, or 'all'", count)
		}
	}
	fmt.Printf("%d mutants of %d, seed %d\n", min(most, len(drawn)), len(drawn), seed)
	if list {
		for _, m := range drawn[:min(most, len(drawn))] {
			fmt.Println(m.name)
		}
		return nil
	}
	begin := time.Now()
	net, err := defect.New(ctx, ".", crew, nil)
	if err != nil {
		return err
	}
	defer net.Close()
	fmt.Printf("%v without any defect\n", time.Since(begin).Round(time.Second))

	scores := map[string]*score{".lua": {}, ".go": {}}
	var survivors []string
	at, tried := 0, 0
	say := func(name, verdict string) {
		fmt.Printf("%5.0fs %s: %s\n", time.Since(begin).Seconds(), name, verdict)
	}
	next := func() (d defect.Defect, ok bool) {
		for tried < most && at < len(drawn) {
			m := drawn[at]
			at, tried = at+1, tried+1
			why, explained := equal.why(m)
			if !explained {
				return defect.Defect{Name: m.name, File: m.file, Good: m.good, Bad: m.bad}, true
			}
			scores[filepath.Ext(m.file)].explained++
			say(m.name, "equivalent: "+why)
		}
		return d, false
	}
	tell := func(d defect.Defect, c defect.Catch) {
		s := scores[filepath.Ext(d.File)]
		switch {
		case c.Unbuilt != "": // another one takes its place
			tried--
		case c.By == "":
			s.survived++
			survivors = append(survivors, d.Name)
			say(d.Name, "SURVIVED")
		default:
			s.killed++
			say(d.Name, "killed by "+c.By)
		}
	}
	err = net.Each(ctx, next, tell)
	var total score
	for _, language := range slices.Sorted(maps.Keys(scores)) {
		s := scores[language]
		fmt.Printf("%-4s %v\n", language[1:], s)
		total.killed, total.survived = total.killed+s.killed, total.survived+s.survived
		total.explained += s.explained
	}
	fmt.Printf("all  %v, in %v, seed %d\n", total, time.Since(begin).Round(time.Second), seed)
	slices.Sort(survivors)
	for _, name := range survivors {
		fmt.Println("survived:", name)
	}
	return err
}
