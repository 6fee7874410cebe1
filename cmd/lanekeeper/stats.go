package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
)

func (a *app) statsCommand() *cobra.Command {
	var flow bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show totals: jobs, lanes by state, kinds and their workers",
		Long: `Shows totals. Of lanes those that are ready, leased, delayed, suspended and barred add up to all of them,
and those without jobs: a subject may be held by a section ('exec'), or suspended, with no job.

With --flow it shows for each kind how many attempts ended a minute, in the last ten minutes and the last hour, how many
of the latter failed or were lost, and how many handlers ran at a time on the average. All attempts count that workers
have told of, which they do every five seconds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.showStats(cmd.Context(), flow) },
	}
	cmd.Flags().BoolVar(&flow, "flow", false, "show how fast the jobs of each kind go through, too")
	return cmd
}

// showStats prints totals, and with flow how fast each kind goes.
func (a *app) showStats(ctx context.Context, flow bool) error {
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	s, err := inspect.New(d).Stats(ctx)
	if err = a.partly(err, true); err != nil {
		return err
	}
	var object any = s
	var flows map[string]*flowView
	if flow {
		if flows, err = a.flows(ctx, inspect.New(d), &s); err != nil {
			return err
		}
		object = struct {
			inspect.Stats
			Flow map[string]*flowView `json:"flow"`
		}{s, flows}
	}
	if err := a.show(object, [][]string{
		{"jobs in lanes", itoa(s.InLanes)}, {"jobs scheduled", itoa(s.Scheduled)},
		{"dead letters", itoa(s.Dead)}, {"lanes", itoa(s.Lanes)}, {"  ready", itoa(s.Ready)},
		{"  leased", itoa(s.Leased)}, {"  delayed", itoa(s.Delayed)}, {"  suspended", itoa(s.Suspended)}, {"  barred", itoa(s.Barred)},
		{"  without jobs", positive(s.Bare)}, {"slots taken", positive(s.Slots)},
		{"outcomes kept", fmt.Sprintf("%d, %d bytes", s.Outcomes, s.OutcomeBytes)}, {"windows kept", itoa(s.Windows)},
		{"partitions", itoa(s.Partitions)},
	}); err != nil {
		return err
	}
	if a.machine() || len(s.Kinds) == 0 {
		return nil
	}
	ready := make(map[string]int)
	for kind, k := range s.Kinds {
		ready[kind] = k.Ready
	}
	why, err := inspect.New(d).WhyKinds(ctx, ready)
	if err = a.partly(err, true); err != nil {
		return err
	}
	a.say("")
	cells := [][]string{{"KIND", "READY LANES", "WORKERS", "NOTE"}}
	for _, kind := range slices.Sorted(maps.Keys(s.Kinds)) {
		k, note := s.Kinds[kind], why[kind].Text
		if k.Blamed > 0 && !why[kind].Stuck {
			note = strings.TrimSpace(fmt.Sprintf("%d of %d workers are blamed. %s", k.Blamed, k.Workers, note))
		}
		cells = append(cells, []string{kind, itoa(k.Ready), itoa(k.Workers), note})
	}
	if err := a.table(cells); err != nil || !flow {
		return err
	}
	return a.sayFlows(flows)
}
