package inspect

import (
	"cmp"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

// apart says it of a job that is not in its lane.
func apart(j *JobInfo, now time.Time) Why {
	f := facts{now: now}
	w := Why{Subject: j.Subject, Job: j.ID}
	id := subject.IDWord(j.ID)
	switch {
	case j.State == Dead:
		w.Code, w.Stuck, w.Since = WhyDead, true, j.DiedAt
		w.Text = sentence("Dead letter%s: %s%s.", f.since(j.DiedAt), cmp.Or(line(j.Reason), "nobody knows why"), because(j.Error))
		w.Next = []Step{{"dead replay " + id, "puts it at the tail of its lane"}, {"dead discard " + id, "takes it away"}}
	case j.State == Suspended:
		w.Code, w.Stuck = WhyJobSuspended, true
		w.Text = "It was suspended by itself, before it had a place in its lane."
		w.Next = []Step{{"job resume " + id, "lets it run"}}
	default:
		when := "when a worker next looks"
		if j.RunAt.After(now) {
			w.Until, when = j.RunAt, fmt.Sprintf("at %s, in %s", f.at(j.RunAt), span(j.RunAt.Sub(now)))
		}
		w.Code, w.Since, w.Text = WhyScheduled, j.EnqueuedAt, fmt.Sprintf("It takes its place at the tail of its lane %s.", when)
		if j.Attempt > 0 {
			w.Code, w.Text = WhySetAside, fmt.Sprintf("Attempt %d of %d failed%s; it comes back to the tail of its lane %s.", j.Attempt, j.MaxAttempts, because(j.Error), when)
		}
		w.Next = []Step{{"job cancel " + id, "takes it away"}}
	}
	return w
}

// behind says it of a job that is not the head of its lane.
func behind(j *JobInfo, lane Why, now time.Time) Why {
	w := Why{
		Code: WhyBehind, Subject: j.Subject, Job: j.ID, Since: j.EnqueuedAt, Holder: lane.Holder, Stuck: lane.Stuck,
		Also: append([]Code{lane.Code}, lane.Also...), Next: lane.Next,
	}
	if j.State == Suspended {
		w.Code, w.Stuck, w.Next = WhyJobSuspended, true, append([]Step{{"job resume " + subject.IDWord(j.ID), "lets it run when its turn comes"}}, lane.Next...)
		w.Text = "It was suspended by itself, and other jobs of its lane go first."
		return w
	}
	first, f := "Other jobs of its lane go first", facts{now: now}
	switch ahead := j.Position - 1; {
	case ahead == 1:
		first = "One job of its lane goes first"
	case ahead > 1:
		first = fmt.Sprintf("%d jobs of its lane go first", ahead)
	}
	if j.Starts.After(now) {
		first += fmt.Sprintf("; it starts at about %s, in %s", f.at(j.Starts), span(j.Starts.Sub(now)))
	}
	w.Text = first + ". Of the first one: " + lane.Text
	return w
}

// ended says it of a job whose outcome is kept.
func ended(o dispatcher.JobOutcome) Why {
	w := Why{Subject: o.Subject, Job: o.ID, Since: o.At}
	switch o.State {
	case dispatcher.JobCancelled:
		w.Code, w.Text = WhyCancelled, "An operator cancelled it."
	case dispatcher.JobDead:
		w.Code, w.Text = WhyDead, sentence("It became a dead letter, which is gone: %s%s.", cmp.Or(line(o.Reason), "nobody knows why"), because(o.Error))
	default:
		w.Code, w.Text = WhyFinished, fmt.Sprintf("Finished, at attempt %d.", o.Attempts)
	}
	return w
}
