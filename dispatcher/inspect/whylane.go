package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/subject"
)

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
	case l.State == Barred:
		if h, is := f.bars(l); is {
			f.sayBarred(&h, &w, say)
		} else {
			say(WhyReady, "The hold that barred it is over; a worker takes it when it next looks.")
		}
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
		if len(w.Next) == 0 && f.who && !slices.ContainsFunc(f.workers, func(o session.Worker) bool { return o.Alive }) {
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
			most = fmt.Sprintf("; half of the attempts at such jobs took under %s, 95 of 100 under %s, failed ones too", span(max(took.P50, time.Millisecond)), span(max(took.P95, time.Millisecond)))
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
	hold, held := f.bars(l)
	switch {
	case held:
		f.sayBarred(&hold, w, say)
	case f.unserved(l, w):
		say(w.Also[0], "%s", f.nobody(l.Kind))
		w.Also = nil
	case limit.Full():
		w.Since = limit.Since
		say(WhyLimit, "The limit of kind %s is reached: %d of %d run; the oldest has its slot for %s, on %s.", l.Kind, limit.Held, limit.Most, span(f.now.Sub(limit.Since)), limit.Holder)
		w.Next = []Step{{"kind show " + l.Kind, "shows the limit and its slots"}}
	case limit.Next.After(f.now):
		w.Until = limit.Next
		say(WhyRate, "Ready, but the rate of kind %s lets nothing start before %s, in %s; lanes take turns.", l.Kind, f.at(limit.Next), span(limit.Next.Sub(f.now)))
	case pool != "":
		full := f.limits[lanes.PoolLimit(pool)]
		w.Since = full.Since
		say(WhyPoolLimit, "The limit of pool %s is reached: %d of %d run; the oldest has its slot for %s, on %s.", pool, full.Held, full.Most, span(f.now.Sub(full.Since)), full.Holder)
	case ready > places && places > 0:
		say(WhyBusy, "Ready, as %d lanes of kind %s are; the workers for it run %d at once, and lanes take turns.", ready, l.Kind, places)
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
