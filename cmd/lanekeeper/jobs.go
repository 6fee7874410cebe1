package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// jobStates are the states of 'job ls', and where each is looked for.
var jobStates = map[string]inspect.State{"scheduled": inspect.Scheduled, "running": inspect.Leased, "dead": inspect.Dead, "ended": ""}

// wanted is what 'job ls' is asked for.
type wanted struct {
	state, kind, of string
	since           time.Duration
	page            inspect.Page
}

func (a *app) jobList() *cobra.Command {
	var w wanted
	cmd := &cobra.Command{
		Use:   "ls --state scheduled|running|dead|ended",
		Short: "List the jobs of a state, by kind and subject too",
		Long: `Lists jobs that are scheduled, that run, or that are dead letters; or attempts that have
ended, as far as the trail has them ('lane history --help'). Jobs that wait in a lane: 'lane show SUBJECT'.`,
		Example: `  lanekeeper job ls --state ended --kind expire --since 10m`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.listJobs(cmd.Context(), w) },
	}
	cmd.Flags().StringVar(&w.state, "state", "", "scheduled, running, dead or ended")
	cmd.Flags().StringVar(&w.kind, "kind", "", "only jobs of this kind")
	cmd.Flags().StringVar(&w.of, "subject", "", "only jobs of this subject")
	cmd.Flags().DurationVar(&w.since, "since", 0, "only what has ended or died, or whose lease was given, within this time")
	addPageFlags(cmd, &w.page)
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"scheduled", "running", "dead", "ended"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) listJobs(ctx context.Context, w wanted) error {
	state, known := jobStates[w.state]
	if !known {
		return usage("--state %q must be scheduled, running, dead or ended; 'lane show SUBJECT' lists jobs that wait", w.state)
	}
	if w.since < 0 || w.since > 0 && state == inspect.Scheduled {
		return usage("--since %s must be a time that is past, and scheduled jobs have none", w.since)
	}
	if err := checkPage(w.page); err != nil {
		return err
	}
	filter := inspect.JobFilter{State: state, Kind: w.kind}
	if w.of != "" {
		var err error
		if filter.Subject, err = subject.Parse(w.of); err != nil {
			return err
		}
	}
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	if w.since > 0 {
		filter.Since = a.now(ctx).Add(-w.since)
	}
	if w.state == "ended" {
		columns := slices.Clone(attemptColumns)
		for i := range columns {
			columns[i].wide = columns[i].wide && columns[i].title != "SUBJECT"
		}
		return a.listTrail(ctx, inspect.TrailFilter{Subject: filter.Subject, Kind: filter.Kind, Since: filter.Since}, w.page, columns)
	}
	jobs, next, err := inspect.New(d).Jobs(ctx, filter, w.page)
	if err = a.partly(err, true); err != nil {
		return err
	}
	views := a.viewJobs(d, jobs)
	for i := range views {
		if state != inspect.Dead { // nobody has looked at the payload
			views[i].PayloadHash = ""
		}
	}
	if err := list(a, views, jobWord, columnsOf(state)); err != nil {
		return err
	}
	if len(views) == 0 && next == "" {
		a.note("No such jobs.")
		a.unknownKind(ctx, d, w.kind)
	} else if len(views) == 0 {
		a.note("No such jobs among those looked at so far.")
	}
	a.more(next)
	return nil
}

// columnsOf are the columns of a list of jobs of one state.
func columnsOf(state inspect.State) []column[jobView] {
	columns := []column[jobView]{
		{"ID", false, jobID},
		{"SUBJECT", false, func(j jobView) string { return j.Subject }},
		{"KIND", false, func(j jobView) string { return j.Kind }},
	}
	switch state {
	case inspect.Scheduled:
		columns = append(columns,
			column[jobView]{"DUE (UTC)", false, func(j jobView) string { return clock(j.RunAt) }},
			column[jobView]{"ATTEMPTS", false, func(j jobView) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }},
			column[jobView]{"ERROR", false, jobError})
	case inspect.Leased:
		columns = append(columns,
			column[jobView]{"ATTEMPT", false, func(j jobView) string { return fmt.Sprintf("%d/%d", j.Attempt, j.MaxAttempts) }},
			column[jobView]{"HOLDER", false, func(j jobView) string { return j.Holder }},
			column[jobView]{"TOKEN", true, func(j jobView) string { return j.Token }})
	default:
		return deadColumns
	}
	return columns
}
