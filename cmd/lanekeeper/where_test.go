package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// A line that 'why' prints does what it says when it is pasted whole, in a shell, and nothing else: nothing stands behind the command.
func TestWhyIsSafeToPaste(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	id := "01a22077-85b4-7000-8000-0123456789ab" // longer than any column
	w.buried("s:a", id)
	_, out, _ := w.run("why", id)
	var pasted []string
	for line := range strings.Lines(strings.TrimSpace(out)) {
		if !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "  # ") {
			continue
		}
		words, _, err := splitWords(strings.TrimSpace(line))
		if err != nil || words[0] != "lanekeeper" || words[len(words)-1] != id {
			t.Fatalf("%q ends otherwise than with the id (%v)", line, err)
		}
		if code, out, errOut := typed(words[1:]...); code != 0 {
			t.Errorf("%s: exit %d\n%s%s", line, code, out, errOut)
		}
		pasted = append(pasted, words[len(words)-2])
		w.must("work", "--handle", "fails=false", "--until-empty", "-q") // it is a dead letter again for the next line
	}
	if strings.Join(pasted, " ") != "replay discard" || strings.Count(out, "\n  # ") != 2 {
		t.Errorf("%q was pasted of\n%s", pasted, out)
	}
}

// Each command that is advised says where it is to act, as the one that advises it was told, whoever has written the advice: this command,
// or a package that knows of no flags. What no server is needed for is left alone, and a password is never printed.
func TestAdviceSaysWhere(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	flags := "'lanekeeper --redis " + w.url + " --namespace " + w.namespace + " "
	w.buried("s:dead", "d")
	w.must("enqueue", "s:a", "k", "--id", "j")
	w.must("lane", "suspend", "s:b")
	for line, want := range map[string]string{
		"worker ls": flags + "work --handle KIND=PROGRAM'", "kind ls": "'lanekeeper work --help'", "lane ls": flags + "lane ls --state suspended'",
		"enqueue s:dead fails --id d": flags + "dead replay d'", "enqueue s:e k --id m --wait --wait-for 1ms": flags + "job show m'",
		"enqueue s:c k --id c --wait --wait-for 1ms": flags + "work --handle k=PROGRAM'", "lane watch s:a": flags + "lane history s:a'", "lane retry s:b": flags + "lane resume'", "job cancel d j": flags + "dead discard'",
		"lane suspend s:a --head x": flags + "lane show'", "doctor": flags + "lane ls --state suspended'", "job ls": flags + "lane show SUBJECT'",
		"namespace rm " + w.namespace: strings.Replace(flags, " --namespace "+w.namespace, "", 1) + "export --namespace " + w.namespace + " --to FILE'",
	} {
		if _, out, errOut := w.run(strings.Fields(line)...); !strings.Contains(out+errOut, want) {
			t.Errorf("%s does not say %q:\n%s%s", line, want, out, errOut)
		}
	}
	for address, want := range map[string]string{
		"redis://u:secret@h":  "lanekeeper --redis ADDRESS stats",
		"redis://h?db=1&a=%2": "lanekeeper --redis 'redis://h?db=1&a=%2' stats",
	} {
		a := &app{out: &outlet{}}
		cmd := a.root()
		if err := cmd.PersistentFlags().Parse([]string{"--redis", address}); err != nil {
			t.Fatal(err)
		}
		got := whereFrom(cmd)
		if line := got.command("stats"); line != want && line != strings.ReplaceAll(want, "'", `"`) {
			t.Errorf("%s: %s, want %s", address, line, want)
		}
		if text := a.text(got.format("'lanekeeper stats' shows %d")+".", 5); !strings.HasSuffix(text, " stats' shows 5.") {
			t.Errorf("%s: %q", address, text)
		}
	}
}

// A namespace that an import was interrupted in, or a migration, says how to go on in it.
func TestAdviceOnWhatIsClosed(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k")
	for doing, want := range map[string]string{"importing": "import --namespace " + w.namespace + " FILE'", "migrating": "migrate --namespace " + w.namespace + "'"} {
		redistest.Client(t).HSet(t.Context(), "{"+w.namespace+"}:meta", "schema", "7 "+doing)
		if code, _, errOut := w.run("stats"); code != exitFailed || strings.Count(errOut, "--namespace") > strings.Count(errOut, "'lanekeeper") || !strings.Contains(errOut, want) {
			t.Errorf("%s: exit %d, %s", doing, code, errOut)
		}
	}
}

