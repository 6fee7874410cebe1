package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// end is a command line and the code that it ends with.
type end struct {
	code int
	says string // in what it prints
	line string
}

// ends are what each command can end with where one server is whole: in this order, for some come
// after others. The words of a line are split at spaces; FAIL and OK are jobs' ids.
var ends = []end{
	{0, "", "enqueue s:a ok --id OK --keep 1h"},
	{0, "exists already", "enqueue s:a ok --id OK"},
	{2, "no colon", "enqueue nocolon ok"},
	{2, "--from", "enqueue --from /no/such/file"},
	{1, "2 lines were not enqueued", "enqueue --from FILE --on-error skip"},
	{2, "line 1", "enqueue --from FILE"},
	{7, "has not ended", "enqueue s:a ok --id OK --wait --wait-for 1s"},
	{1, "not on enough replicas", "enqueue s:r ok --replicas 1 --replicas-within 1ms"},
	{0, "s:a", "lane ls"},
	{2, "state", "lane ls --state odd"},
	{0, "OK", "lane ls --deepest -o wide"},
	{0, "nobody has told", "lane ls --hot"},
	{2, "not both", "lane ls --deepest --hot"},
	{2, "without --state", "lane ls --deepest --state ready"},
	{2, "goes with --hot", "lane ls --since 1h"},
	{2, "since", "lane ls --hot --since 3h"},
	{2, "limit", "lane ls --hot --limit 501"},
	{0, "OK", "lane show s:a"},
	{2, "no colon", "lane show nocolon"},
	{3, "no lane", "lane show s:none"},
	{0, "OK", "lane show s:a --timeline"},
	{3, "no attempt of it", "lane show s:none --timeline"},
	{2, "without --cursor", "lane show s:a --timeline --cursor 1"},
	{1, "not suspended", "lane resume s:a"},
	{1, "not suspended", "lane skip s:a"},
	{2, "no colon", "lane resume nocolon"},
	{1, "not delayed", "lane retry s:a"},
	{3, "no head", "lane retry s:none"},
	{10, "is WAITS, not OK", "lane retry s:d --head OK"},
	{0, "is ready", "lane retry s:d --head WAITS"},
	{0, "", "job cancel WAITS --why enough"},
	{10, "the head of s:a is OK, not other; nothing was changed", "lane suspend s:a --head other"},
	{0, "", "lane suspend s:a --why because"},
	{2, "no colon", "lane suspend nocolon"},
	{10, "not other", "lane resume s:a --head other"},
	{10, "not no job", "lane skip s:a --head="},
	{0, "", "lane resume s:a --head OK"},
	{2, "--reason", "hold --kind ok"},
	{2, "with one of", "hold --reason r"},
	{2, "--until", "hold --kind ok --reason r --until yesterday"},
	{0, "H-1  kind ok  held in", "hold --kind ok --reason disk --until 1h"},
	{0, "disk", "hold ls"},
	{2, "unknown flag", "hold ls --nonsense"},
	{0, "Barred by hold H-1, set by", "why s:a"},
	{0, "released", "release H-1 --why over"},
	{3, "no hold H-1", "release H-1"},
	{0, "Nothing is held", "hold ls"},
	{0, "because", "log"},
	{0, "Nobody", "log --verb kind"},
	{2, "must be one of", "log --verb odd"},
	{2, "--since", "log --since -1h"},
	{2, "limit", "log --limit 0"},
	{4, "No living worker", "why s:a"},
	{4, "No living worker", "why OK"},
	{3, "none", "why none"},
	{0, "", "enqueue s:later ok --id LATER --delay 1h"},
	{0, "takes its place", "why LATER"},
	{0, "", "job cancel LATER"},
	{0, "OK", "job show OK"},
	{3, "no job", "job show none"},
	{0, "", "job suspend OK"},
	{3, "none", "job suspend none"},
	{0, "", "job resume OK"},
	{3, "none", "job resume none"},
	{3, "none", "job cancel none"},
	{2, "arg", "job cancel"},
	{0, "No dead letters", "dead ls"},
	{2, "limit", "dead ls --limit 0"},
	{3, "not a dead letter", "dead show OK"},
	{3, "not a dead letter", "dead replay OK"},
	{3, "none", "dead discard none"},
	{2, "--handle", "work"},
	{0, "", "enqueue s:b fails --id FAIL --max-attempts 1 --unique u"},
	{0, "", "work --handle ok=true --handle fails=false --until-empty"},
	{0, "FAIL", "dead show FAIL"},
	{0, "", "enqueue s:b fails --id again --unique u"},
	{1, "taken", "dead replay FAIL"},
	{0, "", "job cancel again"},
	{0, "", "dead replay FAIL"},
	{0, "", "lane suspend s:b"},
	{0, "", "lane skip s:b"},
	{0, "FAIL", "dead ls --kind fails --subject s:b --before 0s --after 2h"},
	{2, "--before", "dead ls --before yesterday"},
	{0, "1 dead letter matches; nothing", "dead replay --kind fails --dry-run"},
	{2, "--yes", "dead replay --all"},
	{2, "not both", "dead discard FAIL --all"},
	{4, "--expect says 2", "dead discard --all --yes --expect 2"},
	{0, "There are 1 of kind fails, skipped", "dead discard --kind ok --yes"},
	{2, "or pick them", "dead discard"},
	{0, "1 discarded of 1", "dead discard --kind fails --reason skipped --yes --expect 1"},
	{0, "No kind is declared", "kind ls"},
	{2, "unknown flag", "kind ls --nonsense"},
	{3, "not declared", "kind show none"},
	{2, "kind", "kind show a,b"},
	{0, "finished", "kind show ok"},
	{0, "failed", "lane history s:b"},
	{0, "No such attempt", "lane history s:none"},
	{2, "no colon", "lane history nocolon"},
	{0, "is watched until", "lane watch s:b --for 1m"},
	{0, "It is watched until", "lane history s:b"},
	{0, "no longer", "lane watch s:b --for 0"},
	{2, "must be 0s, or 1ms to 24h", "lane watch s:b --for 25h"},
	{2, "no colon", "lane watch nocolon"},
	{2, "ending", "lane history s:b --ending odd"},
	{0, "has all that workers told", "job ls --state ended --since 1h"},
	{2, "--state", "job ls"},
	{2, "--since", "job ls --state scheduled --since 1h"},
	{0, "", "work --config KINDS --until-empty"},
	{2, "not declared", "enqueue s:a misspelt"},
	{0, "", "kind rm declared"},
	{3, "declared", "kind rm declared"},
	{0, "", "worker ls"},
	{2, "unknown flag", "worker ls --nonsense"},
	{0, "jobs in lanes", "stats"},
	{2, "--output", "stats -o xml"},
	{0, "FAILED OR LOST", "stats --flow"},
	{0, "", "exec s:a -- true"},
	{9, "", "exec s:a -- sh -c exit\u00a09"},
	{137, "", "exec s:a -- sh -c kill\u00a0-9\u00a0$$"},
	{2, "then --", "exec s:a true"},
	{126, "", "exec s:a -- DIR"},
	{127, "", "exec s:a -- /no/such/program"},
	{0, "", "lane suspend s:busy"},
	{75, "could not be had", "exec s:busy --no-wait -- true"},
	{0, "agree", "doctor"},
	{2, "unknown flag", "doctor --nonsense"},
	{0, "", "demo --jobs 20"},
	{2, "--jobs", "demo --jobs -1"},
	{4, "", "demo --jobs 4000 --without-lanes"},
	{1, "address already in use", "dev --port PORT"},
	{2, "--log-", "dev --log-format xml"},
	{0, "", "version"},
	{0, "", "export --while-running --to OUT"},
	{2, "exists", "export --while-running --to OUT"},
	{3, "no namespace", "export --namespace none"},
	{0, "whole", "import OUT --check"},
	{1, "exists", "import OUT"},
	{1, "damaged", "import FILE --namespace SPACE-new"},
	{2, "partitions", "import OUT --namespace SPACE-new --partitions -1"},
	{0, "Imported", "import OUT --namespace SPACE-new --partitions 3"},
	{0, "already", "migrate"},
	{3, "no namespace", "migrate --namespace none"},
	{0, "NAMESPACE", "namespace ls"},
	{2, "unknown flag", "namespace ls --nonsense"},
	{3, "no namespace", "namespace rm none"},
	{2, "say --yes", "namespace rm SPACE --force"},
	{0, "Removed", "namespace rm SPACE --yes --force"},
	{2, "", "version nonsense"},
}

