package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// guarded is a server with the users of docs/operations.md, passwords of its own, and somebody
// else's keys.
type guarded struct {
	t     *testing.T
	addr  string
	admin *redis.Client
	old   bool                // it has no keys that can only be read
	users map[string][]string // what the page says that each runs
	ran   map[string][]string
}

const namespaceOfUsers = "lanekeeper"

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	s := redistest.Own(t)
	g := &guarded{t: t, addr: s.Addr, users: make(map[string][]string), ran: make(map[string][]string)}
	first := redistest.ClientOf(t, s)
	g.old = strings.Contains(first.Info(t.Context(), "server").Val(), "redis_version:6.")
	for name, value := range map[string]string{"masterauth": "replpass", "requirepass": "topsecret"} {
		if err := first.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	g.admin = connect.New(&redis.Options{Addr: s.Addr, Password: "topsecret"})
	t.Cleanup(func() { _ = g.admin.Close() })
	g.read()
	for _, key := range []string{"other", "{lanekeeper", "{others}:meta", "{others:0}:jobs"} {
		if err := g.admin.HSet(t.Context(), key, "partitions", "4").Err(); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// read makes the users of the page, and reads what it says of them.
func (g *guarded) read() {
	g.t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		g.t.Fatal(err)
	}
	row := regexp.MustCompile(`^\| (\w+) \| (.*) \|$`)
	code := regexp.MustCompile("`([^`]+)`")
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "user "); ok {
			g.make(rest)
			g.users[strings.Fields(rest)[0]] = nil
		}
		if m := row.FindStringSubmatch(line); m != nil {
			if _, ok := g.users[m[1]]; ok {
				for _, c := range code.FindAllStringSubmatch(m[2], -1) {
					g.users[m[1]] = append(g.users[m[1]], c[1])
				}
			}
		}
	}
	if len(g.users) != 4 {
		g.t.Fatalf("docs/operations.md has the users %v, want 4", g.users)
	}
}

// make makes a user; and one by the line that the page gives for 6.2, which has to load everywhere.
func (g *guarded) make(line string) {
	g.t.Helper()
	set := func(line string) {
		args := []any{"acl", "setuser"}
		for _, word := range strings.Fields(line) {
			args = append(args, word)
		}
		if err := g.admin.Do(g.t.Context(), args...).Err(); err != nil {
			g.t.Fatalf("%s: %v", line, err)
		}
	}
	before := strings.ReplaceAll(line, "%R~", "~")
	if g.old {
		line = before
	}
	set("old-" + before)
	set(line)
}

func (g *guarded) run(user, in string, args ...string) (code int, out, errOut string) {
	w := &town{t: g.t, url: "redis://" + user + ":change-me@" + g.addr, namespace: namespaceOfUsers, dir: g.t.TempDir()}
	return w.runWith(in, args...)
}

func (g *guarded) may(user string, args ...string) {
	g.t.Helper()
	g.mayWith("", user, args...)
}

func (g *guarded) mayWith(in, user string, args ...string) {
	g.t.Helper()
	g.ran[user] = append(g.ran[user], strings.Join(args, " "))
	if code, out, errOut := g.run(user, in, args...); code != 0 && !(args[0] == "why" && code == exitFalse) {
		log, _ := g.admin.Do(context.Background(), "acl", "log", 1).Result()
		g.t.Errorf("%s may not %v: exit %d\n%s%s%v", user, args, code, out, errOut, log)
	}
}

func (g *guarded) mayNot(user string, args ...string) {
	g.t.Helper()
	if code, out, errOut := g.run(user, "", args...); code != exitNoRedis || !denied(errOut) {
		g.t.Errorf("%s may %v: exit %d\n%s%s", user, args, code, out, errOut)
	}
}

func denied(text string) bool {
	for _, says := range []string{"NOPERM", "permissions", "can't run this command", "can't access at least one of the keys", "DEBUG command not allowed", "not allowed from script"} {
		if strings.Contains(text, says) {
			return true
		}
	}
	return false
}

