package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/internal/man"
)

// manPages is where 'make dist' has the pages written. They come from a test, because what makes them is to be no part of
// the command, and nothing else can see its tree.
var manPages = flag.String("man", "", "write the manual pages into this folder")
var manVersion = flag.String("man-version", unreleased, "the version in their feet")

// Each command that somebody may type has a page, with all its flags, and so have the topics of help.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := *manPages
	if dir == "" {
		dir = t.TempDir()
	}
	root := (&app{}).root()
	root.InitDefaultCompletionCmd()
	names, err := man.Write(dir, root, *manVersion)
	if err != nil {
		t.Fatal(err)
	}
	pages := make(map[string]string)
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		pages[name] = string(text)
	}
	for _, leaf := range append(leaves(), "exit-codes") {
		page, ok := pages["lanekeeper-"+strings.ReplaceAll(leaf, " ", "-")+".1"]
		cmd, _, _ := root.Find(strings.Fields(leaf))
		if !ok || !strings.Contains(page, `.SH "OPTIONS OF ALL COMMANDS"`) || strings.Count(page, ".TP\n") < len(flagsOf(cmd)) {
			t.Errorf("%s has no page, or one without all its flags:\n%s", leaf, page)
		}
	}
	if page := pages["lanekeeper-exit-codes.1"]; !strings.Contains(page, "\n  3    no such job, lane or dead letter\n") {
		t.Errorf("the table of exit codes is not as it was:\n%s", page)
	}
	for name, page := range pages {
		if odd := regexp.MustCompile(`(?m)^[.'](?:[^A-Za-z]|[a-z]{3})`).FindString(page); odd != "" {
			t.Errorf("%s has a line that roff takes for a command: %q", name, odd)
		}
	}
	if groff, err := exec.LookPath("groff"); err == nil { // where it is, it must have nothing to say
		for name := range pages {
			if out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", filepath.Join(dir, name)).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	}
}

// flagsOf are the names of a command's flags, those of all commands among them.
func flagsOf(cmd *cobra.Command) (names []string) {
	for _, line := range strings.Split(cmd.LocalFlags().FlagUsages()+cmd.InheritedFlags().FlagUsages(), "\n") {
		if m := regexp.MustCompile(`--[a-z-]+`).FindString(line); m != "" {
			names = append(names, m)
		}
	}
	return names
}
