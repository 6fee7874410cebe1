package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// shownBy is, by type and field of what applications set, the test that sets it and sees it work.
// "session: " and "worker: " are before tests of those packages.
var shownBy = map[string]map[string]string{
	"Config": {
		"Redis": "TestOpenChecksTheNamespace", "Namespace": "TestNamespacesAreApart", "Partitions": "TestOpenChecksTheNamespace",
		"MaxPayload": "TestFieldsAtTheirBounds", "MaxLane": "TestOneCallFillsALane", "MaxBacklog": "TestOneCallFillsALane",
		"Durability": "TestTwoReplicas", "SectionTTL": "TestSectionTTL", "Kinds": "TestL3_Registry", "PoolLimits": "TestC6_PoolLimit",
		"Look": "TestLookDoesNotCreateTheNamespace", "Now": "TestI8_TimesAreTheServers",
	},
	"Durability": {"Replicas": "TestTwoReplicas", "Within": "TestTwoReplicas"},
	"Kind": {
		"Name": "TestL3_Registry", "Owner": "TestL3_Registry", "Subject": "TestL3_Registry", "Description": "TestDeclarationsComeBackWhole",
		"MaxAttempts": "TestKindRulesReachTheirJobs", "Timeout": "TestKindRulesReachTheirJobs", "Backoff": "worker: TestWaitOfARetry",
		"OnFailure": "TestC4_FailingHead", "Unique": "TestKindRulesReachTheirJobs", "Keep": "TestKindRulesReachTheirJobs", "DeadKeep": "TestPrune", "DeadMax": "TestPrune", "Pool": "TestKindsAreOfTheirPool",
		"Limit": "TestG12_KindLimit", "Every": "TestG12_Rate", "Priority": "TestC11_PriorityAndAging", "Expected": "TestL11_Estimates",
		"Loggable": "TestDeclarationsComeBackWhole", "NoPage": "TestDeclarationsComeBackWhole",
	},
	"NewJob": {
		"Subject": "TestEnqueueKeepsEverything", "Kind": "TestEnqueueKeepsEverything", "Payload": "TestEnqueueKeepsEverything", "ID": "TestEnqueueKeepsEverything",
		"RunAt": "TestRunAtAndDelay", "Delay": "TestRunAtAndDelay", "MaxAttempts": "TestKindRulesReachTheirJobs", "Timeout": "worker: TestTimeoutOfAnAttempt",
		"Unique": "TestL2_Scopes", "Keep": "TestKindRulesReachTheirJobs", "Headers": "TestEnqueueKeepsEverything",
	},
	"Unique": {
		"Key": "TestUniqueKeysAreOfTheirKind", "Scope": "TestL2_Scopes", "Window": "TestL2_Scopes", "OnConflict": "TestKindRulesReachTheirJobs",
	},
	"Backoff": {"Base": "worker: TestWaitOfARetry", "Cap": "worker: TestWaitOfARetry"},
	"Claimant": {
		"Holder": "TestClaimantIsWhatItSays", "Kinds": "session: TestI11_HandOverOnlyToWhoHandlesTheKind", "TTL": "TestClaimantIsWhatItSays",
		"LaneBatch": "TestJobsOfOneClaim", "Pool": "TestC6_PoolLimit",
	},
	"Page": {"Cursor": "TestPagesThatAreFilled", "Limit": "TestPagesThatAreFilled"},
	"AuditFilter": {
		"Subject": "TestAuditIsOneList", "Who": "TestAuditIsOneList", "Verb": "TestAuditIsOneList", "Since": "TestAuditIsOneList",
	},
	"Actor":      {"Who": "TestActsHaveTheirActors", "Face": "TestActsHaveTheirActors", "Why": "TestActsHaveTheirActors"},
	"LaneFilter": {"State": "TestPagesThatAreFilled", "Kind": "TestPagesThatAreFilled"},
	"DeadFilter": {
		"Kind": "TestDeadFilter", "Reason": "TestDeadFilter", "Subject": "TestDeadFilter", "After": "TestDeadFilter", "Before": "TestDeadFilter",
	},
	"DeadReplay": {"Front": "TestDeadSetKeepsTheOrderOfLanes", "Merge": "TestDeadSetReports", "Progress": "TestDeadSetInManyChunks"},
	"JobRef":     {"ID": "TestH5_AmbiguousIDs", "Subject": "TestH5_AmbiguousIDs"},
	"Turn": {
		"Partition": "TestClaimantIsWhatItSays", "Ends": "TestMoreEndsThanOneCallTakes", "Reap": "TestMoreIsDueThanOneReapDoes", "Claim": "TestEachHintIsLeft",
		"Want": "TestJobsOfOneClaim", "Refuse": "TestOfferThatIsRefused", "InHand": "TestRollingFields", "PutBack": "TestI6_PutBack",
	},
	"End": {
		"Claim": "TestMoreEndsThanOneCallTakes", "Outcome": "TestMoreEndsThanOneCallTakes", "Wait": "TestEndsSayWhatTheySay", "Reason": "TestEndsSayWhatTheySay",
		"Error": "TestEndsSayWhatTheySay", "Workers": "TestL8_JobFailsOnThreeWorkers", "Result": "TestEndsSayWhatTheySay", "Each": "TestC7_BatchEndsTogether",
		"GoesOn": "TestEndsOfALaneThatTakeTwoCalls", "More": "TestRollingFields",
	},
}

