package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

// where is what a command line has to say so that it acts where this one does: the flags that this one was given. What stands in the
// environment, the next command finds there too.
type where struct{ redis, namespace string }

// unsaid stands for an address with a password in it, which is not printed. A line with it, typed as it stands, is refused; without
// it the line would act on another server.
const unsaid = "ADDRESS"

func whereFrom(cmd *cobra.Command) (w where) {
	for _, name := range []string{"redis", "redis-file", "namespace"} {
		f := cmd.Flags().Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		value := f.Value.String()
		if name == "redis" && len(connect.Secrets(value)) > 0 {
			value = unsaid
		}
		if flag := " --" + name + " " + subject.IDWord(value); name == "namespace" {
			w.namespace = flag
		} else {
			w.redis = flag
		}
	}
	return w
}

// command is a whole command line of what stands behind the program's name, to be copied and run.
func (w where) command(words string) string {
	flags := w.redis
	if !strings.Contains(words, "--namespace ") && !strings.HasPrefix(words, "namespace ") {
		flags += w.namespace
	}
	return "lanekeeper" + flags + " " + words
}

// advised finds commands in what is said to a person: in quotes, and with the program's name unless they have two words.
var advised = regexp.MustCompile(`'(lanekeeper |(?:lane|job|dead|kind|worker|namespace) )([a-z][^']*)'`)

// serverless are commands that are not told where to act.
var serverless = regexp.MustCompile(`^(demo|dev|help|version)\b|--help$`)

// aim has the commands in a text of ours act where this one does. Errors of other packages are among such texts, and those know nothing of flags.
func (w where) aim(text string) string {
	if w == (where{}) {
		return text
	}
	return advised.ReplaceAllStringFunc(text, func(quoted string) string {
		words := strings.TrimPrefix(strings.Trim(quoted, "'"), "lanekeeper ")
		if serverless.MatchString(words) {
			return quoted
		}
		return "'" + w.command(words) + "'"
	})
}

// format is aim of a text that has yet to be formatted.
func (w where) format(text string) string {
	escaped := where{strings.ReplaceAll(w.redis, "%", "%%"), strings.ReplaceAll(w.namespace, "%", "%%")}
	return escaped.aim(text)
}
