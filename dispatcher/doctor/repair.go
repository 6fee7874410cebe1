package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// LostAndFound is the reason of dead letters that [Doctor.Repair] made of jobs which stood
// nowhere, or which could not be read. 'lanekeeper dead ls' shows it, and says in the error what
// was the matter.
const LostAndFound = lanes.LostAndFound

// Repair is one thing that [Doctor.Repair] did, in words for people. Its first two fields are
// those of a [Finding].
type Repair struct {
	What  string `json:"what"`
	Where string `json:"where"`
	Did   string `json:"did"` // in the past: "freed it", "set it to 7"
}

// renewGrace is what a lease gets whose deadline was lost: a live holder renews it by then, and a
// dead one's lane goes on after.
const renewGrace = time.Minute

// Repair makes every index agree with the lanes again, and gives every stored job one place: see
// [Doctor.Examine] for what it looks at. It takes nothing away that a job is stored in: one that
// has no place becomes a dead letter with the reason [LostAndFound], from where it can be
// replayed; a key of a wrong type is renamed. Workers may go on meanwhile. Repairing what is
// whole does nothing.
//
// It examines by itself, and needs no findings; it costs a survey, and one script for each lane
// and job that is amiss. A repair that is interrupted leaves each lane as it was or mended, and
// another one goes on from there. progress is told how many partitions are done, as in Examine.
//
// It returns what it did, also beside an error; [dispatcher.ErrBusy] when somebody else repairs
// the namespace; and a [dispatcher.IncompleteError] when a partition could not be reached, which
// stays as it is. Examine says afterwards whether all is well.
func (d *Doctor) Repair(ctx context.Context, progress func(done int)) (all []Repair, err error) {
	err = d.alone(ctx, func() (mended int, err error) { all, err = d.repairAll(ctx, progress); return len(all), err })
	return all, err
}

// repairAll repairs partition by partition, and the limits in the end: their homes are
// partitions, which are whole by then.
func (d *Doctor) repairAll(ctx context.Context, progress func(done int)) ([]Repair, error) {
	all := []Repair{}
	missing, err := d.lanes.OneAfterTheOther(progress, func(p int) error {
		// Each round may lay open what the next one mends: a job that was taken out of a wrong
		// lane stands nowhere then.
		for range 5 {
			done, err := d.repair(ctx, p)
			all = append(all, done...)
			if err != nil {
				return fmt.Errorf("repair partition %d: %w", p, err)
			}
			if len(done) == 0 {
				break
			}
		}
		return nil
	})
	if err != nil {
		return all, err
	}
	limits, err := d.repairLimits(ctx)
	if missing, err = missing.Without("the registry of kinds", err); err != nil {
		return all, err
	}
	return append(all, limits...), missing.OrNil()
}

// round is one round of a repair through a partition, and what it did.
type round struct {
	*Doctor
	p    int
	keys subject.Keys
	s    *survey
	all  []Repair
}

// did notes something that was done, once it was.
func (r *round) did(what, where, did string) { r.all = append(r.all, Repair{what, where, did}) }

// repair makes one round through a partition: the steps up to the first one that did something,
// for what comes after it is to be looked at anew.
func (d *Doctor) repair(ctx context.Context, p int) ([]Repair, error) {
	s, err := d.survey(ctx, p)
	if err != nil {
		return nil, err
	}
	// Keys before lanes, lanes before jobs, and the clock in the end: each step trusts what the one
	// before it has made whole.
	r := &round{Doctor: d, p: p, keys: d.lanes.Keys(p), s: s}
	sick, jobs := s.sick()
	for _, step := range []func() error{
		func() error { return r.renameKeys(ctx) },
		func() error { return r.mendLanes(ctx, sick, s.suspects(jobs)) },
		func() error { return r.restoreJobs(ctx, jobs) },
		func() error { return r.setClock(ctx) },
	} {
		if err := step(); err != nil || len(r.all) > 0 {
			return r.all, err
		}
	}
	return nil, nil
}

// renameKeys takes keys of a wrong type out of the way. It is the first step, because every
// script that meets such a key fails. The new name has the time in it, and lies outside of what
// lanes use: an operator may look at what it was.
func (r *round) renameKeys(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(r.s.typed)) {
		aside := r.keys.LostAndFound(key, time.Now())
		was, err := r.lanes.Aside(ctx, r.p, key, aside, typeOf(r.keys, key, types(r.keys)))
		if err != nil {
			return err
		}
		if was != "" {
			r.did("key", fmt.Sprintf("%q", key), fmt.Sprintf("was a %s; renamed to %q", was, aside))
		}
	}
	return nil
}