// Each command ends with the codes that are documented, says why, and prints nothing to standard output when it
// fails; and each documented code is an end of some command.
func TestEveryCommandEndsAsDocumented(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	file := filepath.Join(w.dir, "lines")
	if err := os.WriteFile(file, []byte("bad\nbad\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	words := strings.NewReplacer("FILE", file, "SPACE", w.namespace, "OUT", filepath.Join(w.dir, "out"), "DIR", w.dir, "PORT", w.url[strings.LastIndex(w.url, ":")+1:],
		"KINDS", w.config("kinds: {declared: {owner: o}}\nhandlers: {declared: \"true\"}"))
	w.failed("s:d", "fails", "WAITS")
	well, badly := make(map[string]bool), make(map[string]bool)
	codes := map[string]bool{ // of ends that take more than a line
		"6": true, "130": true, "143": true, "129": true, // TestRedisIsAway, TestInterruptedCommands
		"8": true, // TestH13_LooksSayWhatIsMissing
	}
	for _, e := range ends {
		var args []string
		for _, word := range strings.Split(words.Replace(e.line), " ") {
			args = append(args, strings.ReplaceAll(word, "\u00a0", " "))
		}
		code, out, errOut := w.run(args...)
		if code != e.code || !strings.Contains(out+errOut, e.says) {
			t.Errorf("lanekeeper %s: exit %d, want %d, and %q in:\n%s%s", e.line, code, e.code, e.says, out, errOut)
		}
		leaf := leafOf(args)
		codes[strconv.Itoa(e.code)] = true
		if e.code == 0 {
			well[leaf] = true
		} else if badly[leaf] = true; errOut == "" && e.code < exitBySignal && e.code != 9 && leaf != "demo" {
			t.Errorf("lanekeeper %s: exit %d without a word", e.line, code)
		}
	}
	for _, leaf := range leaves() {
		if !well[leaf] && leaf != "dev" || !badly[leaf] {
			t.Errorf("%s has no end with 0, or none with another code", leaf)
		}
	}
	documented := regexp.MustCompile(`(?m)^  (\d+) `).FindAllStringSubmatch(exitCodesHelp, -1)
	pages, _ := filepath.Glob("../../docs/features/*.md")
	for _, page := range append(pages, "../../docs/operations.md", "../../docs/guarantees.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?i)(?:exit codes?|ends? with) (\d+)`).FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(exitCodesHelp, "\n  "+m[1]+" ") {
				t.Errorf("%s speaks of the exit code %s, which 'help exit-codes' does not have", page, m[1])
			}
		}
	}
	for _, m := range documented {
		if !codes[m[1]] {
			t.Errorf("no command ends with %s here", m[1])
		}
		delete(codes, m[1])
	}
	delete(codes, "9") // of a command of exec
	delete(codes, "137")
	if len(codes) > 0 || len(documented) < 10 {
		t.Errorf("%d codes are documented, and not %v", len(documented), codes)
	}
}

