package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// fake is a Source of one partition without a Redis: a queue of jobs, each of a
// subject of its own, and a record of the ends that were reported.
type fake struct {
	mu     sync.Mutex
	queue  []session.Claim
	ends   map[string]session.End
	most   int // largest Want of a turn
	turns  int // trips
	asked  int // turns that claimed
	down   error
	cut    chan struct{} // closed when Redis goes away, where waits are to fail with it
	broken bool          // the last wait has failed
	frozen chan struct{} // turns that begin while it is there wait until it is closed
	renew  error
	signed error // what signing off and recording answer
	hints  chan session.Hint
	closed bool
	slow   time.Duration // how long a turn takes
	kinds  []string
	lost   map[string]bool // ends of these jobs are answered ErrLost
	order  []string        // jobs in the order in which their ends came
	lanes  int             // added by addLane

	rest map[subject.Key][]dispatcher.Job // of lanes that roll: what comes into their hands
	back []string                         // jobs behind which a hand was put back

	partitions int // of which all but the first are empty

	elsewhere int64 // jobs finished anywhere
	last      bool  // nobody else takes the kind
	refused   error // what giving an attempt back says
	blamed    string
	refunded  []string
	probes    int
	pruned    map[string]int
	pruning   error
	away      map[subject.Key]bool
	renewed   map[subject.Key]int
	races     int // trips that set out with ends of a lane while another was under way with such
}

func newFake() *fake {
	return &fake{ends: make(map[string]session.End), away: make(map[subject.Key]bool), renewed: make(map[subject.Key]int)}
}

func (f *fake) add(jobs ...dispatcher.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range jobs {
		j.Subject = subject.Key{Kind: "s", ID: j.ID}
		if j.Kind == "" {
			j.Kind = "k"
		}
		f.queue = append(f.queue, session.Claim{Job: j, Attempt: 1})
	}
	f.hints <- session.Hint{}
}

// addRolling adds a lane of which the first n jobs are claimed together, and the others come into the hand.
func (f *fake) addRolling(n int, all ...dispatcher.Job) {
	f.set(func() {
		f.rest = map[subject.Key][]dispatcher.Job{{Kind: "s", ID: fmt.Sprint("lane", f.lanes+1)}: all[n:]}
		for i := range all {
			all[i].Subject, all[i].Kind = subject.Key{Kind: "s", ID: fmt.Sprint("lane", f.lanes+1)}, "k"
		}
	})
	f.addLane(all[:n]...)
}

// addLane adds jobs of one subject, to be claimed together.
func (f *fake) addLane(jobs ...dispatcher.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lanes++
	for i := range jobs {
		jobs[i].Subject, jobs[i].Kind = subject.Key{Kind: "s", ID: fmt.Sprint("lane", f.lanes)}, "k"
	}
	f.queue = append(f.queue, session.Claim{Job: jobs[0], Attempt: 1, Along: jobs[1:]})
	f.hints <- session.Hint{}
}

func (f *fake) end(id string) (session.End, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, ok := f.ends[id]
	return e, ok
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Partitions() int { return max(1, f.partitions) }

func (f *fake) Asked() <-chan struct{} { return nil }

func (f *fake) Finished(context.Context, string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.elsewhere, f.down
}

func (f *fake) Blame(_ context.Context, kind, why string, failed []*session.Claim) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil || f.last {
		return false, f.down
	}
	f.blamed = why
	for _, c := range failed {
		f.refunded = append(f.refunded, c.ID)
	}
	return true, f.refused
}

func (f *fake) Absolve(_ string, probe bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if probe {
		f.probes++
	} else {
		f.blamed = ""
	}
}

func (f *fake) Held() <-chan struct{} { return nil }

func (f *fake) Bars(*session.Claim) bool { return false }

func (f *fake) Slots() <-chan struct{} { return nil }

func (f *fake) Offered() []int { return nil }

func (f *fake) Watched() map[subject.Key]bool { return nil }

func (f *fake) Record(context.Context, *session.Tally) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signed
}

