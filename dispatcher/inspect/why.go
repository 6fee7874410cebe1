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
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
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
			w.Text = sentence("%s; %d lanes wait for one.", strings.TrimSuffix(w.Text, "."), ready[list[i].Kind])
		}
		all[list[i].Kind] = w
	}
	return all, missing.OrNil()
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

// facts are what a sentence is made of besides the lane or the job itself. What is not known is empty.
type facts struct {
	now     time.Time
	workers []session.Worker
	who     bool                // they are known
	limits  map[string]LimitUse // by their names
	waits   []link              // from the lane on, when its holder waits
	took    map[string]Durations
	ready   map[string]int // lanes, by the kind of their heads
}

// link is one step of a chain of waits: a subject that is waited for, and who has it.
type link struct {
	subject subject.Key
	holder  string
}

// facts reads them for lanes; all says that how long jobs take, and how many lanes are ready, is to be read too.
func (in *Inspector) facts(ctx context.Context, list []Lane, all bool) (f facts, missing *dispatcher.IncompleteError, err error) {
	f = facts{limits: make(map[string]LimitUse), took: make(map[string]Durations), ready: make(map[string]int)}
	if f.now, err = in.lanes.Time(ctx); err != nil {
		return f, nil, err
	}
	f.workers, err = session.Workers(ctx, in.d)
	f.who = err == nil
	if missing, err = missing.Without(MissingWorkers, err); err != nil {
		return f, nil, err
	}
	for i := range list {
		kind := list[i].Kind
		if _, known := f.limits[lanes.KindLimit(kind)]; known || list[i].HeadID == "" {
			continue
		}
		if missing, err = missing.Without("limits", in.readLimits(ctx, &f, kind)); err != nil {
			return f, nil, err
		}
		if all {
			f.took[kind], err = in.Durations(ctx, kind)
			if missing, err = missing.Without("durations", err); err != nil {
				return f, nil, err
			}
		}
	}
	if all {
		if list[0].State == Leased {
			f.waits, err = in.waits(ctx, &f, &list[0])
			if missing, err = missing.Without("waits", err); err != nil {
				return f, nil, err
			}
		}
		stats, err := in.Stats(ctx)
		if err != nil && !errors.Is(err, dispatcher.ErrIncomplete) {
			return f, nil, err
		}
		for kind, k := range stats.Kinds {
			f.ready[kind] = k.Ready
		}
	}
	return f, missing, nil
}

// readLimits reads the limits that a kind is under: its own, and those of the pools that take it.
func (in *Inspector) readLimits(ctx context.Context, f *facts, kind string) error {
	names := []string{lanes.KindLimit(kind)}
	for i := range f.workers {
		if w := &f.workers[i]; w.Pool != "" && w.Takes(kind) {
			names = append(names, lanes.PoolLimit(w.Pool))
		}
	}
	for _, name := range names {
		if _, known := f.limits[name]; !known {
			use, err := in.limitUse(ctx, name, f.now)
			if err != nil {
				return err
			}
			f.limits[name] = use
		}
	}
	return nil
}

// maxLinks is how far a chain of waits is followed.
const maxLinks = 10

// waits follows the notes of those who hold one subject and wait for another.
func (in *Inspector) waits(ctx context.Context, f *facts, l *Lane) (chain []link, err error) {
	at, token := l.Subject.Canonical(), l.Token
	for range maxLinks {
		notes, err := in.lanes.Fields(ctx, in.lanes.Waits(), []string{at})
		if err != nil {
			return nil, lanes.Wrap("read waits", err)
		}
		text, _ := notes[0].(string)
		w, ok := record.ParseWait(text)
		if !ok || !w.Until.After(f.now) || lease.Token(w.Token) != token {
			return chain, nil
		}
		next := link{}
		if next.subject, err = subject.FromCanonical(w.Subject); err != nil {
			return chain, nil
		}
		held, err := in.lanes.LookAt(ctx, next.subject)
		if err != nil {
			return nil, err
		}
		next.holder = held.Lease.Holder
		chain = append(chain, next)
		at, token = w.Subject, lease.Token(held.Lease.Token)
	}
	return chain, nil
}

