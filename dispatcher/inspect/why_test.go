package inspect

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// at is noon, and what is that many seconds later.
func at(seconds int) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func token(seconds int) lease.Token { return lease.Token(at(seconds).UnixMicro()) }

// Each situation of a lane has its code, its sentence and the command that helps, and says whether it needs somebody. A time
// that is past is never said to come.
func TestWhyOfALane(t *testing.T) {
	t.Parallel()
	of := subject.Key{Kind: "artifact", ID: "42"}
	head := func(l Lane) *Lane {
		l.Subject, l.Kind, l.HeadID, l.Depth, l.MaxAttempts = of, "expire", "j1", 3, 5
		return &l
	}
	alive := session.Worker{Holder: "w1", Kinds: []string{"expire"}, Concurrency: 4, Alive: true, SeenAt: at(-2)}
	silent := session.Worker{Holder: "w2", Kinds: []string{"expire"}, Concurrency: 4, SeenAt: at(-40)}
	blamed := alive
	blamed.Blamed = map[string]string{"expire": "5 jobs in a row failed here"}
	pooled := alive
	pooled.Pool = "git"
	other := session.Worker{Holder: "w3", Kinds: []string{"build"}, Alive: true, SeenAt: at(-1)}
	leased := Lane{State: Leased, Attempt: 2, Holder: "w1", Token: token(-12), ExpiresAt: at(18)}
	with := func(l Lane, change func(l *Lane)) *Lane { change(&l); return head(l) }
	for name, c := range map[string]struct {
		lane    *Lane
		workers []session.Worker
		more    func(f *facts)
		code    Code
		text    string
		stuck   bool
		next    string // of the first command
		until   time.Time
		also    []Code
	}{
		"halted": {
			lane: head(Lane{State: Suspended, Halted: true, Why: "halted: card declined", SuspendedAt: at(-7200)}), workers: []session.Worker{alive},
			code: WhyHalted, text: "Halted for 2 h: its head failed for good: card declined.", stuck: true, next: "lane resume artifact:42",
		},
		"suspended": {
			lane: head(Lane{State: Suspended, Why: "disk is full\nmore", SuspendedAt: at(-90)}), workers: []session.Worker{alive},
			code: WhySuspended, text: "Suspended for 90 s: disk is full …", stuck: true, next: "lane resume artifact:42",
		},
		"its head is suspended": {
			lane: head(Lane{State: Suspended, look: &lanes.Lane{Park: record.Park{Job: true}}}), workers: []session.Worker{alive},
			code: WhyJobSuspended, text: "Its head was suspended by itself.", stuck: true, next: "job resume j1",
		},
		"a lease that is over": {
			lane: with(leased, func(l *Lane) { l.ExpiresAt, l.Holder = at(-12), "w2" }), workers: []session.Worker{alive, silent},
			code: WhyLeaseOver, text: "The lease of w2, who was last heard of 40 s ago, ended 12 s ago; any worker that runs takes the lane over.",
		},
		"a lease that is over, and nobody lives": {
			lane: with(leased, func(l *Lane) { l.ExpiresAt, l.Holder = at(-12), "w2" }), workers: []session.Worker{silent},
			code: WhyLeaseOver, text: "The lease of w2, who was last heard of 40 s ago, ended 12 s ago; any worker that runs takes the lane over.",
			stuck: true, next: "work --handle expire=PROGRAM", also: []Code{WhyNoWorker},
		},
		"a silent worker": {
			lane: with(leased, func(l *Lane) { l.Holder = "w2" }), workers: []session.Worker{alive, silent},
			code: WhyWorkerSilent, text: "Held by w2, silent for 40 s; the lane goes on at 12:00:18 UTC at the latest.", until: at(18),
		},
		"cancelling": {
			lane: with(leased, func(l *Lane) { l.Cancelling = true }), workers: []session.Worker{alive},
			code: WhyCancelling, text: "Its worker w1 was asked to end it; the lane goes on when it has returned.",
		},
		"a section": {
			lane: with(leased, func(l *Lane) { l.Section, l.Holder = true, "cron-1" }), workers: []session.Worker{alive},
			code: WhySection, text: "A section of cron-1 runs here, for 12 s.",
		},
		"running": {
			lane: head(leased), workers: []session.Worker{alive},
			code: WhyRunning, text: "Attempt 2 of 5 runs on w1, which has the lane for 12 s.",
		},
		"running, since this moment": {
			lane: with(leased, func(l *Lane) { l.Token = token(0) }), workers: []session.Worker{alive},
			code: WhyRunning, text: "Attempt 2 of 5 runs on w1, which has the lane for less than 1 ms.",
		},
		"running, with others of its kind known": {
			lane: head(leased), workers: []session.Worker{alive},
			more: func(f *facts) { f.took["expire"] = Durations{Count: 100, P50: 40 * time.Second, P95: time.Minute} },
			code: WhyRunning, text: "Attempt 2 of 5 runs on w1, which has the lane for 12 s; half of the attempts at such jobs took under 40 s, 95 of 100 under 60 s, failed ones too.",
		},
		"a slot of a limit": {
			lane: &Lane{Subject: of, State: Leased, Holder: "w1", Token: token(-12), ExpiresAt: at(18)}, workers: []session.Worker{alive},
			code: WhySlot, text: "A slot of a limit, which w1 has for 12 s.", until: at(18),
		},
		"a silent worker, and no other": {
			lane: with(leased, func(l *Lane) { l.Holder = "w2" }), workers: []session.Worker{silent},
			code: WhyWorkerSilent, text: "Held by w2, silent for 40 s; its lease ends at 12:00:18 UTC, and then nobody is there to go on.",
			until: at(18), stuck: true, next: "work --handle expire=PROGRAM", also: []Code{WhyNoWorker},
		},
		"backoff, and nobody is there": {
			lane: head(Lane{State: Delayed, Attempt: 3, RunAt: at(240)}), workers: []session.Worker{silent},
			code: WhyBackoff, text: "Attempt 3 of 5 failed; at 12:04:00 UTC it may be tried again, but nobody is there to do it.",
			stuck: true, next: "work --handle expire=PROGRAM", also: []Code{WhyNoWorker},
		},
		"backoff that is over, and nobody is there": {
			lane: head(Lane{State: Delayed, Attempt: 3, RunAt: at(-1)}), workers: []session.Worker{silent},
			code: WhyBackoff, text: "Attempt 3 of 5 failed; it may be tried again, but nobody is there to do it.",
			stuck: true, next: "work --handle expire=PROGRAM", also: []Code{WhyNoWorker},
		},
		"a rate": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{alive},
			more: func(f *facts) { f.limits["kind/expire"] = LimitUse{Next: at(30)} },
			code: WhyRate, text: "Ready, but the rate of kind expire lets nothing start before 12:00:30 UTC, in 30 s; lanes take turns.", until: at(30),
		},
		"a rate that lets one start": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{alive},
			more: func(f *facts) { f.limits["kind/expire"] = LimitUse{Next: at(-1)} },
			code: WhyReady, text: "Ready: a worker may take it at any moment.",
		},
		"suspended by somebody": {
			lane: head(Lane{State: Suspended, Why: "disk full", SuspendedAt: at(-7200), SuspendedBy: "on-call", look: &lanes.Lane{Park: record.Park{Suspended: &record.Stop{}}}}),
			code: WhySuspended, text: "Suspended by on-call 2 h ago: disk full.", stuck: true, next: "lane resume artifact:42",
		},
		"running, and then it stops, for somebody": {
			lane: with(leased, func(l *Lane) { l.SuspendedAt, l.SuspendedBy = at(-1), "on-call" }), workers: []session.Worker{alive},
			code: WhyRunning, text: "Attempt 2 of 5 runs on w1, which has the lane for 12 s, and then the lane stands still, suspended by on-call.",
			next: "lane resume artifact:42", also: []Code{WhySuspended},
		},
		"its reason is lost": {
			lane: head(Lane{State: Suspended, Why: "nobody knows why", look: &lanes.Lane{}}), workers: []session.Worker{alive},
			code: WhySuspended, text: "Suspended: nobody knows why.", stuck: true, next: "doctor --fix",
		},
		"running, and then it stops": {
			lane: with(leased, func(l *Lane) { l.Why = "rollout" }), workers: []session.Worker{alive},
			code: WhyRunning, text: "Attempt 2 of 5 runs on w1, which has the lane for 12 s, and then the lane stands still: rollout.",
			next: "lane resume artifact:42", also: []Code{WhySuspended},
		},
		"backoff": {
			lane: head(Lane{State: Delayed, Attempt: 3, RunAt: at(240), Error: "exit status 1: no space"}), workers: []session.Worker{alive},
			code: WhyBackoff, text: "Attempt 3 of 5 failed: exit status 1: no space; it is tried again at 12:04:00 UTC, in 4 min.",
			next: "lane retry artifact:42 --head j1", until: at(240),
		},
		"backoff until another day": {
			lane: head(Lane{State: Delayed, Attempt: 3, RunAt: at(90000)}), workers: []session.Worker{alive},
			code: WhyBackoff, text: "Attempt 3 of 5 failed; it is tried again at 2026-03-02 13:00 UTC, in 25 h.", next: "lane retry artifact:42 --head j1", until: at(90000),
		},
		"backoff that is over": {
			lane: head(Lane{State: Delayed, Attempt: 3, RunAt: at(-5)}), workers: []session.Worker{alive},
			code: WhyBackoff, text: "Attempt 3 of 5 failed; a worker tries it again when it next looks.", next: "lane retry artifact:42 --head j1",
		},
		"no worker": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{other},
			code: WhyNoWorker, text: "No living worker handles expire.", stuck: true, next: "work --handle expire=PROGRAM",
		},
		"no worker any more": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{other, silent},
			code: WhyNoWorker, text: "No living worker handles expire; the last one, w2, was seen 40 s ago.", stuck: true, next: "work --handle expire=PROGRAM",
		},
		"blamed": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{blamed, silent},
			code: WhyBlamed, text: "All workers for expire have stopped claiming it: 5 jobs in a row failed here.", stuck: true, next: "worker ls",
		},
		"a limit": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{alive},
			more: func(f *facts) { f.limits["kind/expire"] = LimitUse{Most: 2, Held: 2, Holder: "w9", Since: at(-480)} },
			code: WhyLimit, text: "The limit of kind expire is reached: 2 of 2 run; the oldest has its slot for 8 min, on w9.", next: "kind show expire",
		},
		"the limit of its pool": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{pooled},
			more: func(f *facts) { f.limits["pool/git"] = LimitUse{Most: 3, Held: 3, Holder: "w9", Since: at(-90)} },
			code: WhyPoolLimit, text: "The limit of pool git is reached: 3 of 3 run; the oldest has its slot for 90 s, on w9.",
		},
		"the limit of one of its pools": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{pooled, alive},
			more: func(f *facts) { f.limits["pool/git"] = LimitUse{Most: 3, Held: 3, Holder: "w9", Since: at(-90)} },
			code: WhyReady, text: "Ready: a worker may take it at any moment.",
		},
		"its holder waits": {
			lane: with(leased, func(l *Lane) {}), workers: []session.Worker{alive},
			more: func(f *facts) {
				f.waits = []link{{subject.Key{Kind: "build", ID: "17"}, "w2"}, {subject.Key{Kind: "disk", ID: "1"}, "w3"}}
			},
			code: WhyWaits, text: "Its holder w1 waits for build:17, which w2 has, and that one for disk:1, which w3 has.", next: "why disk:1",
		},
		"its holder waits for what is free": {
			lane: with(leased, func(l *Lane) {}), workers: []session.Worker{alive},
			more: func(f *facts) { f.waits = []link{{subject.Key{Kind: "build", ID: "17"}, ""}} },
			code: WhyWaits, text: "Its holder w1 waits for build:17, which nobody has.", next: "why build:17",
		},
		"a limit with room": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{alive},
			more: func(f *facts) { f.limits["kind/expire"] = LimitUse{Most: 2, Held: 1, Holder: "w9", Since: at(-480)} },
			code: WhyReady, text: "Ready: a worker may take it at any moment.",
		},
		"busy": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{alive, other}, more: func(f *facts) { f.ready["expire"] = 340 },
			code: WhyBusy, text: "Ready, as 340 lanes of kind expire are; the workers for it run 4 at once, and lanes take turns.",
		},
		"ready": {
			lane: head(Lane{State: Ready}), workers: []session.Worker{alive}, more: func(f *facts) { f.ready["expire"] = 4 },
			code: WhyReady, text: "Ready: a worker may take it at any moment.",
		},
		"ready, and nobody knows who works": {
			lane: head(Lane{State: Ready}), more: func(f *facts) { f.who = false },
			code: WhyReady, text: "Ready; which workers there are is not known now.",
		},
		"a ticket": {
			lane: &Lane{Subject: of, State: Ready, Kind: SectionKind}, workers: []session.Worker{other},
			code: WhySection, text: "A caller waits here for a section, and takes the lane by himself.",
		},
	} {
		f := &facts{now: at(0), workers: c.workers, who: true, limits: map[string]LimitUse{}, took: map[string]Durations{}, ready: map[string]int{}}
		if c.more != nil {
			c.more(f)
		}
		w := f.lane(c.lane)
		next := ""
		if len(w.Next) > 0 {
			next = w.Next[0].Command
		}
		if w.Code != c.code || w.Text != c.text || w.Stuck != c.stuck || next != c.next || !w.Until.Equal(c.until) || !slices.Equal(w.Also, c.also) {
			t.Errorf("%s:\n%s %q stuck %t, until %s, also %v, next %q; want\n%s %q stuck %t, until %s, also %v, next %q", name,
				w.Code, w.Text, w.Stuck, w.Until, w.Also, next, c.code, c.text, c.stuck, c.until, c.also, c.next)
		}
		if utf8.RuneCountInString(w.Text) > 240 || strings.ContainsAny(w.Text, "\n\r") || w.Subject != of {
			t.Errorf("%s: %d characters about %s", name, utf8.RuneCountInString(w.Text), w.Subject)
		}
	}
}

