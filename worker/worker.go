package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// ErrStopped is the cause of a handler's context when the pool stops and the
// handler's time to finish is over.
var ErrStopped = errors.New("worker: pool stopped")

// Config says how a pool works. The zero value runs.
type Config struct {
	// Name is the name of the pool: it runs the kinds that are declared for it, and is under
	// the limit of all pools of that name. Defaults to dispatcher.DefaultPool.
	Name string

	// Concurrency is the most handlers that run at once. Defaults to ten for
	// each CPU.
	Concurrency int

	// LeaseTTL is how long a subject stays closed after its worker died. Live
	// workers renew at a third of it. Workers of one namespace should agree on
	// it. Defaults to 30 s, must be at least 100 ms.
	LeaseTTL time.Duration

	// CancelGrace is the time a handler has to return once its context was
	// cancelled, before its lease can pass to another and before the pool gives
	// it up. Defaults to LeaseTTL/5, must be under LeaseTTL/2.
	CancelGrace time.Duration

	// Timeout bounds one attempt of a job that has no timeout of its own.
	// Defaults to one hour.
	Timeout time.Duration

	// StopTimeout is how long handlers may go on when the pool is told to stop,
	// before they are cancelled and their jobs handed back. Defaults to 20 s.
	StopTimeout time.Duration

	// LaneBatch is, for a kind, how many jobs of one lane a claim may take, the head included,
	// under one lease, at most 250. They run one after the other, each is finished
	// by itself, and Redis is told of several together: a crash repeats those that
	// had run and were not reported yet, and costs each job of the batch that was
	// not reported an attempt. Of a kind that is not in it a claim takes one job, and as long as no
	// other lane waits the pool has as many more in hand as it can't wait for: see
	// docs/features/batches.md, also for which kinds that is. 1 is strictly job by job.
	LaneBatch map[string]int

	// Backoff is the wait after failed attempts. Defaults to
	// [dispatcher.DefaultBackoff].
	Backoff dispatcher.Backoff

	// Blame makes a worker claim no more of a kind, and say so, when five different jobs of it have
	// failed in a row here while others finished such, with the attempts given back; after a minute
	// it tries one lane. The last worker of a kind is never blamed. And it makes a job that fails
	// on three different workers a dead letter (L8).
	Blame bool

	// Logger defaults to slog.Default(). A goroutine of its own calls it, and no job waits for one
	// that blocks or panics: lines are missing then.
	Logger *slog.Logger
}

// withDefaults fills in what is zero. It copies the map, which HandleBatch adds to: the caller may
// make several pools of one Config.
func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, dispatcher.DefaultPool)
	c.Concurrency = cmp.Or(c.Concurrency, 10*runtime.GOMAXPROCS(0))
	c.LeaseTTL = cmp.Or(c.LeaseTTL, 30*time.Second)
	c.CancelGrace = cmp.Or(c.CancelGrace, c.LeaseTTL/5)
	c.Timeout = cmp.Or(c.Timeout, time.Hour)
	c.StopTimeout = cmp.Or(c.StopTimeout, 20*time.Second)
	c.Backoff = cmp.Or(c.Backoff, dispatcher.DefaultBackoff)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	c.LaneBatch = maps.Clone(c.LaneBatch)
	return c
}

// century bounds durations, because Redis counts in milliseconds and Go in nanoseconds: within it
// no sum of two overflows.
const century = 100 * 365 * 24 * time.Hour