// all reports what the page says of a user that was not run.
func (g *guarded) all() {
	g.t.Helper()
	for user, documented := range g.users {
		if len(documented) < 3 {
			g.t.Errorf("the page says of %s that it runs %v", user, documented)
		}
		for _, what := range documented {
			if !slices.ContainsFunc(g.ran[user], func(run string) bool {
				words := strings.Fields(run)
				return !slices.ContainsFunc(strings.Fields(what), func(w string) bool { return !slices.Contains(words, w) })
			}) {
				g.t.Errorf("the page says that %s runs %q, which no test does", user, what)
			}
		}
	}
}

// H17, H18: each user of the page does all that the page says of it.
func TestH18_UsersMayDoWhatIsTheirs(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	if !g.old {
		g.mayNot("producer", "enqueue", "s:a", "k") // there is no namespace yet
		g.mayNot("worker", "work", "--handle", "k=true", "--until-empty")
	}
	g.may("operator", "doctor", "--fix")

	g.may("producer", "enqueue", "s:a", "k", "--id", "good")
	g.may("producer", "enqueue", "s:l", "k", "--id", "later", "--delay", "1s")
	g.may("producer", "enqueue", "s:b", "k", "--id", "bad", "--max-attempts", "1")
	g.may("producer", "enqueue", "s:h", "k", "--id", "sleeps", "--delay", "1h")
	g.ran["producer"] = append(g.ran["producer"], "enqueue --replicas")
	if code, _, errOut := g.run("producer", "", "enqueue", "s:r", "k", "--replicas", "1", "--replicas-within", "10ms"); code == 0 || denied(errOut) {
		t.Errorf("nobody has it, and nobody says so: exit %d, %s", code, errOut)
	}
	g.mayWith(`{"subject":"s:f","kind":"k"}`+"\n", "producer", "enqueue", "--from", "-")
	g.looks()

	g.mayNot("reader", "lane", "watch", "s:b")
	g.may("operator", "lane", "watch", "s:b")
	program := "sh -c 'test $LANEKEEPER_JOB != bad'"
	g.may("worker", "work", "--handle", "k="+program, "--until-empty", "--lease-ttl", "1s")
	for _, user := range []string{"reader", "operator"} {
		g.may(user, "dead", "show", "bad")
		g.may(user, "kind", "show", "k")
		g.may(user, "lane", "history", "s:b")
		g.may(user, "job", "ls", "--state", "ended")
		g.may(user, "lane", "ls", "--hot")
		g.may(user, "stats", "--flow")
		if _, out, _ := g.run(user, "", "lane", "ls", "--hot", "-q"); !strings.Contains(out, "s:b\n") {
			g.t.Errorf("the worker has told that handlers ran for %q", out)
		}
		if _, out, _ := g.run(user, "", "kind", "show", "k"); !strings.Contains(out, "/min") {
			g.t.Errorf("the worker has told nothing that flows:\n%s", out)
		}
		if _, out, _ := g.run(user, "", "lane", "history", "s:b", "-q"); out != "bad\n" {
			g.t.Errorf("what the worker has run is %q", out)
		}
	}
	g.mayNot("reader", "dead", "discard", "bad")
	g.mayNot("reader", "dead", "discard", "--all", "--yes")
	g.may("reader", "dead", "ls", "--kind", "k", "--reason", "permanent", "--before", "0s")
	g.may("operator", "dead", "replay", "--all", "--yes")
	g.may("worker", "work", "--handle", "k="+program, "--until-empty", "--lane-batch", "k=5", "--blame")
	redistest.Until(t, "the delayed job has run", func() bool {
		g.may("worker", "work", "--handle", "k="+program, "--until-empty") // which does not wait for what is scheduled
		code, _, _ := g.run("reader", "", "job", "show", "later")
		return code != 0
	})
	if err := g.admin.Del(t.Context(), "{lanekeeper:0}:kinds", "{lanekeeper:1}:kinds").Err(); err != nil {
		t.Fatal(err)
	}
	g.may("operator", "doctor", "--fix")
	g.may("operator", "dead", "discard", "--kind", "k", "--yes")

	g.stops()
	g.waits()
	g.declares()
	g.migrates()
	g.may("operator", "export", "--to", filepath.Join(t.TempDir(), "out"), "--while-running")
	g.mayNot("reader", "namespace", "ls")
	g.may("operator", "namespace", "ls")
	g.may("operator", "namespace", "rm", namespaceOfUsers, "--yes", "--force")
	g.may("operator", "import", "testdata/export.jsonl")
	g.all()
}

