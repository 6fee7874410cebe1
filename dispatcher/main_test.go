package dispatcher_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/doctor"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

func TestMain(m *testing.M) {
	if redistest.Race {
		_ = flag.Set("rapid.checks", "15") // of 100, unless the command line says otherwise
	}
	redistest.Main(m)
}

// house is a dispatcher in a namespace of its own, with a clock that the test
// moves, and the verbs of a test's story.
type house struct {
	*dispatcher.Dispatcher
	*inspect.Inspector
	t   *testing.T
	rdb *redis.Client
	cfg dispatcher.Config
	ms  atomic.Int64
}

func newHouse(t *testing.T, rdb *redis.Client, cfg dispatcher.Config) *house {
	t.Helper()
	h := &house{t: t, rdb: rdb}
	h.ms.Store(1_000_000)
	cfg.Partitions = cmp.Or(cfg.Partitions, 4) // so that what is asked of all of them is asked of several
	cfg.Namespace = redistest.Namespace(t, rdb)
	cfg.Now = func() time.Time { return time.UnixMilli(h.ms.Load()) }
	return h.open(rdb, cfg)
}

// newHouseIn returns a house in a namespace that is there, on another client.
func newHouseIn(t *testing.T, rdb *redis.Client, cfg dispatcher.Config) *house {
	t.Helper()
	return (&house{t: t, rdb: rdb}).open(rdb, cfg)
}

func (h *house) open(rdb *redis.Client, cfg dispatcher.Config) *house {
	t := h.t
	t.Helper()
	cfg.Redis = rdb
	d, err := dispatcher.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Dispatcher, h.Inspector, h.cfg = d, inspect.New(d), cfg
	return h
}

// What pools and operators do.
func (h *house) Join(ctx context.Context, who session.Claimant, concurrency int) (*session.Session, error) {
	return session.Join(ctx, h.Dispatcher, who, concurrency)
}

func (h *house) Reap(ctx context.Context) (session.ReapReply, error) {
	return session.Reap(ctx, h.Dispatcher)
}

// Lane is the Inspector's, in parts.
func (h *house) Lane(ctx context.Context, key subject.Key, page inspect.Page) (inspect.Lane, []inspect.JobInfo, string, error) {
	l, err := h.Inspector.Lane(ctx, key, page)
	return l.Lane, l.Jobs, l.Next, err
}

func (h *house) Workers(ctx context.Context) ([]session.Worker, error) {
	return session.Workers(ctx, h.Dispatcher)
}

func (h *house) Doctor(ctx context.Context, progress func(int)) ([]doctor.Finding, error) {
	return doctor.New(h.Dispatcher).Examine(ctx, progress)
}

func (h *house) Repair(ctx context.Context, progress func(int)) ([]doctor.Repair, error) {
	return doctor.New(h.Dispatcher).Repair(ctx, progress)
}

// claimFor takes the heads of up to n ready lanes, from whichever partition.
func claimFor(ctx context.Context, d *dispatcher.Dispatcher, who session.Claimant, n int) (claims []session.Claim, err error) {
	s, err := session.Bare(ctx, d, who)
	if err != nil {
		return nil, err
	}
	for p := 0; p < d.Namespace().Partitions && len(claims) < n && err == nil; p++ {
		got := s.Turns(ctx, []session.Turn{{Partition: p, Claim: true, Want: n - len(claims)}})[0]
		claims, err = append(claims, got.Claims...), got.Err
	}
	return claims, err
}

// endOne reports one end on its own.
func endOne(ctx context.Context, d *dispatcher.Dispatcher, e session.End) (session.EndReply, error) {
	got := turns(ctx, d, &session.Claimant{Holder: e.Claim.Lease.Holder, TTL: time.Second}, []session.Turn{
		{Partition: d.Namespace().Partition(e.Claim.Subject), Ends: []session.End{e}},
	})[0].Ended[0]
	return got, got.Err
}

// finishWith is Finish of a handler that leaves a result.
func finishWith(ctx context.Context, d *dispatcher.Dispatcher, c session.Claim, result []byte) error {
	_, err := endOne(ctx, d, session.End{Claim: &c, Outcome: session.Finished, Result: result})
	return err
}

// turns makes turns in a session of the moment.
func turns(ctx context.Context, d *dispatcher.Dispatcher, who *session.Claimant, turns []session.Turn) []session.TurnReply {
	one := *who
	one.Holder, one.TTL = cmp.Or(one.Holder, "nobody"), cmp.Or(one.TTL, time.Second)
	s, err := session.Bare(ctx, d, one)
	if err != nil {
		panic(err)
	}
	return s.Turns(ctx, turns)
}

// writeLimit writes the limit of a kind as a declaration of some version does.
func writeLimit(ctx context.Context, d *dispatcher.Dispatcher, kind string, most, version int) error {
	return d.Engine().WriteLimits(ctx, map[string]record.Limit{"kind/" + kind: {Most: most, Version: version}})
}

// refund gives the last attempt of a job back that failed on a holder, as a session does that is to blame.
func refund(ctx context.Context, d *dispatcher.Dispatcher, holder string, job dispatcher.Job) error {
	dead, err := d.Engine().Refund(ctx, holder, job.Subject, job.ID)
	if err == nil && dead {
		_, err = d.Replay(ctx, job.Ref(), true)
	}
	return err
}

// Claim and the ways out of a claim, each by itself, in a session of the moment.
func (h *house) Claim(ctx context.Context, who session.Claimant, n int) ([]session.Claim, error) {
	return claimFor(ctx, h.Dispatcher, who, n)
}

