// Command knownbad puts defects into copies of this repository and runs the fast layers of tests
// on each, as package defect does. Every defect must be caught. 'make known-bad' runs it from the
// root of the repository.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	inner "github.com/lanekeeper/lanekeeper/internal/defect"
)

func main() {
	only := flag.String("only", "", "only defects whose name or file contains this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "knownbad:", err)
		os.Exit(1)
	}
}

// caughtBy is where the test that noticed a defect last time stands, so that it runs first.
const caughtBy = "internal/knownbad/caught.txt"

func run(ctx context.Context, only string) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	by, err := readCaught()
	if err != nil {
		return err
	}
	begin := time.Now()
	var hints []string
	for _, d := range chosen {
		hints = append(hints, by[d.Name])
	}
	net, err := inner.New(ctx, ".", 1+runtime.NumCPU(), hints) // tests wait now and then
	if err != nil {
		return err
	}
	defer net.Close()

	var missed []string
	tried, told := 0, 0
	next := func() (d inner.Defect, ok bool) {
		if tried == len(chosen) {
			return d, false
		}
		tried++
		d = chosen[tried-1]
		d.By = by[d.Name]
		return d, true
	}
	tell := func(d inner.Defect, c inner.Catch) {
		told++
		verdict := c.By
		switch {
		case c.Unbuilt != "":
			verdict = "DOES NOT BUILD: " + c.Unbuilt
			missed = append(missed, d.Name)
		case c.By == "":
			verdict = "NOT CAUGHT"
			missed = append(missed, d.Name)
		default:
			by[d.Name] = c.By
		}
		fmt.Printf("%5.0fs %-62s %s\n", time.Since(begin).Seconds(), d.Name, verdict)
	}
	err = errors.Join(net.Each(ctx, next, tell), writeCaught(by))
	fmt.Printf("%d of %d caught, in %v\n", told-len(missed), len(chosen), time.Since(begin).Round(time.Second))
	for _, name := range missed {
		fmt.Println("not caught:", name)
	}
	if len(missed) > 0 {
		err = errors.Join(err, errors.New("some defects are not caught"))
	}
	return err
}

// choose returns the defects whose name or file contains a text.
func choose(only string) ([]inner.Defect, error) {
	var chosen []inner.Defect
	for _, d := range defects {
		if !strings.Contains(d.name, only) && !strings.Contains(d.file, only) {
			continue
		}
		good, err := os.ReadFile(filepath.FromSlash(d.file))
		if err != nil {
			return nil, err
		}
		if n := strings.Count(string(good), d.good); n != 1 {
			return nil, fmt.Errorf("%s: what it changes in %s is there %d times, not once: bring the list up to date", d.name, d.file, n)
		}
		bad := strings.Replace(string(good), d.good, d.bad, 1)
		chosen = append(chosen, inner.Defect{Name: d.name, File: d.file, Good: string(good), Bad: bad})
	}
	return chosen, nil
}

// readCaught reads what caught each defect; writeCaught writes it, leaving out defects of before.
func readCaught() (map[string]string, error) {
	by := make(map[string]string)
	text, err := os.ReadFile(caughtBy)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if name, test, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			by[name] = test
		}
	}
	return by, nil
}

func writeCaught(by map[string]string) error {
	var lines []string
	for _, d := range defects {
		if by[d.name] != "" {
			lines = append(lines, d.name+"\t"+by[d.name]+"\n")
		}
	}
	slices.Sort(lines)
	return os.WriteFile(caughtBy, []byte(strings.Join(lines, "")), 0o600)
}