// Every field that an application can set is set in a test that sees it work: a field that is new has no row, and
// fails here.
func TestEachFieldIsShown(t *testing.T) {
	t.Parallel()
	tests := make(map[string]bool)
	for prefix, pattern := range map[string]string{"": "*_test.go", "session: ": "session/*_test.go", "worker: ": "../worker/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(text, -1) {
				tests[prefix+string(found[1])] = true
			}
		}
	}
	for _, of := range []any{
		dispatcher.Config{}, dispatcher.Durability{}, dispatcher.Kind{}, dispatcher.NewJob{}, dispatcher.Unique{}, dispatcher.Backoff{}, session.Claimant{},
		inspect.Page{}, inspect.LaneFilter{}, inspect.AuditFilter{}, dispatcher.Actor{}, dispatcher.JobRef{}, dispatcher.DeadFilter{}, dispatcher.DeadReplay{}, session.Turn{}, session.End{},
	} {
		typ := reflect.TypeOf(of)
		fields := 0
		for i := range typ.NumField() {
			f := typ.Field(i)
			if !f.IsExported() {
				continue
			}
			fields++
			if test := shownBy[typ.Name()][f.Name]; !tests[test] {
				t.Errorf("%s.%s is to be shown by %q, which is no test", typ.Name(), f.Name, test)
			}
		}
		if rows := len(shownBy[typ.Name()]); rows != fields {
			t.Errorf("%s has %d fields and %d rows", typ.Name(), fields, rows)
		}
	}
}

// Two namespaces of one server have nothing in common.
func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		a, b := newHouse(t, rdb, dispatcher.Config{}), newHouse(t, rdb, dispatcher.Config{})
		a.enqueued("lane", "j")
		b.none("w")
		b.enqueued("lane", "j")
		a.head("w", "j", 1)
		b.head("w", "j", 1)
		if name := a.Namespace().Name; name != a.cfg.Namespace {
			t.Errorf("it is called %q", name)
		}
	})
}

// An enqueue that asks for two replicas waits for two: while one of them stands still it is not acknowledged,
// and once that goes on it is.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	master := redistest.Own(t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	redistest.Own(t, "--replicaof", host, port)
	slow := redistest.Own(t, "--replicaof", host, port)
	rdb := redistest.ClientOf(t, master)
	h := newHouse(t, rdb, dispatcher.Config{Durability: dispatcher.Durability{Replicas: 2, Within: 30 * time.Second}})
	h.enqueued("a", "j1") // once both are in step
	h.ok(slow.Signal(syscall.SIGSTOP))
	type answer struct {
		done dispatcher.EnqueueResult
		err  error
	}
	acked := make(chan answer, 1)
	go func() {
		done, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j2"})
		acked <- answer{done, err}
	}()
	redistest.Until(t, "it waits for replicas", func() bool {
		return redistest.InfoNumber(rdb.Info(bg, "clients").Val(), "blocked_clients:") == 1 || len(acked) > 0
	})
	if len(acked) > 0 {
		t.Fatalf("with one of two replicas it answers %+v", <-acked)
	}
	h.ok(slow.Signal(syscall.SIGCONT))
	if a := <-acked; a.err != nil || a.done.Acked != 2 {
		t.Errorf("with both %+v, %v", a.done, a.err)
	}
	// And it waits no longer than it is to.
	h.ok(slow.Signal(syscall.SIGSTOP))
	brief := newHouseIn(t, rdb, dispatcher.Config{Namespace: h.cfg.Namespace, Durability: dispatcher.Durability{Replicas: 2, Within: 50 * time.Millisecond}})
	begin := time.Now()
	done, err := brief.Enqueue(bg, dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j3"})
	if took := time.Since(begin); !errors.Is(err, dispatcher.ErrNotReplicated) || done.Acked != 1 || took > 20*time.Second {
		t.Errorf("after %s %+v, %v; want that one of two has it", took, done, err)
	}
	h.ok(slow.Signal(syscall.SIGCONT))
}

