package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// The two severities of a [Finding]. The command 'lanekeeper doctor' ends with 4 for the first
// and with 0 for the second.
const (
	Wrong   = "wrong"   // lanes and indexes disagree, or the server can't keep lanes
	Warning = "warning" // acknowledged jobs can be lost, or wait for what nobody does
)

// Finding is one thing that is not as it should be. The texts are for people: no program should
// go by their wording, but for Severity and What. No payload is in them.
type Finding struct {
	Severity string `json:"severity"` // [Wrong] or [Warning]
	What     string `json:"what"`     // a lane, job, key, kind, limit, worker, server and the like
	Where    string `json:"where"`    // which one: a subject or an id as the command prints it, a name, a setting
	Detail   string `json:"detail"`   // what is the matter, and of a warning what to do
}

// Doctor is the room in which one namespace is examined and repaired. It keeps nothing between
// calls, and is safe for concurrent use; two repairs of one namespace keep each other out, in all
// processes.
type Doctor struct {
	d     *dispatcher.Dispatcher
	lanes *lanes.Namespace
}

// New returns a doctor for d's namespace. It asks Redis nothing.
func New(d *dispatcher.Dispatcher) *Doctor { return &Doctor{d, d.Engine()} }

// Examine recomputes every index from the lanes and says what disagrees, which lanes stand still
// for want of a worker, and which server settings lose data. It reads partition by partition
// without stopping anybody, so what it suspects then is looked at again at one moment before it
// is reported. It changes nothing; [Doctor.Repair] mends.
//
// It costs as much as there are jobs: all of them travel to this process once, in steps.
// progress, if not nil, is told how many partitions are done, from 1 to all, in the caller's
// goroutine.
//
// The findings are of all partitions, the servers first, then the lanes, the limits, and what
// stands still; the list is empty, and not nil, when all is well. A [dispatcher.IncompleteError]
// may come beside the findings: what it names was not examined. Any other error comes without
// findings.
func (d *Doctor) Examine(ctx context.Context, progress func(done int)) ([]Finding, error) {
	// Servers that can't be asked end the examination, but for those of a cluster: there each
	// partition says by itself that it is away.
	findings, err := d.checkServers(ctx)
	if err != nil && !connect.IsCluster(d.lanes.Redis) {
		return nil, err
	}
	idle := newStandstill() // what stands still is known when all partitions have been seen
	missing, err := d.lanes.OneAfterTheOther(progress, func(p int) error {
		s, err := d.survey(ctx, p)
		if err != nil {
			return fmt.Errorf("examine partition %d: %w", p, err)
		}
		found, err := d.examine(ctx, p, s)
		if err != nil {
			return fmt.Errorf("examine partition %d: %w", p, err)
		}
		findings = append(append(findings, found...), s.full(d, p)...)
		idle.add(s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	limits, err := d.examineLimits(ctx)
	if missing, err = missing.Without("the registry of kinds", err); err != nil {
		return nil, err
	}
	stuck, err := d.explain(ctx, idle)
	if missing, err = missing.Without(inspect.MissingWorkers, err); err != nil {
		return nil, err
	}
	return append([]Finding{}, slices.Concat(findings, limits, stuck)...), missing.OrNil() // [] in JSON when all is well
}

// verdicts says what is wrong with a lane, in words that an operator reads. It is pure: the same
// facts, from a survey or from the second look, have the same verdicts, and a repair is done when
// there are none.
func (f *laneFacts) verdicts() []string {
	var out []string
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	// The records of the lane can be read, and agree with each other.
	head, ok := record.ParseEntry(f.head)
	say(f.head != "" && !ok, "the head %q can't be read", f.head)
	lease := record.ParseLease(f.record)
	park, said := record.ParsePark(f.reasons)
	say(!said, "why it is parked can't be read: %q", f.reasons)
	say(f.parked != (f.reasons != ""), "parked %t, but a reason for it %t", f.parked, f.reasons != "")
	say(said && f.parked && f.reasons != "" && f.again != park.LookAgain(), "parked until %.0f, but for reasons until %.0f", f.again, park.LookAgain())
	say(f.head == "" && !park.Backoff.IsZero(), "delayed without a head")
	say(!f.leased && park.Job != f.asleep, "its head is suspended %t, but that it is parked for that %t", f.asleep, park.Job)
	_, heard := record.ParseAsks(f.asks)
	say(f.asked && !heard, "what is asked of its holder can't be read: %q", f.asks)
	say(lease.Asked != f.asked, "its lease says that something is asked of its holder %t, but that is noted %t", lease.Asked, f.asked)
	for ticket, known := range f.tickets {
		say(!known, "the ticket %q has no deadline", ticket)
	}
	for entry := range f.garbage {
		say(true, "what stands behind the head can't be read: %q", entry)
	}
	// A lease has a deadline, or it would never be over; and a lane with jobs has a head, or
	// nobody would find it.
	say(f.leased && lease.Token == 0, "the lease can't be read")
	say(f.leased != (f.deadline != 0), "lease %t but deadline %t", f.leased, f.deadline != 0)
	say(f.head == "" && f.tail > 0, "%d jobs wait behind no head", f.tail)
	// It is in exactly one state (I4). A lane whose head is a ticket may be in none: nobody has
	// to claim it, because whoever waits with the ticket asks by himself.
	listed := 0
	for _, kind := range slices.Sorted(maps.Keys(f.ready)) {
		n := f.ready[kind]
		listed += n
		say(n > 0 && kind != head.Kind, "listed as ready for kind %s, but the head's kind is %q", kind, head.Kind)
	}
	say(listed > 1, "listed as ready %d times", listed)
	states := min(listed, 1)
	for _, in := range []bool{f.leased, f.parked} {
		if in {
			states++
		}
	}
	say(f.head != "" && states == 0 && !head.IsTicket(), "stuck: neither ready, leased nor parked")
	say(states > 1, "in several states: ready %t, leased %t, parked %t", listed > 0, f.leased, f.parked)
	return out
}

// verdict says what is wrong with a job, or nothing. A job has one verdict, the first of those
// that apply: a repair makes several rounds, and the next one sees what is left.
//
// A dead letter may be unreadable, for that is where a repair puts what can't be read.
func (f *jobFacts) verdict() string {
	// A place that is another subject's, or another number's, is worse than one too many.
	var at []string
	dead := false
	for _, p := range f.places {
		at = append(at, p.where)
		dead = dead || p.where == "dead"
		if p.subject != "" && f.owner != "" && p.subject != f.owner {
			return fmt.Sprintf("stands in the lane of %s but is a job of %s", lanes.SubjectText(p.subject), lanes.SubjectText(f.owner))
		}
		if p.where == "scheduled" && f.owner != "" && p.order != f.order {
			return fmt.Sprintf("stands on the schedule with the number %d, and is %d: nobody finds it there", p.order, f.order)
		}
	}
	switch {
	case !f.body && len(at) > 0:
		return "stands in " + strings.Join(at, " and ") + " but has no body"
	case f.body && len(at) == 0:
		return "has a body but stands nowhere: it will never run"
	case len(at) > 1:
		return "stands in several places: " + strings.Join(at, ", ")
	case f.unreadable != "" && !dead:
		return "can't be read: " + f.unreadable
	case dead && !f.reason:
		return "is a dead letter without a reason"
	case f.reason && !dead:
		return "has the reason of a dead letter, but is none"
	}
	return ""
}

// sick returns the subjects and ids that look wrong in a survey, sorted. Many of them are well:
// they moved while the survey went through.
func (s *survey) sick() (lanes, jobs []string) {
	for subject, facts := range s.lanes {
		if len(facts.verdicts()) > 0 {
			lanes = append(lanes, subject)
		}
	}
	for id, facts := range s.jobs {
		if facts.verdict() != "" {
			jobs = append(jobs, id)
		}
	}
	slices.Sort(lanes)
	slices.Sort(jobs)
	return lanes, jobs
}

// examine says what is wrong in a survey and still is at a second look. It asks Redis again about
// suspects only, so a partition that is well and at rest costs its survey and no more.
func (d *Doctor) examine(ctx context.Context, p int, s *survey) ([]Finding, error) {
	// Lanes and jobs first, then all that is an index of them: the reader sees causes before effects.
	var findings []Finding
	wrong := func(what, where, detail string) {
		findings = append(findings, Finding{Wrong, what, where, detail})
	}
	sick, jobs := s.sick()
	for _, subject := range sick {
		again, err := d.laneFacts(ctx, p, subject, s.kinds, s.lanes[subject])
		if err != nil {
			return nil, err
		}
		for _, v := range again.verdicts() { // none, when it only moved
			wrong("lane", lanes.SubjectText(subject), v)
		}
	}
	for _, id := range jobs {
		again, err := d.settled(ctx, p, id, s.jobs[id])
		if err != nil {
			return nil, err
		}
		if v := again.verdict(); v != "" {
			wrong("job", lanes.IDText(id), v)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.typed)) {
		wrong("key", fmt.Sprintf("%q", key), "is a "+s.typed[key])
	}
	for _, member := range s.garbled {
		wrong("schedule", fmt.Sprintf("%q", member), "can't be read")
	}
	leftover, err := d.leftovers(ctx, p, s)
	if err != nil {
		return nil, err
	}
	for _, l := range leftover {
		wrong(l.what, l.where, l.detail)
	}
	for _, kind := range s.unsaid {
		wrong("kind", kind, "has ready lanes but is not among the kinds")
	}
	kept, amiss, err := d.wrongKept(ctx, p, s)
	if err != nil {
		return nil, err
	}
	if amiss {
		wrong("clock", "kept", fmt.Sprintf("%q is not the number of bytes of outcomes: %d", kept.said, kept.are))
	}
	if len(sick)+len(jobs) == 0 { // else the survey may be older than the clock
		for field, least := range s.behind() {
			wrong("clock", field, fmt.Sprintf("%q is behind what was given out: %d", s.clock[field], least))
		}
	}
	return findings, nil
}

// settled looks at a job until it looks well, and three times at most: while it moves it can slip
// through a look.
func (d *Doctor) settled(ctx context.Context, p int, id string, facts *jobFacts) (*jobFacts, error) {
	var err error
	for range 3 {
		if facts, err = d.jobFacts(ctx, p, id, facts); err != nil || facts.verdict() == "" {
			break
		}
	}
	return facts, err
}

// laneFacts reads what the indexes say about one subject at one moment, in one transaction. Of
// what stands behind its head it looks at what there was before and that is no job: a lane may
// hold a million jobs, which the second look does not read again.
func (d *Doctor) laneFacts(ctx context.Context, p int, subject string, kinds []string, before *laneFacts) (*laneFacts, error) {
	keys := d.lanes.Keys(p)
	var head, leased, note *redis.StringCmd
	var deadline, parked *redis.FloatCmd
	var reasons, asks *redis.StringCmd
	var tail *redis.IntCmd
	listed := make([]*redis.IntSliceCmd, len(kinds)) // two are looked for: more are no worse
	last := ""
	for range 3 { // which note is the head's, is known when the head is; so it is read again when the head was another one
		e, _ := record.ParseEntry(last)
		err := d.lanes.Atomically(ctx, func(tx redis.Pipeliner) {
			head, leased = tx.HGet(ctx, keys.Heads(), subject), tx.HGet(ctx, keys.Leases(), subject)
			deadline, parked = tx.ZScore(ctx, keys.Deadlines(), subject), tx.ZScore(ctx, keys.Parked(), subject)
			tail = tx.LLen(ctx, keys.Tail(subject))
			reasons, asks = tx.HGet(ctx, keys.ParkReasons(), subject), tx.HGet(ctx, keys.Asks(), subject)
			note = tx.HGet(ctx, keys.Notes(), e.ID)
			for i, kind := range kinds {
				listed[i] = tx.LPosCount(ctx, keys.Ready(kind), subject, 2, redis.LPosArgs{})
			}
		})
		if err = unlessAbsent(err); err != nil {
			return nil, lanes.Wrap("examine lane", err)
		}
		if head.Val() == last {
			break
		}
		last = head.Val()
	}
	noted, _ := record.ParseNote(note.Val())
	f := newLaneFacts()
	f.head, f.record, f.deadline = head.Val(), leased.Val(), deadline.Val()
	f.leased, f.tail, f.asleep = leased.Err() == nil, int(tail.Val()), noted.Suspended
	f.asked, f.asks = asks.Err() == nil, asks.Val()
	f.parked, f.again, f.reasons = parked.Err() == nil, parked.Val(), reasons.Val()
	for _, entry := range slices.Concat(slices.Collect(maps.Keys(before.tickets)), slices.Collect(maps.Keys(before.garbage))) {
		var until *redis.FloatCmd
		var place *redis.IntCmd
		err := d.lanes.Together(ctx, func(pipe redis.Pipeliner) {
			until = pipe.ZScore(ctx, keys.Expiring(), record.ExpiringTicket(subject, entry))
			place = pipe.LPos(ctx, keys.Tail(subject), entry, redis.LPosArgs{})
		})
		if err = unlessAbsent(err); err != nil {
			return nil, lanes.Wrap("examine what stands in a lane", err)
		}
		behind := place.Err() == nil && place.Val() >= 0
		switch _, isTicket := before.tickets[entry]; { // what is gone by now is no trouble
		case isTicket && (f.head == entry || behind):
			f.tickets[entry] = until.Err() == nil
		case !isTicket && behind:
			f.garbage[entry] = true
		}
	}
	for i, kind := range kinds {
		f.ready[kind] = len(listed[i].Val())
	}
	return f, nil
}

// jobFacts reads what is known of one id at one moment. before says where to look: in the lanes
// in which it stood, and in that of its own subject. A job that is on its way from one of these
// places to another is in one of them at any moment.
func (d *Doctor) jobFacts(ctx context.Context, p int, id string, before *jobFacts) (*jobFacts, error) {
	keys := d.lanes.Keys(p)
	subjects := make(map[string][]string) // entries that may stand there
	orders := map[int64]bool{before.order: true}
	for _, at := range append(slices.Clone(before.places), place{subject: before.owner, entry: before.entry}) {
		if at.subject != "" && !slices.Contains(subjects[at.subject], at.entry) {
			subjects[at.subject] = append(subjects[at.subject], at.entry)
		}
		if at.where == "scheduled" {
			orders[at.order] = true
		}
	}
	// All places are asked for in one transaction: they share a partition, so they are on one
	// server and nothing moves between the answers.
	var body *redis.StringCmd
	var reason *redis.BoolCmd
	var dead *redis.FloatCmd
	heads := make(map[string]*redis.StringCmd)
	tails := make(map[place]*redis.IntSliceCmd)
	scheduled := make(map[place]*redis.FloatCmd)
	err := d.lanes.Atomically(ctx, func(tx redis.Pipeliner) {
		body, dead = tx.HGet(ctx, keys.Jobs(), id), tx.ZScore(ctx, keys.Dead(), id)
		reason = tx.HExists(ctx, keys.Reasons(), id)
		for subject, entries := range subjects {
			heads[subject] = tx.HGet(ctx, keys.Heads(), subject)
			for _, entry := range entries {
				at := place{subject: subject, entry: entry}
				tails[at] = tx.LPosCount(ctx, keys.Tail(subject), entry, 2, redis.LPosArgs{})
				for order := range orders {
					at := place{"scheduled", subject, entry, order}
					scheduled[at] = tx.ZScore(ctx, keys.Scheduled(), record.Scheduled(subject, order, entry))
				}
			}
		}
	})
	if err = unlessAbsent(err); err != nil {
		return nil, lanes.Wrap("examine job", err)
	}
	f := &jobFacts{reason: reason.Val()}
	if body.Err() == nil {
		f.read(id, body.Val())
	}
	for subject, head := range heads {
		if e, ok := record.ParseEntry(head.Val()); ok && e.ID == id {
			f.places = append(f.places, place{where: "head", subject: subject, entry: head.Val()})
		}
	}
	for at, found := range tails {
		for range found.Val() {
			f.places = append(f.places, place{where: "tail", subject: at.subject, entry: at.entry})
		}
	}
	for at, score := range scheduled {
		if score.Err() == nil {
			f.places = append(f.places, at)
		}
	}
	if dead.Err() == nil {
		f.places = append(f.places, place{where: "dead"})
	}
	return f, nil
}

// unlessAbsent drops what a server answers for what is not there, and for keys of a wrong type,
// which are a finding of their own. Any other answer is no knowledge.
func unlessAbsent(err error) error {
	if errors.Is(err, redis.Nil) || wrongType(err) {
		return nil
	}
	return err
}

// wrongType reports whether a server says that a key is of a wrong type. Up to 6.2 it puts more
// words in front when a script has met it.
func wrongType(err error) bool {
	var answered redis.Error
	return errors.As(err, &answered) && strings.Contains(err.Error(), "WRONGTYPE ")
}