// leaves are the names of all commands that do something.
func leaves() (names []string) {
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		if !c.HasSubCommands() && c.Runnable() {
			names = append(names, strings.TrimSpace(path))
		}
		for _, sub := range c.Commands() {
			walk(sub, path+" "+sub.Name())
		}
	}
	walk((&app{}).root(), "")
	return names
}

// leafOf is the name of the command that arguments begin with.
func leafOf(args []string) string {
	cmd, _, _ := (&app{}).root().Find(args)
	return strings.TrimPrefix(cmd.CommandPath(), "lanekeeper ")
}

// asking has each command that asks Redis once, as it does something where all is well: j waits, d and e
// are dead letters, s:held is suspended, s:fails waits for its next attempt.
var asking = []string{
	"enqueue s:a k --id fresh", "enqueue --from FILE", "work --handle k=true --until-empty", "lane ls", "lane ls --deepest", "lane ls --hot", "lane show s:j", "lane show s:j --timeline", "lane suspend s:j", "lane resume s:held",
	"lane skip s:held", "lane retry s:fails", "hold --kind k --reason r", "hold ls", "release H-1", "log", "lane history s:j", "lane watch s:j", "job ls --state ended", "job ls --state running", "job ls --state scheduled", "job ls --state dead", "job show j", "job cancel j h", "job suspend j", "job resume sleeps", "exec s:j --no-wait -- true", "exec s:free -- touch RAN",
	"dead ls", "dead show d", "dead replay d e", "dead discard d e", "dead ls --kind fails", "dead replay --all --yes", "dead discard --kind fails --yes", "kind ls", "kind show fails", "kind rm declared", "worker ls", "stats", "stats --flow", "why s:j", "why d", "doctor", "doctor --fix",
	"migrate", "export --while-running", "import testdata/export.jsonl --namespace SPACE-new", "namespace ls", "namespace rm SPACE --yes --force",
}

