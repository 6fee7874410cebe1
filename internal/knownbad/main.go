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
	"sync"
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
	at := runtime.NumCPU()
	net, err := inner.New(ctx, ".", at)
	if err != nil {
		return err
	}
	defer net.Close()

	var mu sync.Mutex
	var failed error
	var missed []string
	next := 0
	work := func() {
		for {
			mu.Lock()
			if next == len(chosen) || failed != nil {
				mu.Unlock()
				return
			}
			d := chosen[next]
			next++
			d.By = by[d.Name]
			mu.Unlock()
			caught, err := net.Catch(ctx, d)
			mu.Lock()
			switch {
			case err != nil:
				failed = err
			case caught.Unbuilt != "":
				failed = fmt.Errorf("%s: does not build: %s", d.Name, caught.Unbuilt)
			case caught.By == "":
				missed = append(missed, d.Name)
				caught.By = "NOT CAUGHT"
			default:
				by[d.Name] = caught.By
			}
			fmt.Printf("%5.0fs %-62s %s\n", time.Since(begin).Seconds(), d.Name, caught.By)
			mu.Unlock()
		}
	}
	var crew sync.WaitGroup
	for range at {
		crew.Go(work)
	}
	crew.Wait()
	if failed != nil {
		return failed
	}
	fmt.Printf("%d of %d caught, in %v\n", len(chosen)-len(missed), len(chosen), time.Since(begin).Round(time.Second))
	for _, name := range missed {
		fmt.Println("not caught:", name)
	}
	if err := writeCaught(by); err != nil {
		return err
	}
	if len(missed) > 0 {
		return errors.New("some defects are not caught")
	}
	return nil
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
