package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/subject"
)

func (a *app) whyCommand() *cobra.Command {
	var of ofSubject
	cmd := &cobra.Command{
		Use:   "why SUBJECT|ID",
		Short: "Say why a lane or a job does not run, and what helps",
		Long: `Says in one sentence why a lane, or a job, stands where it stands: who has it, what it
waits for, since when and until when; and which command helps. A word that is the subject of a
lane means that, and the id of a job otherwise.

Ends with 4 when nothing moves before somebody does something, and else with 0.`,
		Example: `  lanekeeper why build:17
  lanekeeper why build:17 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			why, err := a.why(cmd.Context(), d, &of, args)
			err = a.orLetters(cmd.Context(), d, args[0], err)
			if err = a.partly(err, why.Code != ""); err != nil {
				return err
			}
			return a.showWhy(why)
		},
	}
	of.addTo(cmd)
	return cmd
}

// why asks of the lane that a word is the subject of, or of the job.
func (a *app) why(ctx context.Context, d *dispatcher.Dispatcher, of *ofSubject, args []string) (inspect.Why, error) {
	if key, err := subject.Parse(args[0]); err == nil && of.text == "" {
		why, err := inspect.New(d).WhyLane(ctx, key)
		if !errors.Is(err, dispatcher.ErrNotFound) {
			return why, err
		}
		if job, e := inspect.New(d).WhyJob(ctx, dispatcher.JobRef{ID: args[0]}); !errors.Is(e, dispatcher.ErrNotFound) {
			return job, e
		}
		return why, err
	}
	refs, err := of.refs(args)
	if err != nil {
		return inspect.Why{}, err
	}
	return inspect.New(d).WhyJob(ctx, refs[0])
}

// whyView is an answer as the CLI shows it.
type whyView struct {
	inspect.Why
	Subject string `json:"subject"`
	Job     string `json:"id,omitempty"`
}

// showWhy prints each command on a line of its own: a line that is copied whole must do what it says, and nothing else.
func (a *app) showWhy(why inspect.Why) error {
	var stuck error
	if why.Stuck {
		stuck = falseError{}
		defer a.note("Nothing moves here before somebody does something.")
	}
	if a.machine() {
		if err := a.show(whyView{why, why.Subject.String(), idText(why.Job)}, nil); err != nil {
			return err
		}
		return stuck
	}
	a.say("%s", why.Text)
	for _, step := range why.Next {
		a.say("  # %s\n  %s", step.Does, a.where.command(step.Command))
	}
	return stuck
}
