package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// results holds the figures of all rounds.
type results struct {
	names  []string // of figures, in the order in which they came
	values map[string]map[string][]measured
}

// measured is a figure of one round.
type measured struct {
	round int
	value float64
}

func newResults() *results { return &results{values: make(map[string]map[string][]measured)} }

func (r *results) add(contender string, round int, f figures) {
	for _, name := range sortedKeys(f) {
		if r.values[name] == nil {
			r.values[name] = make(map[string][]measured)
			r.names = append(r.names, name)
		}
		r.values[name][contender] = append(r.values[name][contender], measured{round, f[name]})
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// row is one line of results.json.
type row struct {
	Workload     string   `json:"workload"`
	Contender    string   `json:"contender"`
	Unit         string   `json:"unit"`
	Median       float64  `json:"median"`
	Min          float64  `json:"min"`
	Max          float64  `json:"max"`
	RatioToAsynq *float64 `json:"ratio_to_asynq"` // median of the rounds' ratios; null without asynq
}

func (r *results) rows() []row {
	var rows []row
	for _, name := range r.names {
		for _, c := range contenders {
			values := r.values[name][c.name]
			if len(values) == 0 {
				continue
			}
			v := make([]float64, len(values))
			for i := range values {
				v[i] = values[i].value
			}
			line := row{name, c.name, units[name], median(v), slices.Min(v), slices.Max(v), nil}
			if ratio, ok := r.ratio(name, c.name, "asynq"); ok {
				line.RatioToAsynq = &ratio
			}
			rows = append(rows, line)
		}
	}
	return rows
}

// ratio is the median over rounds of one contender's figure by another's.
func (r *results) ratio(name, contender, to string) (float64, bool) {
	var ratios []float64
	for _, v := range r.values[name][contender] {
		for _, other := range r.values[name][to] {
			if other.round == v.round && other.value != 0 {
				ratios = append(ratios, v.value/other.value)
			}
		}
	}
	if len(ratios) == 0 {
		return 0, false
	}
	return median(ratios), true
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// table is a Markdown table, aligned for the terminal too.
func (r *results) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| figure\t| contender\t| unit\t| median\t| min\t| max\t| by asynq\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, line := range r.rows() {
		ratio := ""
		if line.RatioToAsynq != nil && line.Contender != "asynq" {
			ratio = human(*line.RatioToAsynq)
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", line.Workload, line.Contender, line.Unit,
			human(line.Median), human(line.Min), human(line.Max), ratio)
	}
	_ = w.Flush()
	return b.String()
}

// human prints three digits, and no more than the whole of a large number.
func human(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func (r *results) write(path string) error {
	text, err := json.MarshalIndent(r.rows(), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// publish puts the table and the plots into the docs, between marks of their own.
func (r *results) publish(docs, table string) error {
	path := filepath.Join(docs, "performance.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const begin, end = "<!-- bench:begin -->\n", "<!-- bench:end -->"
	before, rest, found := strings.Cut(string(text), begin)
	_, after, found2 := strings.Cut(rest, end)
	if !found || !found2 {
		return fmt.Errorf("%s has no marks %q and %q", path, begin, end)
	}
	part := fmt.Sprintf("%s, %s.\n\n%s", time.Now().UTC().Format("2006-01-02 15:04 UTC"), machine(), table)
	if err := os.WriteFile(path, []byte(before+begin+part+end+after), 0o644); err != nil {
		return err
	}
	return r.plot(docs)
}

// machine says what the figures were measured on.
func machine() string {
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for _, line := range strings.Split(string(text), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	redis := "redis-server"
	if out, err := exec.Command("redis-server", "--version").Output(); err == nil {
		if fields := strings.Fields(string(out)); len(fields) > 2 {
			redis = "redis-server " + strings.TrimPrefix(fields[2], "v=")
		}
	}
	return fmt.Sprintf("%d CPUs (%s), %s, %s", runtime.NumCPU(), cpu, redis, runtime.Version())
}