// A section's lease, and its ticket, last as long as is set, and renewals move them.
func TestSectionTTL(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for ttl, set := range map[time.Duration]time.Duration{30 * time.Second: 0, 7 * time.Second: 7 * time.Second} {
			h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, SectionTTL: set})
			h.ok(h.Do(bg, key("a"), 0, func(context.Context) error {
				lane, _, _, err := h.Lane(bg, key("a"), inspect.Page{})
				if got := lane.ExpiresAt.Sub(h.cfg.Now()); got != ttl || !lane.Section {
					t.Errorf("the lease lasts %s, want %s", got, ttl)
				}
				return err
			}))
			h.enqueued("b", "j")
			c := h.head("w", "j", 1)
			over := h.waiting("b", bg, nothing)
			z, err := rdb.ZRangeWithScores(bg, h.Namespace().Keys(0).Expiring(), 0, -1).Result()
			h.ok(err)
			if got := time.UnixMilli(int64(z[0].Score)).Sub(h.cfg.Now()); got != ttl {
				t.Errorf("the ticket lasts %s, want %s", got, ttl)
			}
			h.ok(h.Finish(bg, c))
			h.ok(<-over)
		}
	})
}

// What a kind declares counts for its jobs that say nothing else, and what a job says counts before it.
func TestKindRulesReachTheirJobs(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		unique := &dispatcher.Unique{Scope: dispatcher.WhileWaitingOrRunning, OnConflict: dispatcher.Reject}
		h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{
			{Name: "k", Owner: "o", MaxAttempts: 7, Timeout: time.Minute, Keep: time.Hour, Unique: unique}, {Name: "plain", Owner: "o"},
		}})
		for name, c := range map[string]struct {
			job  dispatcher.NewJob
			want string // attempts, timeout, how long it is kept
			same error  // of one with the same unique key while it runs
		}{
			"declared":   {dispatcher.NewJob{Kind: "k", Unique: &dispatcher.Unique{Key: "u"}}, "7 1m0s 1h0m0s", dispatcher.ErrTaken},
			"of its own": {dispatcher.NewJob{Kind: "k", MaxAttempts: 3, Timeout: time.Second, Keep: time.Minute, Unique: &dispatcher.Unique{Key: "u", Scope: dispatcher.WhileWaiting}}, "3 1s 1m0s", nil},
			"neither":    {dispatcher.NewJob{Kind: "plain", Unique: &dispatcher.Unique{Key: "u"}}, "25 0s 0s", nil},
		} {
			c.job.Subject, c.job.ID = key(name), name
			done := h.enqueue(c.job)
			claim := h.claimedKinds("w", 9, "k", "plain")[name]
			if got := fmt.Sprint(claim.MaxAttempts, claim.Timeout, claim.Keep); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
			c.job.ID = name + "2"
			if _, err := h.Enqueue(bg, c.job); !errors.Is(err, c.same) {
				t.Errorf("%s: the same again while it runs: %v, want %v", name, err, c.same)
			}
			h.ok(h.Finish(bg, claim))
			h.advance(claim.Keep - time.Second)
			h.reaped()
			_, err := h.Outcome(bg, done.Ref())
			h.advance(2 * time.Second)
			h.reaped()
			_, later := h.Outcome(bg, done.Ref())
			if claim.Keep > 0 && err != nil || claim.Keep == 0 && !errors.Is(err, dispatcher.ErrNotFound) || !errors.Is(later, dispatcher.ErrNotFound) {
				t.Errorf("%s: kept for %s, its outcome: %v, and later %v", name, claim.Keep, err, later)
			}
		}
	})
}

