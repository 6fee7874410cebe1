package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
)

var stripNow = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// ended is an attempt that began and ended so many seconds before stripNow.
func ended(kind string, began, ends int, how session.Ending) inspect.Attempt {
	ago := func(s int) time.Time { return stripNow.Add(-time.Duration(s) * time.Second) }
	return inspect.Attempt{Attempt: session.Attempt{Kind: kind, StartedAt: ago(began), EndedAt: ago(ends), Ending: how}, Of: 1}
}

func waits(kind string, starts, ends int) inspect.JobInfo {
	j := inspect.JobInfo{Job: dispatcher.Job{Kind: kind}, State: inspect.Waiting}
	if ends > 0 {
		j.Starts, j.Ends = stripNow.Add(time.Duration(starts)*time.Second), stripNow.Add(time.Duration(ends)*time.Second)
	}
	return j
}

// A strip has what ran left of now and what is to come right of it, each as long as it took, to a column.
func TestStrip(t *testing.T) {
	t.Parallel()
	runs := waits("move", -100, 55)
	runs.State, runs.Token = inspect.Leased, lease.Token(stripNow.Add(-100*time.Second).UnixMicro())
	delayed := waits("move", 60, 120)
	delayed.State, delayed.RunAt = inspect.Delayed, stripNow.Add(time.Minute)
	for name, c := range map[string]struct {
		past []inspect.Attempt
		jobs []inspect.JobInfo
		lane inspect.Lane
		want string
	}{
		"one that runs, after a folded time": {
			[]inspect.Attempt{ended("move", 700, 600, session.EndFinished), ended("expire", 600, 500, session.EndFailed), ended("move", 500, 410, session.EndLost)},
			[]inspect.JobInfo{runs, waits("expire", 55, 110), waits("expire", 0, 0), waits("expire", 0, 0)},
			inspect.Lane{Token: runs.Token},
			`        11:48:20                                now 12:00:00  ~ 12:01:50
move    FFFFFFFFFF          LLLLLLLLL~>>>>>>>>>>|ooooooooooo
expire            XXXXXXXXXX         ~          |           ooooooooooo +2?
        idle: 5m10s
`,
		},
		"a backoff": {
			nil, []inspect.JobInfo{delayed}, inspect.Lane{},
			`       now 12:00:00  ~ 12:02:00
move   |...........ooooooooooo
`,
		},
		"a section": {
			[]inspect.Attempt{ended("k", 40, 0, session.EndCancelled)}, nil, inspect.Lane{Section: true, Token: lease.Token(stripNow.Add(-20 * time.Second).UnixMicro())},
			`           11:59:20                                now 12:00:00
k          CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC|
(section)                      ====================|
`,
		},
	} {
		lane := &inspect.Timeline{AsOf: stripNow, Lane: c.lane, Past: c.past, Jobs: c.jobs}
		if got := strings.Join(stripLines(lane), "\n") + "\n"; got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// However much a lane has done in however many kinds, its strip has nine rows and stays in 80 columns beside short names: of many times in which
// nothing ran the latest are shown, and kinds beyond the eighth have one row together.
func TestStripIsBounded(t *testing.T) {
	t.Parallel()
	lane := &inspect.Timeline{AsOf: stripNow}
	for i := range 500 {
		lane.Past = append(lane.Past, ended(fmt.Sprint("k", i%20), 100*(501-i), 100*(501-i)-1, session.EndFinished))
		lane.Jobs = append(lane.Jobs, waits(fmt.Sprint("k", i%20), 100*i+100, 100*i+101))
	}
	lines := stripLines(lane)
	if len(lines) != 1+mostRows+1+1 || !strings.HasPrefix(lines[1+mostRows], otherKinds) {
		t.Errorf("it has %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, line := range lines[:1+mostRows+1] {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if got := strings.Count(lines[len(lines)-1], "s"); got != stripParts-1 {
		t.Errorf("it names %d times: %s", got, lines[len(lines)-1])
	}
	if !strings.HasPrefix(lines[1], "k13 ") || strings.Count(strings.Join(lines, ""), "F") < 7*4 || strings.Count(lines[1+mostRows], "o") < 2*6 { // the latest seven are of k13 to k19
		t.Errorf("of most kinds nothing is drawn:\n%s", strings.Join(lines, "\n"))
	}
	for _, parts := range []int{stripParts, stripParts + 1} { // now is one of them
		var bars []bar
		for i := range parts - 1 {
			at := stripNow.Add(-time.Duration(100*(parts-i)) * time.Second)
			bars = append(bars, bar{"k", at, at.Add(time.Second), 'F'})
		}
		lines := draw(bars, []string{"k"}, scale(bars, stripNow, pastColumns, true))
		if got := strings.Count(string(lines["k"]), string(rune(foldMark))); got != stripParts-1 {
			t.Errorf("of %d parts it shows %d folds: %s", parts, got, lines["k"])
		}
	}
}
