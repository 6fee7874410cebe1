package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/subject"
)

// attemptView is an attempt of the trail as the CLI shows it.
type attemptView struct {
	ID         string     `json:"id"`
	Subject    string     `json:"subject"`
	Kind       string     `json:"kind"`
	Attempt    int        `json:"attempt"`
	Ending     string     `json:"ending"`
	EnqueuedAt *time.Time `json:"enqueued_at,omitempty"`
	StartedAt  time.Time  `json:"started_at"`
	EndedAt    time.Time  `json:"ended_at"`
	Took       string     `json:"took"`
	Holder     string     `json:"holder"`
	Error      string     `json:"error,omitempty"`
	Of         int        `json:"of"` // how many it stands for
	id         string
}

func viewAttempt(t inspect.Attempt) attemptView {
	return attemptView{
		ID: idText(t.ID), id: t.ID, Subject: t.Subject.String(), Kind: t.Kind, Attempt: t.Attempt.Attempt, Ending: string(t.Ending),
		EnqueuedAt: optional(t.EnqueuedAt), StartedAt: t.StartedAt, EndedAt: t.EndedAt, Took: t.EndedAt.Sub(t.StartedAt).Round(time.Millisecond).String(),
		Holder: t.Holder, Error: t.Error, Of: t.Of,
	}
}

var attemptColumns = []column[attemptView]{
	{"ENDED (UTC)", false, func(t attemptView) string { return clock(&t.EndedAt) }},
	{"ID", false, func(t attemptView) string { return t.ID }},
	{"KIND", false, func(t attemptView) string { return t.Kind }},
	{"ATTEMPT", false, func(t attemptView) string { return itoa(t.Attempt) }},
	{"ENDING", false, func(t attemptView) string { return t.Ending }},
	{"TOOK", false, func(t attemptView) string { return t.Took }},
	{"ERROR", false, func(t attemptView) string { return t.Error }},
	{"SUBJECT", true, func(t attemptView) string { return t.Subject }},
	{"HOLDER", true, func(t attemptView) string { return t.Holder }},
	{"STARTED (UTC)", true, func(t attemptView) string { return clock(&t.StartedAt) }},
	{"ENQUEUED (UTC)", true, func(t attemptView) string { return clock(t.EnqueuedAt) }},
}

// historyCommand lists what ran in a lane.
func (a *app) historyCommand() *cobra.Command {
	var filter inspect.TrailFilter
	var page inspect.Page
	cmd := &cobra.Command{
		Use:   "history SUBJECT",
		Short: "List attempts of a lane that have ended, the latest first",
		Long: `Lists attempts of a lane that have ended, the latest first, as far as the trail goes: the last
5,000 of the namespace. Attempts that failed, were lost, cancelled or interrupted or took a second are all there;
of many others it is a sample, and says so. Workers tell of them every five seconds.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if filter.Subject, err = subject.Parse(args[0]); err != nil {
				return err
			}
			return a.listTrail(cmd.Context(), filter, page, attemptColumns)
		},
	}
	cmd.Flags().StringVar(&filter.Kind, "kind", "", "only attempts at jobs of this kind")
	cmd.Flags().StringVar((*string)(&filter.Ending), "ending", "", "only those that ended finished, failed, cancelled, lost or interrupted")
	addPageFlags(cmd, &page)
	var endings []string
	for _, how := range session.Endings {
		endings = append(endings, string(how))
	}
	_ = cmd.RegisterFlagCompletionFunc("ending", cobra.FixedCompletions(endings, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// watchCommand has all attempts of a lane remembered for a while.
func (a *app) watchCommand() *cobra.Command {
	var long time.Duration
	cmd := &cobra.Command{
		Use:   "watch SUBJECT",
		Short: "Have all attempts of a lane remembered for a while",
		Long: `Has workers remember all attempts of a lane for a while, where 'lane history' would have a
sample of them: the last 200, which stay for an hour after the latest. Workers hear of it within five seconds; what
ran before that is not added. Up to 64 lanes can be watched at once.`,
		Example: `  lanekeeper lane watch build:17 --for 1h`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := subject.Parse(args[0])
			if err != nil {
				return err
			}
			d, err := a.look(cmd.Context())
			if err != nil {
				return err
			}
			until, err := d.Watch(cmd.Context(), key, long)
			if err != nil {
				return err
			}
			if a.machine() {
				return a.show(map[string]string{"subject": key.String(), "watched_until": until.Format(time.RFC3339)}, nil)
			}
			if long == 0 {
				a.say("%s is no longer watched; what was remembered stays for an hour", key.Word())
			} else {
				a.say("%s is watched until %s; 'lane history %s' lists what it did", key.Word(), clock(&until), key.Word())
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&long, "for", 10*time.Minute, "for how long, up to 24h; 0 stops it")
	return cmd
}

// listTrail lists a page of the trail, and says how far that can be believed to be all.
func (a *app) listTrail(ctx context.Context, filter inspect.TrailFilter, page inspect.Page, columns []column[attemptView]) error {
	if err := checkPage(page); err != nil {
		return err
	}
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	trail, err := inspect.New(d).Trail(ctx, filter, page)
	if err != nil {
		return err
	}
	views := make([]attemptView, len(trail.Attempts))
	for i, t := range trail.Attempts {
		views[i] = viewAttempt(t)
	}
	if err := list(a, views, func(t attemptView) string { return idWord(t.id) }, columns); err != nil {
		return err
	}
	switch what := reach(trail); {
	case len(views) == 0 && page.Cursor == "":
		a.note("No such attempt in the trail. %s", what)
		a.unknownKind(ctx, d, filter.Kind)
	default:
		a.note("%s", what)
	}
	a.more(trail.Next)
	return nil
}

// reach says what a trail has.
func reach(t inspect.TrailPage) string {
	switch {
	case !t.WatchedUntil.IsZero():
		return fmt.Sprintf("It is watched until %s: its last 200 attempts are here, from five seconds after that began to five seconds ago.", clock(&t.WatchedUntil))
	case t.Since.IsZero():
		return "It is empty: nobody has told of an attempt yet."
	case t.Sampled:
		return fmt.Sprintf("It goes back to %s. Of attempts that finished within a second this is a sample; of others too where more than 300 ended in five seconds. What ended in the last five seconds may be missing.", clock(&t.Since))
	}
	return fmt.Sprintf("It goes back to %s, and has all that workers told of since; what ended in the last five seconds may be missing.", clock(&t.Since))
}
