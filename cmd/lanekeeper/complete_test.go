package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// offers are what is offered for the last of some words.
func (w *town) offers(words ...string) []string {
	w.t.Helper()
	code, out, errOut := w.run(append([]string{"__complete"}, words...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := lines[len(lines)-1]; code != 0 || last != ":4" {
		w.t.Errorf("%v: exit %d, and not without names of files:\n%s%s", words, code, out, errOut)
	}
	return lines[:len(lines)-1]
}

// Subjects, kinds and ids are completed where commands take them, and the states and forms that flags know; once each, and
// nothing where nothing is known.
func TestCompletion(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.buried("art:dead", "d1", "d2")
	w.must("work", "--config", w.config("kinds: {declared: {owner: o}, move: {owner: o}, publish: {owner: o}, expire: {owner: o}, fails: {owner: o}}\nhandlers: {declared: \"true\"}"), "--until-empty")
	w.must("enqueue", "art:42", "move", "--id", "m1")
	w.must("enqueue", "art:42", "expire", "--id", "m2")
	w.must("enqueue", "build:1", "publish", "--id", "p1")
	w.must("lane", "suspend", "build:1")
	for line, want := range map[string]string{
		"lane show ,": "art:42 build:1", "lane show a,": "art:42", "lane suspend art:,": "art:42", "lane resume ,": "build:1", "lane skip ,": "build:1", "exec ,": "art:42 build:1",
		"lane show art:42 ,": "", "enqueue b,": "build:1", "enqueue art:42 m,": "move", "enqueue art:42 move ,": "", "enqueue --from ,": "files",
		"job show ,": "m1 p1", "job cancel m1 ,": "p1", "job show --subject art:42 ,": "m1 m2", "job suspend --subject ,": "art:42 build:1", "job resume --subject ,": "art:42 build:1",
		"dead replay --subject ,": "art:dead", "dead show --subject art,": "art:dead", "dead ls --subject ,": "art:dead", "dead discard --kind fails ,": "", "dead replay --reason p,": "permanent-error",
		"dead discard --reason ,": "attempts-exhausted failed-on-different-workers lost+found permanent-error skipped worker-lost", "dead discard --subject art:dead ,": "d1 d2",
		"namespace rm " + w.namespace[:20] + ",": w.namespace, "stats --namespace " + w.namespace[:20] + ",": w.namespace,
		"dead show ,": "d1 d2", "dead replay d1 ,": "d2", "dead discard d1 d2 ,": "", "dead ls ,": "",
		"kind show d,": "declared", "kind rm p,": "publish", "lane ls --kind m,": "move", "lane ls --state ,": "ready leased delayed suspended", "stats -o ,": "table wide json jsonl",
		"why b,": "build:1", "why m,": "m1", "version ,": "", "job show zzz,": "", "enqueue --id ,": "",
	} {
		if want == "files" {
			continue // TestD9_WhatIsSaid has those
		}
		got := w.offers(strings.Split(strings.ReplaceAll(line, ",", ""), " ")...)
		if strings.Join(got, " ") != want {
			t.Errorf("%s offers %q, want %q", line, got, want)
		}
	}
	for i := range offered + 50 {
		w.must("enqueue", fmt.Sprint("many:", i), "move")
	}
	if n := len(w.offers("lane", "show", "many:")); n < offered/2 || n > offered {
		t.Errorf("%d lanes are offered of many, %d are the most", n, offered)
	}
}

// Where Redis is away, refuses, or says nothing, nothing is offered and nothing said.
func TestCompletionWithoutRedis(t *testing.T) {
	t.Parallel()
	if completeWithin > 300*time.Millisecond {
		t.Errorf("a Tab may take %s", completeWithin)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, url := range []string{"redis://127.0.0.1:1", "redis://" + l.Addr().String(), "nonsense", "redis://u:secret@127.0.0.1:1"} {
		w := &town{t: t, dir: t.TempDir(), url: url, namespace: "none"}
		for _, line := range []string{"lane show ", "job show ", "dead show ", "kind show ", "why "} {
			if got := w.offers(strings.Split(line, " ")...); len(got) > 0 {
				t.Errorf("%s at %s: %q", line, url, got)
			}
		}
	}
	// What looks is given up when its time is over: one that never returns would keep this test for ever.
	a, root := &app{redis: address{flag: newTown(t).url}, err: io.Discard}, &cobra.Command{}
	root.SetContext(t.Context())
	gaveUp := make(chan bool)
	never := func(ctx context.Context, _ *dispatcher.Dispatcher, _ subject.Key) []string {
		<-ctx.Done()
		<-gaveUp
		return []string{"late"}
	}
	words, _ := a.complete(root, []finder{never}, nil, "")
	close(gaveUp)
	if len(words) > 0 {
		t.Errorf("%q came too late", words)
	}
}

// Subjects and ids that mean something to a shell are not offered, whatever they consist of, for bash evaluates what it has completed;
// those beside them are. It is tried in bash, with the script that is shipped.
func TestCompletionOfHostileNames(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	names := []string{"tab\there", "line\nbreak", `quo"te`, "apos'trophe", "$(touch RAN) 1", "$(touch RAN) 2", "`touch RAN`", "a b", "; touch RAN", "*", `back\slash`, "_activeHelp_ x",
		"caf\xe9", "\x1b[31m", "~", "-rf", "$RAN", "a|b", "a&b", "{a,b}", "!!"}
	for _, name := range names {
		key := subject.Key{Kind: "s", ID: name}
		w.must("enqueue", key.String(), "k", "--id", subject.IDText(name))
	}
	w.must("enqueue", "s:plain-1", "k", "--id", "plain/café:1")
	w.must("enqueue", "s:plain-2", "k", "--id", "plain/2")
	script := filepath.Join(w.dir, "script")
	text, err := exec.Command(built+"/lanekeeper", "completion", "bash").Output()
	if err == nil {
		err = os.WriteFile(script, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The first function is one of the package bash-completion, which need not be there; compopt is for shells on terminals.
	bash := `cd "$1"; source ./script
		_get_comp_words_by_ref() { words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}; }
		compopt() { :; }
		COMP_WORDS=("$2" $3 ""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_TYPE=9; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
		__start_lanekeeper
		for reply in "${COMPREPLY[@]}"; do eval "word=$reply"; printf '%s\n' "$word"; done`
	for command, want := range map[string]string{"lane show": "s:-rf\ns:plain-1\ns:plain-2\n", "job show": "plain/2\nplain/café:1\n"} {
		cmd := exec.Command("bash", "-c", bash, "bash", w.dir, built+"/lanekeeper", command)
		cmd.Env = append(os.Environ(), "LANEKEEPER_REDIS="+w.url, "LANEKEEPER_NAMESPACE="+w.namespace)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%s: %v\n%s, want\n%s", command, err, out, want)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "RAN")); err == nil {
		t.Error("a name was run")
	}
}