// What is declared of a kind comes back whole to whoever reads the registry.
func TestDeclarationsComeBackWhole(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		whole := dispatcher.Kind{
			Name: "k", Owner: "o", Subject: "s", Description: "what it does", MaxAttempts: 7, Timeout: time.Minute,
			Backoff: dispatcher.Backoff{Base: time.Second, Cap: time.Minute}, OnFailure: dispatcher.Skip,
			Unique: &dispatcher.Unique{Scope: dispatcher.ForWindow, Window: time.Hour, OnConflict: dispatcher.Reject},
			Keep:   time.Hour, DeadKeep: time.Hour, DeadMax: 9, Pool: "p", Limit: 3, Every: time.Second, Priority: 2, Expected: time.Minute, Loggable: []string{"a", "b"}, NoPage: true,
		}
		v := reflect.ValueOf(whole)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("this test does not set %s", v.Type().Field(i).Name)
			}
		}
		h := newHouse(t, rdb, dispatcher.Config{Kinds: []dispatcher.Kind{whole}})
		kinds, err := h.Kinds(bg)
		if err != nil || len(kinds) != 1 || !reflect.DeepEqual(kinds[0].Kind, whole) {
			t.Errorf("%+v, %v", kinds, err)
		}
		if k, ok := h.Declared("k"); !ok || !reflect.DeepEqual(k.Kind, whole) {
			t.Errorf("%+v, %t", k, ok)
		}
		shown := whole.Shown([]byte(`{"a": 1, "c": "secret"}`))
		if len(shown) != 1 || shown["a"] != "1" {
			t.Errorf("of a payload it shows %v", shown)
		}
	})
}

// A record of the registry that is not whole, or of another kind, stops whoever opens the namespace: nobody guesses
// at a declaration. Who declares the kind anew mends what it says, but takes it from no owner that can't be read.
func TestRegistryThatIsGarbled(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o"}}})
	good, err := h.rdb.HGet(bg, h.Namespace().Registry(), "k").Result()
	h.ok(err)
	version, rest, _ := strings.Cut(good, " ")
	reader := h.cfg
	reader.Kinds = nil
	for name, c := range map[string]struct {
		record string
		mends  bool
	}{
		"empty": {"", false}, "cut": {version + " o", false}, "no version": {"x " + rest, false}, "more behind": {good + "x", true},
		"no JSON": {version + " o {", true}, "of another kind": {strings.Replace(good, `"k"`, `"other"`, 1), true},
	} {
		h.ok(h.rdb.HSet(bg, h.Namespace().Registry(), "k", c.record).Err())
		if _, err := dispatcher.Open(bg, reader); !errors.Is(err, dispatcher.ErrMismatch) || !strings.Contains(err.Error(), "kind k") {
			t.Errorf("%s: %q is read with %v", name, c.record, err)
		}
		if _, err := dispatcher.Open(bg, h.cfg); (err == nil) != c.mends || err != nil && !errors.Is(err, dispatcher.ErrMismatch) {
			t.Errorf("%s: %q is declared anew with %v", name, c.record, err)
		}
		if _, err := dispatcher.Open(bg, reader); (err == nil) != c.mends {
			t.Errorf("%s: after that it is read with %v", name, err)
		}
	}
	h.ok(h.rdb.HSet(bg, h.Namespace().Registry(), "k", "x").Err())
	h.ok(h.Undeclare(bg, "k"))
	if _, err := dispatcher.Open(bg, reader); err != nil {
		t.Errorf("once it is undeclared: %v", err)
	}
}

// A kind is handled by pools of the name that it declares.
func TestKindsAreOfTheirPool(t *testing.T) {
	t.Parallel()
	h := newHouse(t, redistest.Client(t), dispatcher.Config{Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Pool: "p"}, {Name: "any", Owner: "o"}}})
	for _, c := range []struct {
		kind, pool string
		err        error
	}{
		{"k", "p", nil}, {"k", "", dispatcher.ErrInvalid}, {"k", "q", dispatcher.ErrInvalid}, {"any", "", nil}, {"any", "default", nil},
		{"any", "p", dispatcher.ErrInvalid}, {"unknown", "p", dispatcher.ErrUndeclared},
	} {
		if err := h.CheckHandled(c.kind, c.pool); !errors.Is(err, c.err) {
			t.Errorf("%s in %s: %v, want %v", c.kind, c.pool, err, c.err)
		}
	}
}

