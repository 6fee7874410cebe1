package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
)

var namespaceColumns = []column[move.Namespace]{
	{"NAMESPACE", false, func(n move.Namespace) string { return n.Name }},
	{"SCHEMA", false, func(n move.Namespace) string { return strings.Trim(n.Schema+", "+n.Doing, ", ") }},
	{"PARTITIONS", false, func(n move.Namespace) string { return itoa(n.Partitions) }},
	{"JOBS", false, func(n move.Namespace) string { return itoa(n.Jobs) }},
	{"DEAD", false, func(n move.Namespace) string { return itoa(n.Dead) }},
	{"WORKERS", false, func(n move.Namespace) string { return itoa(len(n.Alive)) }},
	{"OUTCOMES", true, func(n move.Namespace) string { return itoa(n.Outcomes) }},
	{"NOTE", false, func(n move.Namespace) string { return n.Why }},
}

func (a *app) namespaceCommand() *cobra.Command {
	cmd := group("namespace", "Find the namespaces of a server, or remove one")
	cmd.AddCommand(a.namespaceList(), a.namespaceRemove())
	return cmd
}

func (a *app) namespaceList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the namespaces of a server or a cluster, of all releases",
		Long: `Lists the namespaces of a server, or of all masters of a cluster: those too that this
release can't open, with the reason. It looks at the names of all keys there, in small
steps, so on a large server it takes a while. JOBS are without dead letters; WORKERS
are those that gave a sign of life within the last 15 s.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rdb, err := a.connect()
			if err != nil {
				return err
			}
			bar := a.progress("keys looked at, about:", 0)
			found, err := move.Find(cmd.Context(), rdb, bar.at)
			bar.done()
			if err = a.partly(err, true); err != nil {
				return err
			}
			if err := list(a, found, func(n move.Namespace) string { return n.Name }, namespaceColumns); err != nil {
				return err
			}
			if len(found) == 0 {
				a.note("No namespaces. The first 'lanekeeper enqueue' makes one.")
			}
			return nil
		},
	}
}

func (a *app) namespaceRemove() *cobra.Command {
	var yes, force bool
	rm := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a namespace with all that is in it, for good",
		Long: `Removes a namespace with all that is in it, for good, whichever release made it. It
counts first. It refuses while workers live (--force removes it under them), and asks
on a terminal when there are jobs, dead letters or outcomes; elsewhere say --yes. Of a
namespace whose marker is gone, which 'namespace ls' does not find, it takes what is left.

Meanwhile nobody can open the namespace. When the command was interrupted that stays
so; repeated, it goes on where it stopped. Stop what enqueues too: a program that has
opened the namespace before is not told.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rdb, err := a.connect()
			if err != nil {
				return err
			}
			one, left, err := a.toRemove(cmd.Context(), rdb, args[0])
			if err != nil {
				return err
			}
			if len(one.Alive) == 0 || force { // else the refusal is Remove's
				if err := a.sure(cmd.Context(), yes || one.Doing == "removing", one, left); err != nil {
					return err
				}
			}
			bar := a.progress("keys removed:", 0)
			keys, err := move.Remove(cmd.Context(), rdb, one.Name, force, bar.at)
			bar.done()
			if err != nil {
				return err
			}
			return a.result(map[string]any{"removed": one.Name, "keys": keys, "jobs": one.Jobs, "dead": one.Dead},
				"Removed namespace %s: %s, %s, %s.", one.Name, count(one.Jobs, "job"), count(one.Dead, "dead letter"), count(keys, "key"))
		},
	}
	rm.Flags().BoolVar(&yes, "yes", false, "remove jobs without asking")
	rm.Flags().BoolVar(&force, "force", false, "also while workers live")
	return rm
}

// toRemove says what there is of a namespace, or how many keys of one are left whose marker is gone.
func (a *app) toRemove(ctx context.Context, rdb redis.UniversalClient, name string) (one move.Namespace, left int, err error) {
	one, err = move.Look(ctx, rdb, name)
	if !errors.Is(err, dispatcher.ErrNotFound) {
		return one, 0, err
	}
	bar := a.progress("keys looked at, about:", 0)
	left, cannot := move.Left(ctx, rdb, name, bar.at)
	bar.done()
	if cannot != nil || left == 0 {
		return one, 0, cmp.Or(cannot, err)
	}
	return move.Namespace{Name: name}, left, nil
}

// result says what a command has done: as an object to programs, in a sentence to people.
func (a *app) result(object any, format string, args ...any) error {
	if a.machine() {
		return a.show(object, nil)
	}
	a.say(format, args...)
	return nil
}

// errNotSure is returned by who does not confirm what would be lost.
var errNotSure = errors.New("nothing was removed")

// sure asks whether a namespace with something in it is to go, unless that was said: its name has to be typed, because
// a y is typed too soon. Without a terminal nobody can be asked.
func (a *app) sure(ctx context.Context, said bool, one move.Namespace, left int) error {
	if said || one.Partitions > 0 && one.Jobs+one.Dead+one.Outcomes == 0 {
		return nil
	}
	there := fmt.Sprintf("namespace %s has %s, %s and %s", one.Name, count(one.Jobs, "job"), count(one.Dead, "dead letter"), count(one.Outcomes, "outcome"))
	or := fmt.Sprintf(", or keep them first with 'lanekeeper export --namespace %s --to FILE'", one.Name)
	switch {
	case left > 0:
		there, or = fmt.Sprintf("namespace %s has no marker, and %s that are left of it", one.Name, count(left, "key")), ""
	case one.Partitions == 0:
		there = fmt.Sprintf("namespace %s has what this release can't count", one.Name)
	}
	if !isTerminal(a.in) {
		return usage("%s, which would be lost: say --yes%s", there, or)
	}
	fmt.Fprintf(a.err, "%s\n", a.text("The %s. They are lost for good. Type its name to remove it:", there))
	answer, _ := bufio.NewReader(inputOf(ctx, a.in)).ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case strings.TrimSpace(answer) != one.Name:
		return errNotSure
	}
	return nil
}
