// Package man makes a manual page of each command. It keeps the lines of help texts as they are: what the generator that
// cobra brings along makes of them, by way of Markdown, runs tables and indented lines together.
package man

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Write writes the pages of a command and of all below it into a folder, and returns their names. Hidden commands have none.
// version stands in each page's foot; a date does not, so the same sources make the same pages.
func Write(dir string, cmd *cobra.Command, version string) (names []string, err error) {
	name := file(cmd)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(Page(cmd, version)), 0o644); err != nil {
		return nil, err
	}
	names = append(names, name)
	for _, sub := range shown(cmd) {
		below, err := Write(dir, sub, version)
		if err != nil {
			return nil, err
		}
		names = append(names, below...)
	}
	return names, nil
}

// file is the name of a command's page: lanekeeper-lane-ls.1.
func file(cmd *cobra.Command) string { return title(cmd) + ".1" }

func title(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// shown are the commands below one that have pages: those that do something, and those that only explain.
func shown(cmd *cobra.Command) (subs []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			subs = append(subs, sub)
		}
	}
	return subs
}

// Page is a command's page, in the language of man(7).
func Page(cmd *cobra.Command, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" %s %s\n", quoted(strings.ToUpper(title(cmd))), quoted("lanekeeper "+version), quoted("Lanekeeper"))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", text(title(cmd)), text(cmd.Short))
	if cmd.Runnable() || len(shown(cmd)) > 0 {
		section(&b, "SYNOPSIS", cmd.UseLine())
	}
	section(&b, "DESCRIPTION", cmd.Long)
	section(&b, "EXAMPLES", cmd.Example)
	flags(&b, "OPTIONS", cmd.NonInheritedFlags())
	flags(&b, "OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	var also []string
	if cmd.HasParent() {
		also = append(also, file(cmd.Parent()))
	}
	for _, sub := range shown(cmd) {
		also = append(also, file(sub))
	}
	for i, name := range also {
		also[i] = strings.TrimSuffix(name, ".1") + "(1)"
	}
	section(&b, "SEE ALSO", strings.Join(also, "\n"))
	return b.String()
}

// section writes lines as they are, unless there are none.
func section(b *strings.Builder, title, lines string) {
	if lines = strings.Trim(lines, "\n"); lines != "" {
		fmt.Fprintf(b, ".SH %s\n.nf\n%s\n.fi\n", quoted(title), text(lines))
	}
}

func flags(b *strings.Builder, title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", quoted(title))
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		what, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", text(strings.TrimSpace(name+" "+what)), text(usage))
	})
}

// text is text that no line of which is taken for a command: roff reads \ anywhere, and . and ' at a line's beginning. A - is
// one that can be copied, and what is not ASCII has a name, for roff reads bytes.
func text(s string) string {
	var b strings.Builder
	for _, r := range strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s) {
		if r > 126 {
			fmt.Fprintf(&b, `\[u%04X]`, r)
			continue
		}
		b.WriteRune(r)
	}
	s = b.String()
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func quoted(s string) string { return `"` + strings.ReplaceAll(text(s), `"`, `\(dq`) + `"` }
