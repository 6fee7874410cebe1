package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// laneView is a lane as the CLI shows it: its state, and its head job's facts.
type laneView struct {
	Subject     string     `json:"subject"`
	State       string     `json:"state"`
	Depth       int        `json:"depth"`
	Kind        string     `json:"kind,omitempty"`
	ID          string     `json:"id,omitempty"`
	Attempt     int        `json:"attempt"`
	MaxAttempts int        `json:"max_attempts,omitempty"`
	Token       string     `json:"token,omitempty"`
	Holder      string     `json:"holder,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"`
	RunAt       *time.Time `json:"run_at,omitempty"`
	Error       string     `json:"error,omitempty"`
	Note        string     `json:"note,omitempty"`  // why it stands where it stands,
	Code        string     `json:"code,omitempty"`  // and the word for that
	Along       int        `json:"along,omitempty"` // jobs behind the head that were claimed with it
	Why         string     `json:"why,omitempty"`   // it is suspended, or will be
	SuspendedAt *time.Time `json:"suspended_at,omitempty"`
	SuspendedBy string     `json:"suspended_by,omitempty"`
	Cancelling  bool       `json:"cancelling,omitempty"`
	Section     bool       `json:"section,omitempty"` // the lease is for a section, and the head waits
	Halted      bool       `json:"halted,omitempty"`
	Took        string     `json:"took,omitempty"`  // for how long its handlers ran lately,
	Share       float64    `json:"share,omitempty"` // and of the time of all handlers

	key subject.Key
}

func viewLane(l inspect.Lane, why inspect.Why) laneView {
	v := laneView{
		Note: why.Text, Code: string(why.Code),
		Subject: l.Subject.String(), key: l.Subject, State: string(l.State), Depth: l.Depth, Kind: l.Kind, ID: idText(l.HeadID),
		Attempt: l.Attempt, MaxAttempts: l.MaxAttempts, Holder: l.Holder,
		ExpiresAt: optional(l.ExpiresAt), RunAt: optional(l.RunAt), Error: l.Error,
		Along: l.Along, Why: l.Why, SuspendedAt: optional(l.SuspendedAt), SuspendedBy: l.SuspendedBy, Cancelling: l.Cancelling,
		Section: l.Section, Halted: l.Halted,
	}
	if l.Token != 0 {
		v.Token = l.Token.String()
	}
	return v
}

var laneColumns = []column[laneView]{
	{"SUBJECT", false, func(l laneView) string { return l.Subject }},
	{"STATE", false, func(l laneView) string { return l.State }},
	{"JOBS", false, func(l laneView) string { return itoa(l.Depth) }},
	{"KIND", false, func(l laneView) string { return l.Kind }},
	{"ATTEMPT", false, laneAttempt},
	{"NOTE", false, func(l laneView) string { return l.Note }},
	{"HEAD", true, func(l laneView) string { return l.ID }},
	{"HOLDER", true, func(l laneView) string { return l.Holder }},
	{"TOKEN", true, func(l laneView) string { return l.Token }},
}

func laneAttempt(l laneView) string {
	if l.ID == "" && l.Depth == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", l.Attempt, l.MaxAttempts)
}

