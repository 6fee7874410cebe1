// Command bench measures Lanekeeper beside what people use today, on servers of its
// own, all in one run: machines here are noisy, so what counts are the ratios of one
// round, and their medians. See docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	worker := flag.String("worker", "", "be a worker process on this Redis (used by bench itself)")
	quick := flag.Bool("quick", false, "drain, contention, idle latency and memory only, with fewer jobs, in one round")
	only := flag.String("only", "", "workloads to run, with commas between: "+strings.Join(workloadNames(), ","))
	contender := flag.String("contender", "", "measure only this one")
	ref := flag.String("against", "", "measure this tree beside the build of a commit, in turn")
	rounds := flag.Int("rounds", 5, "with -against, how often both are measured")
	out := flag.String("out", "results.json", "where to write the results; a full run also brings ../docs up to date")
	flag.Parse()
	if *worker != "" {
		exit(runWorker(*worker))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *ref != "" {
		exit(against(ctx, *ref, *only, *rounds))
	}
	exit(run(ctx, *quick, *only, *contender, *out))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	return names
}

func run(ctx context.Context, quick bool, only, contender, out string) error {
	if only != "" {
		for _, name := range strings.Split(only, ",") {
			if !slices.Contains(workloadNames(), name) {
				return fmt.Errorf("-only %q: there is no such workload; there are %s", name, strings.Join(workloadNames(), ", "))
			}
		}
	}
	at := &venue{quick: quick}
	var err error
	if at.redis, err = startServer(ctx); err != nil {
		return err
	}
	defer at.redis.stop()
	if at.postgres, err = startPostgres(); err != nil {
		fmt.Fprintln(os.Stderr, "without river:", err)
	} else if at.postgres != nil {
		defer at.postgres.stop()
	} else {
		fmt.Fprintln(os.Stderr, "without river: PostgreSQL is not installed")
	}
	began := time.Now()
	results := newResults()
	for _, w := range workloads {
		if only != "" && !slices.Contains(strings.Split(only, ","), w.name) || quick && only == "" && !w.quick {
			continue
		}
		rounds := w.rounds
		if quick {
			rounds = 1
		}
		for round := range rounds {
			for _, name := range w.contenders {
				if contender != "" && contender != name {
					continue
				}
				fmt.Fprintf(os.Stderr, "%s  %-10s round %d of %d  %s\n", time.Since(began).Round(time.Second), w.name, round+1, rounds, name)
				f, err := measure(ctx, at, w, name)
				if errors.Is(err, errNotApplicable) {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s of %s: %w", w.name, name, err)
				}
				results.add(name, round, f)
			}
		}
	}
	table := results.table()
	fmt.Print(table)
	fmt.Printf("\n%s in all.\n", time.Since(began).Round(time.Second))
	if err := results.write(out); err != nil {
		return err
	}
	if !quick && only == "" && contender == "" {
		return results.publish("../docs", table)
	}
	return nil
}

func measure(ctx context.Context, at *venue, w workload, name string) (figures, error) {
	if err := at.redis.clear(ctx); err != nil {
		return nil, err
	}
	c, err := contenderNamed(name)(ctx, at)
	if err != nil {
		return nil, err
	}
	f, err := w.run(ctx, at, c, name)
	return f, errors.Join(err, c.close())
}

func contenderNamed(name string) func(context.Context, *venue) (contender, error) {
	for _, c := range contenders {
		if c.name == name {
			return c.make
		}
	}
	panic("no contender " + name)
}