// validate returns an error that names the first field that breaks its rule, and the rule.
func (c Config) validate() error {
	rule := func(field string, value any, rule string) error {
		return fmt.Errorf("worker: Config.%s (%v) %s", field, value, rule)
	}
	switch {
	case c.Concurrency < 1 || c.Concurrency > 10_000:
		return rule("Concurrency", c.Concurrency, "must be 1 to 10000")
	case c.LeaseTTL < 100*time.Millisecond || c.LeaseTTL > 24*time.Hour:
		return rule("LeaseTTL", c.LeaseTTL, "must be 100ms to 24h")
	case c.CancelGrace < 0 || c.CancelGrace >= c.LeaseTTL/2:
		return rule("CancelGrace", c.CancelGrace, fmt.Sprintf("must be under LeaseTTL/2 (%s)", c.LeaseTTL/2))
	case c.Timeout < time.Millisecond || c.Timeout > century:
		return rule("Timeout", c.Timeout, "must be 1ms to 100 years")
	case c.StopTimeout < 0 || c.StopTimeout > century:
		return rule("StopTimeout", c.StopTimeout, "must be 0s to 100 years")
	case c.Backoff.Base < 0 || c.Backoff.Cap < c.Backoff.Base || c.Backoff.Cap > century:
		return rule("Backoff", c.Backoff, "must have 0s <= Base <= Cap <= 100 years")
	}
	for kind, n := range c.LaneBatch {
		if n < 1 || n > session.MaxLaneBatch {
			return rule("LaneBatch["+kind+"]", n, fmt.Sprintf("must be 1 to %d", session.MaxLaneBatch))
		}
	}
	return nil
}

// source is what a pool needs of a session; *session.Session is one, and tests have another that
// needs no Redis.
type source interface {
	// Trips: partitions are numbered from 0, and a turn is of one of them.
	Partitions() int
	Turns(ctx context.Context, turns []session.Turn) []session.TurnReply

	// Hints: each place blocks on a server of its own, so there is one place on one server.
	Waits() int
	Wait(ctx context.Context, place int) (hint session.Hint, ok bool, err error)

	// Leases: the keeper renews them, and looks at them when an operator may have asked for
	// something.
	lease.Renewer
	Asked() <-chan struct{}

	// Limits: a signal that they give more, and the partitions to which they do.
	Slots() <-chan struct{}
	Offered() []int

	// Holds: a signal that what operators hold has changed, and whether a claim that has not begun is held.
	Held() <-chan struct{}
	Bars(c *session.Claim) bool

	// Presence: that the worker is alive, what it has measured, what it has removed, and what it is to blame for.
	Beat(ctx context.Context) error
	Record(ctx context.Context, t *session.Tally) error
	Watched() map[subject.Key]bool // whose attempts are all measured
	Finished(ctx context.Context, kind string) (int64, error)
	Prune(ctx context.Context) (map[string]int, error)
	Blame(ctx context.Context, kind, why string, failed []*session.Claim) (bool, error)
	Absolve(kind string, probe bool)
	Close(ctx context.Context) error
}

// Pool runs the handlers of the kinds that it was given. Add handlers and
// middleware before Run; a pool runs once.
type Pool struct {
	cfg Config

	// What New takes from the dispatcher. Tests of a pool by itself leave it out.
	namespace func() string
	check     func(kind, pool string) error // whether the pool may handle a kind
	declared  func(kind string) (dispatcher.DeclaredKind, bool)
	join      func(ctx context.Context, who session.Claimant, concurrency int) (source, error)

	// Set before Run, and only read from then on: no lock is needed for them.
	handlers   map[string]handling
	middleware []Middleware

	started atomic.Bool
	counts  counters

	// Set by Run, before it starts anything that reads them.
	log    *scribe
	debug  bool // whether it says anything of single attempts
	outage *outage
	source source
	keeper *lease.Keeper
	watch  watch
	desk   *desk
	life   context.Context // parent of the handlers' contexts; never cancelled while they run
	lanes  chan queued     // to goroutines that rest
	cut    atomic.Int64    // handlers that stopped because the pool did, handed back
	left   atomic.Int64    // handlers that did not, and still run

	rules     map[string]dispatcher.Kind // declared of the pool's kinds
	rolls     map[string]bool            // kinds of which places may have several jobs of a lane in hand
	fixedHand int                        // in tests: that many of each, and for as long as a lease lasts
	exact     bool                       // nothing is claimed by what was measured, and no hints are taken: see RunReady

	conducts conducts // how the pool fares with its kinds, where blame is on

	tallying sync.Mutex
	tally    session.Tally // durations that Redis was not told of yet

	cutting atomic.Bool // the pool has cancelled its handlers
}