// given is when a lease was given: tokens follow the clock.
func given(token lease.Token) time.Time { return time.UnixMicro(int64(token)).UTC() }

// lane says why a lane stands where it stands. It is pure, and the one place where such sentences are made.
func (f *facts) lane(l *Lane) Why {
	w := Why{Subject: l.Subject, Job: l.HeadID, Holder: l.Holder}
	say := func(code Code, text string, args ...any) { w.Code, w.Text = code, sentence(text, args...) }
	word := l.Subject.Word()
	switch {
	case l.State == Leased:
		f.leased(l, &w, say)
	case l.Halted:
		w.Stuck, w.Since = true, l.SuspendedAt
		say(WhyHalted, "Halted%s: its head failed for good%s.", f.since(w.Since), because(strings.TrimPrefix(l.Why, "halted: ")))
		w.Next = []Step{{"lane resume " + word, "gives its head all attempts again"}, {"lane skip " + word + seen(l), "goes on without its head"}}
	case l.State == Suspended && l.look != nil && l.look.Park.Suspended == nil && l.look.Park.Job:
		w.Stuck = true
		say(WhyJobSuspended, "Its head was suspended by itself.")
		w.Next = []Step{{"job resume " + subject.IDWord(l.HeadID), "lets it run"}, {"job cancel " + subject.IDWord(l.HeadID), "takes it away"}}
	case l.State == Suspended:
		w.Stuck, w.Since = true, l.SuspendedAt
		say(WhySuspended, "Suspended%s%s.", f.by(l.SuspendedBy, w.Since), because(l.Why))
		w.Next = []Step{{"lane resume " + word, "lets it go on"}}
		if l.look != nil && !l.look.Park.Stopped() { // its reason is lost
			w.Next = []Step{{"doctor --fix", "lets it go on"}}
		}
	case l.State == Delayed:
		rest := "a worker tries it again when it next looks"
		switch nobody := f.unserved(l, &w); {
		case nobody && l.RunAt.After(f.now):
			rest = fmt.Sprintf("at %s it may be tried again, but nobody is there to do it", f.at(l.RunAt))
		case nobody:
			rest = "it may be tried again, but nobody is there to do it"
		case l.RunAt.After(f.now):
			w.Until = l.RunAt
			rest = fmt.Sprintf("it is tried again at %s, in %s", f.at(l.RunAt), span(l.RunAt.Sub(f.now)))
		}
		say(WhyBackoff, "Attempt %d of %d failed%s; %s.", l.Attempt, l.MaxAttempts, because(l.Error), rest)
		if len(w.Next) == 0 { // somebody is there to do it
			w.Next = append(w.Next, Step{"lane retry " + word + seen(l), "tries it again now"})
		}
		w.Next = append(w.Next, Step{"lane suspend " + word, "keeps it from being tried"}, Step{"job cancel " + subject.IDWord(l.HeadID), "takes the job away"})
	case l.HeadID == "":
		say(WhySection, "A caller waits here for a section, and takes the lane by himself.")
	default:
		f.readyLane(l, &w, say)
	}
	return w
}

// seen lets a command act on the head that it was said of, and on no other that comes after.
func seen(l *Lane) string {
	if l.HeadID == "" {
		return ""
	}
	return " --head " + subject.IDWord(l.HeadID)
}

