// Package check decides from a record of what ran when whether the jobs of each
// subject ran one at a time and in order. It knows nothing of lanes: the record
// is made by the handlers themselves.
package check

import (
	"slices"
	"time"
)

// Run is one run of one job, from its handler's first statement to its last.
type Run struct {
	Subject string
	Seq     int // the job's place among those of its subject, rising
	Start   time.Time
	End     time.Time
}

// Report is what a record shows.
type Report struct {
	Runs     int
	Subjects int

	// OutOfOrder counts runs that started after a run of a later job of their subject.
	OutOfOrder int
	// Overlaps counts runs that started before an earlier-started run of their
	// subject had ended.
	Overlaps int
	// MostAtOnce is the largest number of subjects that had a run at one moment.
	MostAtOnce int
}

// Check reads a record of first runs, in any order.
func Check(runs []Run) Report {
	bySubject := make(map[string][]Run)
	for _, r := range runs {
		bySubject[r.Subject] = append(bySubject[r.Subject], r)
	}
	report := Report{Runs: len(runs), Subjects: len(bySubject)}
	for _, lane := range bySubject {
		slices.SortFunc(lane, func(a, b Run) int { return a.Start.Compare(b.Start) })
		latest, end := lane[0].Seq, lane[0].End
		for _, r := range lane[1:] {
			if r.Seq < latest {
				report.OutOfOrder++
			}
			if r.Start.Before(end) {
				report.Overlaps++
			}
			latest = max(latest, r.Seq)
			if r.End.After(end) {
				end = r.End
			}
		}
	}
	report.MostAtOnce = mostAtOnce(runs)
	return report
}

// mostAtOnce walks through all starts and ends in time.
func mostAtOnce(runs []Run) int {
	type edge struct {
		at      time.Time
		change  int
		subject string
	}
	var edges []edge
	for _, r := range runs {
		edges = append(edges, edge{r.Start, 1, r.Subject}, edge{r.End, -1, r.Subject})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.change - b.change // an end makes room for a start of the same moment
	})
	most := 0
	running := make(map[string]int)
	for _, e := range edges {
		running[e.subject] += e.change
		if running[e.subject] == 0 {
			delete(running, e.subject)
		}
		most = max(most, len(running))
	}
	return most
}