// A job falls due at the time that it names, or after the delay, to the millisecond.
func TestRunAtAndDelay(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		for name, job := range map[string]func(h *house) dispatcher.NewJob{
			"run-at": func(h *house) dispatcher.NewJob {
				return dispatcher.NewJob{RunAt: h.cfg.Now().Add(1500 * time.Millisecond)}
			},
			"delay": func(*house) dispatcher.NewJob { return dispatcher.NewJob{Delay: 1500 * time.Millisecond} },
		} {
			h := newHouse(t, rdb, dispatcher.Config{})
			j := job(h)
			j.Subject, j.Kind, j.ID = key("a"), "k", "j"
			h.enqueue(j)
			h.advance(1499 * time.Millisecond)
			if r := h.reaped(); r.Placed != 0 || r.Next != time.Millisecond {
				t.Errorf("%s: a ms before %+v", name, r)
			}
			h.advance(time.Millisecond)
			if r := h.reaped(); r.Placed != 1 {
				t.Errorf("%s: at its time %+v", name, r)
			}
			h.head("w", "j", 1)
			past := job(h)
			past.RunAt, past.Delay = h.cfg.Now(), 0
			past.Subject, past.Kind, past.ID = key("b"), "k", "now"
			if done := h.enqueue(past); done.Seq == 0 {
				t.Error("a job whose time is now is scheduled")
			}
		}
	})
}

// A claim is in the name of its holder, for as long as that asked, and in the partition that was asked.
func TestClaimantIsWhatItSays(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 3})
		h.batches(20, eachItsLane)
		who := session.Claimant{Holder: "some body", Kinds: []string{"k"}, TTL: 1234 * time.Millisecond}
		for p := range 3 {
			got := turns(bg, h.Dispatcher, &who, []session.Turn{{Partition: p, Claim: true, Want: 1}})[0]
			h.ok(got.Err)
			c := got.Claims[0]
			lane, _, _, err := h.Lane(bg, c.Subject, inspect.Page{})
			h.ok(err)
			if h.Namespace().Partition(c.Subject) != p || lane.Holder != "some body" || lane.Token != c.Lease.Token ||
				lane.ExpiresAt.Sub(h.cfg.Now()) != who.TTL || c.Lease.TTL != who.TTL || c.Lease.Holder != "some body" {
				t.Errorf("in partition %d it has %+v of %+v", p, c.Lease, lane)
			}
		}
	})
}

// Who has no room for what a limit offers gives it up: the next in line has it at once.
func TestOfferThatIsRefused(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 1, Kinds: []dispatcher.Kind{{Name: "k", Owner: "o", Limit: 1}}})
		has, full, next := h.member("has", "", "k"), h.member("full", "", "k"), h.member("next", "", "k")
		h.enqueued("a", "j1")
		claims, _ := has.turn(1)
		h.enqueued("b", "j2")
		full.turn(1)
		next.turn(1)
		has.turn(0, done(claims[0])) // offers it to who is full
		if got, _ := next.turn(1); len(got) != 0 {
			t.Fatalf("an offer went to who is not first: %v", got)
		}
		full.s.Turns(bg, []session.Turn{{Claim: true, Refuse: true}})
		if got, _ := next.turn(1); len(got) != 1 {
			t.Error("what was refused is not to be had")
		}
	})
}