// leased says it of a lane that somebody holds.
func (f *facts) leased(l *Lane, w *Why, say func(Code, string, ...any)) {
	var holder *session.Worker
	for i := range f.workers {
		if f.workers[i].Holder == l.Holder {
			holder = &f.workers[i]
		}
	}
	word := l.Subject.Word()
	w.Since = given(l.Token)
	took := f.took[l.Kind]
	switch has := f.now.Sub(w.Since); {
	case !l.ExpiresAt.After(f.now):
		heard := ""
		if holder != nil && !holder.Alive {
			heard = ", who was last heard of " + span(f.now.Sub(holder.SeenAt)) + " ago,"
		}
		w.Since = l.ExpiresAt
		say(WhyLeaseOver, "The lease of %s%s ended %s ago; any worker that runs takes the lane over.", l.Holder, heard, span(f.now.Sub(l.ExpiresAt)))
		f.unserved(l, w)
		if f.who && !slices.ContainsFunc(f.workers, func(o session.Worker) bool { return o.Alive }) {
			w.Stuck = true
			w.Next = append(w.Next, Step{"work --handle KIND=PROGRAM", "starts a worker, which takes over what others left"})
		}
	case holder != nil && !holder.Alive:
		w.Since, w.Until = holder.SeenAt, l.ExpiresAt
		rest := "the lane goes on at " + f.at(l.ExpiresAt) + " at the latest"
		if f.unserved(l, w) {
			rest = "its lease ends at " + f.at(l.ExpiresAt) + ", and then nobody is there to go on"
		}
		say(WhyWorkerSilent, "Held by %s, silent for %s; %s.", l.Holder, span(f.now.Sub(holder.SeenAt)), rest)
	case l.Cancelling:
		say(WhyCancelling, "Its worker %s was asked to end it; the lane goes on when it has returned.", l.Holder)
	case len(f.waits) > 0:
		say(WhyWaits, "Its holder %s waits for %s.", l.Holder, chainText(f.waits))
		w.Next = []Step{{"why " + f.waits[len(f.waits)-1].subject.Word(), "says why that one does not go on"}}
	case l.Section:
		say(WhySection, "A section of %s runs here, for %s.", l.Holder, span(has))
	case l.HeadID == "":
		w.Until = l.ExpiresAt
		say(WhySlot, "A slot of a limit, which %s has for %s.", l.Holder, span(has))
	default:
		most := ""
		if took.Count > 0 {
			most = fmt.Sprintf("; half of such jobs take under %s, 95 of 100 under %s", span(max(took.P50, time.Millisecond)), span(max(took.P95, time.Millisecond)))
		}
		say(WhyRunning, "Attempt %d of %d runs on %s, which has the lane for %s%s.", l.Attempt, l.MaxAttempts, l.Holder, span(has), most)
	}
	if l.Why != "" || !l.SuspendedAt.IsZero() { // asked for, for when it is over
		w.Also = append(w.Also, WhySuspended)
		by := ""
		if l.SuspendedBy != "" {
			by = ", suspended by " + line(l.SuspendedBy)
		}
		w.Text = sentence("%s, and then the lane stands still%s%s.", strings.TrimSuffix(w.Text, "."), by, because(l.Why))
		w.Next = append(w.Next, Step{"lane resume " + word, "lets it go on then"})
	}
}

// chainText says who waits for whom.
func chainText(chain []link) string {
	parts := make([]string, len(chain))
	for i, l := range chain {
		parts[i] = l.subject.String() + ", which " + cmp.Or(l.holder, "nobody") + " has"
	}
	return strings.Join(parts, ", and that one for ")
}

// readyLane says it of a lane that may be claimed.
func (f *facts) readyLane(l *Lane, w *Why, say func(Code, string, ...any)) {
	places := 0
	for i := range f.workers {
		if f.workers[i].Takes(l.Kind) {
			places += f.workers[i].Concurrency
		}
	}
	limit, ready, pool := f.limits[lanes.KindLimit(l.Kind)], f.ready[l.Kind], f.fullPool(l.Kind)
	switch {
	case f.unserved(l, w):
		say(w.Also[0], "%s", f.nobody(l.Kind))
		w.Also = nil
	case limit.Full():
		w.Since = limit.Since
		say(WhyLimit, "Of kind %s as many jobs run as may, %d; the oldest has its slot for %s, on %s.", l.Kind, limit.Held, span(f.now.Sub(limit.Since)), limit.Holder)
		w.Next = []Step{{"kind show " + l.Kind, "shows the limit and its slots"}}
	case limit.Next.After(f.now):
		w.Until = limit.Next
		say(WhyRate, "Ready, but the rate of kind %s lets nothing start before %s, in %s; lanes take turns.", l.Kind, f.at(limit.Next), span(limit.Next.Sub(f.now)))
	case pool != "":
		full := f.limits[lanes.PoolLimit(pool)]
		w.Since = full.Since
		say(WhyPoolLimit, "In pool %s as many jobs run as may, %d; the oldest has its slot for %s, on %s.", pool, full.Held, span(f.now.Sub(full.Since)), full.Holder)
	case ready > places && places > 0:
		say(WhyBusy, "Ready, as %d lanes of kind %s are; workers have %d places for it, and lanes take turns.", ready, l.Kind, places)
	case !f.who:
		say(WhyReady, "Ready; which workers there are is not known now.")
	default:
		say(WhyReady, "Ready: a worker may take it at any moment.")
	}
}

