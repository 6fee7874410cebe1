package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// What a command says is so: of times that are over, of jobs that are dead, of who holds what.
func TestD9_WhatIsSaid(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	says := func(want string, args ...string) {
		t.Helper()
		if _, out, errOut := w.run(args...); !strings.Contains(out+errOut, want) {
			t.Errorf("%v does not say %q:\n%s%s", args, want, out, errOut)
		}
	}
	program := `k=sh -c 'echo first; echo second; exit 1'`
	w.must("enqueue", "s:a", "k", "--id", "d", "--max-attempts", "1", "--keep", "1h")
	w.must("enqueue", "s:b", "k", "--id", "again")
	p := w.startWith("work", "--handle", program)
	w.until("both have failed", func() bool {
		return strings.Contains(w.must("dead", "ls", "-q"), "d\n") && strings.Contains(w.must("lane", "ls", "--state", "delayed", "-q"), "s:b")
	})
	p.signal(syscall.SIGTERM)
	p.exit()
	says("exit status 1: first …\n", "dead", "ls")
	says("first\nsecond", "dead", "show", "d")
	says("first\nsecond", "job", "show", "again")
	says("d exists already, as a dead letter; nothing changed: 'lanekeeper --redis "+w.url+" --namespace "+w.namespace+" dead replay d'", "enqueue", "s:a", "k", "--id", "d")
	says("d exists already, as a dead letter", "enqueue", "s:a", "k", "--id", "d", "--wait")
	w.until("its wait is over", func() bool {
		return strings.Contains(w.must("lane", "show", "s:b"), "; it may be tried again, but nobody is there")
	})
	says("fell due", "job", "show", "again")

	p = w.startWith("exec", "s:held", "--lease-ttl", "300ms", "--", "sh", "-c", "echo >"+w.dir+"/holds; exec sleep 600")
	w.until("it is held", func() bool { _, err := os.Stat(w.dir + "/holds"); return err == nil })
	says("1 more lane is held without jobs", "lane", "ls")
	p.signal(syscall.SIGKILL)
	p.exit()
	w.until("the lease is over", func() bool {
		_, out, _ := w.run("lane", "ls", "--state", "leased")
		return strings.Contains(out, "The lease of") && strings.Contains(out, "ago; any worker that runs takes")
	})
	says("\n5 is not used", "help", "exit-codes")

	// Neither subjects nor ids are files' names; what is a file's name is completed as one.
	const none, files = ":4\n", ":0\n"
	for line, directive := range map[string]string{
		"lane show ,": none, "dead replay d": none, "exec ,": none, "enqueue --id ,": none, "exec s:a -- ,": files, "enqueue --from ,": files, "work --config ,": files,
	} {
		says(directive, append([]string{"__complete"}, strings.Split(strings.ReplaceAll(line, ",", ""), " ")...)...)
	}
}

// Payload fields that may be shown are JSON in JSON output, and not text that holds JSON.
func TestD9_ShownFieldsAreJSON(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("work", "--config", w.config("kinds: {k: {owner: o, loggable: [commit, n]}}\nhandlers: {k: \"true\"}"), "--until-empty", "-q")
	w.must("enqueue", "s:a", "k", `{"commit":"c5","n":[1,2],"secret":"x"}`, "--id", "j")
	var job struct{ Payload map[string]any }
	if err := json.Unmarshal([]byte(w.must("job", "show", "j", "-o", "json")), &job); err != nil || job.Payload["commit"] != "c5" || len(job.Payload) != 2 {
		t.Errorf("%v, %v", job, err)
	}
	if out := w.must("job", "show", "j"); !strings.Contains(out, `commit="c5", n=[1,2]`) {
		t.Errorf("the table is\n%s", out)
	}
}

// A program that would wait for the subject that its own job or section holds is refused at once,
// through others in between too; for other subjects, and other namespaces, it is not.
func TestD9_WaitingForOneself(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	lanekeeper := built + "/lanekeeper --redis " + w.url + " --namespace " + w.namespace
	w.must("enqueue", "s:a", "k")
	w.must("work", "--until-empty", "--handle", `k=sh -c '`+
		lanekeeper+` exec "$LANEKEEPER_SUBJECT" --wait 3s -- true >`+w.dir+`/a 2>&1; echo $? >>`+w.dir+`/a; `+
		lanekeeper+` enqueue "$LANEKEEPER_SUBJECT" k --id again --wait --wait-for 3s >`+w.dir+`/b 2>&1; echo $? >>`+w.dir+`/b; `+
		lanekeeper+` exec s:b -- `+lanekeeper+` exec s:a --wait 3s -- true >`+w.dir+`/c 2>&1; echo $? >>`+w.dir+`/c; `+
		lanekeeper+` exec s:b -- true >`+w.dir+`/d 2>&1; echo $? >>`+w.dir+`/d; `+
		lanekeeper+`x exec s:a -- true >`+w.dir+`/e 2>&1; echo $? >>`+w.dir+`/e'`)
	for name, want := range map[string]string{"a": "would deadlock", "b": "would deadlock", "c": "would deadlock", "d": "", "e": ""} {
		text, _ := os.ReadFile(w.dir + "/" + name)
		code := map[bool]string{true: "1\n", false: "0\n"}[want != ""]
		if !strings.Contains(string(text), want) || !strings.HasSuffix(string(text), code) || want == "" && string(text) != "0\n" {
			t.Errorf("%s: %q, want %q and exit %q", name, text, want, code)
		}
	}
	if out := w.must("stats"); !strings.Contains(out, "jobs in lanes   0") {
		t.Errorf("the job that nobody may wait for was enqueued:\n%s", out)
	}
}