// migrates runs a migration: a step of one finds no old forms here.
func (g *guarded) migrates() {
	g.t.Helper()
	if err := g.admin.HSet(g.t.Context(), "{lanekeeper}:meta", "schema", "6").Err(); err != nil {
		g.t.Fatal(err)
	}
	if err := g.admin.Del(g.t.Context(), "{lanekeeper}:seen").Err(); err != nil { // a worker that was there last
		g.t.Fatal(err)
	}
	g.may("operator", "migrate")
}

// listed checks that the latest act is listed for who may look.
func (g *guarded) listed(user, verb string) {
	g.t.Helper()
	if code, out, errOut := g.run(user, "", "log", "--limit", "1"); code != 0 || !strings.Contains(out, verb) {
		g.t.Errorf("the log shows %s no %s: exit %d\n%s%s", user, verb, code, out, errOut)
	}
}

// looks runs what a reader and an operator look at.
func (g *guarded) looks() {
	for _, user := range []string{"reader", "operator"} {
		for _, args := range [][]string{
			{"lane", "ls"}, {"lane", "ls", "--deepest"}, {"lane", "show", "s:a"}, {"lane", "show", "s:a", "--timeline"}, {"why", "s:a"}, {"job", "show", "good"}, {"stats"}, {"worker", "ls"}, {"doctor"}, {"dead", "ls"},
			{"kind", "ls"}, {"hold", "ls"}, {"log"},
		} {
			g.may(user, args...)
		}
	}
	g.mayNot("reader", "enqueue", "s:c", "k")
	g.mayNot("reader", "job", "cancel", "good")
	g.mayNot("reader", "lane", "suspend", "s:a")
}

// stops runs what an operator stops, and lets go on.
func (g *guarded) stops() {
	g.may("producer", "enqueue", "s:u", "k", "--id", "u1", "--unique", "u", "--keep", "1h")
	g.may("producer", "enqueue", "s:u", "k", "--unique", "u")
	g.may("operator", "lane", "suspend", "s:u")
	g.mayNot("reader", "lane", "resume", "s:u")
	g.may("operator", "lane", "resume", "s:u")
	g.may("operator", "lane", "suspend", "s:u")
	g.may("operator", "lane", "skip", "s:u")
	w := &town{t: g.t, url: "redis://operator:change-me@" + g.addr, namespace: namespaceOfUsers, dir: g.t.TempDir()}
	w.failed("s:v", "k", "v1")
	g.mayNot("reader", "lane", "retry", "s:v")
	g.may("operator", "lane", "retry", "s:v", "--why", "mended")
	g.listed("operator", "lane retry")
	g.may("operator", "job", "cancel", "v1")
	g.mayNot("reader", "hold", "--all", "--reason", "r")
	g.may("operator", "hold", "--kind", "k", "--reason", "r")
	g.mayNot("reader", "release", "H-1")
	g.may("operator", "release", "H-1")
	g.may("operator", "job", "suspend", "sleeps")
	g.may("operator", "job", "resume", "sleeps")
	g.may("operator", "job", "cancel", "sleeps")
}

// waits runs what waits for jobs and subjects, in Go too.
func (g *guarded) waits() {
	g.may("producer", "exec", "s:a", "--", "true")
	g.may("producer", "exec", "s:a", "--wait", "1s", "--", "true")
	for _, user := range []string{"producer", "worker"} {
		waited := make(chan bool)
		go func() {
			defer close(waited)
			g.may(user, "enqueue", "s:w", "k", "--keep", "1m", "--wait")
		}()
		redistest.Until(g.t, "the job is there", func() bool {
			_, out, _ := g.run("reader", "", "lane", "ls", "-q")
			return strings.Contains(out, "s:w")
		})
		g.may("worker", "work", "--handle", "k=true", "--until-empty")
		<-waited
		g.calls(user)
	}
}

