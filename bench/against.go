package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// against measures this tree beside the build of another commit: each round runs both, one after the other, so that what the
// machine does meanwhile happens to both. What counts are the ratios of rounds, and their medians.
func against(ctx context.Context, ref, only string, rounds int) (err error) {
	if only == "" {
		only = "enqueue,drain,contention,hot lane,idle,memory"
	}
	dir, err := os.MkdirTemp("", "lanekeeper-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	then := filepath.Join(dir, "then")
	if err := command(ctx, ".", "git", "worktree", "add", "--detach", then, ref); err != nil {
		return fmt.Errorf("check %s out: %w", ref, err)
	}
	defer func() {
		err = errors.Join(err, command(context.WithoutCancel(ctx), ".", "git", "worktree", "remove", "--force", then))
	}()
	before, now := filepath.Join(dir, "before"), filepath.Join(dir, "now")
	for bin, tree := range map[string]string{before: filepath.Join(then, "bench"), now: "."} {
		if err := command(ctx, tree, "go", "build", "-o", bin, "."); err != nil {
			return fmt.Errorf("build in %s: %w", tree, err)
		}
	}
	var was, is []map[string]row
	for round := range rounds {
		for _, side := range []struct {
			name, bin string
			all       *[]map[string]row
		}{{ref, before, &was}, {"this tree", now, &is}} {
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, side.name)
			figures, err := oneRound(ctx, side.bin, only, filepath.Join(dir, "out.json"))
			if err != nil {
				return fmt.Errorf("measure %s: %w", side.name, err)
			}
			*side.all = append(*side.all, figures)
		}
	}
	fmt.Print(comparison(ref, was, is))
	return nil
}

// oneRound runs a build once, and returns its figures of Lanekeeper. Builds from before there was -contender measure the others too.
func oneRound(ctx context.Context, bin, only, out string) (map[string]row, error) {
	args := []string{"-quick", "-only", only, "-out", out}
	if usage, _ := exec.CommandContext(ctx, bin, "-h").CombinedOutput(); strings.Contains(string(usage), "-contender") {
		args = append(args, "-contender", "lanekeeper")
	}
	if said, err := exec.CommandContext(ctx, bin, args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	var rows []row
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, err
	}
	figures := make(map[string]row)
	for _, r := range rows {
		if r.Contender == "lanekeeper" {
			figures[r.Workload] = r
		}
	}
	return figures, nil
}

// comparison is a table of the figures that both have.
func comparison(ref string, was, is []map[string]row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "| figure\t| unit\t| %s\t| this tree\t| ratio\t| of rounds\t|\n", ref)
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, name := range slices.Sorted(maps.Keys(is[0])) {
		var before, now, ratios []float64
		for i := range is {
			old, ok := was[i][name]
			if !ok {
				continue
			}
			before, now = append(before, old.Median), append(now, is[i][name].Median)
			if old.Median != 0 {
				ratios = append(ratios, is[i][name].Median/old.Median)
			}
		}
		if len(ratios) > 0 {
			fmt.Fprintf(w, "| %s\t| %s\t| %.4g\t| %.4g\t| %.2f\t| %.2f to %.2f\t|\n",
				name, is[0][name].Unit, median(before), median(now), median(ratios), slices.Min(ratios), slices.Max(ratios))
		}
	}
	_ = w.Flush()
	return b.String()
}

// command runs a program in a folder. What it says is told when it fails.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}