// What an end says is kept: how long to wait, why, what went wrong, what was left; of long texts the end.
func TestEndsSayWhatTheySay(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		long := strings.Repeat("x", 4096)
		for text, want := range map[string]string{"boom": "boom", long: long, "first " + long: "… " + long, "bad \xff": "bad \uFFFD"} {
			h := newHouse(t, rdb, dispatcher.Config{})
			h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "j", Keep: time.Hour})
			_, err := h.Retry(bg, h.head("w", "j", 1), 1500*time.Millisecond, text)
			h.ok(err)
			job, err := h.Job(bg, ref("j"))
			h.ok(err)
			if wait := job.RunAt.Sub(h.cfg.Now()); wait != 1500*time.Millisecond || job.Error != want {
				t.Errorf("after a retry it waits %s for %.20q", wait, job.Error)
			}
			h.advance(2 * time.Second)
			h.reaped()
			h.ok(h.DeadLetter(bg, h.head("w", "j", 2), "two\nlines", text))
			job, err = h.Job(bg, ref("j"))
			if err != nil || job.Reason != "two lines" || job.Error != want || job.Attempt != 2 {
				t.Errorf("as a dead letter it has %q and %.20q, %v", job.Reason, job.Error, err)
			}
			h.replays("j", false)
			h.ok(finishWith(bg, h.Dispatcher, h.head("w", "j", 1), []byte(text)))
			if o, err := h.Outcome(bg, ref("j")); err != nil || string(o.Result) != text || o.State != dispatcher.JobFinished {
				t.Errorf("its outcome: %.20q, %v", o.Result, err)
			}
		}
	})
}

