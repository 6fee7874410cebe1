package main

import (
	"cmp"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// addWhy adds the flag --why to commands that change something.
func (a *app) addWhy(cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		cmd.Flags().StringVar(&a.reason, "why", "", "shown to whoever wonders: it stands in 'lanekeeper log'")
	}
}

// whoami is who types commands here, user@host; behind sudo it is who has called that.
func whoami() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return cmp.Or(name, "uid "+strconv.Itoa(os.Getuid())) + "@" + cmp.Or(host, "unknown")
}

// actView is an act as the CLI shows it.
type actView struct {
	inspect.Act
	Subject string `json:"subject,omitempty"`
	ID      string `json:"id,omitempty"`
}

func viewAct(act inspect.Act) actView {
	v := actView{Act: act, ID: idText(act.JobID)}
	if act.Subject != (subject.Key{}) {
		v.Subject = act.Subject.String()
	}
	return v
}

// on is what was acted on: a lane, a job, a kind, a hold.
func (v actView) on() string {
	if v.ofJob() {
		return v.ID
	}
	return cmp.Or(v.Subject, v.Kind, v.Hold)
}

func (v actView) ofJob() bool { return v.ID != "" && !strings.HasPrefix(v.Verb, "lane ") }

// onText is the same for people: an id alone tells nobody whose job that was.
func (v actView) onText() string {
	if v.ofJob() && v.Subject != "" {
		return v.ID + " of " + v.Subject
	}
	return v.on()
}

var actColumns = []column[actView]{
	{"TIME (UTC)", false, func(v actView) string { return clock(&v.At) }},
	{"WHO", false, func(v actView) string { return v.Who }},
	{"FACE", true, func(v actView) string { return v.Face }},
	{"VERB", false, func(v actView) string { return v.Verb }},
	{"ON", false, actView.onText},
	{"BEFORE", false, func(v actView) string { return v.Before }},
	{"AFTER", false, func(v actView) string { return v.After }},
	{"WHY", false, func(v actView) string { return v.Why }},
	{"HEAD", true, func(v actView) string {
		if v.ofJob() {
			return "" // it stands there already
		}
		return v.ID
	}},
}

func (a *app) logCommand() *cobra.Command {
	var filter inspect.AuditFilter
	var page inspect.Page
	var of string
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "log",
		Short: "List what operators did, the latest first",
		Long: `Lists what operators did, the latest first: who, when, to what, what was before and what
is after, and why, where --why was given. Programs that call the same verbs are listed too.
About the last 10,000 acts are kept. What changed nothing is not listed.`,
		Example: `  lanekeeper log --since 24h
  lanekeeper log --subject build:17 --verb skip`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := checkPage(page); err != nil {
				return err
			}
			if since < 0 {
				return usage("--since %s must not be negative", since)
			}
			if of != "" {
				if filter.Subject, err = subject.Parse(of); err != nil {
					return err
				}
			}
			return a.listActs(cmd, filter, since, page)
		},
	}
	f := cmd.Flags()
	f.StringVar(&of, "subject", "", "only acts on that lane and its jobs")
	f.StringVar(&filter.Who, "who", "", "only acts of that user@host, or whatever a program calls itself")
	f.DurationVar(&since, "since", 0, "only acts of the last time, such as 24h")
	f.StringVar(&filter.Verb, "verb", "", "only these acts: "+strings.Join(inspect.Verbs, ", ")+"; or a word of one, such as skip")
	addPageFlags(cmd, &page)
	_ = cmd.RegisterFlagCompletionFunc("verb", cobra.FixedCompletions(inspect.Verbs, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// listActs looks on until a page is full: with a filter a step of the walk may bring few.
func (a *app) listActs(cmd *cobra.Command, filter inspect.AuditFilter, since time.Duration, page inspect.Page) error {
	ctx := cmd.Context()
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	if since > 0 {
		filter.Since = a.now(ctx).Add(-since)
	}
	var views []actView
	for limit := page.Limit; ; {
		acts, next, err := inspect.New(d).Audit(ctx, filter, page)
		if err = a.partly(err, true); err != nil {
			return err
		}
		for _, act := range acts {
			views = append(views, viewAct(act))
		}
		if page.Cursor, page.Limit = next, limit-len(views); next == "" || page.Limit <= 0 {
			break
		}
	}
	if err := list(a, views, actView.on, actColumns); err != nil {
		return err
	}
	if len(views) == 0 {
		a.note("Nobody did anything of the kind, as far back as is kept.")
	}
	a.more(page.Cursor)
	return nil
}
