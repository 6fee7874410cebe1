package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// laneVerbs are the commands that change a lane. Each acts on the head that --head names, where that is given, and on no other.
func (a *app) laneVerbs() []*cobra.Command {
	verbs := []*cobra.Command{
		a.suspendCommand(),
		a.laneVerb("resume SUBJECT", "Let a suspended or halted lane go on",
			`Lets a lane go on that was suspended, or that its head has halted (on_failure: halt). A
head that has halted its lane gets all its attempts again; 'lane skip' goes on without it.`, "goes on",
			(*dispatcher.Dispatcher).Resume),
		a.laneVerb("skip SUBJECT", "Let a suspended or halted lane go on without its head",
			`Makes a dead letter of the head of a suspended or halted lane, and lets the lane go on.
'dead replay --front' puts it back. With --head ID it skips that job and no other, which may
have become the head since you looked.`, "goes on without its head",
			(*dispatcher.Dispatcher).Skip),
		a.laneVerb("retry SUBJECT", "Try the head of a lane again now, whose backoff is not over",
			`Lets a lane go on now whose head has failed and waits for its next attempt (it is
'delayed'). The attempts of the job stay as they are.`, "is ready: its head is tried again now",
			(*dispatcher.Dispatcher).RetryNow),
	}
	a.addWhy(verbs...)
	return verbs
}

func (a *app) suspendCommand() *cobra.Command {
	var head head
	cmd := &cobra.Command{
		Use:   "suspend SUBJECT",
		Short: "Stop a lane until it is resumed",
		Long: `Stops a lane until it is resumed: at once, or when the job that runs has ended. Jobs can
still be enqueued. Who has suspended it, and why, is shown with the lane.`,
		Example: `  lanekeeper lane suspend build:17 --why 'disk of the builder is full'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := subject.Parse(args[0])
			if err != nil {
				return err
			}
			conditions, err := head.conditions(cmd)
			if err != nil {
				return err
			}
			d, err := a.open(cmd.Context())
			if err != nil {
				return err
			}
			holder, err := d.Suspend(cmd.Context(), key, a.reason, conditions...)
			if err != nil {
				return err
			}
			if holder != "" {
				a.note("%s holds it now; it stands still when that has ended", holder)
			} else if lane, err := inspect.New(d).Lane(cmd.Context(), key, inspect.Page{Limit: 1}); err == nil && lane.Depth == 0 {
				a.note("No jobs are there now, and those that come will wait.") // so a slip of the keyboard is seen
			}
			return a.done(key, "suspended")
		},
	}
	head.addTo(cmd)
	return cmd
}

// laneVerb is a command that lets a lane go on.
func (a *app) laneVerb(use, short, long, what string, do func(*dispatcher.Dispatcher, context.Context, subject.Key, ...dispatcher.Condition) error) *cobra.Command {
	var head head
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := subject.Parse(args[0])
			if err != nil {
				return err
			}
			conditions, err := head.conditions(cmd)
			if err != nil {
				return err
			}
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			if err := do(d, cmd.Context(), key, conditions...); err != nil {
				return err
			}
			return a.done(key, what)
		},
	}
	head.addTo(cmd)
	return cmd
}

// head is the flag --head of commands that change a lane.
type head struct{ text string }

func (h *head) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&h.text, "head", "", "act only while that job is the head of the lane, '' for none; ends with 10 when it is another")
}

// conditions reads the flag, where it is given.
func (h *head) conditions(cmd *cobra.Command) ([]dispatcher.Condition, error) {
	if !cmd.Flags().Changed("head") {
		return nil, nil
	}
	id := ""
	if h.text != "" {
		var err error
		if id, err = subject.ParseID(h.text); err != nil {
			return nil, err
		}
	}
	return []dispatcher.Condition{dispatcher.IfHead(id)}, nil
}