// A job that is not its lane's head says where it is, and what keeps those before it.
func TestWhyOfAJob(t *testing.T) {
	t.Parallel()
	job := func(change func(j *JobInfo)) *JobInfo {
		j := &JobInfo{Job: dispatcher.Job{ID: "j2", Subject: subject.Key{Kind: "artifact", ID: "42"}, Kind: "expire", MaxAttempts: 5, EnqueuedAt: at(-60)}}
		change(j)
		return j
	}
	lane := Why{Code: WhySuspended, Text: "Suspended.", Stuck: true, Next: []Step{{"lane resume artifact:42", ""}}, Also: []Code{WhyNoWorker}}
	for name, c := range map[string]struct {
		why   Why
		code  Code
		text  string
		stuck bool
		next  string
		until time.Time
	}{
		"behind": {
			behind(job(func(j *JobInfo) { j.State = Waiting }), lane, at(0)),
			WhyBehind, "Other jobs of its lane go first. Of the first one: Suspended.", true, "lane resume artifact:42", time.Time{},
		},
		"behind, next": {
			behind(job(func(j *JobInfo) { j.State, j.Position, j.Starts = Waiting, 2, at(-1) }), lane, at(0)),
			WhyBehind, "One job of its lane goes first. Of the first one: Suspended.", true, "lane resume artifact:42", time.Time{},
		},
		"behind, with a start": {
			behind(job(func(j *JobInfo) { j.State, j.Position, j.Starts = Waiting, 18, at(300) }), lane, at(0)),
			WhyBehind, "17 jobs of its lane go first; it starts at about 12:05:00 UTC, in 5 min. Of the first one: Suspended.", true, "lane resume artifact:42", time.Time{},
		},
		"behind, suspended by itself": {
			behind(job(func(j *JobInfo) { j.State = Suspended }), lane, at(0)),
			WhyJobSuspended, "It was suspended by itself, and other jobs of its lane go first.", true, "job resume j2", time.Time{},
		},
		"scheduled": {
			apart(job(func(j *JobInfo) { j.State, j.RunAt = Scheduled, at(3600) }), at(0)),
			WhyScheduled, "It takes its place at the tail of its lane at 13:00:00 UTC, in 60 min.", false, "job cancel j2", at(3600),
		},
		"due": {
			apart(job(func(j *JobInfo) { j.State, j.RunAt = Scheduled, at(-1) }), at(0)),
			WhyScheduled, "It takes its place at the tail of its lane when a worker next looks.", false, "job cancel j2", time.Time{},
		},
		"set aside": {
			apart(job(func(j *JobInfo) { j.State, j.RunAt, j.Attempt, j.Error = Scheduled, at(5), 1, "boom" }), at(0)),
			WhySetAside, "Attempt 1 of 5 failed: boom; it comes back to the tail of its lane at 12:00:05 UTC, in 5 s.", false, "job cancel j2", at(5),
		},
		"suspended on the schedule": {
			apart(job(func(j *JobInfo) { j.State = Suspended }), at(0)),
			WhyJobSuspended, "It was suspended by itself, before it had a place in its lane.", true, "job resume j2", time.Time{},
		},
		"dead": {
			apart(job(func(j *JobInfo) {
				j.State, j.DiedAt, j.Reason, j.Error = Dead, at(-3*86400), "permanent error", strings.Repeat("é", 200)
			}), at(0)),
			WhyDead, "Dead letter for 3 days: permanent error: " + strings.Repeat("é", 79) + "…", true, "dead replay j2", time.Time{},
		},
		"finished": {
			ended(dispatcher.JobOutcome{ID: "j2", State: dispatcher.JobFinished, Attempts: 2}), WhyFinished, "Finished, at attempt 2.", false, "", time.Time{},
		},
		"cancelled": {
			ended(dispatcher.JobOutcome{ID: "j2", State: dispatcher.JobCancelled}), WhyCancelled, "An operator cancelled it.", false, "", time.Time{},
		},
		"dead and discarded": {
			ended(dispatcher.JobOutcome{ID: "j2", State: dispatcher.JobDead, Reason: "attempts exhausted", Error: "boom."}),
			WhyDead, "It became a dead letter, which is gone: attempts exhausted: boom.", false, "", time.Time{},
		},
	} {
		w, next := c.why, ""
		if len(w.Next) > 0 {
			next = w.Next[0].Command
		}
		if w.Code != c.code || w.Text != c.text || w.Stuck != c.stuck || next != c.next || !w.Until.Equal(c.until) || w.Job != "j2" {
			t.Errorf("%s:\n%s %q stuck %t, next %q, until %s; want\n%s %q stuck %t, next %q, until %s", name, w.Code, w.Text, w.Stuck, next, w.Until, c.code, c.text, c.stuck, c.next, c.until)
		}
	}
	if w := behind(job(func(*JobInfo) {}), lane, at(0)); !slices.Equal(w.Also, []Code{WhySuspended, WhyNoWorker}) {
		t.Errorf("behind: also %v", w.Also)
	}
}
