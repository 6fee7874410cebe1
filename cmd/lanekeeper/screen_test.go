package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// acts reports what in an output does something to a terminal, or breaks a line where none is.
func acts(out string) string {
	for i, r := range out {
		_, size := utf8.DecodeRuneInString(out[i:])
		if r != '\n' && (!unicode.IsPrint(r) || r == utf8.RuneError && size == 1) {
			return fmt.Sprintf("%q at byte %d", r, i)
		}
	}
	return ""
}

// JSON with all that can't be seen as escapes is the same JSON.
func TestH20_JSONIsEscaped(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for r := rune(0); r <= unicode.MaxRune; r += 1 + r/4096 {
		all.WriteRune(r)
	}
	in := map[string]string{all.String(): "\u009b\u202e\u2028\x7f\U000e0001 é 😀 <b>"}
	var out bytes.Buffer
	a := &app{out: &outlet{Writer: &out}}
	if err := a.encode(in, "  "); err != nil {
		t.Fatal(err)
	}
	if what := acts(out.String()); what != "" {
		t.Errorf("the JSON has %s", what)
	}
	var back map[string]string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || !reflect.DeepEqual(in, back) {
		t.Errorf("it reads as something else: %v", err)
	}
	if !strings.Contains(out.String(), `"\u009b\u202e\u2028\u007f\udb40\udc01 é 😀 <b>"`) {
		t.Errorf("it is\n%.100s", out.String())
	}
}

// What an error is decides, and not what a user wrote into it.
func TestH20_MessagesGoByTypes(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		`no job "worker: 1": not found`:                      fmt.Errorf("no job %q: %w", "worker: 1", dispatcher.ErrNotFound),
		`not found: no job "dispatcher: not found"`:          fmt.Errorf("%w: no job %q", dispatcher.ErrNotFound, "dispatcher: not found"),
		"worker: a file's name: lost":                        fmt.Errorf("worker: a file's name: %w", lease.ErrLost),
		`line 1: "lease: lost" is no id: lost (0 of 1)`:      fmt.Errorf(`line 1: "lease: lost" is no id: %w`, fmt.Errorf("%w (0 of 1)", lease.ErrLost)),
		`"lease: lost": lease: lost (again)`:                 fmt.Errorf(`"lease: lost": %w (again)`, lease.ErrLost),
		"a: lost\nb: invalid":                                errors.Join(fmt.Errorf("a: %w", lease.ErrLost), fmt.Errorf("b: %w", subject.ErrInvalid)),
		"s:subject: is held by w until 0001-01-01T00:00:00Z": &lease.HeldError{Subject: subject.Key{Kind: "s", ID: "subject:"}, Holder: "w"},
	} {
		if got := message(err); got != want {
			t.Errorf("%q is said as %q, want %q", err, got, want)
		}
	}
	w := newTown(t)
	for _, id := range []string{"MOVED 1", "WRONGTYPE", "cluster support disabled", noSentinel, "worker: 1"} {
		if code, _, errOut := w.run("job", "show", id); code != exitNotFound || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, "no job "+subject.IDText(id)) {
			t.Errorf("job show %q: exit %d, %q", id, code, errOut)
		}
	}
}

// Words of a PROGRAM are those that a shell makes, and what it would expand is told.
func TestH20_Words(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		`grep "\tx"`:           {"grep", `\tx`},
		`awk "a\nb" '\n'`:      {"awk", `a\nb`, `\n`},
		`a "\$x \" \\ \' \a"`:  {"a", `$x " \ \' \a`},
		`a\ b \\ \n "" ''`:     {"a b", `\`, "n", "", ""},
		`a"b"'c'd  e`:          {"abcd", "e"},
		"a \\\n b \"c\\\nd\"":  {"a", "b", "cd"},
		"a\n\tb":               {"a", "b"},
		`sh -c 'x; "$HOME" |'`: {"sh", "-c", `x; "$HOME" |`},
	} {
		if got, stays, err := splitWords(line); err != nil || !slices.Equal(got, want) || stays != "" {
			t.Errorf("%s has the words %q, %q, %v; want %q", line, got, stays, err, want)
		}
	}
	for line, want := range map[string]string{
		`a $HOME`: "$HOME", `a "x $HOME"`: "x $HOME", "a \"`id`\"": "`id`", `a ~/x`: "~/x", `a *.txt`: "*.txt", `a #b`: "#b",
		`a x~ '$HOME' '*' b#c "*" \$x`: "",
	} {
		if _, stays, err := splitWords(line); err != nil || stays != want {
			t.Errorf("%s: %q stays as it is, %v; want %q", line, stays, err, want)
		}
	}
	for _, line := range []string{"", "  ", "a;b", "a | b", "a 'b", `a "b`, `a \`, "a > b", "(a)", "a & b"} {
		if got, _, err := splitWords(line); err == nil {
			t.Errorf("%s has the words %q, want an error", line, got)
		}
	}
	w := newTown(t)
	if _, _, errOut := w.run("work", "--handle", "k=echo $HOME", "--until-empty"); !strings.Contains(errOut, "$HOME stays as it is") {
		t.Errorf("what is not expanded is not told:\n%s", errOut)
	}
}

// The digest of a payload can't be tried out: each process has its own.
func TestH20_DigestsCanNotBeTriedOut(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "1234", "--id", "a")
	w.must("enqueue", "s:a", "k", "1234", "--id", "b")
	show := func() (digests []string) {
		var lane struct {
			Jobs []struct {
				Digest string `json:"payload_digest"`
			}
		}
		p := w.process(w.command("lane", "show", "s:a", "-o", "json"))
		p.exit()
		if err := json.Unmarshal(p.out.Bytes(), &lane); err != nil || len(lane.Jobs) != 2 {
			t.Fatalf("%v in %s", err, p.out.String())
		}
		return []string{lane.Jobs[0].Digest, lane.Jobs[1].Digest}
	}
	one, other := show(), show()
	if one[0] == "" || one[0] != one[1] || one[0] == other[0] || strings.HasPrefix(one[0], "03ac674216f3") { // sha256
		t.Errorf("digests of one payload: %q, and in another process %q", one, other)
	}
}

// A log in JSON has no character that acts, and a secret in neither form.
func TestH20_Logs(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		var log bytes.Buffer
		a := &app{err: &log, logFormat: format, signals: listen(func(error) {})}
		a.redis.set("redis://:canary-1@localhost", "")
		if err := a.runLong(); err != nil {
			t.Fatal(err)
		}
		a.log.Error("x", "err", fmt.Errorf("a\x1b]0;t\a\u202e\u009b\xff canary-1: %w", io.EOF), "reason", "\u2066canary-1\n", "job", "a\u202eb")
		a.note("%s says %s", "\x1b[2J\u009b", "canary-1\u202e")
		a.fail(a.clean("canary-1\x1b[2J\u061c"), "")
		a.signals.stop()
		if what := acts(log.String()); what != "" || strings.Contains(log.String(), "canary") || strings.Count(log.String(), "\n") != 3 {
			t.Errorf("%s: the log has %s\n%s", format, what, log.String())
		}
		for line := range strings.Lines(log.String()) {
			if format == "json" && !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	}
}
