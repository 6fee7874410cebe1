package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
)

// deadGroup is one line of what was counted.
var deadGroup = []column[dispatcher.DeadCount]{
	{"KIND", false, func(c dispatcher.DeadCount) string { return c.Kind }},
	{"REASON", false, func(c dispatcher.DeadCount) string { return c.Reason }},
	{"LETTERS", false, func(c dispatcher.DeadCount) string { return itoa(c.Count) }},
}

var deadFirst = []column[dispatcher.DeadLetter]{
	{"ID", false, func(l dispatcher.DeadLetter) string { return idText(l.ID) }},
	{"SUBJECT", false, func(l dispatcher.DeadLetter) string { return l.Subject.String() }},
	{"KIND", false, func(l dispatcher.DeadLetter) string { return l.Kind }},
	{"DIED (UTC)", false, func(l dispatcher.DeadLetter) string { return clock(&l.DiedAt) }},
	{"REASON", false, func(l dispatcher.DeadLetter) string { return l.Reason }},
}

// deadPlan is what a command would act on, as --dry-run shows it to programs.
type deadPlan struct {
	Matched int                    `json:"matched"`
	DryRun  bool                   `json:"dry_run"`
	Counts  []dispatcher.DeadCount `json:"counts"`
	First   []firstLetter          `json:"first"`
}

type firstLetter struct {
	ID      string    `json:"id"`
	Subject string    `json:"subject"`
	Kind    string    `json:"kind"`
	Reason  string    `json:"reason"`
	DiedAt  time.Time `json:"died_at"`
}

// deadDone is what became of them.
type deadDone struct {
	Matched int `json:"matched"`
	dispatcher.DeadReport
}

// mostFirst is how many letters --dry-run shows.
const mostFirst = 10

// bulk counts the letters that are picked, asks, and acts on them. verb is what is done, in the words of the command.
func (a *app) bulk(cmd *cobra.Command, o *deadBulk, of, verb string, act func(s *dispatcher.DeadSet, progress func(int)) (dispatcher.DeadReport, error)) error {
	ctx := cmd.Context()
	d, err := a.look(ctx)
	if err != nil {
		return err
	}
	filter, err := o.filter(ctx, a, of)
	if err != nil {
		return err
	}
	set, err := d.DeadMatching(ctx, filter)
	if err != nil {
		return err
	}
	if err := o.expected(cmd, set.Len()); err != nil {
		return err
	}
	if set.Len() == 0 {
		a.noLetters(ctx, d, filter)
	}
	if o.dryRun {
		return a.showPlan(set)
	}
	if set.Len() == 0 {
		if a.machine() {
			return a.show(deadDone{}, nil)
		}
		return nil
	}
	if !o.yes {
		if err := a.confirm(ctx, set, verb); err != nil {
			return err
		}
	}
	bar := a.progress(strings.ToUpper(verb[:1])+verb[1:], set.Len())
	report, err := act(set, bar.at)
	bar.done()
	return a.bulkDone(set.Len(), report, verb, err)
}

// showPlan shows what would be done.
func (a *app) showPlan(set *dispatcher.DeadSet) error {
	first := set.First(mostFirst)
	if a.machine() {
		plan := deadPlan{Matched: set.Len(), DryRun: true, Counts: set.Counts(), First: []firstLetter{}}
		for _, l := range first {
			plan.First = append(plan.First, firstLetter{idText(l.ID), l.Subject.String(), l.Kind, l.Reason, l.DiedAt})
		}
		return a.show(plan, nil)
	}
	a.say("%s; nothing was done.", matching(set.Len()))
	if set.Len() == 0 || a.quiet {
		return nil
	}
	a.say("")
	return a.showLetters(a.out, set)
}

// showLetters shows what was counted, and the first letters.
func (a *app) showLetters(to io.Writer, set *dispatcher.DeadSet) error {
	if err := tableTo(to, rows2cells(set.Counts(), deadGroup, false, isTerminal(to))); err != nil {
		return err
	}
	first := set.First(mostFirst)
	fmt.Fprintf(to, "\nThe first%s:\n\n", oneOr(len(first), "", fmt.Sprintf(" %d", len(first))))
	return tableTo(to, rows2cells(first, deadFirst, false, isTerminal(to)))
}

// matching says how many dead letters match.
func matching(n int) string { return count(n, "dead letter") + oneOr(n, " matches", " match") }

// confirm shows a person what was counted and has the number typed: who types it has read it.
func (a *app) confirm(ctx context.Context, set *dispatcher.DeadSet, verb string) error {
	if !isTerminal(a.in) || !isTerminal(a.err) {
		return usage("%s, and there is no terminal to ask: repeat with --yes, best with --expect %d too", matching(set.Len()), set.Len())
	}
	if err := a.showLetters(a.err, set); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "\n%s will be %s. Type the number to go on: ", count(set.Len(), "dead letter"), verb)
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case text := <-typed:
		if text != itoa(set.Len()) {
			return errors.New("that is not the number: nothing was done")
		}
	}
	return nil
}

// bulkDone says what became of the letters, also when something kept the command from the rest.
func (a *app) bulkDone(matched int, r dispatcher.DeadReport, verb string, err error) error {
	text := bulkText(r, verb)
	if err != nil {
		a.note("Nothing is lost: the same command goes on with the rest.")
		return fmt.Errorf("%s of %d, then: %w", text, matched, err)
	}
	if a.machine() {
		if err := a.show(deadDone{matched, r}, nil); err != nil {
			return err
		}
	}
	a.say("%s of %d.", text, matched)
	switch {
	case r.Taken > 0:
		return fmt.Errorf("%d of %d were not %s: %w; --merge merges them into the jobs that have their keys", r.Taken, matched, verb, dispatcher.ErrTaken)
	case r.Unreadable > 0:
		return fmt.Errorf("%d of %d can't be read: 'dead discard' deletes them", r.Unreadable, matched)
	}
	return nil
}

// bulkText is a report as a person reads it: what was to be done, and then what else there was of.
func bulkText(r dispatcher.DeadReport, verb string) string {
	parts := []string{fmt.Sprintf("%d %s", r.Replayed+r.Discarded, verb)}
	for _, p := range []struct {
		n    int
		what string
	}{{r.Merged, "merged"}, {r.Taken, "whose unique key is taken"}, {r.Unreadable, "unreadable"}, {r.Gone, "gone meanwhile"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}
