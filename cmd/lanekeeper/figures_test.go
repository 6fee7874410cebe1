package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// chaosTime is how long the chaos tests go on: seconds in 'make test', and what
// CHAOS_TIME says in 'make chaos'.
var chaosTime = func() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("CHAOS_TIME"))
	return d
}()

// rounds is how often a chaos test repeats what it measures: `short` times in 'make
// test', and so many times a minute of CHAOS_TIME.
func rounds(short, perMinute int) int {
	return max(short, int(chaosTime.Minutes()*float64(perMinute)))
}

// figures are what the chaos tests measured, in the order in which they did. They are
// printed at the end, and written to the file that CHAOS_FIGURES names.
var figures struct {
	sync.Mutex
	lines []string
}

func figure(t *testing.T, what, format string, args ...any) {
	figures.Lock()
	defer figures.Unlock()
	value := fmt.Sprintf(format, args...)
	figures.lines = append(figures.lines, fmt.Sprintf("| %s | %s |", what, value))
	t.Logf("%s: %s", what, value)
}

func writeFigures() {
	path := os.Getenv("CHAOS_FIGURES")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	for _, line := range figures.lines {
		fmt.Fprintln(f, line)
	}
}

// quantile returns the value below which a share q of the durations lies.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Clone(all)
	slices.Sort(all)
	return all[int(q*float64(len(all)-1)+0.5)]
}