// calls makes the calls of a program that enqueues.
func (g *guarded) calls(user string) {
	ctx := g.t.Context()
	rdb := connect.New(&redis.Options{Addr: g.addr, Username: user, Password: "change-me"})
	defer rdb.Close()
	d, err := dispatcher.Open(ctx, dispatcher.Config{Redis: rdb, Namespace: namespaceOfUsers})
	if err != nil {
		g.t.Fatal(err)
	}
	key := func(id string) subject.Key { return subject.Key{Kind: "s", ID: user + id} }
	job := dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: user, Keep: time.Minute}
	_, err = d.Enqueue(ctx, job)
	errs := map[string]error{"Enqueue": err}
	_, errs["EnqueueMany"] = d.EnqueueMany(ctx, []dispatcher.NewJob{{Subject: key("b"), Kind: "k"}})
	_, _, errs["DoOrEnqueue"] = d.DoOrEnqueue(ctx, dispatcher.NewJob{Subject: key("c"), Kind: "k"}, func(context.Context) error { return nil })
	errs["Do"] = d.Do(ctx, key("d"), time.Minute, func(ctx context.Context) error {
		return d.Do(ctx, key("e"), time.Minute, func(context.Context) error { return nil }) // notes that it waits
	})
	g.may("worker", "work", "--handle", "k=true", "--until-empty")
	_, errs["WaitFor"] = d.WaitFor(ctx, dispatcher.JobRef{ID: user})
	_, errs["Outcome"] = d.Outcome(ctx, dispatcher.JobRef{ID: user})
	for call, err := range errs {
		if err != nil {
			g.t.Errorf("%s: %s: %v", user, call, err)
		}
	}
}

// declares runs workers that declare kinds under limits.
func (g *guarded) declares() {
	file := filepath.Join(g.t.TempDir(), "work.yaml")
	text := "handlers: {k: \"true\"}\nkinds: {k: {owner: o, limit: 2, dead_max: 5}}\npool_limits: {default: 5}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.may("producer", "enqueue", "s:l", "k")
	g.may("worker", "work", "--config", file, "--until-empty")
	g.may("reader", "kind", "show", "k")
	g.prunes()
	g.may("operator", "kind", "rm", "k")
	g.listed("reader", "kind rm")
}

// prunes does what a worker does every few minutes.
func (g *guarded) prunes() {
	rdb := connect.New(&redis.Options{Addr: g.addr, Username: "worker", Password: "change-me"})
	defer rdb.Close()
	if err := g.admin.HSet(g.t.Context(), "{lanekeeper}:versions", "k retention", "1 0").Err(); err != nil { // of a ms
		g.t.Fatal(err)
	}
	g.may("producer", "enqueue", "s:p", "k", "--max-attempts", "1")
	g.may("worker", "work", "--handle", "k=false", "--until-empty")
	d, err := dispatcher.Open(g.t.Context(), dispatcher.Config{Redis: rdb, Namespace: namespaceOfUsers})
	if err != nil {
		g.t.Fatal(err)
	}
	s, err := session.Bare(g.t.Context(), d, session.Claimant{Holder: "w", TTL: time.Second})
	if err != nil {
		g.t.Fatal(err)
	}
	if gone, err := s.Prune(g.t.Context()); err != nil || gone["k"] < 1 {
		g.t.Errorf("worker may not prune: %v, %v", gone, err)
	}
}

