package main

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/move"
	"github.com/lanekeeper/lanekeeper/subject"
)

// completeWithin is how long a completion may take, whatever Redis does. Somebody has pressed Tab and waits; that nothing is
// offered is better than that nothing can be typed.
const completeWithin = 250 * time.Millisecond

// offered is the most lanes that a completion looks at, and so the most that it offers: one page, however many
// there are. lettersOffered is less, because a page of dead letters is read with their payloads.
const (
	offered        = 500
	lettersOffered = 50
)

// finder looks up what can be typed at a place. of is the subject of --subject, or the zero Key.
type finder func(ctx context.Context, d *dispatcher.Dispatcher, of subject.Key) []string

// findersOf are what can be typed where a command's line of use has a word, by that word. All are text forms.
func findersOf(cmd *cobra.Command, word string) (all []finder) {
	for _, one := range strings.Split(word, "|") {
		switch {
		case one == "SUBJECT" && cmd.Parent().Name() == "lane" && (cmd.Name() == "resume" || cmd.Name() == "skip"):
			all = append(all, lanesFinder(inspect.LaneFilter{State: inspect.Suspended}))
		case one == "SUBJECT" && cmd.Parent().Name() == "dead":
			all = append(all, findBuried)
		case one == "SUBJECT":
			all = append(all, lanesFinder(inspect.LaneFilter{}))
		case one == "ID" && picksLetters(cmd): // ids don't go with what picks
		case one == "ID" && cmd.Parent().Name() == "dead":
			all = append(all, findLetters)
		case one == "REASON":
			all = append(all, findReasons)
		case one == "ID":
			all = append(all, findJobs)
		case one == "KIND":
			all = append(all, findKinds)
		}
	}
	return all
}

// addCompletion completes subjects, kinds and ids in every command of a tree: the words of its line of use say
// where each is typed. A command with a completion of its own keeps that from its second argument on.
func (a *app) addCompletion(cmd *cobra.Command) {
	own := cmd.ValidArgsFunction
	words := strings.Fields(cmd.Use)[1:]
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if own != nil && len(args) > 0 {
			return own(cmd, args, typed)
		}
		at := len(args)
		if i := slices.Index(words, "…"); i > 0 { // the word before it may come again
			at = min(at, i-1)
		}
		if at >= len(words) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if words[at] == "NAME" {
			return a.namespaces(cmd, args, typed)
		}
		return a.complete(cmd, findersOf(cmd, words[at]), args, typed)
	}
	for flag, word := range map[string]string{"subject": "SUBJECT", "kind": "KIND", "reason": "REASON"} {
		if cmd.LocalFlags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				return a.complete(cmd, findersOf(cmd, word), nil, typed)
			})
		}
	}
	for _, sub := range cmd.Commands() {
		a.addCompletion(sub)
	}
}

// complete offers what begins with what was typed, and was not typed already. It never says why it offers nothing: there is
// nobody to read it.
func (a *app) complete(cmd *cobra.Command, find []finder, had []string, typed string) (words []string, _ cobra.ShellCompDirective) {
	if len(find) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.offer(cmd, had, typed, func(ctx context.Context, look *app, of subject.Key) (all []string) {
		d, err := look.look(ctx)
		for i := 0; err == nil && i < len(find); i++ {
			all = append(all, find[i](ctx, d, of)...)
		}
		return all
	})
}

// namespaces offers those of the server.
func (a *app) namespaces(cmd *cobra.Command, had []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.offer(cmd, had, typed, func(ctx context.Context, look *app, _ subject.Key) (words []string) {
		rdb, err := look.connect()
		if err != nil {
			return nil
		}
		found, _ := move.Find(ctx, rdb, nil) // a part is better than nothing
		for _, one := range found {
			words = append(words, one.Name)
		}
		return words
	})
}

// offer gathers words within the time that a completion may take.
func (a *app) offer(cmd *cobra.Command, had []string, typed string, gather func(context.Context, *app, subject.Key) []string) (words []string, _ cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	// What looks has everything of its own, since nobody waits for it any more when it is late.
	look := &app{redis: a.redis, namespace: cmp.Or(a.namespace, os.Getenv(namespaceVariable), defaultNamespace), err: a.err, quiet: true}
	var of subject.Key
	if f := cmd.Flags().Lookup("subject"); f != nil {
		of, _ = subject.Parse(f.Value.String())
	}
	found := make(chan []string, 1)
	go func() {
		defer look.close()
		found <- gather(ctx, look, of)
	}()
	select {
	case words = <-found:
	case <-ctx.Done():
	}
	slices.Sort(words)
	return slices.DeleteFunc(slices.Compact(words), func(word string) bool {
		return !bare(word) || !strings.HasPrefix(word, typed) || slices.Contains(had, word)
	}), cobra.ShellCompDirectiveNoFileComp
}

// picksLetters reports whether a flag was given that picks dead letters.
func picksLetters(cmd *cobra.Command) bool {
	return cmd.Parent().Name() == "dead" && slices.ContainsFunc([]string{"kind", "reason", "before", "after", "all"}, func(name string) bool {
		return cmd.Flags().Changed(name)
	})
}

// bare reports whether a shell takes a text for a word as it stands. No other is offered: bash puts what several have in
// common on the line as it is, and the script that cobra makes for it evaluates that line at the next Tab. So who may enqueue could
// have whoever completes run a program: s:"$(rm …)".
func bare(word string) bool { return word != "" && subject.IDWord(word) == word }

// lanesFinder finds subjects of lanes.
func lanesFinder(filter inspect.LaneFilter) finder {
	return func(ctx context.Context, d *dispatcher.Dispatcher, _ subject.Key) (words []string) {
		lanes, _, _ := inspect.New(d).Lanes(ctx, filter, inspect.Page{Limit: offered}) // a part is better than nothing
		for _, l := range lanes {
			words = append(words, l.Subject.String())
		}
		return words
	}
}

// findJobs finds the heads of lanes, which are what people ask for, or all that wait in the lane that --subject names.
func findJobs(ctx context.Context, d *dispatcher.Dispatcher, of subject.Key) (words []string) {
	if of != (subject.Key{}) {
		lane, _ := inspect.New(d).Lane(ctx, of, inspect.Page{Limit: lettersOffered})
		for _, j := range lane.Jobs {
			words = append(words, idText(j.ID))
		}
		return words
	}
	lanes, _, _ := inspect.New(d).Lanes(ctx, inspect.LaneFilter{}, inspect.Page{Limit: offered})
	for _, l := range lanes {
		words = append(words, idText(l.HeadID))
	}
	return words
}

// findLetters finds the latest dead letters.
func findLetters(ctx context.Context, d *dispatcher.Dispatcher, _ subject.Key) (words []string) {
	letters, _, _ := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{Limit: lettersOffered})
	for _, j := range letters {
		words = append(words, idText(j.ID))
	}
	return words
}

// findKinds finds the kinds that are declared, and those that jobs or workers have.
func findKinds(ctx context.Context, d *dispatcher.Dispatcher, _ subject.Key) (words []string) {
	kinds, _ := d.Kinds(ctx)
	for _, k := range kinds {
		words = append(words, k.Name)
	}
	stats, _ := inspect.New(d).Stats(ctx)
	return append(words, slices.Collect(maps.Keys(stats.Kinds))...)
}
