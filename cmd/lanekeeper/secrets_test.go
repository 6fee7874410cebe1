package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
)

// canary is a password with everything in it that is written otherwise somewhere.
const canary = `can"ry/p@ss #1%é<`

// aviary is a server with a user whose password is the canary, and what must not be seen anywhere.
type aviary struct {
	*town
	file    string // with the address
	secrets []string
}

func newAviary(t *testing.T) *aviary {
	s := redistest.Own(t)
	admin := redistest.ClientOf(t, s)
	if err := admin.Do(t.Context(), "acl", "setuser", "bird", "on", ">"+canary, "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	w := &aviary{town: &town{t: t, namespace: "birds", dir: t.TempDir()}}
	w.url = "redis://bird:" + url.QueryEscape(canary) + "@" + s.Addr
	w.url = strings.ReplaceAll(w.url, "+", "%20")
	w.file = filepath.Join(w.dir, "address")
	if err := os.WriteFile(w.file, []byte(w.url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.secrets = connect.Secrets(w.url)
	if len(w.secrets) < 5 {
		t.Fatalf("the secrets are %q", w.secrets)
	}
	return w
}

// process starts a command that is told its server by a variable.
func (w *aviary) start(variable, value string, args ...string) *process {
	cmd := w.command(args...)
	cmd.Args = append(cmd.Args[:1:1], append([]string{"--namespace", w.namespace}, args...)...)
	cmd.Env = append(cmd.Env, variable+"="+value)
	return w.process(cmd)
}

// noCanary fails the test when a text has the canary in any way.
func (w *aviary) noCanary(where, text string) {
	w.t.Helper()
	for _, secret := range w.secrets {
		if strings.Contains(text, secret) {
			w.t.Errorf("%s: the canary sings:\n%s", where, text)
			return
		}
	}
}

// stored is all that is in Redis, as text.
func (w *aviary) stored() string {
	rdb, err := connect.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rdb.Close()
	var all strings.Builder
	for _, key := range rdb.Keys(context.Background(), "*").Val() {
		all.WriteString(fmt.Sprint(rdb.HGetAll(context.Background(), key).Val(), rdb.LRange(context.Background(), key, 0, -1).Val(), rdb.Get(context.Background(), key).Val(), "\n"))
	}
	return all.String()
}

// H4: a password is in no argument, no environment of a program, no error, log, dump of stacks, result or
// JSON, however the process was told it, and though programs print it.
func TestH4_Canary(t *testing.T) {
	t.Parallel()
	w := newAviary(t)
	tells := filepath.Join(w.dir, "tells") // prints the password as programs may
	script := "env\nprintf '%s\\n' '" + strings.Join(w.secrets, "' '") + "'\nprintf '" +
		strings.ReplaceAll(canary[:9], "%", "%%") + "'; sleep 0.05; printf '%s' '" + canary[9:] + "'\n" +
		"cat /proc/$PPID/cmdline; head -c 3000 /dev/zero | tr '\\0' '\\n'; cat " + w.file + "; test $LANEKEEPER_KIND = good\n"
	if err := os.WriteFile(tells, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for variable, value := range map[string]string{redisVariable: w.url, redisFileVariable: w.file} {
		enqueue := w.start(variable, value, "enqueue", "s:"+variable, "good", "--keep", "1h", "--id", variable)
		if enqueue.exit() != 0 {
			t.Fatalf("enqueue by %s:\n%s", variable, enqueue.out.String())
		}
		for i := range 2 { // one to see, and one whose worker is asked for its stacks
			p := w.start(variable, value, "enqueue", fmt.Sprint(variable, ":", i), "bad", "--max-attempts", "1")
			p.exit()
		}
		p := w.start(variable, value, "work", "--handle", "good=sh "+tells, "--handle", "bad=sh "+tells, "--until-empty", "--log-level", "debug", "--log-format", "json")
		if code := p.exit(); code != 0 || !strings.Contains(p.out.String(), "1 finished, 0 retried, 2 dead") {
			t.Errorf("by %s: exit %d\n%s", variable, code, p.out.String())
		}
		w.noCanary("log", p.out.String())

		p = w.start(variable, value, "exec", "s:x", "--", "sh", "-c", "env; cat /proc/$PPID/cmdline; cat /proc/self/environ; touch "+w.dir+"/"+variable+"; exec sleep 600")
		w.until("exec runs", func() bool { _, err := os.Stat(w.dir + "/" + variable); return err == nil })
		for _, file := range []string{fmt.Sprintf("/proc/%d/cmdline", p.guard()), fmt.Sprintf("/proc/%d/environ", p.guard()), fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid)} {
			text, _ := os.ReadFile(file)
			w.noCanary(file, string(text))
		}
		p.signal(syscall.SIGTERM)
		p.exit()
		w.noCanary("exec", p.out.String())

		p = w.start(variable, value, "work", "--handle", "slow-"+variable+"=sleep 600")
		w.until("it works", func() bool { _, out, _ := w.run("worker", "ls"); return strings.Contains(out, "slow-"+variable+" ") })
		p.signal(syscall.SIGQUIT)
		if p.exit(); !strings.Contains(p.out.String(), "goroutine ") {
			t.Errorf("no stacks:\n%s", p.out.String())
		}
		w.noCanary("stacks", p.out.String())

		for _, args := range [][]string{{"dead", "ls", "-o", "wide"}, {"dead", "ls", "-o", "json"}, {"job", "show", variable, "-o", "json"}, {"worker", "ls", "-o", "json"}, {"doctor"}, {"stats"}} {
			p := w.start(variable, value, args...)
			p.exit()
			w.noCanary(strings.Join(args, " "), p.out.String())
		}
	}
	if text := w.stored(); !strings.Contains(text, hidden) {
		t.Errorf("no program's output was kept:\n%s", text)
	} else {
		w.noCanary("Redis", text)
	}
	at := w.url[strings.LastIndex(w.url, "@"):]
	for _, address := range []string{
		strings.Replace(w.url, at, "@127.0.0.1:1", 1), w.url + "x", w.url + "?nope=1", strings.Replace(w.url, "bird", "cat", 1),
		"redis+sentinel" + w.url[5:] + "/m?sentinel_password=" + url.QueryEscape(canary), "redis://bird:" + canary + at,
	} {
		code, out, errOut := w.run("--redis", address, "stats")
		if code == 0 {
			t.Errorf("an address that is wrong: exit 0\n%s", out)
		}
		w.noCanary("an error", out+errOut)
	}
	if _, _, errOut := w.run("stats"); !strings.Contains(errOut, "--redis holds a password") {
		t.Errorf("a password in the arguments is not remarked:\n%s", errOut)
	}
}

// H4: 'dev' does not print its password, and another shell finds the server all the same.
func TestH4_Dev(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	cmd := w.command("dev", "--handle", "k=sh -c 'env; exit 1'", "--pass-redis")
	cmd.Args = append(cmd.Args[:1:1], cmd.Args[5:]...)
	out, err := os.Create(filepath.Join(w.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p := w.process(cmd)
	file := ""
	w.until("it says where", func() bool {
		text, _ := os.ReadFile(out.Name())
		_, rest, found := strings.Cut(string(text), redisFileVariable+"=")
		file, _, _ = strings.Cut(rest, "\n")
		return found && strings.Contains(rest, "stats\n")
	})
	enqueue := exec.Command(built+"/lanekeeper", "--redis-file", file, "enqueue", "s:a", "k", "--max-attempts", "1")
	if text, err := enqueue.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	address, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.until("it has run", func() bool {
		text, _ := os.ReadFile(out.Name())
		return strings.Contains(string(text), redisFileVariable+"="+file) && strings.Contains(string(text), "dead letter")
	})
	p.signal(syscall.SIGTERM)
	p.exit()
	text, _ := os.ReadFile(out.Name())
	if secrets := connect.Secrets(strings.TrimSpace(string(address))); len(secrets) == 0 || strings.Contains(string(text), secrets[len(secrets)-1]) {
		t.Errorf("it prints its password:\n%s", text)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}
}

// H4, H19: programs are told the namespace, and the address only when that was asked for; what asks for
// lanes without an address fails, instead of going elsewhere.
func TestH4H19_WhatProgramsGet(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	private := filepath.Join(w.dir, "address")
	if err := os.WriteFile(private, []byte(w.url), 0o600); err != nil {
		t.Fatal(err)
	}
	const variables = "env | grep '^LANEKEEPER_[RN]' | sort"
	for i, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--redis", w.url}, "LANEKEEPER_NAMESPACE=" + w.namespace + "\n"},
		{[]string{"--redis-file", private}, "LANEKEEPER_NAMESPACE=" + w.namespace + "\n"},
		{[]string{"--redis", w.url, "--pass-redis"}, "LANEKEEPER_NAMESPACE=" + w.namespace + "\nLANEKEEPER_REDIS=" + w.url + "\n"},
		{[]string{"--redis-file", private, "--pass-redis"}, "LANEKEEPER_NAMESPACE=" + w.namespace + "\nLANEKEEPER_REDIS_FILE=" + private + "\n"},
	} {
		id := fmt.Sprint("job", i)
		w.must("enqueue", "s:a", "k", "--id", id)
		inside := fmt.Sprintf("%s >%s/got; %s/lanekeeper enqueue s:b k --id in%s >%s/said 2>&1; echo $? >>%s/said", variables, w.dir, built, id, w.dir, w.dir)
		for _, args := range [][]string{
			append([]string{"work", "--handle", "k=sh -c '" + inside + "'", "--concurrency", "1", "--until-empty"}, c.flags...),
			append(append([]string{"exec", "s:a"}, c.flags...), "--", "sh", "-c", inside),
		} {
			cmd := w.command(args...)
			cmd.Args = append(cmd.Args[:1:1], append([]string{"--namespace", w.namespace}, args...)...)
			cmd.Env = append(cmd.Env, redisVariable+"=") // as if it were not there
			p := w.process(cmd)
			if code := p.exit(); code != 0 {
				t.Fatalf("%v: exit %d\n%s", args, code, p.out.String())
			}
			got, _ := os.ReadFile(w.dir + "/got")
			if string(got) != c.want {
				t.Errorf("%v: the program has\n%swant\n%s", args, got, c.want)
			}
			said, _ := os.ReadFile(w.dir + "/said")
			if passed := i >= 2; passed && !strings.HasSuffix(string(said), "\n0\n") {
				t.Errorf("%v: an enqueue within says %s", args, said)
			} else if !passed && (!strings.Contains(string(said), "no Redis address") || !strings.Contains(string(said), "--pass-redis") || !strings.HasSuffix(string(said), "\n2\n")) {
				t.Errorf("%v: an enqueue within without an address says %s", args, said)
			}
		}
		w.must("work", "--handle", "k=true", "--until-empty", "-q")
	}
	w.must("enqueue", "s:c", "k")
	w.must("work", "--config", w.config("pass_redis: true\nhandlers:\n  k: sh -c '"+variables+" >"+w.dir+"/yaml'"), "--until-empty")
	if got, _ := os.ReadFile(w.dir + "/yaml"); !strings.Contains(string(got), "LANEKEEPER_REDIS="+w.url) {
		t.Errorf("pass_redis: true passes %s", got)
	}
}

// H4: a file with an address is refused when others may read it; and so are two addresses.
func TestH4_RedisFile(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	file := func(mode os.FileMode, text string) string {
		path := filepath.Join(t.TempDir(), "address")
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	good := file(0o400, "  "+w.url+"\r\n")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{0, "partitions", []string{"--redis-file", good}},
		{2, "chmod 600", []string{"--redis-file", file(0o640, w.url)}},
		{2, "mode 0604", []string{"--redis-file", file(0o604, w.url)}},
		{2, "is empty", []string{"--redis-file", file(0o600, "\n")}},
		{2, "no such file", []string{"--redis-file", good + "x"}},
		{2, "is a directory", []string{"--redis-file", w.dir}},
		{2, "both set", []string{"--redis-file", good, "--redis", w.url}},
	} {
		cmd := w.command(append(c.args, "stats")...)
		cmd.Args = append(cmd.Args[:1:1], append([]string{"--namespace", w.namespace}, append(c.args, "stats")...)...)
		p := w.process(cmd)
		if code := p.exit(); code != c.code || !strings.Contains(p.out.String(), c.says) {
			t.Errorf("%v: exit %d, want %d and %q\n%s", c.args, code, c.code, c.says, p.out.String())
		}
	}
}

// What a program prints is searched for secrets though they come in pieces, and at the cut.
func TestH4_TailHidesPieces(t *testing.T) {
	t.Parallel()
	s := newSecrets([]string{"longer-secret", "secret-1"})
	for size := 1; size < 30; size++ {
		tail := tail{secrets: &s}
		text := strings.Repeat("x", 3000) + "secret-1 and longer-secret" + strings.Repeat("y", tailBytes-20)
		for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
			_, _ = tail.Write([]byte(rest[:min(size, len(rest))]))
		}
		got := tail.String()
		for _, part := range []string{"secret-1", "longer-secret", "secret", "cret"} {
			if strings.Contains(got, part) {
				t.Fatalf("in pieces of %d the tail is %.60q", size, got)
			}
		}
		if !strings.HasSuffix(got, "yyy") || len(got) > tailBytes {
			t.Fatalf("in pieces of %d the tail of %d bytes ends with %q", size, len(got), got[len(got)-9:])
		}
	}
}

// H4: nothing that programs are told lets a password be tried out.
func TestH4_PlacesHaveNoPassword(t *testing.T) {
	t.Parallel()
	places := make(map[string]bool)
	for _, url := range []string{"redis://h:1", "redis://:one@h:1", "redis://u:two@h:1", "redis://u:th@ree@h:1?password=x"} {
		a := &app{namespace: "n"}
		a.redis.set(url, "")
		places[a.place()] = true
	}
	if len(places) != 1 {
		t.Errorf("one server is %d places: %v", len(places), places)
	}
}
