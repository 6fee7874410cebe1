package redistest

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// ChaosTime is how long chaos tests go on: 0, for seconds, in 'make test', and what
// CHAOS_TIME says in 'make chaos'.
func ChaosTime() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("CHAOS_TIME"))
	return d
}

// Beside lets a chaos test run beside others in 'make test', where it mostly waits: for leases to run
// out, for clusters to notice. In 'make chaos', which measures, each runs by itself.
func Beside(t *testing.T) {
	if ChaosTime() == 0 {
		t.Parallel()
	}
}

// Bound is what a measured time is held to: as promised in 'make chaos', and four times that in 'make
// test', where others run beside it and the machine may be slow.
func Bound(promised time.Duration) time.Duration {
	if ChaosTime() == 0 {
		return 4 * promised
	}
	return promised
}

// Rounds is how often a chaos test repeats what it measures: `short` times in 'make
// test', and so many times a minute of [ChaosTime].
func Rounds(short int, perMinute float64) int {
	return max(short, int(ChaosTime().Minutes()*perMinute))
}

// Figure logs what a test measured, and adds it as a row of a table to the file that
// CHAOS_FIGURES names, which 'make chaos' prints.
func Figure(t testing.TB, what, format string, args ...any) {
	t.Helper()
	value := fmt.Sprintf(format, args...)
	t.Logf("%s: %s", what, value)
	path := os.Getenv("CHAOS_FIGURES")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "| %s | %s |\n", what, value)
}
