package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// reasons are why jobs become dead letters. A pool of one's own may give others.
var reasons = []string{"attempts exhausted", "failed on different workers", "lost+found", "permanent error", "skipped", "worker lost"}

// reasonWord is a reason as one word, which can be completed and takes no quotes.
func reasonWord(reason string) string { return strings.ReplaceAll(reason, " ", "-") }

// reasonOf is the reason that was typed as it is, or as one word.
func reasonOf(typed string) string {
	for _, reason := range reasons {
		if typed == reasonWord(reason) {
			return reason
		}
	}
	return typed
}

// findReasons finds the usual reasons, and those of the latest dead letters.
func findReasons(ctx context.Context, d *dispatcher.Dispatcher, _ subject.Key) (words []string) {
	for _, reason := range reasons {
		words = append(words, reasonWord(reason))
	}
	letters, _, _ := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{Limit: lettersOffered})
	for _, l := range letters {
		words = append(words, reasonWord(l.Reason))
	}
	return words
}

// findBuried finds the subjects of the latest dead letters.
func findBuried(ctx context.Context, d *dispatcher.Dispatcher, _ subject.Key) (words []string) {
	letters, _, _ := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{Limit: lettersOffered})
	for _, l := range letters {
		words = append(words, l.Subject.String())
	}
	return words
}

// noLetters says that a filter picks nothing, and what there is: a word that is misspelt picks nothing either.
func (a *app) noLetters(ctx context.Context, d *dispatcher.Dispatcher, f dispatcher.DeadFilter) {
	letters, next, err := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{}, inspect.Page{Limit: lettersOffered})
	switch {
	case f == (dispatcher.DeadFilter{}):
		a.note("No dead letters.")
	case err != nil:
		a.note("No dead letters match.")
	case len(letters) == 0:
		a.note("No dead letters match: there are none.")
	case next != "":
		a.note("No dead letters match. The latest %d: %s.", len(letters), whatDied(letters))
	default:
		a.note("No dead letters match. There are %s.", whatDied(letters))
	}
}

// orLetters adds to the answer that a subject has no lane how many of its jobs are dead letters.
func (a *app) orLetters(ctx context.Context, d *dispatcher.Dispatcher, text string, err error) error {
	key, bad := subject.Parse(text)
	if bad != nil || !errors.Is(err, dispatcher.ErrNotFound) {
		return err
	}
	letters, next, failed := inspect.New(d).DeadLetters(ctx, dispatcher.DeadFilter{Subject: key}, inspect.Page{Limit: lettersOffered})
	many := ""
	switch {
	case failed != nil, len(letters) == 0 && next == "":
		return err
	case len(letters) == 0:
		many = "there may be dead letters"
	case next != "":
		many = "more dead letters than " + itoa(len(letters)-1)
	default:
		many = count(len(letters), "dead letter")
	}
	return fmt.Errorf("%w; %s: '%s'", err, many, a.where.command("dead ls --subject "+key.Word()))
}

// whatDied counts letters by kind and reason, most first.
func whatDied(letters []inspect.JobInfo) string {
	type group struct{ kind, reason string }
	counts := make(map[group]int)
	var groups []group
	for _, l := range letters {
		g := group{l.Kind, l.Reason}
		if counts[g]++; counts[g] == 1 {
			groups = append(groups, g)
		}
	}
	slices.SortStableFunc(groups, func(x, y group) int { return counts[y] - counts[x] })
	parts := make([]string, len(groups))
	for i, g := range groups {
		parts[i] = fmt.Sprintf("%d of kind %s, %s", counts[g], g.kind, g.reason)
	}
	return strings.Join(parts, "; ")
}

// unknownKind says that there is no such kind, where a list by it is empty, and which there are.
func (a *app) unknownKind(ctx context.Context, d *dispatcher.Dispatcher, kind string) {
	if kind == "" {
		return
	}
	known := findKinds(ctx, d, subject.Key{})
	slices.Sort(known)
	known = slices.Compact(known)
	switch {
	case slices.Contains(known, kind):
	case len(known) == 0:
		a.note("No kind %s is known, nor any other.", kind)
	default:
		a.note("No kind %s is known: there are %s.", kind, strings.Join(known, ", "))
	}
}