// New returns a pool that takes its jobs from d.
func New(d *dispatcher.Dispatcher, cfg Config) (*Pool, error) {
	p, err := newPool(cfg, func(ctx context.Context, who session.Claimant, n int) (source, error) {
		return session.Join(ctx, d, who, n)
	})
	if err == nil {
		p.check, p.declared = d.CheckHandled, d.Declared
		p.namespace = func() string { return d.Namespace().Name }
	}
	return p, err
}

// newPool makes a pool whose session comes from join: the way in for tests without a Redis.
func newPool(cfg Config, join func(context.Context, session.Claimant, int) (source, error)) (*Pool, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Pool{
		cfg: cfg, join: join, handlers: make(map[string]handling), rules: make(map[string]dispatcher.Kind), rolls: make(map[string]bool),
		check:     func(string, string) error { return nil },
		namespace: func() string { return "" },
		declared:  func(string) (dispatcher.DeclaredKind, bool) { return dispatcher.DeclaredKind{}, false },
	}, nil
}

// Counts are what a pool has done since it started. They are of attempts: a job that is tried three
// times is started three times, a batch is started once, and each of its jobs counts when it ends.
type Counts struct {
	Started    int64 `json:"started"` // attempts
	Finished   int64 `json:"finished"`
	Retried    int64 `json:"retried"`
	Dead       int64 `json:"dead"`
	Buried     int64 `json:"buried"`      // of lost workers: jobs whose last attempt that was, dead letters now; not in Dead
	Cancelled  int64 `json:"cancelled"`   // by an operator
	HandedBack int64 `json:"handed_back"` // at a stop, or claimed ahead for handlers that were slow
	Lost       int64 `json:"lost"`        // leases lost, or ends refused for a superseded token
	Abandoned  int64 `json:"abandoned"`   // handlers that did not return when cancelled
}

// Add adds what another pool has done.
func (c *Counts) Add(o Counts) {
	c.Started += o.Started
	c.Finished += o.Finished
	c.Retried += o.Retried
	c.Dead += o.Dead
	c.Buried += o.Buried
	c.Cancelled += o.Cancelled
	c.HandedBack += o.HandedBack
	c.Lost += o.Lost
	c.Abandoned += o.Abandoned
}

// counters are Counts while they still change: every handler and every traveller adds to them.
type counters struct {
	started, finished, retried, dead, buried, cancelled, handedBack, lost, abandoned atomic.Int64
}

// Counts returns what the pool has done so far.
func (p *Pool) Counts() Counts {
	c := &p.counts
	return Counts{
		Started: c.started.Load(), Finished: c.finished.Load(), Retried: c.retried.Load(),
		Dead: c.dead.Load(), Buried: c.buried.Load(), Cancelled: c.cancelled.Load(), HandedBack: c.handedBack.Load(), Lost: c.lost.Load(),
		Abandoned: c.abandoned.Load(),
	}
}

// add adds what a pool has done that stands for this one.
func (c *counters) add(o Counts) {
	c.started.Add(o.Started)
	c.finished.Add(o.Finished)
	c.retried.Add(o.Retried)
	c.dead.Add(o.Dead)
	c.buried.Add(o.Buried)
	c.cancelled.Add(o.Cancelled)
	c.handedBack.Add(o.HandedBack)
	c.lost.Add(o.Lost)
	c.abandoned.Add(o.Abandoned)
}

// CancelGrace returns the time that handlers have to return once cancelled.
func (p *Pool) CancelGrace() time.Duration { return p.cfg.CancelGrace }