func (h *house) Finish(ctx context.Context, c session.Claim) error {
	_, err := endOne(ctx, h.Dispatcher, session.End{Claim: &c, Outcome: session.Finished})
	return err
}

func (h *house) Retry(ctx context.Context, c session.Claim, wait time.Duration, why string) (dead bool, err error) {
	ended, err := endOne(ctx, h.Dispatcher, session.End{Claim: &c, Outcome: session.Retry, Wait: wait, Error: why})
	return ended.Dead, err
}

func (h *house) DeadLetter(ctx context.Context, c session.Claim, reason, why string) error {
	_, err := endOne(ctx, h.Dispatcher, session.End{Claim: &c, Outcome: session.DeadLettered, Reason: reason, Error: why})
	return err
}

func (h *house) HandBack(ctx context.Context, c session.Claim) error {
	_, err := endOne(ctx, h.Dispatcher, session.End{Claim: &c, Outcome: session.HandedBack})
	return err
}

func (h *house) advance(d time.Duration) { h.ms.Add(d.Milliseconds()) }

// enqueued enqueues jobs with the given ids in a lane.
func (h *house) enqueued(lane string, ids ...string) {
	h.t.Helper()
	for _, id := range ids {
		h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: "k", ID: id, MaxAttempts: 3})
	}
}

func (h *house) enqueue(job dispatcher.NewJob) dispatcher.EnqueueResult {
	h.t.Helper()
	done, err := h.Enqueue(context.Background(), job)
	if err != nil {
		h.t.Fatalf("enqueue %+v: %v", job, err)
	}
	return done
}

// claimed claims up to n lanes for a holder and returns the claims by subject.
func (h *house) claimed(holder string, n int) map[string]session.Claim {
	h.t.Helper()
	return h.claimedKinds(holder, n, "k")
}

func (h *house) claimedKinds(holder string, n int, kinds ...string) map[string]session.Claim {
	h.t.Helper()
	who := session.Claimant{Holder: holder, Kinds: kinds, TTL: 10 * time.Second}
	claims, err := h.Claim(context.Background(), who, n)
	if err != nil {
		h.t.Fatalf("claim: %v", err)
	}
	got := make(map[string]session.Claim)
	for _, c := range claims {
		if _, twice := got[c.Subject.ID]; twice {
			h.t.Fatalf("subject %s claimed twice in one call", c.Subject)
		}
		got[c.Subject.ID] = c
	}
	return got
}

// head claims one lane, which must be the only ready one.
func (h *house) head(holder, wantID string, wantAttempt int) session.Claim {
	h.t.Helper()
	claims := h.claimed(holder, 10)
	if len(claims) != 1 {
		h.t.Fatalf("claimed %d lanes, want the one of %s", len(claims), wantID)
	}
	for _, c := range claims {
		if c.ID != wantID || c.Attempt != wantAttempt {
			h.t.Fatalf("claimed %s attempt %d, want %s attempt %d", c.ID, c.Attempt, wantID, wantAttempt)
		}
		return c
	}
	panic("unreachable")
}

func (h *house) none(holder string) {
	h.t.Helper()
	if claims := h.claimed(holder, 10); len(claims) != 0 {
		h.t.Fatalf("claimed %v, want nothing", claims)
	}
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) reaped() session.ReapReply {
	h.t.Helper()
	r, err := h.Reap(context.Background())
	h.ok(err)
	return r
}

// ref is a job of whatever subject.
func ref(id string) dispatcher.JobRef { return dispatcher.JobRef{ID: id} }

// aWhile is how long who gives up waits: long enough that a slow machine answers within it.
const aWhile = time.Second

func key(id string) subject.Key { return subject.Key{Kind: "s", ID: id} }

// clean fails when lanes and indexes disagree.
func (h *house) clean() {
	h.t.Helper()
	for _, f := range h.findings() {
		h.t.Errorf("doctor: %s %s: %s", f.What, f.Where, f.Detail)
	}
}

// findings are what the doctor calls wrong.
func (h *house) findings() []doctor.Finding {
	h.t.Helper()
	all, err := h.Doctor(context.Background(), nil)
	h.ok(err)
	var wrong []doctor.Finding
	for _, f := range all {
		if f.Severity == doctor.Wrong {
			wrong = append(wrong, f)
		}
	}
	return wrong
}

// empty fails unless no job, lane or lease is left, nor any key but those that a
// namespace keeps for good.
func (h *house) empty() {
	h.t.Helper()
	s, err := h.Stats(context.Background())
	h.ok(err)
	if s.Jobs+s.Lanes+s.Leased+s.Slots+s.Delayed+s.Ready != 0 {
		h.t.Errorf("not empty: %+v", s)
	}
	for _, line := range strings.Split(dump(h.t, h.rdb, h.cfg.Namespace), "\n") {
		kept := strings.Contains(line, "}:meta") || strings.Contains(line, "}:clock") || strings.Contains(line, "}:kinds") ||
			strings.Contains(line, "}:registry") || strings.Contains(line, "}:versions") || strings.Contains(line, "}:limits") || strings.Contains(line, "}:audit")
		if onlyFiller := fmt.Sprintf("%q", fmt.Sprint(map[string]string{record.Filler: ""})); strings.HasSuffix(line, `}:leases" `+onlyFiller) || strings.HasSuffix(line, `}:heads" `+onlyFiller) {
			kept = true
		}
		if onlyFiller := fmt.Sprintf("%q", "[{+Inf "+record.Filler+"}]"); strings.HasSuffix(line, `}:deadlines" `+onlyFiller) {
			kept = true
		}
		if !kept {
			h.t.Errorf("left behind: %s", line)
		}
	}
}
