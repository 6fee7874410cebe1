package main

import (
	"slices"
	"time"
)

// bar is a time that something took, or will, drawn in the row of its kind.
type bar struct {
	row      string
	from, to time.Time
	mark     byte
}

// A strip folds a time of over a minute in which nothing ran into one column, lest a quiet day hides everything, and goes back, or ahead,
// over so many of them at most.
const (
	stripFold  = time.Minute
	stripParts = 8
	foldMark   = '~'
)

// part is a stretch of a strip without a fold: so many columns from one on.
type part struct {
	from, to  time.Time
	col, cols int
}

// scale lays bars, and the moment that is now, out on so many columns. Of too many parts the last ones stay, or the first.
func scale(bars []bar, now time.Time, width int, last bool) (parts []part) {
	spans := []part{{from: now, to: now}}
	for _, b := range bars {
		spans = append(spans, part{from: b.from, to: b.to})
	}
	slices.SortFunc(spans, func(a, b part) int { return a.from.Compare(b.from) })
	for _, s := range spans {
		if n := len(parts); n > 0 && s.from.Sub(parts[n-1].to) <= stripFold {
			if s.to.After(parts[n-1].to) {
				parts[n-1].to = s.to
			}
			continue
		}
		parts = append(parts, s)
	}
	if n := len(parts); n > stripParts && last {
		parts = parts[n-stripParts:]
	} else if n > stripParts {
		parts = parts[:stripParts]
	}
	var all time.Duration
	for _, p := range parts {
		all += p.to.Sub(p.from)
	}
	col := 0
	for i := range parts {
		p := &parts[i]
		p.col, p.cols = col, 1
		if all > 0 {
			p.cols = max(1, int(int64(width-len(parts)+1)*int64(p.to.Sub(p.from)/time.Millisecond)/max(1, int64(all/time.Millisecond))))
		}
		col += p.cols + 1
	}
	return parts
}

// columnAt is where a time is drawn, or -1 for one that is not shown.
func columnAt(parts []part, t time.Time) int {
	for _, p := range parts {
		if t.Before(p.from) || t.After(p.to) {
			continue
		}
		if p.to.Equal(p.from) {
			return p.col
		}
		return p.col + min(p.cols-1, int(float64(p.cols)*float64(t.Sub(p.from))/float64(p.to.Sub(p.from))))
	}
	return -1
}

// draw draws bars, row by row; the later of two that share a column shows. All rows are equally long.
func draw(bars []bar, rows []string, parts []part) map[string][]byte {
	end := parts[len(parts)-1]
	lines := make(map[string][]byte, len(rows))
	for _, row := range rows {
		lines[row] = []byte{}
		for range end.col + end.cols {
			lines[row] = append(lines[row], ' ')
		}
		for _, p := range parts[1:] {
			lines[row][p.col-1] = foldMark
		}
	}
	for _, b := range bars {
		from, to := columnAt(parts, b.from), columnAt(parts, b.to.Add(-1))
		if from < 0 {
			continue
		}
		for c := from; c <= max(from, to); c++ {
			lines[b.row][c] = b.mark
		}
	}
	return lines
}

// folds are how long the times were that were folded.
func folds(parts []part) (all []time.Duration) {
	for i := 1; i < len(parts); i++ {
		all = append(all, parts[i].from.Sub(parts[i-1].to))
	}
	return all
}