// H2, H17: what no user may, and what one may not that another does.
func TestH2_UsersMayNoMore(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.may("operator", "doctor", "--fix")
	everybody := [][]any{
		{"config", "get", "requirepass"}, {"config", "get", "masterauth"}, {"config", "get", "maxmemory"}, {"config", "get", "*"},
		{"config", "set", "maxmemory", "1"}, {"config", "rewrite"}, {"keys", "*"}, {"randomkey"}, {"dbsize"},
		{"acl", "list"}, {"acl", "getuser", "default"}, {"acl", "setuser", "me", "on"}, {"acl", "log"}, {"acl", "save"},
		{"client", "list"}, {"client", "kill", "type", "normal"}, {"client", "pause", "1"}, {"debug", "sleep", "0"}, {"monitor"}, {"slowlog", "get"},
		{"flushall"}, {"flushdb"}, {"swapdb", "0", "1"}, {"shutdown", "nosave"}, {"save"}, {"bgsave"}, {"bgrewriteaof"},
		{"script", "flush"}, {"replicaof", "no", "one"}, {"module", "list"}, {"info"}, {"info", "replication"}, {"info", "everything"},
		{"get", "other"}, {"set", "other", "x"}, {"hgetall", "other"}, {"hgetall", "{lanekeeper"}, {"hgetall", "{others}:meta"}, {"hset", "{others:0}:jobs", "a", "b"},
		{"publish", "others", "x"}, {"subscribe", "others"}, {"psubscribe", "*"}, {"migrate", "127.0.0.1", "1", "other", "0", "1"}, {"sort", "other"},
		{"eval", "return redis.call('flushall')", "0"}, {"eval", "return redis.call('get', 'other')", "0"},
		{"eval", "return redis.call('config', 'get', 'requirepass')", "0"},
	}
	if !g.old {
		everybody = append(everybody, []any{"function", "flush"}, []any{"function", "load", "#!lua name=x\nredis.register_function('x', function() end)"}, []any{"function", "list"})
	}
	own := map[string][][]any{
		"producer": {{"scan", "0"}, {"xadd", "{lanekeeper:0}:audit", "*", "who", "operator"}},
		"worker":   {{"scan", "0"}, {"xadd", "{lanekeeper:0}:audit", "*", "who", "operator"}, {"xtrim", "{lanekeeper:0}:audit", "maxlen", "0"}},
		"reader": {
			{"scan", "0"}, {"hset", "{lanekeeper:0}:jobs", "a", "b"}, {"del", "{lanekeeper:0}:jobs"}, {"eval", "return 1", "0"}, {"publish", "{lanekeeper:0}:news:x", ""},
			{"set", "{lanekeeper:0}:request:x", ""}, {"zadd", "{lanekeeper:0}:dead", "1", "a"}, {"pexpire", "{lanekeeper:0}:jobs", "1"}, {"expire", "{lanekeeper}:meta", "1"},
		},
		"operator": nil,
	}
	if !g.old { // H17: how a namespace is cut is nobody's but the operator's
		for _, user := range []string{"producer", "worker"} {
			own[user] = append(own[user], []any{"hset", "{lanekeeper}:meta", "partitions", "7"}, []any{"hsetnx", "{lanekeeper}:meta", "x", "7"}, []any{"hdel", "{lanekeeper}:meta", "partitions"},
				[]any{"eval", "return redis.call('hset', KEYS[1], 'partitions', 7)", "1", "{lanekeeper}:meta"}, []any{"eval", "return redis.call('hset', '{lanekeeper}:meta', 'partitions', 7)", "0"})
		}
		own["producer"] = append(own["producer"], []any{"hset", "{lanekeeper}:registry", "k", "x"},
			[]any{"hset", "{lanekeeper}:workers", "a", "b"}, []any{"zrem", "{lanekeeper}:seen", "a"})
	}
	for user, more := range own {
		rdb := connect.New(&redis.Options{Addr: g.addr, Username: user, Password: "change-me"})
		for _, cmd := range append(slices.Clone(everybody), more...) {
			if err := rdb.Do(t.Context(), cmd...).Err(); err == nil || !denied(err.Error()) {
				t.Errorf("%s may %v: %v", user, cmd, err)
			}
		}
		_ = rdb.Close()
	}
	if cut := g.admin.HGet(t.Context(), "{lanekeeper}:meta", "partitions").Val(); cut != "1" {
		t.Errorf("the namespace is cut into %s", cut)
	}
}

// H18: of a transaction that was not taken the first command's own error is shown.
func TestH18_WhatIsMissingIsSaid(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.may("operator", "doctor", "--fix")
	g.may("producer", "enqueue", "s:a", "k", "--id", "j")
	if err := g.admin.Do(t.Context(), "acl", "setuser", "reader", "-zmscore").Err(); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := g.run("reader", "", "job", "show", "j")
	if code != exitNoRedis || !strings.Contains(errOut, "zmscore") || strings.Contains(errOut, "EXECABORT") {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
}
