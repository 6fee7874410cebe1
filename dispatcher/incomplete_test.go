package dispatcher_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// partly is a namespace on a cluster of which one pair of servers is gone for good, and with it
// some partitions, but not the keys of the whole namespace.
type partly struct {
	*house
	t       *testing.T
	cluster *redistest.Cluster
	missing []int
	killed  []*redistest.Server
}

func newPartly(t *testing.T, cfg dispatcher.Config) *partly {
	t.Helper()
	c := redistest.OwnCluster(t)
	for _, s := range c.Nodes {
		if _, err := s.Do("config", "set", "cluster-require-full-coverage", "no"); err != nil {
			t.Fatal(err)
		}
	}
	rdb := c.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	cfg.Redis, cfg.Namespace, cfg.Partitions = rdb, "partly", 6
	d, err := dispatcher.Open(bg, cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &partly{t: t, cluster: c, house: &house{t: t, Dispatcher: d, Inspector: inspect.New(d), cfg: cfg}}
	return p
}

// away kills the servers of the first partition that the namespace's own keys are beside, or are not.
func (p *partly) away(home bool) {
	p.t.Helper()
	ns := p.Namespace()
	own, _ := p.cluster.MasterOf(ns.Meta())
	for n := range ns.Partitions {
		master, replica := p.cluster.MasterOf(ns.Keys(n).Jobs())
		if (master == own) != home {
			continue
		}
		for n := range ns.Partitions {
			if m, _ := p.cluster.MasterOf(ns.Keys(n).Jobs()); m == master {
				p.missing = append(p.missing, n)
			}
		}
		master.Kill()
		replica.Kill()
		p.killed = []*redistest.Server{master, replica}
		return
	}
	p.t.Fatal("all partitions are on one server")
}

// in returns lanes of partitions that are there, or of those that are missing.
func (p *partly) in(missing bool, n int) (lanes []string) {
	for i := 0; len(lanes) < n; i++ {
		if lane := fmt.Sprint(i); slices.Contains(p.missing, p.Namespace().Partition(key(lane))) == missing {
			lanes = append(lanes, lane)
		}
	}
	return lanes
}

// H13: with a master of a cluster away, looks show the rest and say what is missing, what works on
// one partition works on the others, and a pool starts and serves them.
//
// It waits for the seconds that a call gives a server that is away.
func TestH13_OnePartAway(t *testing.T) {
	t.Parallel()
	p := newPartly(t, dispatcher.Config{})
	for i := range 60 {
		p.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k", ID: fmt.Sprint("j", i)})
	}
	whole, err := p.Stats(bg)
	p.ok(err)
	p.away(false)
	said := func(what string, err error) {
		t.Helper()
		var missing *dispatcher.IncompleteError
		if !errors.Is(err, dispatcher.ErrIncomplete) || !errors.As(err, &missing) {
			t.Errorf("%s: %v, want what is missing", what, err)
			return
		}
		for _, n := range p.missing {
			if name := fmt.Sprintf("partition %d of 6", n); !slices.Contains(missing.Missing, name) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v does not name %s", what, err, name)
			}
		}
		if len(missing.Missing) > len(p.missing) {
			t.Errorf("%s: %v, though only %v is away", what, err, p.missing)
		}
	}
	here, there := p.in(false, 3), p.in(true, 1)

	stats, err := p.Stats(bg)
	said("stats", err)
	if stats.Jobs == 0 || stats.Jobs >= whole.Jobs {
		t.Errorf("%d jobs are counted of %d", stats.Jobs, whole.Jobs)
	}
	lanes, _, err := p.Lanes(bg, inspect.LaneFilter{}, inspect.Page{Limit: 500})
	said("lanes", err)
	if len(lanes) != stats.Lanes {
		t.Errorf("%d lanes are listed, %d counted", len(lanes), stats.Lanes)
	}
	_, _, err = p.DeadLetters(bg, dispatcher.DeadFilter{}, inspect.Page{})
	said("dead letters", err)
	_, err = p.Doctor(bg, nil)
	said("doctor", err)
	_, err = p.Repair(bg, nil)
	said("repair", err)

	if _, jobs, _, err := p.Lane(bg, key(here[0]), inspect.Page{}); err != nil || len(jobs) != 1 {
		t.Errorf("a lane that is there: %d jobs, %v", len(jobs), err)
	}
	if _, _, _, err := p.Lane(bg, key(there[0]), inspect.Page{}); !errors.Is(err, dispatcher.ErrUnavailable) {
		t.Errorf("a lane that is away: %v", err)
	}
	job, err := p.Job(bg, ref("j"+here[0]))
	said("a job by its id alone", err)
	if job.Subject != key(here[0]) {
		t.Errorf("the job that was found is of %s", job.Subject)
	}
	if _, err := p.Job(bg, of(here[0], "j"+here[0])); err != nil {
		t.Errorf("a job by subject and id: %v", err)
	}
	if _, err := p.Cancel(bg, ref("j"+here[0])); !errors.Is(err, dispatcher.ErrUnavailable) || errors.Is(err, dispatcher.ErrNotFound) {
		t.Errorf("cancelled by its id alone, though another subject may have it: %v", err)
	}
	if _, err := p.Cancel(bg, of(here[0], "j"+here[0])); err != nil {
		t.Errorf("cancelled by subject and id: %v", err)
	}
	p.enqueued(here[1], "more")

	s, err := p.Join(bg, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: 10 * time.Second}, 10)
	if err != nil {
		t.Fatalf("a pool can't start: %v", err)
	}
	defer s.Close(bg)
	if claimed := p.claimAll(s); claimed != stats.Lanes-1 {
		t.Errorf("%d lanes were claimed of %d that are there", claimed, stats.Lanes-1)
	}
	p.limitsAway()
}

