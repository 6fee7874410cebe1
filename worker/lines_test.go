package worker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// C14: each line about an attempt that docs/operations.md lists is said once, at its level and with its
// fields. Without a test of its own a line could go, and nobody would miss it before an outage.
func TestC14_EveryLineAboutAnAttempt(t *testing.T) {
	t.Parallel()
	type fields = map[string]any
	ended := func(outcome session.Outcome, answer session.EndReply) func(*Pool, *attempt) {
		return func(p *Pool, a *attempt) {
			a.end.Outcome = outcome
			p.count(a, a.end, answer, 0)
		}
	}
	several := func(p *Pool, a *attempt) {
		a.end = session.End{Claim: a.claim, Outcome: session.Several, Each: []session.End{a.end}}
		p.count(a, a.end, session.EndReply{Each: []session.EndReply{{Cancelled: true}}}, 0)
	}
	lost := func(became dispatcher.OutcomeState) func(*Pool, *attempt) {
		return func(p *Pool, a *attempt) {
			p.sayLost([]session.LostAttempt{{
				Job: "j", Subject: a.claim.Subject, Kind: "k", Attempt: 2, Token: 7, Holder: "gone", Became: became,
			}})
		}
	}
	closed := func(err error, ago time.Duration) func(*Pool, *attempt) {
		return func(p *Pool, a *attempt) {
			a.ended = time.Now().Add(-ago)
			if err := p.close(a, session.EndReply{Err: err}); err != nil {
				t.Error("it is to be sent again")
			}
		}
	}
	gone := fields{"reason": "worker lost", "lost_holder": "gone"}
	failed := fields{"err": "boom", "stack": "where"}
	for name, c := range map[string]struct {
		happens func(*Pool, *attempt)
		says    string
		level   slog.Level
		fields  fields
		counts  Counts
	}{
		"cancelled": {
			ended(session.HandedBack, session.EndReply{Cancelled: true}), "attempt cancelled", slog.LevelInfo, nil, Counts{Cancelled: 1},
		},
		"cancelled in a batch": {several, "attempt cancelled", slog.LevelInfo, nil, Counts{Cancelled: 1}},
		"retried": {
			ended(session.Retry, session.EndReply{}), "attempt failed; its job is tried again", slog.LevelWarn, failed, Counts{Retried: 1},
		},
		"halted": {
			ended(session.DeadLettered, session.EndReply{Halted: true, Reason: "attempts exhausted"}), "lane halted: its head failed for good", slog.LevelError,
			fields{"err": "boom", "stack": "where", "reason": "attempts exhausted"}, Counts{Dead: 1},
		},
		"dead": {
			ended(session.DeadLettered, session.EndReply{Reason: "attempts exhausted"}), "dead letter", slog.LevelError,
			fields{"err": "boom", "stack": "where", "reason": "attempts exhausted"}, Counts{Dead: 1},
		},
		"dead after its last retry": {
			ended(session.Retry, session.EndReply{Dead: true, Reason: "failed on different workers"}), "dead letter", slog.LevelError,
			fields{"err": "boom", "reason": "failed on different workers"}, Counts{Dead: 1},
		},
		"refused": {
			closed(lease.ErrLost, 0), "lease lost; what its handler did is not recorded", slog.LevelWarn,
			fields{"err": lease.ErrLost.Error()}, Counts{Lost: 1},
		},
		"never answered": {
			closed(errBoom, testTTL+1), "gave up reporting the end of an attempt; its job will run again", slog.LevelError,
			fields{"err": "boom"}, Counts{Lost: 1},
		},
		"too late to start": {
			func(_ *Pool, a *attempt) { a.run() }, "lease over before the handler started", slog.LevelWarn, nil, Counts{Lost: 1},
		},
		"back too late": {
			func(_ *Pool, a *attempt) {
				a.reported.Store(true)
				a.report(a.said)
			}, "a handler that was given up has returned", slog.LevelWarn, fields{"err": "boom"}, Counts{},
		},
		"lost and dead":      {lost(dispatcher.JobDead), "dead letter", slog.LevelError, gone, Counts{Buried: 1}},
		"lost and halted":    {lost(dispatcher.JobHalted), "lane halted: its head failed for good", slog.LevelError, gone, Counts{Buried: 1}},
		"lost and cancelled": {lost(dispatcher.JobCancelled), "attempt lost with its worker; its job was cancelled", slog.LevelWarn, gone, Counts{}},
		"lost and waiting":   {lost(""), "attempt lost with its worker; its job is taken over", slog.LevelWarn, gone, Counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, f := &diary{}, newFake()
				p, err := newPool(Config{Logger: d.logger(slog.LevelDebug), LeaseTTL: testTTL}, nil)
				if err != nil {
					t.Fatal(err)
				}
				p.source, p.log, p.keeper = f, newScribe(p.cfg.Logger, "me"), lease.NewKeeper(f, testTTL, time.Second)
				p.desk, p.life = newDesk(p.cfg, 1, false), t.Context()
				p.desk.crew.running = 1
				of := subject.Key{Kind: "s", ID: "a"}
				claim := &session.Claim{
					Job: dispatcher.Job{ID: "j", Subject: of, Kind: "k", Payload: []byte(secret), MaxAttempts: 5}, Attempt: 2,
					Lease: lease.Lease{Subject: of, Token: 7, Proven: time.Now().Add(-time.Hour), TTL: testTTL},
				}
				a := p.begin(queued{claim, 0, time.Now()})
				a.end = session.End{Claim: claim, Outcome: session.Finished}
				a.said = []verdict{{failed: true, text: "boom", stack: "where"}}
				c.happens(p, a)
				p.log.flush()
				want := fields{"level": c.level.String(), "holder": "me", "job": "j", "subject": "s:a", "kind": "k", "attempt": 2, "token": "7"}
				maps.Copy(want, c.fields)
				d.once(t, c.says, want)
				if n := len(d.says(t, "")); n != 1 || strings.Contains(d.all(), secret) {
					t.Errorf("said in %d lines, want one without the payload:\n%s", n, d.all())
				}
				if got := p.Counts(); got != c.counts {
					t.Errorf("counted %+v, want %+v", got, c.counts)
				}
			})
		})
	}
}

