package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Code is why a lane or a job stands where it stands, in a word that stays the same from release to release.
type Code string

// The codes, in the order in which the first that holds is given.
const (
	WhyHalted       Code = "halted"        // its head has failed for good, and its kind declares that nothing may pass it
	WhySuspended    Code = "suspended"     // an operator has stopped the lane
	WhyJobSuspended Code = "job-suspended" // an operator has stopped its head, or the job
	WhyLeaseOver    Code = "lease-over"    // the lease of who had it has ended, and nobody has taken it over yet
	WhyWorkerSilent Code = "worker-silent" // who holds it gives no sign of life; its lease lasts still
	WhyCancelling   Code = "cancelling"    // who holds it was asked to end the job
	WhyWaits        Code = "waits-for"     // who holds it waits for another subject
	WhySection      Code = "section"       // a section runs there, or somebody waits for one
	WhySlot         Code = "slot"          // it is no lane, but a slot of a limit that somebody has
	WhyRunning      Code = "running"       // it runs
	WhyBackoff      Code = "backoff"       // an attempt has failed, and the next one waits for its time
	WhyBarred       Code = "barred"        // a hold of operators keeps it back
	WhyNoWorker     Code = "no-worker"     // no worker that is alive handles the kind
	WhyBlamed       Code = "blamed"        // all workers that handle the kind have stopped claiming it
	WhyLimit        Code = "limit"         // as many of the kind run as may
	WhyRate         Code = "rate"          // the kind's rate lets nothing start yet
	WhyPoolLimit    Code = "pool-limit"    // as many run in the pool as may
	WhyBusy         Code = "busy"          // more lanes are ready than workers have places
	WhyReady        Code = "ready"         // a worker may take it at any moment
	WhyScheduled    Code = "scheduled"     // the job takes its place in the lane at some time
	WhySetAside     Code = "set-aside"     // it has failed, and comes back to the lane at some time
	WhyBehind       Code = "behind"        // jobs of its lane go first
	WhyDead         Code = "dead"          // it is a dead letter
	WhyFinished     Code = "finished"
	WhyCancelled    Code = "cancelled"
)

// Why is the answer to "why does it not run", of a lane or of one job.
type Why struct {
	Code Code   `json:"code"`
	Text string `json:"text"` // one sentence, without payload

	// Stuck says that nothing moves before somebody does something: Next says what.
	Stuck bool   `json:"stuck,omitempty"`
	Next  []Step `json:"next,omitempty"`

	Since   time.Time   `json:"since,omitzero"` // by Redis's clock, as all times; zero is unknown
	Until   time.Time   `json:"until,omitzero"` // when it goes on by itself, at the latest; never in the past
	Subject subject.Key `json:"subject"`
	Job     string      `json:"id,omitempty"`
	Holder  string      `json:"holder,omitempty"`

	// Also is what holds besides: of a job that waits behind others, why its lane stands where it does.
	Also []Code `json:"also,omitempty"`
}

// String says it in a line: of what, and why.
func (w Why) String() string {
	of := w.Subject.String()
	if w.Job != "" {
		of += " " + subject.IDText(w.Job)
	}
	return of + ": " + w.Text
}

// Step is a command of lanekeeper that helps, without that word, and what it does.
type Step struct {
	Command string `json:"command"`
	Does    string `json:"does"`
}

// WhyLane says why a lane stands where it stands. It returns [dispatcher.ErrNotFound] when there are no jobs and nobody
// holds the subject. A [dispatcher.IncompleteError] may come beside the answer, which leaves out what could not be asked then.
// It takes about ten round trips.
func (in *Inspector) WhyLane(ctx context.Context, key subject.Key) (Why, error) {
	lane, err := in.one(ctx, key)
	if err != nil {
		return Why{}, err
	}
	f, missing, err := in.facts(ctx, []Lane{lane}, true)
	if err != nil {
		return Why{}, err
	}
	return f.lane(&lane), missing.OrNil()
}

// WhyLanes says it of lanes of a list, in their order, in as many round trips as their kinds are and three more. Of how long
// jobs take, and how many lanes are ready, it says nothing.
func (in *Inspector) WhyLanes(ctx context.Context, list []Lane) ([]Why, error) {
	f, missing, err := in.facts(ctx, list, false)
	if err != nil {
		return nil, err
	}
	all := make([]Why, len(list))
	for i := range list {
		all[i] = f.lane(&list[i])
	}
	return all, missing.OrNil()
}

// WhyKinds says of kinds of which so many lanes are ready why those do not all run: by the kind, of those of which there are any.
func (in *Inspector) WhyKinds(ctx context.Context, ready map[string]int) (map[string]Why, error) {
	var list []Lane
	for _, kind := range slices.Sorted(maps.Keys(ready)) {
		if ready[kind] > 0 { // any lane of it stands for all
			list = append(list, Lane{State: Ready, Kind: kind, HeadID: "any"})
		}
	}
	f, missing, err := in.facts(ctx, list, false)
	if err != nil {
		return nil, err
	}
	f.ready = ready
	all := make(map[string]Why, len(list))
	for i := range list {
		w := f.lane(&list[i])
		if w.Job = ""; w.Stuck {
			w.Text = sentence("%s; %s for one.", strings.TrimSuffix(w.Text, "."), waiting(ready[list[i].Kind]))
		}
		all[list[i].Kind] = w
	}
	return all, missing.OrNil()
}

// waiting says how many lanes wait.
func waiting(n int) string {
	if n == 1 {
		return "1 lane waits"
	}
	return fmt.Sprintf("%d lanes wait", n)
}

// WhyJob says why a job stands where it stands, and of one that has ended how, as long as that is kept. Otherwise it returns
// [dispatcher.ErrNotFound].
func (in *Inspector) WhyJob(ctx context.Context, ref dispatcher.JobRef) (Why, error) {
	job, err := in.Job(ctx, ref)
	if errors.Is(err, dispatcher.ErrNotFound) {
		if o, e := in.d.Outcome(ctx, ref); e == nil {
			return ended(o), nil
		}
	}
	if err != nil && !(errors.Is(err, dispatcher.ErrIncomplete) && job.ID != "") {
		return Why{}, err
	}
	why, failed := in.WhyOf(ctx, job)
	return why, cmp.Or(failed, err)
}

// WhyOf is WhyJob of a job that [Inspector.Job] has just shown.
func (in *Inspector) WhyOf(ctx context.Context, job JobInfo) (Why, error) {
	now, failed := in.lanes.Time(ctx)
	if failed != nil {
		return Why{}, failed
	}
	if job.State != Dead && job.State != Scheduled {
		lane, failed := in.WhyLane(ctx, job.Subject)
		switch onSchedule := errors.Is(failed, dispatcher.ErrNotFound) && job.State == Suspended; {
		case lane.Code != "" && lane.Job != job.ID:
			return behind(&job, lane, now), failed
		case !onSchedule:
			return lane, failed
		}
	}
	return apart(&job, now), nil
}