// tidy drops what on the schedule can't be read, and notes kinds that nobody remembers. A job
// that such a member stood for stands nowhere then, and a later round sets it aside; a kind that
// is not noted would have ready lanes that no list shows.
func (r *round) tidy(ctx context.Context) error {
	for _, member := range r.s.garbled {
		if err := r.lanes.Together(ctx, func(pipe redis.Pipeliner) { pipe.ZRem(ctx, r.keys.Scheduled(), member) }); err != nil {
			return err
		}
		r.did("schedule", fmt.Sprintf("%q", member), "took it off the schedule")
	}
	for _, kind := range r.s.unsaid {
		if err := r.lanes.Together(ctx, func(pipe redis.Pipeliner) { pipe.SAdd(ctx, r.keys.Kinds(), kind) }); err != nil {
			return err
		}
		r.did("kind", kind, "noted it among the kinds")
	}
	return nil
}

// dropLeftovers drops what stands for nothing. Nothing is lost with it: it held no job.
func (r *round) dropLeftovers(ctx context.Context) error {
	// They are looked at again when they are listed, and once more by the script that drops them.
	leftover, err := r.leftovers(ctx, r.p, r.s)
	if err != nil {
		return err
	}
	for _, l := range leftover {
		if _, err := r.leftover(ctx, r.p, "drop", l); err != nil {
			return err
		}
		r.did(l.what, l.where, l.mended)
	}
	return nil
}

// mendLanes comes before the jobs, so that they find whole lanes. It drops what is left over, and
// mends lanes that look wrong, also those without a suspect, and those that suspects stand in.
func (r *round) mendLanes(ctx context.Context, sick []string, suspects map[string][]lanes.Suspect) error {
	if err := r.tidy(ctx); err != nil {
		return err
	}
	if err := r.dropLeftovers(ctx); err != nil {
		return err
	}
	// A lane may be wrong with no job of it suspected, and the other way round: both are mended.
	for _, subject := range sick {
		if _, ok := suspects[subject]; !ok {
			suspects[subject] = nil
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(suspects)) {
		for _, part := range chunks(suspects[subject]) {
			done, err := r.lanes.Mend(ctx, r.p, subject, renewGrace, r.s.kinds, part)
			if err != nil {
				return err
			}
			for _, what := range done {
				r.did("lane", lanes.SubjectText(subject), what)
			}
		}
	}
	return nil
}

// restoreJobs gives jobs that stand in no place, or in several, exactly one. A place in a lane
// goes before one among the dead letters, and that before one on the schedule: what was set aside
// must not run by surprise. A job that stands nowhere becomes a dead letter with the reason
// [LostAndFound]. The script looks once more, and its answer says what it did.
func (r *round) restoreJobs(ctx context.Context, jobs []string) error {
	for _, id := range jobs {
		again, err := r.settled(ctx, r.p, id, r.s.jobs[id])
		if err != nil {
			return err
		}
		if again.verdict() == "" {
			continue
		}
		done, err := r.lanes.Restore(ctx, r.p, again.homeless(id))
		if err != nil {
			return err
		}
		for _, what := range done {
			r.did("job", lanes.IDText(id), what)
		}
	}
	return nil
}

// setClock corrects the numbers of the partition's clock. Sequence numbers and tokens are only
// ever raised: a lower one would be given out a second time.
func (r *round) setClock(ctx context.Context) error {
	kept, wrong, err := r.wrongKept(ctx, r.p, r.s)
	if wrong {
		if wrong, err = r.recount(ctx, r.p, kept); wrong {
			r.did("clock", "kept", fmt.Sprintf("set it to %d", kept.are))
		}
	}
	if err != nil {
		return err
	}
	for field, least := range r.s.behind() {
		if err := r.lanes.Raise(ctx, r.p, field, least); err != nil {
			return err
		}
		r.did("clock", field, fmt.Sprintf("set it to %d", least))
	}
	return nil
}

// repairTTL is for how long a repair that is heard of no more keeps others away.
const repairTTL = 30 * time.Second

// alone runs a repair unless another one is under way: two would see what the other one is about
// to mend. What each step changes it looks at again, so this is for the reader of what they say.
//
// It is no lease: those may be what is to be repaired.
//
// At its end a line of how much it has mended is left for those who ask who did what.
func (d *Doctor) alone(ctx context.Context, repair func() (mended int, err error)) error {
	key, me := d.lanes.Repairing(), lanes.NewHolder()
	// A key with a time to live: a process that dies in its repair keeps others out for so long.
	mine, err := connect.Ask(ctx, func(ctx context.Context) (bool, error) { return d.lanes.Redis.SetNX(ctx, key, me, repairTTL).Result() })
	if err == nil && !mine {
		who, err := connect.Ask(ctx, func(ctx context.Context) (string, error) { return d.lanes.Redis.Get(ctx, key).Result() })
		if err == nil && who != me { // else go-redis has asked twice
			return fmt.Errorf("%w: %s repairs this namespace", dispatcher.ErrBusy, who)
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			return lanes.Wrap("look who repairs", err)
		}
	}
	if err != nil && !redis.HasErrorPrefix(err, "OOM") { // a full memory is to be repaired all the same
		return lanes.Wrap("begin a repair", err)
	}
	// While the repair goes on the key is set anew, and it is deleted in the end, if it is still
	// ours.
	ended := make(chan int, 1)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		for again := time.Tick(repairTTL / 3); ; {
			select {
			case mended := <-ended:
				_ = lanes.Parting(ctx, lanes.LastWords, func(ctx context.Context) error { return d.lanes.KeepRepair(ctx, me, 0, mended) })
				return
			case <-again:
				_ = d.lanes.KeepRepair(ctx, me, repairTTL, 0)
			}
		}
	})
	mended := 0
	defer func() { ended <- mended; keeping.Wait() }()
	mended, err = repair()
	return err
}