// C14: a stop that does not go well says in one line each what did not: handlers that are not done in time, one that
// ignores that it was cancelled, and what Redis did not take.
func TestC14_EveryLineOfAStop(t *testing.T) {
	t.Parallel()
	f, d := newFake(), &diary{}
	f.signed = errBoom
	cfg := Config{Logger: d.logger(slog.LevelInfo), StopTimeout: time.Second, CancelGrace: 2 * time.Second}
	_, err := pooled(t, cfg, f, func(p *Pool) {
		p.Handle("k", func(context.Context, []byte) error { time.Sleep(time.Minute); return errBoom })
	}, func(*Pool) {
		f.add(jobs(1)...)
		time.Sleep(time.Second)
	})
	var stop *StopError
	if !errors.As(err, &stop) || *stop != (StopError{Abandoned: 1}) {
		t.Errorf("the stop says %v", err)
	}
	about := func(level string) map[string]any {
		return map[string]any{"level": level, "job": "j0", "subject": "s:j0", "kind": "k", "attempt": 1, "token": "1"}
	}
	d.once(t, "handlers still run after the stop timeout; cancelling them", map[string]any{"level": "WARN", "after": float64(time.Second)})
	stack, _ := d.once(t, "handler does not return; given up", about("ERROR"))["stack"].(string)
	if !strings.Contains(stack, "lines_test.go") {
		t.Errorf("the stack of who does not return is %q", stack)
	}
	d.once(t, "what was measured is not recorded", map[string]any{"level": "WARN", "err": "boom"})
	d.once(t, "could not sign off", map[string]any{"level": "WARN", "err": "boom"})
	d.once(t, "pool stopped", map[string]any{"level": "INFO", "started": 1, "abandoned": 1, "unreported": 0})
	d.once(t, "a handler that was given up has returned", about("WARN"))
}
