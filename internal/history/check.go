package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Violation is a promise that was broken.
type Violation struct {
	Rule    string // order, token, stale, given back, loss, repeat, cancel, suspension, limit, unique, merge, lane
	Subject string
	Detail  string
}

func (v Violation) String() string { return v.Rule + ": " + v.Subject + ": " + v.Detail }

// Report is what a history shows.
type Report struct {
	Violations []Violation

	Executions int // handlers started
	Repeats    int // of those, not the first of their job
	Refused    int // ends refused for a superseded token
	Unanswered int // calls whose answer never came

	// Handlers of one subject that ran at one time: no promise is broken by that when
	// a lease was lost and its handler was slow to stop, but it is worth knowing.
	Overlaps       int
	LongestOverlap time.Duration
	Overlap        string // the last one

	// StaleStarts are handlers that started after their job had ended under a higher
	// token: their lease was lost between the last look at it and the start.
	StaleStarts int
}

// World says what a checker can't see from the calls.
type World struct {
	// Stored are the jobs that are in Redis still.
	Stored map[string]bool
	// Forgot are the times at which Redis went back to an earlier state, as an
	// asynchronous failover does: what was acknowledged before may be gone, and what
	// was done may be done again.
	Forgot []time.Time
	// Limits is, by kind, how many handlers may run at once.
	Limits map[string]int
}