// Where one of several ids is none, nothing is done that can't be undone.
func TestAllOrNothingOfSeveral(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.buried("s:dead", "d", "e")
	w.must("enqueue", "s:a", "k", "--id", "j")
	w.must("enqueue", "s:a", "k", "--id", "i")
	for line, left := range map[string]string{"dead discard d takes it away": "d", "dead discard d j e": "e", "job cancel j takes the job away": "j", "job cancel i d j": "i"} {
		code, out, errOut := w.run(strings.Fields(line)...)
		if code != exitNotFound || out != "" || !strings.Contains(errOut, "so none was") {
			t.Errorf("%s: exit %d\n%s%s", line, code, out, errOut)
		}
		if code, out, _ := w.run("why", left); code == exitNotFound {
			t.Errorf("after %s there is no %s: %s", line, left, out)
		}
	}
	w.must("dead", "discard", "d", "e")
	w.must("job", "cancel", "j", "i")
}

// typed runs a command line as a shell would, without the flags of a town.
func typed(args ...string) (code int, out, errOut string) {
	var o, e strings.Builder
	code = run(args, os.Stdin, &o, &e)
	return code, o.String(), e.String()
}

// A subject that has no lane and dead letters is not "nothing": whoever looks is told how many there are, and how to see them.
func TestDeadLettersOfASubject(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.buried("s:one", "d")
	w.buried("s:two", "e", "f")
	for line, want := range map[string]string{"why s:one": "; 1 dead letter: 'lanekeeper", "lane show s:two": "; 2 dead letters: 'lanekeeper"} {
		code, _, errOut := w.run(strings.Fields(line)...)
		if subject := strings.Fields(line)[len(strings.Fields(line))-1]; code != exitNotFound || !strings.Contains(errOut, want) || !strings.Contains(errOut, " dead ls --subject "+subject+"'") {
			t.Errorf("%s: exit %d\n%s", line, code, errOut)
		}
	}
	if _, _, errOut := w.run("why", "s:none"); strings.Contains(errOut, "dead") {
		t.Error(errOut)
	}
}

// What matches nothing says what there is: a word that is misspelt matches nothing, too.
func TestNothingMatches(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "parse", "--id", "p")
	w.must("work", "--handle", "parse=sh -c 'exit 65'", "--until-empty", "-q") // a permanent error
	w.buried("s:b", "d")
	for _, reason := range []string{"permanent-error", "permanent error"} {
		if out := w.must("dead", "ls", "--reason", reason, "-q"); out != "p\n" {
			t.Errorf("--reason %s finds %q", reason, out)
		}
	}
	for _, line := range []string{"dead ls --reason permanent", "dead replay --reason permanent --yes", "dead discard --kind pars --dry-run", "dead ls --subject s:none"} {
		_, out, errOut := w.run(strings.Fields(line)...)
		if !strings.Contains(errOut, "No dead letters match. There are 1 of kind ") || !strings.Contains(errOut, "1 of kind parse, permanent error") || !strings.Contains(errOut, "1 of kind fails, attempts exhausted") {
			t.Errorf("%s says\n%s%s", line, out, errOut)
		}
	}
	for _, line := range []string{"lane ls --kind pars", "job ls --state scheduled --kind pars", "lane history s:a --kind pars"} {
		if _, _, errOut := w.run(strings.Fields(line)...); !strings.Contains(errOut, "No kind pars is known: there are fails, parse.") {
			t.Errorf("%s says\n%s", line, errOut)
		}
		if _, _, errOut := w.run(strings.Fields(strings.Replace(line, "pars", "parse", 1))...); strings.Contains(errOut, "is known") {
			t.Errorf("%s, of one that is known, says\n%s", line, errOut)
		}
	}
	w.must("dead", "discard", "--all", "--yes")
	if _, _, errOut := w.run("dead", "ls", "--kind", "parse"); !strings.Contains(errOut, "No dead letters match: there are none.") {
		t.Errorf("with none there: %s", errOut)
	}
}