// limitsAway: a process that declares limits starts while the homes of some are away; of those kinds
// nothing starts until they are back, and of the others it does. What could not be written is owed: it is
// written with the next sign of life after they are back, else those kinds would stand still for good.
func (p *partly) limitsAway() {
	p.t.Helper()
	cfg := p.cfg
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprint("k", i))
		cfg.Kinds = append(cfg.Kinds, dispatcher.Kind{Name: names[i], Owner: "test", Limit: 1})
	}
	d, err := dispatcher.Open(bg, cfg)
	if err != nil {
		p.t.Fatalf("a process that declares limits can't start: %v", err)
	}
	lane := p.in(false, 1)[0]
	there := p.Namespace().Partition(key(lane))
	for i, name := range names {
		job := dispatcher.NewJob{Subject: key(p.sameAs(lane, i)), Kind: name}
		if _, err := d.Enqueue(bg, job); err != nil {
			p.t.Errorf("enqueue %s: %v", name, err)
		}
	}
	s, err := session.Join(bg, d, session.Claimant{Holder: "limited", Kinds: names, TTL: 10 * time.Second}, 10)
	if err != nil {
		p.t.Fatalf("a pool of limited kinds can't start: %v", err)
	}
	defer s.Close(bg)
	started := make(map[string]bool)
	for _, c := range s.Turns(bg, []session.Turn{{Partition: there, Claim: true, Want: 100}})[0].Claims {
		started[c.Kind] = true
	}
	for _, name := range names {
		home := p.Namespace().Partition(subject.Slot("kind/"+name, 1))
		if away := slices.Contains(p.missing, home); started[name] == away {
			p.t.Errorf("the home of the limit of %s is away: %t, and a job of it started: %t", name, away, started[name])
		}
	}
	if n := len(started); n == 0 || n == len(names) {
		p.t.Fatalf("%d of %d limits have their home where it is away", len(names)-n, len(names))
	}
	for _, server := range p.killed {
		p.ok(server.Restart())
	}
	redistest.Until(p.t, "what was owed is written, and all kinds start", func() bool {
		_ = s.Beat(bg) // which is each few seconds, and not always of use: the client has to find the servers again
		for _, c := range s.Turns(bg, []session.Turn{{Partition: there, Claim: true, Want: 100}})[0].Claims {
			started[c.Kind] = true
		}
		return len(started) == len(names)
	})
	if owed := d.Engine().OwedLimits(); len(owed) != 0 {
		p.t.Errorf("what was written is owed still: %v", owed)
	}
}

// sameAs returns the nth other lane of a lane's partition.
func (p *partly) sameAs(lane string, n int) string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("limited", i); p.Namespace().Partition(key(name)) == p.Namespace().Partition(key(lane)) {
			if n == 0 {
				return name
			}
			n--
		}
	}
}

// claimAll claims all that is ready in the partitions that are there.
func (p *partly) claimAll(s *session.Session) (claimed int) {
	p.t.Helper()
	for n := range p.Namespace().Partitions {
		if !slices.Contains(p.missing, n) {
			got := s.Turns(bg, []session.Turn{{Partition: n, Claim: true, Want: 100}})[0]
			p.ok(got.Err)
			claimed += len(got.Claims)
		}
	}
	return claimed
}

// H13: the same when what is away has the keys of the whole namespace: who workers are is not known
// then, and a pool that begins serves the others, though it can't be listed yet.
//
// It waits for the five seconds in which Open looks for another server.
func TestH13_NamespaceAway(t *testing.T) {
	t.Parallel()
	p := newPartly(t, dispatcher.Config{})
	for i := range 60 {
		p.enqueue(dispatcher.NewJob{Subject: key(fmt.Sprint(i)), Kind: "k", ID: fmt.Sprint("j", i)})
	}
	p.away(true)
	stats, err := p.Stats(bg)
	var missing *dispatcher.IncompleteError
	if !errors.As(err, &missing) || !slices.Contains(missing.Missing, "workers") {
		t.Errorf("stats: %v, want that the workers are missing too", err)
	}
	if _, jobs, _, err := p.Lane(bg, key(p.in(false, 1)[0]), inspect.Page{}); !errors.Is(err, dispatcher.ErrIncomplete) || len(jobs) != 1 {
		t.Errorf("a lane that is there, without estimates: %d jobs, %v", len(jobs), err)
	}
	s, err := p.Join(bg, session.Claimant{Holder: "w", Kinds: []string{"k"}, TTL: 10 * time.Second}, 10)
	if err != nil {
		t.Fatalf("a pool can't start: %v", err)
	}
	defer s.Close(bg)
	if claimed := p.claimAll(s); claimed != stats.Lanes || claimed == 0 {
		t.Errorf("%d lanes were claimed of %d that are there", claimed, stats.Lanes)
	}
}
