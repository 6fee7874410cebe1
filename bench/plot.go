package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// plots are the pictures in docs/performance.md: a bar for each contender, or for each
// figure where there is only one.
var plots = []struct {
	file, title string
	figures     []string
}{
	{"drain.svg", "drain, jobs/s (more is better)", []string{"drain"}},
	{"redis-cpu.svg", "Redis CPU from enqueue to finish, µs/job (less is better)", []string{"redis_cpu_us"}},
	{"enqueue.svg", "enqueue in batches of 100, jobs/s (more is better)", []string{"enqueue_batch"}},
	{"idle.svg", "enqueue to start on an idle system, p50 in ms (less is better)", []string{"idle_p50_ms"}},
	{"memory.svg", "Redis bytes for a waiting job, ten a lane (less is better)", []string{"memory_10"}},
	{"flatness.svg", "drain by lanes that wait, jobs/s", []string{"drain_10k_lanes", "drain_deep_lane", "drain_1m_lanes"}},
}

type bar struct {
	label string
	value float64
}

func (r *results) plot(docs string) error {
	rows := r.rows()
	for _, p := range plots {
		var bars []bar
		for _, name := range p.figures {
			for _, line := range rows {
				if line.Workload != name {
					continue
				}
				label := line.Contender
				if len(p.figures) > 1 {
					label = name
				}
				bars = append(bars, bar{label, line.Median})
			}
		}
		if err := os.WriteFile(filepath.Join(docs, p.file), []byte(svg(p.title, bars)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// svg draws horizontal bars, readable on light and dark pages.
func svg(title string, bars []bar) string {
	const width, left, row = 720, 150, 30
	largest := 0.0
	for _, b := range bars {
		largest = max(largest, b.value)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="14" role="img">`+"\n", width, 45+row*len(bars))
	fmt.Fprintf(&s, `<style>text{fill:#333}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style><title>%s</title>`+"\n", title)
	fmt.Fprintf(&s, `<text x="8" y="24" font-weight="bold">%s</text>`+"\n", title)
	for i, b := range bars {
		y := 38 + i*row
		length := b.value / largest * (width - left - 90)
		color := "#8a97a8"
		if i == 0 {
			color = "#2f7d5b"
		}
		fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+17, b.label)
		fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, y, max(length, 1), row-8, color)
		fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s</text>`+"\n", left+length+8, y+17, human(b.value))
	}
	s.WriteString("</svg>\n")
	return s.String()
}