func (a *app) laneCommand() *cobra.Command {
	cmd := group("lane", "Look at lanes, suspend and resume them")
	var filter inspect.LaneFilter
	var page inspect.Page
	var most mostFlags
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List lanes",
		Long: `Lists lanes, in no order.

With --deepest it lists those with most jobs. Of more than 10,000 lanes it looks at those of as many jobs, drawn by chance,
and says so. With --hot it lists those whose handlers ran longest lately, with their share of the time of all handlers;
they may be empty by now. Workers tell of that every five seconds, of 64 subjects each, and 256 are remembered of each ten
minutes: what is not known by subject is said.`,
		Example: `  lanekeeper lane ls --state suspended
  lanekeeper lane ls --deepest --limit 10
  lanekeeper lane ls --hot --since 1h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("since") && !most.hot {
				return usage("--since goes with --hot")
			}
			if most.deepest || most.hot {
				return a.listMost(cmd.Context(), most, filter, page)
			}
			return a.listLanes(cmd.Context(), filter, page)
		},
	}
	ls.Flags().StringVar((*string)(&filter.State), "state", "", "only lanes that are ready, leased, delayed or suspended")
	ls.Flags().StringVar(&filter.Kind, "kind", "", "only lanes whose head is of this job kind")
	addPageFlags(ls, &page)
	ls.Flags().BoolVar(&most.deepest, "deepest", false, "those with most jobs, the deepest first")
	ls.Flags().BoolVar(&most.hot, "hot", false, "those whose handlers ran longest lately, the hottest first")
	ls.Flags().DurationVar(&most.since, "since", 10*time.Minute, "with --hot: how long ago, up to 2h; whole ten minutes count")
	_ = ls.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(
		[]string{"ready", "leased", "delayed", "suspended"}, cobra.ShellCompDirectiveNoFileComp))

	var jobs inspect.Page
	var timeline bool
	show := &cobra.Command{
		Use:   "show SUBJECT",
		Short: "Show one lane and its jobs, the head first",
		Long: `Shows one lane and its jobs, the head first. When each job starts and ends is estimated
from how long jobs of its kind took before ('kind show'), or from what the kind declares;
"unknown" where neither is known.

With --timeline it draws the lane over time, a line for each kind: attempts that have ended, as far as the trail has them
('lane history'), what runs, and what waits. Left and right of now have scales of their own.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeline {
				return a.showTimeline(cmd.Context(), args[0], jobs)
			}
			return a.showLane(cmd.Context(), args[0], jobs)
		},
	}
	addPageFlags(show, &jobs)
	show.Flags().BoolVar(&timeline, "timeline", false, "draw what ran in the lane, what runs, and what waits with its estimates, and list it by time")
	cmd.AddCommand(ls, show, a.historyCommand(), a.watchCommand())
	cmd.AddCommand(a.laneVerbs()...)
	return cmd
}

// done says what became of a lane.
func (a *app) done(key subject.Key, what string) error {
	if a.machine() {
		return a.show(map[string]string{"subject": key.String(), "lane": what}, nil)
	}
	a.say("%s %s", key.Word(), what)
	return nil
}

func addPageFlags(cmd *cobra.Command, page *inspect.Page) {
	cmd.Flags().IntVar(&page.Limit, "limit", 50, "most entries to show, up to 500")
	cmd.Flags().StringVar(&page.Cursor, "cursor", "", "go on where an earlier list ended")
}

func (a *app) listLanes(ctx context.Context, filter inspect.LaneFilter, page inspect.Page) error {
	if err := checkPage(page); err != nil {
		return err
	}
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	stats, err := inspect.New(d).Stats(ctx)
	if err = a.partly(err, true); err != nil {
		return err
	}
	var views []laneView
	limit, first := page.Limit, page.Cursor == ""
	// A page by kind may be short; look on for a moment before giving up on it.
	for deadline := time.Now().Add(50 * time.Millisecond); ; {
		lanes, next, err := inspect.New(d).Lanes(ctx, filter, page)
		if err = a.partly(err, true); err != nil {
			return err
		}
		whys, err := inspect.New(d).WhyLanes(ctx, lanes)
		if err = a.partly(err, true); err != nil {
			return err
		}
		for i, l := range lanes {
			views = append(views, viewLane(l, whys[i]))
		}
		page.Cursor = next
		page.Limit = limit - len(views)
		if next == "" || page.Limit <= 0 || filter == (inspect.LaneFilter{}) && page.Limit <= limit/8 || time.Now().After(deadline) {
			break
		}
	}
	if filter == (inspect.LaneFilter{}) { // Redis has them in no order; a list of one state is in its own
		slices.SortFunc(views, func(x, y laneView) int { return strings.Compare(x.Subject, y.Subject) })
	}
	if err := list(a, views, func(l laneView) string { return l.key.Word() }, laneColumns); err != nil {
		return err
	}
	if len(views) == 0 && page.Cursor == "" {
		a.note("No lanes to show.")
		a.unknownKind(ctx, d, filter.Kind)
	} else if len(views) == 0 {
		a.note("No such lanes among those looked at so far.")
	}
	if filter == (inspect.LaneFilter{}) && stats.Suspended > 0 {
		a.note("%s suspended; 'lane ls --state suspended' lists those without jobs too.", count(stats.Suspended, "lane")+oneOr(stats.Suspended, " is", " are"))
	}
	if n := stats.Leased - held(views); filter == (inspect.LaneFilter{}) && first && page.Cursor == "" && n > 0 {
		a.note("%s held without jobs, by sections ('exec'): 'lane ls --state leased' lists them too.", count(n, "more lane")+oneOr(n, " is", " are"))
	}
	a.more(page.Cursor)
	return nil
}