// Check judges a history.
func Check(events []Event, world World) Report {
	var r Report
	bySubject := make(map[string][]Event)
	for _, e := range events {
		bySubject[e.Subject] = append(bySubject[e.Subject], e)
		if e.open() && (e.Op == Enqueue || e.Op == End) {
			r.Unanswered++
		}
		if e.Op == End && e.Refused {
			r.Refused++
		}
	}
	for subject, lane := range bySubject {
		c := &checker{world: world, subject: subject, events: lane, report: &r}
		c.order()
		c.tokens()
		c.stale()
		c.givenBack()
		c.ends()
		c.suspensions()
		c.unique()
		c.merges()
		c.overlaps()
		claimed := slices.ContainsFunc(lane, func(e Event) bool { return e.Op == Claim })
		if len(world.Forgot) == 0 && claimed && !linear(lane) {
			c.say("lane", "no order of these calls explains their answers")
		}
	}
	limits(events, world, &r)
	slices.SortFunc(r.Violations, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
	return r
}

type checker struct {
	world   World
	subject string
	events  []Event // of one subject, by Begin
	report  *Report
}

func (c *checker) say(rule, format string, args ...any) {
	c.report.Violations = append(c.report.Violations, Violation{rule, c.subject, fmt.Sprintf(format, args...)})
}

// forgot reports whether Redis went back to an earlier state after a time.
func (c *checker) forgot(since time.Time) bool {
	return slices.ContainsFunc(c.world.Forgot, func(at time.Time) bool { return !at.Before(since) })
}

// forgotBetween reports whether it did so between two times.
func (c *checker) forgotBetween(since, till time.Time) bool {
	return slices.ContainsFunc(c.world.Forgot, func(at time.Time) bool { return !at.Before(since) && !at.After(till) })
}

// order: a job first starts after all jobs that took their place before it for certain, and that
// start at all: those that were acknowledged before its own enqueue began, or fell due before it.
func (c *checker) order() {
	enqueued := make(map[string]Event)
	for _, e := range c.events {
		if _, again := enqueued[e.Job]; e.Op == Enqueue && !again {
			enqueued[e.Job] = e
		}
	}
	started, cancelled, moved := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, e := range c.events {
		cancelled[e.Job] = cancelled[e.Job] || e.Op == Cancel
		// One that is suspended when it falls due, or steps aside, gets a new place; and so does a dead letter.
		moved[e.Job] = moved[e.Job] || e.Op == Suspend || e.Op == Replay
	}
	var latest Event // of the started jobs, the one that fell due last
	for _, e := range c.events {
		if e.Op != Start {
			continue
		}
		c.report.Executions++
		if started[e.Job] {
			c.report.Repeats++
			continue
		}
		started[e.Job] = true
		mine, ok := enqueued[e.Job]
		if !ok || mine.Unordered || moved[e.Job] || mine.Loose && e.Attempt > 1 || cancelled[e.Job] && len(c.world.Forgot) > 0 {
			continue // of a cancel that was forgotten the job is back in its old place; a loose one may have been set aside unheard
		}
		if mine.before(&latest) && !c.forgotBetween(mine.Begin, e.Begin) { // then its lane may have gone on without it
			c.say("order", "%s starts after %s, which took its place from %s on, when %s had its own (by %s)",
				e.Job, latest.Job, latest.dueFrom().Format("15:04:05.000"), e.Job, mine.dueBy().Format("15:04:05.000"))
		}
		if latest.Job == "" || mine.dueFrom().After(latest.dueFrom()) {
			latest = mine
		}
	}
}

// tokens: of two claims, the later one has the higher token.
func (c *checker) tokens() {
	var claims []Event
	for _, e := range c.events {
		if e.Op == Claim {
			claims = append(claims, e)
		}
	}
	for i, a := range claims {
		for _, b := range claims[i+1:] {
			switch {
			case a.Token == b.Token:
				c.say("token", "%d was given to %s of %s and to %s of %s", a.Token, a.Job, a.Worker, b.Job, b.Worker)
			case a.Return.Before(b.Begin) && a.Token > b.Token:
				c.say("token", "%d of %s after %d of %s", b.Token, b.Job, a.Token, a.Job)
			}
		}
	}
}

// stale: an end is not accepted once a claim with a higher token was answered.
func (c *checker) stale() {
	var highest Event
	var claims []Event
	for _, e := range c.events {
		if e.Op == Claim {
			claims = append(claims, e)
		}
	}
	slices.SortFunc(claims, func(a, b Event) int { return a.Return.Compare(b.Return) })
	next := 0
	for _, e := range c.events {
		for ; next < len(claims) && claims[next].Return.Before(e.Begin); next++ {
			if claims[next].Token > highest.Token {
				highest = claims[next]
			}
		}
		if e.Op == End && !e.open() && !e.Refused && e.Token < highest.Token && !c.forgot(highest.Begin) {
			c.say("stale", "%s of %s was ended with token %d after %d was given to %s", e.Job, e.Worker, e.Token, highest.Token, highest.Worker)
		}
	}
}

// givenBack: an end is not accepted once the lease it was under has ended by another one.
func (c *checker) givenBack() {
	over := make(map[int64]Event)
	for _, e := range c.events {
		if e.Op != End || e.open() || e.Refused {
			continue
		}
		if before, ok := over[e.Token]; ok && before.Return.Before(e.Begin) && !c.forgot(before.Begin) {
			c.say("given back", "the end of %s was accepted with token %d, which the end of %s had given back", e.Job, e.Token, before.Job)
		}
		if before, ok := over[e.Token]; !e.GoesOn && (!ok || e.Return.Before(before.Return)) {
			over[e.Token] = e
		}
	}
}

// suspensions: between the answer to a suspension and the first call that may have ended it nothing of
// what is suspended is claimed.
func (c *checker) suspensions() {
	type one struct {
		token int64
		job   string
	}
	claims, came := make(map[int64]Event), make(map[one]Event)
	for _, e := range c.events {
		switch e.Op {
		case Claim:
			claims[e.Token] = e
		case End:
			for _, job := range e.Along {
				came[one{e.Token, job}] = e
			}
		}
	}
	maybe := false
	for i, s := range c.events {
		maybe = maybe || s.Op == Resume && s.open() // it may take effect at any time from now on
		if s.Op != Suspend || s.open() || maybe || c.forgot(s.Begin) {
			continue
		}
		till := slices.IndexFunc(c.events, func(e Event) bool {
			return e.Op == Resume && !e.Begin.Before(s.Begin) && (e.open() || !e.Return.Before(s.Begin))
		})
		for _, e := range c.events[i+1:] {
			claim := e
			if e.Op == Start { // one that was taken along, or came later
				var later bool
				if claim, later = came[one{e.Token, e.Job}]; !later {
					claim = claims[e.Token]
				}
			} else if e.Op != Claim {
				continue
			}
			if claim.Begin.After(s.Return) && (till < 0 || claim.Return.Before(c.events[till].Begin)) && (s.Job == "" || s.Job == e.Job) {
				c.say("suspension", "%s was given out with token %d after %q was suspended", e.Job, claim.Token, s.Job)
			}
		}
	}
}

// unique: of one key no second job is taken while the first one waits.
func (c *checker) unique() {
	taken, gone := make(map[string]Event), make(map[string]bool) // first claims; what no claim shows the end of its wait of
	for _, e := range c.events {
		switch e.Op {
		case Claim, End:
			given := e.Along
			if e.Op == Claim {
				given = append([]string{e.Job}, e.Along...)
			}
			for _, job := range given {
				if _, again := taken[job]; !again {
					taken[job] = e
					gone[job] = gone[job] || e.Attempt > 1 // nobody heard of its first claim
				}
			}
		case Cancel, Replay, Suspend, Resume:
			gone[e.Job] = true
		}
	}
	type place struct{ kind, key string }
	last := make(map[place]Event)
	for _, e := range c.events {
		if e.Op != Enqueue || e.Key == "" || e.open() {
			continue
		}
		at := place{e.Kind, e.Key}
		first, ok := last[at]
		claim, claimed := taken[first.Job]
		if ok && first.Job != e.Job && first.Return.Before(e.Begin) && !gone[first.Job] && !c.forgot(first.Begin) &&
			claimed && claim.Begin.After(e.Return) {
			c.say("unique", "%s was taken while %s waited, of the same key %s", e.Job, first.Job, e.Key)
		}
		last[at] = e
	}
}

// merges: what was merged into a job has a start of it after that, or the job is there still.
func (c *checker) merges() {
	last, cancelled := make(map[string]time.Time), make(map[string]bool)
	for _, e := range c.events {
		if e.Op == Start {
			last[e.Job] = e.Begin
		}
		cancelled[e.Job] = cancelled[e.Job] || e.Op == Cancel
	}
	for _, e := range c.events {
		if e.Op == Merge && !e.open() && last[e.Job].Before(e.Begin) && !c.world.Stored[e.Job] && !cancelled[e.Job] && !c.forgot(e.Begin) {
			c.say("merge", "%s was asked for once more at %s and did not start after that", e.Job, e.Begin.Format("15:04:05.000"))
		}
	}
}

// limits: of a limited kind no more handlers run at once than may. What has not stopped ran in a process that died.
func limits(events []Event, world World, r *Report) {
	type run struct {
		worker, job string
		token       int64
	}
	if len(world.Limits) == 0 {
		return
	}
	stopped, running := make(map[run]bool), make(map[string]int)
	for _, e := range events {
		if e.Op == Stop {
			stopped[run{e.Worker, e.Job, e.Token}] = true
		}
	}
	for _, e := range events {
		most, limited := world.Limits[e.Kind]
		if !limited || e.Op != Start && e.Op != Stop || !stopped[run{e.Worker, e.Job, e.Token}] {
			continue
		}
		if e.Op == Stop {
			running[e.Kind]--
		} else if running[e.Kind]++; running[e.Kind] > most {
			r.Violations = append(r.Violations, Violation{"limit", e.Subject, fmt.Sprintf("%s starts as the %dth of its kind, of %d", e.Job, running[e.Kind], most)})
		}
	}
}

// ends: what was acknowledged ends or is there still; what was done is not done again.
func (c *checker) ends() {
	done, begun := make(map[string]Event), make(map[string]bool)
	maybe := make(map[string]bool) // an end of it was not answered, or it was cancelled
	cancelled := make(map[string]Event)
	last := c.lastEnqueues()
	for _, e := range c.events {
		if at, ok := cancelled[e.Job]; ok && e.Op == Start && at.Return.Before(e.Begin) && !c.forgot(at.Begin) {
			c.say("cancel", "%s starts after it was cancelled", e.Job)
		}
		switch {
		case e.Op == Replay:
			delete(cancelled, e.Job)
			maybe[e.Job] = true
		case e.Op == Cancel:
			maybe[e.Job] = true
			if !e.open() {
				cancelled[e.Job] = e
			}
		case e.Op == Start:
			if run := fmt.Sprint(e.Job, " ", e.Token); begun[run] {
				c.say("repeat", "%s starts twice with token %d", e.Job, e.Token)
			} else {
				begun[run] = true
			}
			d, ok := done[e.Job]
			switch {
			case !ok || !d.Return.Before(e.Begin) || c.forgot(d.Begin) || last.after(d) || c.replayed(d, e):
			case e.Token < d.Token:
				c.report.StaleStarts++
			default:
				c.say("repeat", "%s starts with token %d after its end with token %d was accepted", e.Job, e.Token, d.Token)
			}
		case e.Op != End || e.Outcome != Gone || e.Refused:
		case e.open():
			maybe[e.Job] = true
		default:
			if d, ok := done[e.Job]; ok && !c.forgot(d.Begin) && !last.after(d) && !c.replayed(d, e) {
				c.say("repeat", "the end of %s was accepted with token %d and with token %d", e.Job, d.Token, e.Token)
			}
			done[e.Job] = e
		}
	}
	for _, e := range c.events {
		_, ended := done[e.Job]
		if e.Op == Enqueue && !e.open() && !ended && !maybe[e.Job] && !c.world.Stored[e.Job] && !c.forgot(e.Begin) {
			c.say("loss", "%s was acknowledged, has not ended and is not there", e.Job)
		}
	}
}

// replayed reports whether a job may have been replayed between an end and another event of it.
func (c *checker) replayed(end, e Event) bool {
	return slices.ContainsFunc(c.events, func(r Event) bool {
		return r.Op == Replay && r.Job == e.Job && !r.Begin.After(e.until()) && (r.open() || !r.Return.Before(end.Begin))
	})
}

// until is the latest time at which an event may have happened, as far as is known.
func (e *Event) until() time.Time {
	if e.open() {
		return e.Begin
	}
	return e.Return
}

// enqueues are, by job, the last ones.
type enqueues map[string]Event

func (c *checker) lastEnqueues() enqueues {
	last := make(enqueues)
	for _, e := range c.events {
		if e.Op == Enqueue {
			last[e.Job] = e
		}
	}
	return last
}

// after reports whether a job may have been enqueued anew after its end: its producer asked until it was answered.
func (last enqueues) after(end Event) bool {
	e, ok := last[end.Job]
	return ok && (e.open() || !e.Return.Before(end.Begin))
}

// overlaps measures how long handlers of the subject ran at one time.
func (c *checker) overlaps() {
	type run struct {
		worker, job string
		token       int64
	}
	var latest time.Time // when the handlers that have started so far have all stopped
	var with run         // the last one that did
	stops := make(map[run]time.Time)
	for _, e := range c.events {
		if e.Op == Stop {
			stops[run{e.Worker, e.Job, e.Token}] = e.Begin
		}
	}
	for _, e := range c.events {
		if e.Op != Start {
			continue
		}
		stop, ok := stops[run{e.Worker, e.Job, e.Token}]
		if !ok {
			stop = e.Begin // its process died
		}
		if e.Begin.Before(latest) && (with.worker != e.Worker || with.token != e.Token) { // else it is the same batch
			c.report.Overlaps++
			c.report.Overlap = fmt.Sprintf("%s of %s with token %d", e.Job, c.subject, e.Token)
			until := latest
			if stop.Before(until) {
				until = stop
			}
			c.report.LongestOverlap = max(c.report.LongestOverlap, until.Sub(e.Begin))
		}
		if stop.After(latest) {
			latest, with = stop, run{e.Worker, e.Job, e.Token}
		}
	}
}