// Who is asked for the number of letters sees them in columns, and which come first.
func TestBulkAsksWithATable(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.buried("s:a", "d", "e")
	keys, tty := pseudoTerminal(t)
	if _, err := keys.WriteString("2\n"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(built+"/lanekeeper", "--redis", w.url, "--namespace", w.namespace, "dead", "discard", "--kind", "fails")
	cmd.Stdin, cmd.Stderr = tty, tty
	err := cmd.Run()
	_ = tty.Close()
	shown, _ := io.ReadAll(keys) // it ends with an error, as terminals do
	said := strings.ReplaceAll(string(shown), "\r", "")
	if err != nil || !strings.Contains(said, "KIND   REASON              LETTERS\nfails  attempts exhausted  2\n\nThe first 2:\n\nID  SUBJECT  KIND ") ||
		!strings.Contains(said, "2 dead letters will be discarded. Type the number") {
		t.Errorf("%v\n%s", err, said)
	}
}

// Lanes by their states add up to all of them, whatever is held and suspended without jobs; slots of limits are no lanes.
func TestStatsAddUp(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	config := w.config("kinds: {few: {owner: o, limit: 2}}\nhandlers: {few: sleep 300}")
	w.startWith("work", "--config", config)
	w.until("the kind is declared", func() bool { return strings.Contains(w.must("kind", "ls"), "few") })
	w.must("enqueue", "s:a", "few")
	w.must("lane", "suspend", "s:empty")
	w.until("it runs", func() bool { return strings.Contains(w.must("lane", "ls"), "leased") })
	var s struct{ Lanes, Ready, Leased, Delayed, Suspended, Bare, Slots int }
	if err := json.Unmarshal([]byte(w.must("stats", "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	if s.Leased != 1 || s.Slots != 1 || s.Suspended != 1 || s.Bare != 1 || s.Lanes+s.Bare != s.Ready+s.Leased+s.Delayed+s.Suspended {
		t.Errorf("%+v", s)
	}
	_, out, errOut := w.run("lane", "ls")
	if !strings.Contains(errOut, "1 lane is suspended; ") || strings.Contains(errOut, "more lane") {
		t.Errorf("of a slot it says\n%s%s", out, errOut)
	}
}

// What is damaged is not begun to be imported, and what an export leaves out is said.
func TestImportOfAPart(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "j")
	file := filepath.Join(w.dir, "out")
	if _, _, errOut := w.run("export", "--to", file); !strings.Contains(errOut, "1 job in lanes, 0 scheduled, ") || !strings.Contains(errOut, " log') and what ran") {
		t.Errorf("an export says\n%s", errOut)
	}
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, text[:len(text)-20], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	into := *w
	into.namespace += "-new"
	if code, _, errOut := into.run("import", file); code != exitFailed || !strings.Contains(errOut, "damaged") {
		t.Errorf("exit %d\n%s", code, errOut)
	}
	into.must("enqueue", "s:a", "k") // nobody has closed it
}

// What is small and was read wrongly: acts name the subject beside an id, lists of all lanes are in order, a suspension of nothing says so,
// one job alone has no digest.
func TestSmallWords(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	if _, _, errOut := w.run("lane", "suspend", "s:tpyo"); !strings.Contains(errOut, "No jobs are there now") {
		t.Errorf("of nothing: %s", errOut)
	}
	for _, id := range []string{"61", "50", "63", "60", "51", "62"} {
		w.must("enqueue", "s:"+id, "k", "--id", "j"+id)
	}
	if got := strings.Fields(w.must("lane", "ls", "-q")); !slices.IsSorted(got) || len(got) < 6 {
		t.Errorf("lanes come as %v", got)
	}
	if _, _, errOut := w.run("lane", "suspend", "s:61"); strings.Contains(errOut, "No jobs") {
		t.Error(errOut)
	}
	if out := w.must("job", "show", "j50"); strings.Contains(out, "digest") {
		t.Error(out)
	}
	if out := w.must("lane", "show", "s:50", "-o", "wide"); !strings.Contains(out, "digest") {
		t.Error(out)
	}
	w.must("job", "cancel", "j50")
	w.must("lane", "resume", "s:61")
	if out := w.must("log"); !strings.Contains(out, "j50 of s:50 ") {
		t.Error(out)
	}
	if out := w.must("log", "-q"); !strings.Contains(out, "j50\n") {
		t.Errorf("as words it is %q", out)
	}
}

// The hints of 'dev' are for another shell, which is told the namespace too.
func TestDevNamesItsNamespace(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]bool{"foo": true, defaultNamespace: false} {
		var said strings.Builder
		a := &app{out: &outlet{Writer: &said}, namespace: namespace}
		a.welcome("/run/file", "greet")
		if strings.Contains(said.String(), "\n  export LANEKEEPER_NAMESPACE="+namespace+"\n  lanekeeper enqueue") != want {
			t.Errorf("of %s it says\n%s", namespace, said.String())
		}
	}
}
