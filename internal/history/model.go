package history

import (
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// laneState is what the model knows of a lane: its jobs, those of a batch that stay while the
// others of it end, and the last lease that some client was told of.
type laneState struct {
	jobs  []string
	stay  []string
	token int64
	held  bool
}

// laneModel is a lane as a sequential object: enqueue appends, a claim gives out the
// head under a higher token, an end with the current token takes it off or leaves it, a cancel
// takes a job out of its place. One call ends a batch, job by job here: those that stay stand in
// front again when it is through.
//
// Leases may run out at any moment, and a claim whose answer was lost gives the head to
// nobody; so a refusal is always possible, and only acceptance proves something.
var laneModel = porcupine.Model{
	Init: func() any { return laneState{} },
	Step: func(state, input, _ any) (bool, any) {
		s, e := state.(laneState), input.(Event)
		switch e.Op {
		case Enqueue:
			s.jobs = append(slices.Clip(s.jobs), e.Job)
			return true, s
		case Claim:
			if len(s.jobs) == 0 || s.jobs[0] != e.Job || e.Token <= s.token || len(s.stay) > 0 {
				return false, s
			}
			s.token, s.held = e.Token, true
			return true, s
		case Replay:
			s.jobs = append(slices.DeleteFunc(slices.Clone(s.jobs), func(job string) bool { return job == e.Job }), e.Job)
			return true, s
		case Cancel:
			s.jobs = slices.DeleteFunc(slices.Clone(s.jobs), func(job string) bool { return job == e.Job })
			return true, s
		}
		if e.Refused {
			return true, s
		}
		if !s.held || s.token != e.Token || len(s.jobs) == 0 || s.jobs[0] != e.Job {
			return e.open(), s // an open one may never have happened
		}
		if e.Outcome == Kept {
			s.stay = append(slices.Clip(s.stay), e.Job)
		}
		s.jobs = s.jobs[1:]
		if s.held = e.GoesOn; !s.held {
			s.jobs, s.stay = append(slices.Clip(s.stay), s.jobs...), nil
		}
		return true, s
	},
	Equal: func(a, b any) bool {
		x, y := a.(laneState), b.(laneState)
		return x.token == y.token && x.held == y.held && slices.Equal(x.jobs, y.jobs) && slices.Equal(x.stay, y.stay)
	},
}

// linear reports whether some order of the calls explains their answers
// (linearizability; Herlihy and Wing, 1990), as porcupine decides it. What it can't
// decide in two seconds it lets pass; and lanes with a cancel that took effect nobody knows
// when, for each of those doubles the search. It also passes over lanes whose jobs change places, or that have
// a job which may have been enqueued again after its end.
func linear(events []Event) bool {
	last := (&checker{events: events}).lastEnqueues()
	if slices.ContainsFunc(events, func(e Event) bool {
		return e.Loose || (e.Op == Cancel || e.Op == Replay) && e.open() || e.Op == End && e.Outcome == Gone && last.after(e)
	}) {
		return true
	}
	claimed := make(map[string]time.Time) // the answer of a job's first claim
	for _, e := range events {
		if at, ok := claimed[e.Job]; e.Op == Claim && (!ok || e.Return.Before(at)) {
			claimed[e.Job] = e.Return
		}
	}
	var ops []porcupine.Operation
	enqueued := make(map[string]bool)
	first := time.Time{}
	for _, e := range known(events) {
		if first.IsZero() {
			first = e.Begin
		}
		switch e.Op {
		case Enqueue:
			if enqueued[e.Job] { // a repeat of one that was not answered, or of one that exists
				continue
			}
			enqueued[e.Job] = true
		case Claim, End, Cancel, Replay:
		default:
			continue
		}
		op := porcupine.Operation{ClientId: len(ops), Input: e, Call: e.Begin.Sub(first).Nanoseconds(), Return: math.MaxInt64}
		switch {
		case e.Op == Enqueue && (e.Unordered || e.Delay > 0): // it takes its place later, before it is claimed
			if at, ok := claimed[e.Job]; ok {
				op.Return = at.Sub(first).Nanoseconds()
			}
		case !e.open():
			op.Return = e.Return.Sub(first).Nanoseconds()
		}
		ops = append(ops, op)
	}
	return porcupine.CheckOperationsTimeout(laneModel, ops, 2*time.Second) != porcupine.Illegal
}

// known makes of each end of which nobody knows what it made of its job both that it may have been: at most one takes effect.
func known(events []Event) (all []Event) {
	for _, e := range events {
		if e.Outcome == Maybe {
			e.Outcome = Kept
			all = append(all, e)
			e.Outcome = Gone
		}
		all = append(all, e)
	}
	return all
}