// needless are the commands that need no Redis.
var needless = []string{"demo", "dev", "version"}

// settled is a town in which each of asking has something to do.
func settled(t *testing.T) *town {
	t.Helper()
	w := newTown(t)
	w.must("work", "--until-empty", "--config", w.config("kinds: {declared: {owner: o}, k: {owner: o}, fails: {owner: o}}\nhandlers: {k: \"true\"}"))
	w.buried("s:dead", "d", "e")
	for _, id := range []string{"j", "h", "sleeps"} {
		w.must("enqueue", map[string]string{"h": "s:held"}[id]+map[string]string{"j": "s:j", "sleeps": "s:sleeps"}[id], "k", "--id", id)
	}
	w.must("lane", "suspend", "s:held")
	w.failed("s:fails", "fails", "f")
	w.must("job", "suspend", "sleeps")
	w.must("hold", "--host", "nowhere", "--reason", "H-1")
	if err := os.WriteFile(filepath.Join(w.dir, "lines"), []byte(`{"subject":"s:1","kind":"k","id":"l1"}`+"\n"+`{"subject":"s:2","kind":"k","id":"l2"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *town) words(line string) []string {
	return strings.Fields(strings.NewReplacer("FILE", filepath.Join(w.dir, "lines"), "SPACE", w.namespace, "RAN", filepath.Join(w.dir, "ran")).Replace(line))
}

// Redis away before a command has begun: 6, nothing on standard output, and what to do about it.
func TestRedisIsAway(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, line := range asking {
		seen[leafOf(strings.Fields(line))] = true
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			w := &town{t: t, dir: t.TempDir(), url: "redis://127.0.0.1:1?max_retries=-1", namespace: "none"}
			if err := os.WriteFile(filepath.Join(w.dir, "lines"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			code, out, errOut := w.run(w.words(line)...)
			if code != exitNoRedis || out != "" || !strings.Contains(errOut, "Is it running there?") {
				t.Errorf("exit %d, want %d\n%s%s", code, exitNoRedis, out, errOut)
			}
			if _, err := os.Stat(filepath.Join(w.dir, "ran")); err == nil {
				t.Error("its command ran")
			}
		})
	}
	for _, leaf := range leaves() {
		if !seen[leaf] && !strings.Contains(strings.Join(needless, " "), leaf) {
			t.Errorf("%s is not tried without Redis", leaf)
		}
	}
}

// Redis goes away while a command runs, after each number of its requests: it ends with 6 and says so, or with 8 when it
// has something to show; what it said that it did is done, and nothing is left half done.
func TestRedisGoesAwayMeanwhile(t *testing.T) {
	t.Parallel()
	for _, line := range asking {
		if strings.HasPrefix(line, "work ") || line == "namespace ls" {
			continue // a pool waits for Redis to come back; TestNamespaceListIsIncomplete has the other on a server of its own
		}
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			step, looks := 1, regexp.MustCompile(` (ls|show|history)|^stats|^why|^doctor$`).MatchString(line)
			if strings.HasPrefix(line, "doctor") { // which asks a hundred times
				step = 29
			}
			w := settled(t)
			for after := 0; ; after += step {
				if !looks && after > 0 {
					w = settled(t)
				}
				proxy, _ := redistest.NewProxy(t, redistest.Shared(t))
				proxy.EndAfter(after)
				through := *w
				through.url = proxy.URL() + "?max_retries=-1&pool_size=1"
				code, out, errOut := through.run(through.words(line)...)
				if code == 0 || after > 300 || code == exitFalse && strings.HasPrefix(line, "why") || code == exitBusy && strings.HasPrefix(line, "exec s:j") {
					if after == 0 || after > 300 {
						t.Errorf("exit %d though Redis was away after %d requests\n%s", code, after, errOut)
					}
					return
				}
				if code == exitIncomplete && strings.Contains(errOut, "incomplete, without ") {
					continue // it shows what it knows
				}
				if code != exitNoRedis || !strings.Contains(errOut, "lanekeeper: ") {
					t.Errorf("away after %d requests: exit %d, want %d\n%s%s", after, code, exitNoRedis, out, errOut)
				}
				w.saidIsDone(out)
				if looks {
					continue
				}
				if strings.HasPrefix(line, "namespace rm") { // it keeps the namespace closed until it has come to its end
					if code, out, errOut := w.run(w.words(line)...); code != 0 && code != exitNotFound {
						t.Errorf("away after %d requests, and again: exit %d\n%s%s", after, code, out, errOut)
					}
					continue
				}
				if code, out, errOut := w.run("doctor"); code != 0 {
					t.Errorf("away after %d requests: doctor says\n%s%s", after, out, errOut)
				}
			}
		})
	}
}

// saidIsDone checks what an act has printed of each job against what became of it.
func (w *town) saidIsDone(out string) {
	w.t.Helper()
	for _, m := range regexp.MustCompile(`(?m)^(\w+) (cancelled|discarded|replayed|suspended|resumed)$`).FindAllStringSubmatch(out, -1) {
		code, shown, _ := w.run("job", "show", m[1])
		gone := m[2] == "cancelled" || m[2] == "discarded"
		if gone != (code == exitNotFound) || m[2] == "replayed" && strings.Contains(shown, "state     dead") {
			w.t.Errorf("%q was said, and %s is\n%s", m[0], m[1], shown)
		}
	}
}

// An interrupted command ends with 128 and the signal's number, wherever it was: it is not failed. Pools, which
// are told to stop so, end well.
func TestInterruptedCommands(t *testing.T) {
	t.Parallel()
	all := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	for i, line := range asking {
		signal := all[i%len(all)]
		l, err := net.Listen("tcp", "127.0.0.1:0") // and nobody answers
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w := &town{t: t, dir: t.TempDir(), url: "redis://" + l.Addr().String(), namespace: "none"}
		if err := os.WriteFile(filepath.Join(w.dir, "lines"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		p := w.process(w.command(w.words(line)...))
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		p.signal(signal)
		want := exitBySignal + int(signal)
		if strings.HasPrefix(line, "work ") {
			want = 0
		}
		if code := p.exit(); code != want {
			t.Errorf("lanekeeper %s after %s: exit %d, %v, want %d\n%s", line, unix.SignalName(signal), code, p.cmd.ProcessState, want, p.out.String())
		}
	}
	w := newTown(t)
	p := w.startWith("enqueue", "s:a", "k", "--id", "j", "--wait")
	w.until("it waits", func() bool { code, _, _ := w.run("job", "show", "j"); return code == 0 })
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 130 {
		t.Errorf("enqueue --wait: exit %d\n%s", code, p.out.String())
	}
	if out := w.must("job", "show", "j"); !strings.Contains(out, "ready") {
		t.Errorf("who waits no longer took the job along:\n%s", out)
	}
}