// The log has the form and the level that were asked for, every line of it: go-redis's too.
func TestD9_LogFormat(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.must("enqueue", "s:a", "k", "--id", "caf\xe9", "--max-attempts", "1")
	_, _, errOut := w.run("work", "--handle", "k=false", "--until-empty", "--log-format", "json")
	away := w.process(w.command("work", "--handle", "k=false", "--redis", "redis://127.0.0.1:1", "--log-format", "json", "--log-level", "debug"))
	if code := away.exit(); code != exitNoRedis {
		t.Errorf("exit %d", code)
	}
	seen := make(map[string]bool)
	dec := json.NewDecoder(strings.NewReader(errOut + away.out.String()))
	for {
		var line struct{ Level, Msg, Job, From string }
		err := dec.Decode(&line)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s%s", err, errOut, away.out.String())
		}
		seen[line.Level], seen[line.Job], seen[line.From] = true, true, true
	}
	if !seen["DEBUG"] || !seen["INFO"] || !seen["ERROR"] || !seen[`"caf\xe9"`] || !seen["go-redis"] {
		t.Errorf("seen %v in\n%s%s", seen, errOut, away.out.String())
	}
	if _, _, errOut := w.run("work", "--handle", "k=false", "--until-empty", "--log-level", "warn"); strings.Contains(errOut, "level=INFO") {
		t.Errorf("--log-level warn logs\n%s", errOut)
	}
	for _, args := range [][]string{
		{"work", "--handle", "k=false", "--log-level", "loud"}, {"dev", "--log-format", "xml"}, {"exec", "s:a", "--log-level", "loud", "--", "true"},
	} {
		if code, _, errOut := w.run(args...); code != exitUsage || !strings.Contains(errOut, "--log-") {
			t.Errorf("%v: exit %d\n%s", args, code, errOut)
		}
	}
}

// An address that fails for a reason that can be seen is said to.
func TestD9_HintsAboutAddresses(t *testing.T) {
	t.Parallel()
	a := &app{redis: address{url: "rediss://" + newTown(t).url[len("redis://"):]}}
	if got := a.hint(io.EOF); !strings.Contains(got, "does not speak TLS") {
		t.Errorf("TLS to a plain port: %q", got)
	}
	for word, says := range map[string]string{"-ERR max number of clients reached\r\n": "no room for another client", "": "If it speaks TLS"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				_, _ = io.WriteString(conn, word)
				_, _ = conn.Read(make([]byte, 64))
				_ = conn.Close()
			}
		}()
		var out bytes.Buffer
		code := run([]string{"--redis", "redis://" + l.Addr().String(), "stats"}, strings.NewReader(""), io.Discard, &out)
		if code != exitNoRedis || !strings.Contains(out.String(), says) {
			t.Errorf("a server that says %q: exit %d, %q, want %q", word, code, out.String(), says)
		}
	}
	// One that only hangs may well be the right one.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hangs := &app{redis: address{url: "redis://" + l.Addr().String()}}
	if got := hangs.hint(&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}); got != "" {
		t.Errorf("a server that hangs: %q", got)
	}
	for text, says := range map[string]string{
		noSentinel + " …: NOAUTH Authentication required.": "sentinel_password", noSentinel + " …: redis: nil": "No Sentinel answers",
	} {
		if got := a.hint(errors.New(text)); !strings.Contains(got, says) {
			t.Errorf("%s: %q, want %q", text, got, says)
		}
	}
}

// C13: a dead letter whose unique key another job has by now is not replayed beside it, and merged
// into it when that is asked for.
func TestC13_ReplayWhereTheKeyIsTaken(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	bury := func(id string) {
		t.Helper()
		w.must("enqueue", "s:a", "k", "--id", id, "--unique", "u", "--max-attempts", "1")
		w.must("work", "--handle", "k=false", "--until-empty", "-q")
	}
	bury("first")
	w.must("enqueue", "s:a", "k", "--id", "second", "--unique", "u")
	if code, _, errOut := w.run("dead", "replay", "first"); code != 1 || !strings.Contains(errOut, "taken by job second") {
		t.Errorf("replay beside the holder of the key: %d, %s", code, errOut)
	}
	if out := w.must("dead", "replay", "first", "--merge"); !strings.Contains(out, "first merged into second") {
		t.Errorf("merging replay says %q", out)
	}
	if out := w.must("dead", "ls", "-q"); out != "" {
		t.Errorf("dead letters are left: %s", out)
	}
	w.must("job", "cancel", "second")
	bury("third")
	if out := w.must("dead", "replay", "third", "--merge"); !strings.Contains(out, "third replayed") {
		t.Errorf("merging replay of a free key says %q", out)
	}
}
