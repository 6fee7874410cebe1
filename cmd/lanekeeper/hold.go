package main

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/control"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
)

// holdFlags are what a hold is typed with.
type holdFlags struct {
	all                    bool
	kind, pool, host, lane string
	except                 []string
	reason, by, until      string
	force                  bool
}

func (a *app) holdCommand() *cobra.Command {
	var o holdFlags
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Keep a kind, a pool, a host, lanes or all from starting, until that is released",
		Long: `Keeps jobs from starting, in one scope, until the hold is released or its time is over. What
runs goes on to its end; jobs can still be enqueued, and wait in their order. When the command
has ended with 0, nothing in the scope starts any more, on any host; what was claimed and had not
begun is back in its lane within a second, and has its attempt again.

Each hold has an id of its own. What several bar stays barred until the last of them is released.`,
		Example: `  lanekeeper hold --kind publish --reason 'mirror disk full' --until 2h
  lanekeeper hold --lane 'archive:ubuntu*' --reason 'moving disks'
  lanekeeper hold --all --except heartbeat --reason 'database restore'
  lanekeeper release H-7`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.setHold(cmd, &o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.kind, "kind", "", "hold this job kind")
	f.StringVar(&o.pool, "pool", "", "hold what workers of this pool claim")
	f.StringVar(&o.host, "host", "", "hold what processes on this host claim")
	f.StringVar(&o.lane, "lane", "", "hold this subject, or with a * at its end those that begin so: 'archive:ubuntu*'")
	f.BoolVar(&o.all, "all", false, "hold everything")
	f.StringSliceVar(&o.except, "except", nil, "kinds that go on all the same")
	f.StringVar(&o.reason, "reason", "", "why, in one line: shown wherever it is asked why something does not start")
	f.StringVar(&o.by, "by", "", "who says so (default user@host)")
	f.StringVar(&o.until, "until", "", "when it ends by itself: in 2h, at 2026-11-28T18:00:00Z, or at the next 18:00 UTC; otherwise when it is released")
	f.BoolVar(&o.force, "force", false, "hold although workers of an earlier release live, which do not obey")
	cmd.AddCommand(a.holdLsCommand())
	return cmd
}

// setHold sets the hold that was typed, and says how far it reaches.
func (a *app) setHold(cmd *cobra.Command, o *holdFlags) error {
	hold, err := o.hold()
	if err != nil {
		return err
	}
	ctx, began := cmd.Context(), time.Now()
	d, err := a.open(ctx)
	if err != nil {
		return err
	}
	if hold.Until, err = untilOf(o.until, a.now(ctx)); err != nil {
		return err
	}
	c := control.New(d)
	set, err := c.Hold(ctx, hold)
	if set.ID == "" {
		return err
	}
	in := d.Namespace().Partitions
	var missing *dispatcher.IncompleteError
	if errors.As(err, &missing) {
		in -= len(missing.Missing)
	}
	if a.machine() {
		if e := a.show(map[string]any{"hold": set, "partitions": d.Namespace().Partitions, "in_force": in}, nil); e != nil {
			return e
		}
	} else {
		a.say("%s  %s  held in %d of %d partitions since %s (%s)%s", set.ID, scopeText(set), in, d.Namespace().Partitions,
			clock(&set.Since), time.Since(began).Round(time.Millisecond), endText(set, a.now(ctx)))
		a.say("'lanekeeper release %s' ends it; 'lanekeeper hold ls' shows what waits.", set.ID)
	}
	if missing != nil {
		return partlyHeld{missing}
	}
	return err
}

// partlyHeld says that a change stays, and has not reached every partition.
type partlyHeld struct{ missing *dispatcher.IncompleteError }

func (e partlyHeld) Error() string {
	return "not in force everywhere: " + strings.Join(e.missing.Missing, ", ") + " did not answer (" + e.missing.Err.Error() +
		"); it stays, and workers bring it there as soon as they can: 'lanekeeper hold ls' says when"
}

// Unwrap is what keeps the partitions from being asked, so that the command ends as if Redis were away.
func (e partlyHeld) Unwrap() error { return dispatcher.ErrUnavailable }

// hold is the hold of flags, without its end.
func (o *holdFlags) hold() (control.Hold, error) {
	h := control.Hold{Except: o.except, Reason: o.reason, By: cmp.Or(o.by, whoami()), Forced: o.force}
	n := 0
	for scope, name := range map[control.Scope]string{control.Kind: o.kind, control.Pool: o.pool, control.Host: o.host, control.Lanes: o.lane} {
		if name != "" {
			h.Scope, h.Name = scope, name
			n++
		}
	}
	if o.all {
		h.Scope, h.Name = control.All, ""
		n++
	}
	switch {
	case n != 1:
		return h, usage("say what to hold with one of --kind, --pool, --host, --lane and --all")
	case o.reason == "":
		return h, usage("say why with --reason: somebody will find it at 3 a.m.")
	}
	return h, nil
}