// fullPool is a pool whose limit keeps a kind from starting: all pools that take the kind are full. It is "" when one is not.
func (f *facts) fullPool(kind string) (pool string) {
	for i := range f.workers {
		if w := &f.workers[i]; w.Takes(kind) {
			if w.Pool == "" || !f.limits[lanes.PoolLimit(w.Pool)].Full() {
				return ""
			}
			pool = w.Pool
		}
	}
	return pool
}

// unserved reports whether nobody takes jobs of the lane's kind, and notes it: nothing of it will run then.
func (f *facts) unserved(l *Lane, w *Why) bool {
	if !f.who || l.HeadID == "" || slices.ContainsFunc(f.workers, func(o session.Worker) bool { return o.Takes(l.Kind) }) {
		return false
	}
	w.Stuck = true
	if f.handled(l.Kind) {
		w.Also = append(w.Also, WhyBlamed)
		w.Next = append(w.Next, Step{"worker ls", "says why they have stopped; restart them when it is mended"})
	} else {
		w.Also = append(w.Also, WhyNoWorker)
		w.Next = append(w.Next, Step{"work --handle " + l.Kind + "=PROGRAM", "starts a worker for it"})
	}
	return true
}

// handled reports whether a worker that is alive has a handler for the kind, whether it claims or not.
func (f *facts) handled(kind string) bool {
	return slices.ContainsFunc(f.workers, func(w session.Worker) bool { return w.Alive && slices.Contains(w.Kinds, kind) })
}

// nobody says why nobody takes jobs of a kind.
func (f *facts) nobody(kind string) string {
	for i := range f.workers {
		if w := &f.workers[i]; w.Alive && w.Blamed[kind] != "" {
			return sentence("All workers for %s have stopped claiming it%s.", kind, because(w.Blamed[kind]))
		}
	}
	last := ""
	for i := range f.workers { // the latest first
		if w := &f.workers[i]; slices.Contains(w.Kinds, kind) {
			last = fmt.Sprintf("; the last one, %s, was seen %s ago", w.Holder, span(f.now.Sub(w.SeenAt)))
			break
		}
	}
	return fmt.Sprintf("No living worker handles %s%s.", kind, last)
}

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

// sentence ends with one mark, whatever it quotes.
func sentence(text string, args ...any) string {
	return strings.ReplaceAll(fmt.Sprintf(text, args...), "….", "…")
}

// because puts a cause behind a sentence, as one line that is not long.
func because(text string) string {
	if text = line(text); text == "" {
		return ""
	}
	return ": " + strings.TrimSuffix(text, ".")
}

// line is the first line of a text, at most 80 characters of it.
func line(text string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	first = strings.TrimSpace(first)
	if runes := []rune(first); len(runes) > 80 {
		return string(runes[:79]) + "…"
	} else if strings.TrimSpace(rest) != "" {
		return first + " …"
	}
	return first
}

// since says for how long something is so, or nothing where that is not known.
func (f *facts) since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " for " + span(f.now.Sub(t))
}

// by says who has stopped something, and when; or for how long it is so, where nobody knows who.
func (f *facts) by(who string, t time.Time) string {
	if who == "" {
		return f.since(t)
	}
	return " by " + line(who) + " " + span(f.now.Sub(t)) + " ago"
}

// at is a time of day in UTC, with the date where that is another one.
func (f *facts) at(t time.Time) string {
	if t = t.UTC(); t.Format(time.DateOnly) == f.now.UTC().Format(time.DateOnly) {
		return t.Format(time.TimeOnly) + " UTC"
	}
	return t.Format("2006-01-02 15:04") + " UTC"
}

// span is a duration in one unit, rounded down.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
