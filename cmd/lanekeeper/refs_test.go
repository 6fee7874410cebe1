package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// H5: commands that take an id do nothing when jobs of two subjects have it, say which, and take
// --subject; and --wait shows the outcome of the job that was enqueued, and no other one's.
func TestH5_CommandsAskWhich(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	ns := subject.Namespace{Name: w.namespace, Partitions: 4}
	if _, err := dispatcher.Open(t.Context(), dispatcher.Config{Redis: redistest.Client(t), Namespace: ns.Name, Partitions: ns.Partitions}); err != nil {
		t.Fatal(err)
	}
	one := subject.Key{Kind: "a", ID: "1"}
	other := one
	for i := 2; ns.Partition(other) == ns.Partition(one); i++ {
		other.ID = fmt.Sprint(i)
	}
	w.must("enqueue", other.String(), "ok", "--id", "Z", "--keep", "1m")
	w.must("enqueue", one.String(), "wrong", "--id", "Z", "--keep", "1m")
	for _, args := range [][]string{
		{"job", "show", "Z"}, {"job", "cancel", "Z"}, {"job", "suspend", "Z"}, {"job", "resume", "Z"},
		{"dead", "show", "Z"}, {"dead", "replay", "Z"}, {"dead", "discard", "Z"}, {"job", "suspend", "Z", "none"},
	} {
		code, _, errOut := w.run(args...)
		if code != exitUsage && len(args) == 3 || code == 0 || !strings.Contains(errOut, one.String()) || !strings.Contains(errOut, other.String()) ||
			!strings.Contains(errOut, "--subject") && len(args) == 3 {
			t.Errorf("%v: exit %d\n%s", args, code, errOut)
		}
	}
	if out := w.must("job", "show", "Z", "--subject", other.String()); !strings.Contains(out, other.String()) {
		t.Errorf("with its subject:\n%s", out)
	}
	if code, _, errOut := w.run("job", "show", "Z", "--subject", "a:none"); code != exitNotFound {
		t.Errorf("of a subject without such a job: exit %d\n%s", code, errOut)
	}
	w.must("job", "cancel", "Z", "--subject", one.String())
	if out := w.must("job", "show", "Z", "--subject", other.String()); !strings.Contains(out, "ready") {
		t.Errorf("the other one was cancelled with it:\n%s", out)
	}

	w.must("work", "--handle", "ok=true", "--until-empty")
	p := w.startWith("enqueue", one.String(), "wrong", "--id", "Z", "--keep", "1m", "--max-attempts", "1", "--wait", "-o", "json")
	redistest.Until(t, "it waits", func() bool {
		_, out, _ := w.run("job", "show", "Z", "--subject", one.String(), "-o", "json")
		return strings.Contains(out, "ready")
	})
	w.must("work", "--handle", "wrong=false", "--until-empty")
	if code := p.exit(); code != exitNotFinished {
		t.Errorf("the job failed, --wait ended with %d\n%s", code, p.out.String())
	}
}

// H13: on a cluster with a master away, looks show what is there, say what is missing, and end with
// a code of their own. Each of them waits the seconds that a call gives a server that is away.
func TestH13_LooksSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	c := redistest.OwnCluster(t)
	for _, s := range c.Nodes {
		if _, err := s.Do("config", "set", "cluster-require-full-coverage", "no"); err != nil {
			t.Fatal(err)
		}
	}
	w := &town{t: t, url: c.URL(), namespace: "partly", dir: t.TempDir()}
	for i := range 30 {
		w.must("enqueue", fmt.Sprint("s:", i), "k", "--id", fmt.Sprint("j", i))
	}
	ns := subject.Namespace{Name: w.namespace, Partitions: 3 * dispatcher.PartitionsPerMaster}
	home, _ := c.MasterOf(ns.Meta())
	var gone, replica *redistest.Server // of partitions, and not of the namespace's own keys
	var missing []int
	for p := range ns.Partitions {
		master, second := c.MasterOf(ns.Keys(p).Jobs())
		if gone == nil && master != home {
			gone, replica = master, second
		}
		if master == gone {
			missing = append(missing, p)
		}
	}
	gone.Kill()
	replica.Kill()
	there := ""
	for i := 0; there == ""; i++ {
		if !slices.Contains(missing, ns.Partition(subject.Key{Kind: "s", ID: fmt.Sprint(i)})) {
			there = fmt.Sprint(i)
		}
	}
	for _, args := range [][]string{{"stats"}, {"lane", "ls"}, {"dead", "ls"}, {"job", "show", "j" + there}} {
		code, out, errOut := w.run(args...)
		named := strings.Contains(errOut, fmt.Sprintf("partition %d of %d", missing[0], ns.Partitions))
		if code != exitIncomplete || !named || args[0] != "dead" && len(out) == 0 {
			t.Errorf("%v: exit %d, want %d\n%s%s", args, code, exitIncomplete, out, errOut)
		}
	}
	if code, out, errOut := w.run("job", "show", "j"+there, "--subject", "s:"+there); code != 0 || !strings.Contains(out, "ready") {
		t.Errorf("with its subject: exit %d\n%s%s", code, out, errOut)
	}
	if code, out, errOut := w.run("lane", "show", "s:"+there); code != 0 || !strings.Contains(out, "j"+there) {
		t.Errorf("the lane that is there: exit %d\n%s%s", code, out, errOut)
	}
}

// H9: lines with large payloads go in as many calls as it takes, once and once more.
func TestH9_LargeLines(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	var lines strings.Builder
	for i := range 8 {
		fmt.Fprintf(&lines, "{\"subject\": \"s:%d\", \"kind\": \"k\", \"id\": \"j%d\", \"payload\": %q}\n", i%3, i, strings.Repeat("x", 600_000))
	}
	for _, want := range []string{"8 jobs enqueued", "8 existed already"} {
		code, out, errOut := w.runWith(lines.String(), "enqueue", "--from", "-")
		if code != 0 || !strings.Contains(out+errOut, want) {
			t.Errorf("exit %d, want %q:\n%s%s", code, want, out, errOut)
		}
	}
}