// untilOf reads when a hold is to end: a duration from now, a time, or a time of the day in UTC.
func untilOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d).Truncate(time.Millisecond), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	if at, err := time.Parse("15:04", text); err == nil {
		now = now.UTC()
		at = time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), 0, 0, time.UTC)
		if !at.After(now) {
			at = at.AddDate(0, 0, 1)
		}
		return at, nil
	}
	return time.Time{}, usage("--until %q must be a duration such as 2h, a time such as 2026-11-28T18:00:00Z, or a time of the day in UTC such as 18:00", text)
}

// scopeText is what a hold is about.
func scopeText(h control.Hold) string {
	text := strings.TrimSpace(string(h.Scope) + " " + h.Name)
	if len(h.Except) > 0 {
		text += " but " + strings.Join(h.Except, ", ")
	}
	return text
}

func endText(h control.Hold, now time.Time) string {
	if h.Until.IsZero() {
		return ""
	}
	return ", until " + clock(&h.Until) + " UTC, in " + span(h.Until.Sub(now).Round(time.Second))
}

// holdView is a hold as the CLI shows it, with the lanes that it bars.
type holdView struct {
	control.Hold
	Bars int `json:"bars"` // lanes that could be claimed otherwise; of a host it is not known, and -1
}

var holdColumns = []column[holdView]{
	{"ID", false, func(h holdView) string { return h.ID }},
	{"SCOPE", false, func(h holdView) string { return scopeText(h.Hold) }},
	{"SINCE (UTC)", false, func(h holdView) string { return clock(&h.Since) }},
	{"UNTIL (UTC)", false, func(h holdView) string {
		if h.Until.IsZero() {
			return ""
		}
		return clock(&h.Until)
	}},
	{"BARS", false, func(h holdView) string {
		if h.Bars < 0 {
			return ""
		}
		return counted(h.Bars, "lane")
	}},
	{"BY", false, func(h holdView) string { return h.By }},
	{"REASON", false, func(h holdView) string { return h.Reason }},
}

// counted is a number and what is counted, in the singular or the plural.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return itoa(n) + " " + what + "s"
}

func (a *app) holdLsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List what is held, why, by whom, and how many lanes wait for it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			d, err := a.look(ctx)
			if err != nil {
				return err
			}
			c := control.New(d)
			holds, err := c.Holds(ctx)
			if err != nil {
				return err
			}
			views := make([]holdView, len(holds))
			bars, err := inspect.New(d).Barred(ctx)
			if err = a.partly(err, true); err != nil {
				return err
			}
			for i, h := range holds {
				views[i] = holdView{h, -1}
				if n, ok := bars[h.ID]; ok {
					views[i].Bars = n
				}
			}
			if err := list(a, views, func(h holdView) string { return h.ID }, holdColumns); err != nil {
				return err
			}
			return a.afterHolds(ctx, c, len(views), d.Namespace().Partitions)
		},
	}
}

// afterHolds says when there is nothing, and when partitions are behind.
func (a *app) afterHolds(ctx context.Context, c *control.Control, n, partitions int) error {
	in, err := c.InForce(ctx)
	if err = a.partly(err, true); err != nil {
		return err
	}
	switch {
	case in < partitions:
		a.note("In force in %d of %d partitions: workers bring it to the others within seconds, when they can.", in, partitions)
	case n == 0:
		a.note("Nothing is held.")
	}
	return nil
}

func (a *app) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release HOLD …",
		Short: "Let go on what a hold keeps back",
		Long: `Releases holds by their ids, and no others: what another one bars too stays barred. Lanes go on
where they stand, in their order.`,
		Example: `  lanekeeper release H-7 --why 'disk is replaced'`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			c := control.New(d)
			for _, id := range args {
				was, err := c.Release(cmd.Context(), id)
				if was.ID == "" {
					return err
				}
				if e := a.result(map[string]any{"released": was}, "%s  %s  released: %s", was.ID, scopeText(was), was.Reason); e != nil {
					return e
				}
				var missing *dispatcher.IncompleteError
				if errors.As(err, &missing) {
					return partlyHeld{missing}
				}
			}
			return nil
		},
	}
	a.addWhy(cmd)
	return cmd
}