// Each field is taken up to its bound, and refused one over; and so below the least.
func TestFieldsAtTheirBounds(t *testing.T) {
	t.Parallel()
	const century = 100 * 365 * 24 * time.Hour
	_, rdb := redistest.Mini(t)
	h := newHouse(t, rdb, dispatcher.Config{MaxPayload: 10})
	job := func(change func(j *dispatcher.NewJob)) error {
		j := dispatcher.NewJob{Subject: key("a"), Kind: "k"}
		change(&j)
		return h.Check(j)
	}
	kind := func(change func(k *dispatcher.Kind)) error {
		k := dispatcher.Kind{Name: "k", Owner: "o"}
		change(&k)
		cfg := dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb), Kinds: []dispatcher.Kind{k}}
		_, err := dispatcher.Open(bg, cfg)
		return err
	}
	claimant := func(change func(c *session.Claimant)) error {
		c := worker
		change(&c)
		_, err := h.Claim(bg, c, 1)
		return err
	}
	config := func(change func(c *dispatcher.Config)) error {
		c := dispatcher.Config{Redis: rdb, Namespace: redistest.Namespace(t, rdb)}
		change(&c)
		_, err := dispatcher.Open(bg, c)
		return err
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	day := 24 * time.Hour
	type spans = map[time.Duration]bool
	type numbers = map[int]bool
	for name, c := range map[string]struct {
		numbers numbers
		spans   spans
		set     func(n int, d time.Duration) error
	}{
		"payload": {numbers{0: true, 10: true, 11: false}, nil, func(n int, _ time.Duration) error {
			return job(func(j *dispatcher.NewJob) { j.Payload = make([]byte, n) })
		}},
		"id":   {numbers{128: true, 129: false}, nil, func(n int, _ time.Duration) error { return job(func(j *dispatcher.NewJob) { j.ID = x(n) }) }},
		"kind": {numbers{0: false, 1: true, 64: true, 65: false}, nil, func(n int, _ time.Duration) error { return job(func(j *dispatcher.NewJob) { j.Kind = x(n) }) }},
		"headers": {numbers{0: true, 4095: true, 4096: false}, nil, func(n int, _ time.Duration) error {
			return job(func(j *dispatcher.NewJob) { j.Headers = map[string]string{"k": x(n)} })
		}},
		"two headers": {numbers{2047: true, 2048: false}, nil, func(n int, _ time.Duration) error {
			return job(func(j *dispatcher.NewJob) { j.Headers = map[string]string{"a": x(n), "b": x(2047)} })
		}},
		"attempts": {numbers{-1: false, 0: true, 1: true, 1<<31 - 1: true, 1 << 31: false}, nil,
			func(n int, _ time.Duration) error { return job(func(j *dispatcher.NewJob) { j.MaxAttempts = n }) }},
		"timeout": {nil, spans{-1: false, 0: true, time.Millisecond - 1: false, time.Millisecond: true, century: true, century + 1: false},
			func(_ int, d time.Duration) error { return job(func(j *dispatcher.NewJob) { j.Timeout = d }) }},
		"delay": {nil, spans{-1: false, 0: true, 1: true, century: true, century + 1: false},
			func(_ int, d time.Duration) error { return job(func(j *dispatcher.NewJob) { j.Delay = d }) }},
		"keep": {nil, spans{-1: false, 0: true, time.Millisecond - 1: false, time.Millisecond: true, 30 * day: true, 30*day + 1: false},
			func(_ int, d time.Duration) error { return job(func(j *dispatcher.NewJob) { j.Keep = d }) }},
		"year of run-at": {numbers{1969: false, 1970: true, 9999: true, 10000: false}, nil,
			func(n int, _ time.Duration) error {
				return job(func(j *dispatcher.NewJob) { j.RunAt = time.Date(n, 6, 1, 0, 0, 0, 0, time.UTC) })
			}},
		"unique key": {numbers{0: true, 256: true, 257: false}, nil, func(n int, _ time.Duration) error {
			return job(func(j *dispatcher.NewJob) { j.Unique = &dispatcher.Unique{Key: x(n)} })
		}},
		"window": {nil, spans{-1: false, 0: false, time.Millisecond - 1: false, time.Millisecond: true, century: true, century + 1: false},
			func(_ int, d time.Duration) error {
				return job(func(j *dispatcher.NewJob) { j.Unique = &dispatcher.Unique{Scope: dispatcher.ForWindow, Window: d} })
			}},
		"window of another scope": {nil, spans{0: true, time.Second: false}, func(_ int, d time.Duration) error {
			return job(func(j *dispatcher.NewJob) { j.Unique = &dispatcher.Unique{Scope: dispatcher.WhileWaiting, Window: d} })
		}},

		"kind's attempts": {numbers{-1: false, 0: true, 1<<31 - 1: true, 1 << 31: false}, nil, func(n int, _ time.Duration) error { return kind(func(k *dispatcher.Kind) { k.MaxAttempts = n }) }},
		"kind's timeout": {nil, spans{-1: false, 0: true, time.Millisecond - 1: false, time.Millisecond: true, century: true, century + 1: false},
			func(_ int, d time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Timeout = d }) }},
		"kind's keep": {nil, spans{-1: false, 0: true, time.Millisecond - 1: false, time.Millisecond: true, 30 * day: true, 30*day + 1: false},
			func(_ int, d time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Keep = d }) }},
		"kind's limit":    {numbers{-1: false, 0: true, 1000: true, 1001: false}, nil, func(n int, _ time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Limit = n }) }},
		"kind's priority": {numbers{-1: false, 0: true, 9: true, 10: false}, nil, func(n int, _ time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Priority = n }) }},
		"kind's every": {nil, spans{-1: false, 0: true, time.Millisecond - 1: false, time.Millisecond: true, century: true, century + 1: false},
			func(_ int, d time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Every = d }) }},
		"kind's expected": {nil, spans{-1: false, 0: true, century: true, century + 1: false}, func(_ int, d time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Expected = d }) }},
		"kind's backoff": {nil, spans{-1: false, 0: true, time.Second: true, time.Second + 1: false},
			func(_ int, d time.Duration) error {
				return kind(func(k *dispatcher.Kind) { k.Backoff = dispatcher.Backoff{Base: d, Cap: time.Second} })
			}},
		"kind's cap": {nil, spans{century: true, century + 1: false}, func(_ int, d time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Backoff.Cap = d }) }},
		"owner":      {numbers{0: false, 1: true, 64: true, 65: false}, nil, func(n int, _ time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Owner = x(n) }) }},
		"pool":       {numbers{0: true, 64: true, 65: false}, nil, func(n int, _ time.Duration) error { return kind(func(k *dispatcher.Kind) { k.Pool = x(n) }) }},

		"TTL": {nil, spans{0: false, time.Millisecond - 1: false, time.Millisecond: true, century: true, century + 1: false},
			func(_ int, d time.Duration) error { return claimant(func(c *session.Claimant) { c.TTL = d }) }},
		"holder": {numbers{0: false, 1: true}, nil, func(n int, _ time.Duration) error { return claimant(func(c *session.Claimant) { c.Holder = x(n) }) }},
		"lane batch": {numbers{0: false, 1: true, 250: true, 251: false}, nil, func(n int, _ time.Duration) error {
			return claimant(func(c *session.Claimant) { c.LaneBatch = map[string]int{"k": n} })
		}},

		"partitions":  {numbers{-1: false, 0: true, subject.MaxPartitions + 1: false}, nil, func(n int, _ time.Duration) error { return config(func(c *dispatcher.Config) { c.Partitions = n }) }},
		"max payload": {numbers{-1: false, 0: true}, nil, func(n int, _ time.Duration) error { return config(func(c *dispatcher.Config) { c.MaxPayload = n }) }},
		"max lane":    {numbers{-1: false, 0: true}, nil, func(n int, _ time.Duration) error { return config(func(c *dispatcher.Config) { c.MaxLane = n }) }},
		"max backlog": {numbers{-1: false, 0: true}, nil, func(n int, _ time.Duration) error { return config(func(c *dispatcher.Config) { c.MaxBacklog = n }) }},
		"section TTL": {nil, spans{0: true, 100*time.Millisecond - 1: false, 100 * time.Millisecond: true, day: true, day + 1: false},
			func(_ int, d time.Duration) error { return config(func(c *dispatcher.Config) { c.SectionTTL = d }) }},
		"replicas": {numbers{-1: false, 0: true, 2: true}, nil, func(n int, _ time.Duration) error {
			return config(func(c *dispatcher.Config) { c.Durability.Replicas = n })
		}},
		"within": {nil, spans{-1: false, 0: true, time.Millisecond - 1: false, time.Millisecond: true, time.Minute: true, time.Minute + 1: false},
			func(_ int, d time.Duration) error {
				return config(func(c *dispatcher.Config) { c.Durability.Within = d })
			}},
		"limit of a pool": {numbers{0: false, 1: true, 1000: true, 1001: false}, nil, func(n int, _ time.Duration) error {
			return config(func(c *dispatcher.Config) { c.PoolLimits = map[string]int{"p": n} })
		}},
	} {
		for n, good := range c.numbers {
			if err := c.set(n, 0); (err == nil) != good {
				t.Errorf("%s of %d: %v", name, n, err)
			}
		}
		for d, good := range c.spans {
			if err := c.set(0, d); (err == nil) != good {
				t.Errorf("%s of %s: %v", name, d, err)
			}
		}
	}
}