func (f *fake) Turns(_ context.Context, turns []session.Turn) []session.TurnReply {
	sent := time.Now()
	f.travel(turns, true)
	f.mu.Lock()
	slow := f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	f.mu.Lock()
	frozen := f.frozen
	f.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	f.travel(turns, false)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turns++
	answers := make([]session.TurnReply, len(turns))
	for i, t := range turns {
		a := session.TurnReply{Err: f.down, Reaped: session.ReapReply{Next: -1}}
		for k, e := range t.Ends {
			err := f.down
			if err == nil && f.lost[e.Claim.ID] {
				err = lease.ErrLost
			}
			if err == nil {
				f.ends[e.Claim.ID] = e
				f.order = append(f.order, e.Claim.ID)
			}
			ended := session.EndReply{Err: err, Reason: e.Reason, Each: make([]session.EndReply, len(e.Each))}
			last := !slices.ContainsFunc(t.Ends[k+1:], func(later session.End) bool { return later.Claim.Subject == e.Claim.Subject })
			if rest := f.rest[e.Claim.Subject]; last && len(rest) > 0 && e.GoesOn && t.Claim && err == nil {
				n := min(max(0, t.InHand["k"]-1-(len(e.Claim.Along)+e.More-1)), len(rest))
				ended.More, f.rest[e.Claim.Subject] = rest[:n:n], rest[n:]
			}
			a.Ended = append(a.Ended, ended)
		}
		for _, c := range t.PutBack {
			f.back = append(f.back, c.ID)
		}
		if t.Claim && t.Partition == 0 && f.down == nil {
			f.asked++
			f.most = max(f.most, t.Want)
			for t.Want > len(a.Claims) && len(f.queue) > 0 {
				c := f.queue[0]
				f.queue = f.queue[1:]
				c.Lease = lease.Lease{Subject: c.Subject, Token: 1, Proven: sent, TTL: testTTL}
				a.Claims = append(a.Claims, c)
			}
			a.Ready = len(f.queue)
		}
		answers[i] = a
	}
	return answers
}

// travel notes that a trip sets out or is back.
func (f *fake) travel(turns []session.Turn, out bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	mine := make(map[subject.Key]bool)
	for _, t := range turns {
		for _, e := range t.Ends {
			mine[e.Claim.Subject] = true
		}
	}
	for lane := range mine {
		if out && f.away[lane] {
			f.races++
		}
		f.away[lane] = out
	}
}

func (f *fake) Waits() int { return 1 }

func (f *fake) Wait(ctx context.Context, _ int) (session.Hint, bool, error) {
	block := 10 * time.Second
	f.mu.Lock()
	cut, down := f.cut, f.down
	if f.broken {
		block = time.Second
	}
	f.broken = cut != nil && down != nil
	f.mu.Unlock()
	if cut != nil && down != nil {
		return session.Hint{}, false, down
	}
	select {
	case h := <-f.hints:
		return h, true, nil
	case <-ctx.Done():
		return session.Hint{}, false, ctx.Err()
	case <-time.After(block):
		return session.Hint{}, false, nil
	case <-cut:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.broken = true
		return session.Hint{}, false, f.down
	}
}

func (f *fake) Renew(_ context.Context, _ time.Duration, leases ...lease.Lease) []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	errs := make([]error, len(leases))
	for i, l := range leases {
		f.renewed[l.Subject]++
		errs[i] = f.renew
		if !time.Now().Before(l.Proven.Add(l.TTL)) { // as Redis does: what is over can't be renewed
			errs[i] = lease.ErrLost
		}
	}
	return errs
}

func (f *fake) Prune(context.Context) (map[string]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pruned, f.pruning
}

func (f *fake) Beat(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down
}

func (f *fake) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.signed
}

const testTTL = 30 * time.Second

// pooled runs a pool over a fake in a bubble of fake time, tells the story, stops
// the pool and returns what Run returned and how long the stop took.
func pooled(t *testing.T, cfg Config, f *fake, setUp func(*Pool), story func(p *Pool)) (took time.Duration, err error) {
	synctest.Test(t, func(t *testing.T) {
		f.hints = make(chan session.Hint, 100) // of this bubble, or time would stand still
		if cfg.Logger == nil {
			cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
		}
		p, perr := newPool(cfg, func(_ context.Context, who session.Claimant, _ int) (source, error) {
			f.kinds = who.Kinds
			return f, nil
		})
		if perr != nil {
			t.Fatal(perr)
		}
		setUp(p)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		story(p)
		stop()
		stopped := time.Now()
		err = <-done
		took = time.Since(stopped)
		time.Sleep(time.Hour) // handlers that were given up end some day
		if !f.closed {
			t.Error("the session was not closed")
		}
	})
	return took, err
}

func jobs(n int) []dispatcher.Job {
	out := make([]dispatcher.Job, n)
	for i := range out {
		out[i] = dispatcher.Job{ID: fmt.Sprint("j", i)}
	}
	return out
}

var errBoom = errors.New("boom")
