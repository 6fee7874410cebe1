package main

import (
	"fmt"
	"strings"
	"time"
)

// progress shows how far something is: a bar on a terminal, a line every few
// seconds elsewhere, nothing with -q. Nothing shows in the first half second.
type progress struct {
	app   *app
	label string
	total int // 0 when it is not known
	start time.Time
	shown time.Time
	bar   bool
}

func (a *app) progress(label string, total int) *progress {
	now := time.Now()
	return &progress{app: a, label: label, total: total, start: now, shown: now, bar: isTerminal(a.err)}
}

// at shows that n are done, if it is time to show anything.
func (p *progress) at(n int) {
	every := 5 * time.Second
	if p.bar {
		every = 100 * time.Millisecond
	}
	now := time.Now()
	if p.app.quiet || now.Sub(p.shown) < every || now.Sub(p.start) < 500*time.Millisecond {
		return
	}
	p.shown = now
	line := fmt.Sprintf("%s %d", p.label, n)
	if p.total > 0 {
		line = fmt.Sprintf("%s %d of %d", p.label, n, p.total)
	}
	if p.bar && p.total > 0 {
		const width = 30
		full := min(width, width*n/p.total)
		line = fmt.Sprintf("%s%s %s", strings.Repeat("█", full), strings.Repeat("░", width-full), line)
	}
	if p.bar {
		fmt.Fprintf(p.app.err, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.app.err, line)
	}
}

// done takes the bar off the terminal.
func (p *progress) done() {
	if p.bar && p.shown != p.start {
		fmt.Fprint(p.app.err, "\r\x1b[K")
	}
}