// held counts the lanes that somebody has the lease of.
func held(views []laneView) (n int) {
	for _, v := range views {
		if v.ExpiresAt != nil {
			n++
		}
	}
	return n
}

// more tells where a list goes on, also with -q: a list that only looks complete does
// harm in a script.
func (a *app) more(next string) {
	if next != "" {
		fmt.Fprintln(a.err, a.text("There are more: add --cursor %s", next))
	}
}

// checkPage refuses a limit of nothing.
func checkPage(page inspect.Page) error {
	if page.Limit < 1 {
		return usage("--limit %d must be 1 to 500", page.Limit)
	}
	return nil
}

func (a *app) showLane(ctx context.Context, text string, page inspect.Page) error {
	if err := checkPage(page); err != nil {
		return err
	}
	key, err := subject.Parse(text)
	if err != nil {
		return err
	}
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	lane, err := inspect.New(d).Lane(ctx, key, page)
	err = a.orLetters(ctx, d, text, err)
	if err = a.partly(err, lane.Subject == key); err != nil {
		return err
	}
	why, err := inspect.New(d).WhyLane(ctx, key)
	if errors.Is(err, dispatcher.ErrNotFound) { // it has ended just now
		err = nil
	}
	if err = a.partly(err, true); err != nil {
		return err
	}
	v, js := viewLane(lane.Lane, why), a.viewJobs(d, lane.Jobs)
	if a.machine() {
		err = a.show(struct {
			laneView
			Jobs []jobView `json:"jobs"`
			Next string    `json:"next_cursor,omitempty"`
		}{v, js, lane.Next}, nil)
		return err
	}
	if !a.quiet {
		if err := a.table([][]string{
			{"subject", v.Subject}, {"state", v.State}, {"jobs", itoa(v.Depth)}, {"note", v.Note},
			{"holder", v.Holder}, {"token", v.Token}, {"lease", until("ends", "ended", v.ExpiresAt, a.now(ctx))}, {"claimed with it", alongText(v.Along)}, {"last error", firstLine(v.Error)},
		}); err != nil {
			return err
		}
		a.say("")
	}
	columns := slices.Concat(
		[]column[jobView]{{"#", false, func(j jobView) string { return itoa(j.Position) }}},
		jobColumns[:len(jobColumns):len(jobColumns)],
		[]column[jobView]{
			{"STARTS (UTC)", false, func(j jobView) string { return estimate(j.StartsAt) }},
			{"ENDS (UTC)", false, func(j jobView) string { return estimate(j.EndsAt) }},
		})
	if err := list(a, js, jobWord, columns); err != nil {
		return err
	}
	a.more(lane.Next)
	return nil
}

// estimate shows a time that nobody can be sure of.
func estimate(t *time.Time) string {
	if t == nil {
		return "unknown"
	}
	return "~ " + clock(t)
}

func alongText(n int) string {
	if n == 0 {
		return ""
	}
	return count(n, "job") + " behind the head"
}
