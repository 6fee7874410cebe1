package check_test

import (
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/check"
)

func run(subject string, seq, start, end int) check.Run {
	epoch := time.Unix(0, 0)
	return check.Run{
		Subject: subject, Seq: seq,
		Start: epoch.Add(time.Duration(start)), End: epoch.Add(time.Duration(end)),
	}
}

// Each history is wrong in one way, or right; the checker must tell which.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		runs                    []check.Run
		order, overlaps, atOnce int
	}{
		"nothing":         {nil, 0, 0, 0},
		"right":           {[]check.Run{run("a", 1, 0, 5), run("a", 2, 5, 9), run("b", 1, 3, 7)}, 0, 0, 2},
		"swapped":         {[]check.Run{run("a", 2, 0, 5), run("a", 1, 6, 9)}, 1, 0, 1},
		"overlap":         {[]check.Run{run("a", 1, 0, 5), run("a", 2, 4, 9)}, 0, 1, 1},
		"both":            {[]check.Run{run("a", 2, 0, 5), run("a", 1, 4, 9)}, 1, 1, 1},
		"overlap far":     {[]check.Run{run("a", 1, 0, 99), run("a", 2, 1, 2), run("a", 3, 3, 4)}, 0, 2, 1},
		"unsorted record": {[]check.Run{run("a", 2, 5, 9), run("a", 1, 0, 5)}, 0, 0, 1},
	} {
		got := check.Check(c.runs)
		if got.OutOfOrder != c.order || got.Overlaps != c.overlaps || got.MostAtOnce != c.atOnce {
			t.Errorf("%s: %+v, want out of order %d, overlaps %d, at once %d",
				name, got, c.order, c.overlaps, c.atOnce)
		}
	}
}