// suspects returns, by lane, the entries that may have no place in it: those of jobs that look
// wrong, tickets that nobody is heard of, and what is no entry at all. "look" asks the script to
// decide by what it finds; "drop" is for what no look can save.
func (s *survey) suspects(jobs []string) map[string][]lanes.Suspect {
	all := make(map[string][]lanes.Suspect)
	// Those that stand in several places go first, so that no cut parts two of them.
	slices.SortStableFunc(jobs, func(a, b string) int { return len(s.jobs[b].places) - len(s.jobs[a].places) })
	for canonical, facts := range s.lanes {
		for ticket, known := range facts.tickets {
			if !known {
				all[canonical] = append(all[canonical], lanes.Suspect{How: "look", Entry: ticket})
			}
		}
		for entry := range facts.garbage {
			all[canonical] = append(all[canonical], lanes.Suspect{How: "drop", Entry: entry})
		}
	}
	for _, id := range jobs {
		word := "look"
		if s.jobs[id].unreadable != "" {
			word = "drop"
		}
		for _, at := range s.jobs[id].places {
			if at.where == "head" || at.where == "tail" {
				all[at.subject] = append(all[at.subject], lanes.Suspect{How: word, Entry: at.entry})
			}
		}
	}
	return all
}

// maxSuspects bounds what one script looks for in a lane, which may be long.
const maxSuspects = 10

// chunks cuts suspects into parts that one script takes; none is one part too, because a lane can
// be wrong with every job in it well placed.
func chunks(suspects []lanes.Suspect) [][]lanes.Suspect {
	if len(suspects) == 0 {
		return [][]lanes.Suspect{nil}
	}
	return slices.Collect(slices.Chunk(suspects, maxSuspects))
}

// homeless is the job as the one who gives it a place wants it: where it may still stand, so that
// it is taken from there, and why it is a dead letter, if it becomes one. Strays are places on
// the schedule under a number that is not the job's.
func (f *jobFacts) homeless(id string) *lanes.Homeless {
	h := &lanes.Homeless{ID: id, Why: "it stood in no lane", Subject: f.owner, Entry: f.entry}
	if f.unreadable != "" {
		h.Why = strings.ReplaceAll(f.unreadable, "\n", " ")
	} else {
		h.Member = record.Scheduled(f.owner, f.order, f.entry)
	}
	for _, at := range f.places {
		switch at.where {
		case "head", "tail":
			h.InLane = true
		case "scheduled":
			if member := record.Scheduled(at.subject, at.order, at.entry); member != h.Member {
				h.Strays = append(h.Strays, member)
			}
		}
	}
	return h
}
