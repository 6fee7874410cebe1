package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// deadPick are the flags by which dead letters are picked.
type deadPick struct {
	kind, reason, before, after string
	all                         bool
}

// addTo adds them to a command, which has --subject already.
func (o *deadPick) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.kind, "kind", "", "only letters of this job kind")
	f.StringVar(&o.reason, "reason", "", "only letters with this reason: attempts-exhausted, permanent-error, worker-lost, …, or in its own words")
	f.StringVar(&o.before, "before", "", "only letters that died before this: 2026-11-28T09:00:00Z, or an age such as 2h")
	f.StringVar(&o.after, "after", "", "only letters that died at this time or later")
}

// any reports whether letters are to be picked, and not named.
func (o *deadPick) any() bool { return o.all || o.narrow() }

func (o *deadPick) narrow() bool { return o.kind+o.reason+o.before+o.after != "" }

// filter makes a filter of what was typed. Ages are by Redis's clock, which deaths are noted by.
func (o *deadPick) filter(ctx context.Context, a *app, of string) (f dispatcher.DeadFilter, err error) {
	f.Kind, f.Reason = o.kind, reasonOf(o.reason)
	if of != "" {
		if f.Subject, err = subject.Parse(of); err != nil {
			return f, err
		}
	}
	if f.Before, err = o.moment(ctx, a, "before", o.before); err == nil {
		f.After, err = o.moment(ctx, a, "after", o.after)
	}
	if err == nil {
		err = f.Validate()
	}
	return f, err
}

func (o *deadPick) moment(ctx context.Context, a *app, flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < 0 {
		return time.Time{}, usage("--%s %q must be a time such as 2026-11-28T09:00:00Z, or an age such as 90s, 2h or 720h", flag, text)
	}
	return a.now(ctx).Add(-age), nil
}

// deadBulk are the flags of a command that acts on all letters that are picked.
type deadBulk struct {
	deadPick
	dryRun, yes bool
	expect      int
}

func (o *deadBulk) addTo(cmd *cobra.Command) {
	o.deadPick.addTo(cmd)
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "all dead letters")
	f.BoolVar(&o.dryRun, "dry-run", false, "count them, and change nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask; required without a terminal")
	f.IntVar(&o.expect, "expect", 0, "do nothing unless there are just so many")
}

// check refuses what can't be meant, and reports whether letters are picked. Only ids may come with no flag but --subject.
func (o *deadBulk) check(cmd *cobra.Command, args []string, of string) (picks bool, err error) {
	picks = o.any() || of != "" && len(args) == 0
	switch {
	case len(args) == 0 && !picks:
		return false, usage("name dead letters by their ids, or pick them with --kind, --reason, --subject, --before, --after or --all\nSee '%s --help'.", cmd.CommandPath())
	case len(args) > 0 && o.any():
		return false, usage("name dead letters by their ids, or pick them by flags: not both")
	case o.all && (o.narrow() || of != ""):
		return false, usage("--all picks all dead letters: leave it out to pick some")
	case !picks && (o.dryRun || o.yes || cmd.Flags().Changed("expect")):
		return false, usage("--dry-run, --yes and --expect are for letters that are picked by flags: ids say themselves what is meant")
	case cmd.Flags().Changed("expect") && o.expect < 0:
		return false, usage("--expect %d must be 0 or more", o.expect)
	}
	return picks, nil
}

// expected returns an error where another number of letters was picked than was expected.
func (o *deadBulk) expected(cmd *cobra.Command, n int) error {
	if cmd.Flags().Changed("expect") && n != o.expect {
		return exitError{exitFalse, fmt.Errorf("%s, and --expect says %d: nothing was done", matching(n), o.expect)}
	}
	return nil
}