// A batch has its bounds in number and in bytes: filled it is taken, one over it is not.
func TestBatchesAtTheirBounds(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t) // miniredis takes its time with so many bytes
	for name, c := range map[string]struct {
		cfg   dispatcher.Config
		sizes []int
		err   error
	}{
		"250 jobs":                     {dispatcher.Config{}, make([]int, 250), nil},
		"251 jobs":                     {dispatcher.Config{}, make([]int, 251), dispatcher.ErrTooLarge},
		"2 MiB":                        {dispatcher.Config{}, []int{1 << 20, 1 << 20}, nil},
		"a byte more":                  {dispatcher.Config{}, []int{1 << 20, 1 << 20, 1}, dispatcher.ErrTooLarge},
		"one payload's worth":          {dispatcher.Config{MaxPayload: 3 << 20}, []int{2 << 20, 1 << 20}, nil},
		"a byte more than one payload": {dispatcher.Config{MaxPayload: 3 << 20}, []int{2 << 20, 1 << 20, 1}, dispatcher.ErrTooLarge},
		"one of 17 MiB":                {dispatcher.Config{MaxPayload: 17 << 20}, []int{17 << 20}, nil},
	} {
		h := newHouse(t, rdb, c.cfg)
		jobs := make([]dispatcher.NewJob, len(c.sizes))
		for i, n := range c.sizes {
			jobs[i] = dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: fmt.Sprint(i), Payload: slices.Repeat([]byte("x"), n)}
		}
		if _, err := h.EnqueueMany(bg, jobs); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		if len(jobs) > 1 || c.err != nil {
			continue
		}
		h.enqueue(dispatcher.NewJob{Subject: key("b"), Kind: "k", ID: "alone", Payload: jobs[0].Payload})
		got := h.claimed("w", 2)
		if len(got) < 2 { // of so many bytes each goes by itself
			got[""] = one(h.claimed("w", 2))
		}
		for _, c := range got {
			if len(c.Payload) != len(jobs[0].Payload) {
				t.Errorf("%s: %s has %d bytes", name, c.ID, len(c.Payload))
			}
		}
	}
}
