package dispatcher

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

//go:embed mend.lua
var mendLua string

//go:embed restore.lua
var restoreLua string

//go:embed aside.lua
var asideLua string

//go:embed hold.lua
var holdLua string

//go:embed raise.lua
var raiseLua string

var (
	raiseScript   = verb("raise", raiseLua)
	mendScript    = verb("mend", mendLua)
	restoreScript = verb("restore", restoreLua)
	asideScript   = verb("set aside", asideLua)
	holdScript    = script.NewWhole("hold", holdLua)
)

// LostAndFound is the reason of dead letters that [Dispatcher.Repair] made of jobs
// which stood nowhere, or which could not be read.
const LostAndFound = "lost+found"

// Mended is one thing that [Dispatcher.Repair] did.
type Mended struct {
	What  string `json:"what"`
	Where string `json:"where"`
	Did   string `json:"did"`
}

// renewGrace is what a lease gets whose deadline was lost: a live holder renews it by
// then, and a dead one's lane goes on after.
const renewGrace = time.Minute

// Repair makes every index agree with the lanes again, and gives every stored job one
// place: see [Dispatcher.Doctor] for what it looks at. It takes nothing away that a job
// is stored in: one that has no place becomes a dead letter with the reason
// [LostAndFound], from where it can be replayed; a key of a wrong type is renamed.
// Workers may go on meanwhile. Repairing what is whole does nothing. It returns [ErrBusy] when somebody
// else repairs the namespace.
func (d *Dispatcher) Repair(ctx context.Context, progress func(done int)) (all []Mended, err error) {
	err = d.alone(ctx, func() (err error) { all, err = d.repairAll(ctx, progress); return err })
	return all, err
}

func (d *Dispatcher) repairAll(ctx context.Context, progress func(done int)) ([]Mended, error) {
	var all []Mended
	missing, err := d.onePartitionAfterTheOther(progress, func(p int) error {
		// Each round may lay open what the next one mends: a job that was taken out of a
		// wrong lane stands nowhere then.
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
	if missing, err = missing.without("the registry of kinds", err); err != nil {
		return all, err
	}
	return append(all, limits...), missing.orNil()
}

// repair makes one round through a partition.
func (d *Dispatcher) repair(ctx context.Context, p int) ([]Mended, error) {
	keys := d.keys[p]
	var all []Mended
	did := func(what, where, did string) { all = append(all, Mended{what, where, did}) }
	s, err := d.survey(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(s.typed)) {
		aside := keys.LostAndFound(key, time.Now())
		was, err := d.setAside(ctx, p, key, aside, typeOf(keys, key, types(keys)))
		if err != nil {
			return all, err
		}
		if was != "" {
			did("key", fmt.Sprintf("%q", key), fmt.Sprintf("was a %s; renamed to %q", was, aside))
		}
	}
	if len(all) > 0 {
		return all, nil // look again before anything else is touched
	}
	for _, member := range s.garbled {
		if err := d.together(ctx, func(pipe redis.Pipeliner) { pipe.ZRem(ctx, keys.Scheduled(), member) }); err != nil {
			return all, err
		}
		did("schedule", fmt.Sprintf("%q", member), "took it off the schedule")
	}
	for _, kind := range s.unsaid {
		if err := d.together(ctx, func(pipe redis.Pipeliner) { pipe.SAdd(ctx, keys.Kinds(), kind) }); err != nil {
			return all, err
		}
		did("kind", kind, "noted it among the kinds")
	}
	leftover, err := d.leftovers(ctx, p, s)
	if err != nil {
		return all, err
	}
	for _, l := range leftover {
		if _, err := d.leftover(ctx, p, "drop", l); err != nil {
			return all, err
		}
		did(l.what, l.where, l.mended)
	}
	lanes, jobs := s.sick()
	suspects := s.suspects(jobs)
	for _, subject := range lanes { // they are looked at even without a suspect
		if _, ok := suspects[subject]; !ok {
			suspects[subject] = nil
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(suspects)) {
		args := []any{subject, renewGrace.Milliseconds(), len(s.kinds)}
		for _, kind := range s.kinds {
			args = append(args, kind)
		}
		for _, part := range chunks(suspects[subject]) {
			done, err := d.mend(ctx, d.run.Plain(p, mendScript, []string{keys.Tail(subject)}, append(args[:len(args):len(args)], part...)...))
			if err != nil {
				return all, err
			}
			for _, what := range done {
				did("lane", textOf(subject), what)
			}
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	for _, id := range jobs {
		again, err := d.settled(ctx, p, id, s.jobs[id])
		if err != nil {
			return all, err
		}
		if again.verdict() == "" {
			continue
		}
		done, err := d.mend(ctx, d.run.Plain(p, restoreScript, []string{keys.Tail(again.owner)}, again.restoring(id)...))
		if err != nil {
			return all, err
		}
		for _, what := range done {
			did("job", idText(id), what)
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	kept, wrong, err := d.wrongKept(ctx, p, s)
	if wrong {
		if wrong, err = d.recount(ctx, p, kept); wrong {
			did("clock", "kept", fmt.Sprintf("set it to %d", kept.are))
		}
	}
	if err != nil {
		return all, err
	}
	for field, least := range s.behind() {
		if _, err := d.ask(ctx, d.run.Plain(p, raiseScript, nil, field, least)); err != nil {
			return all, err
		}
		did("clock", field, fmt.Sprintf("set it to %d", least))
	}
	return all, nil
}

// setAside renames a key that is of a wrong type, and returns which; "" when it is not (any more).
func (d *Dispatcher) setAside(ctx context.Context, p int, key, aside, must string) (was string, err error) {
	words, err := d.ask(ctx, d.run.Plain(p, asideScript, []string{key, aside}, must))
	if err != nil || words[0] != "ok" {
		return "", wrap("set a key aside", err)
	}
	return words[1], nil
}

// repairTTL is for how long a repair that is heard of no more keeps others away.
const repairTTL = 30 * time.Second

// alone runs a repair unless another one is under way: two would see what the other one is about
// to mend. What each step changes it looks at again, so this is for the reader of what they say.
//
// It is no lease: those may be what is to be repaired.
func (d *Dispatcher) alone(ctx context.Context, repair func() error) error {
	key, me := d.ns.Repairing(), NewHolder()
	mine, err := connect.Ask(ctx, func(ctx context.Context) (bool, error) { return d.rdb.SetNX(ctx, key, me, repairTTL).Result() })
	if err == nil && !mine {
		who, err := connect.Ask(ctx, func(ctx context.Context) (string, error) { return d.rdb.Get(ctx, key).Result() })
		if err == nil && who != me { // else go-redis has asked twice
			return fmt.Errorf("%w: %s repairs this namespace", ErrBusy, who)
		}
		if err != nil && !errors.Is(err, redis.Nil) {
			return wrap("look who repairs", err)
		}
	}
	if err != nil && !redis.HasErrorPrefix(err, "OOM") { // a full memory is to be repaired all the same
		return wrap("begin a repair", err)
	}
	hold := func(ctx context.Context, ms any) error {
		_, err := d.ask(ctx, d.run.Whole(holdScript, []string{key}, me, ms))
		return err
	}
	ended := make(chan struct{})
	var keeping sync.WaitGroup
	keeping.Go(func() {
		for again := time.Tick(repairTTL / 3); ; {
			select {
			case <-ended:
				_ = parting(ctx, lastWords, func(ctx context.Context) error { return hold(ctx, "") })
				return
			case <-again:
				_ = hold(ctx, repairTTL.Milliseconds())
			}
		}
	})
	defer keeping.Wait()
	defer close(ended)
	return repair()
}

// suspects returns, by lane, the entries that may have no place in it, each after the
// word that the mend script wants.
func (s *survey) suspects(jobs []string) map[string][]any {
	lanes := make(map[string][]any)
	// Those that stand in several places go first, so that no cut parts two of them.
	slices.SortStableFunc(jobs, func(a, b string) int { return len(s.jobs[b].places) - len(s.jobs[a].places) })
	for canonical, facts := range s.lanes {
		for ticket, known := range facts.tickets {
			if !known {
				lanes[canonical] = append(lanes[canonical], "look", ticket)
			}
		}
		for entry := range facts.garbage {
			lanes[canonical] = append(lanes[canonical], "drop", entry)
		}
	}
	for _, id := range jobs {
		word := "look"
		if s.jobs[id].unreadable != "" {
			word = "drop"
		}
		for _, at := range s.jobs[id].places {
			if at.where == "head" || at.where == "tail" {
				lanes[at.subject] = append(lanes[at.subject], word, at.entry)
			}
		}
	}
	return lanes
}

// maxSuspects bounds what one script looks for in a lane, which may be long.
const maxSuspects = 10

// chunks cuts suspects into parts that one script takes; none is one part too.
func chunks(suspects []any) [][]any {
	parts := [][]any{}
	for part := range slices.Chunk(suspects, 2*maxSuspects) {
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		parts = append(parts, nil)
	}
	return parts
}

// restoring makes the arguments of the restore script.
func (f *jobFacts) restoring(id string) []any {
	why, where := "it stood in no lane", ""
	mayStay, scheduled := "", []any{}
	if f.unreadable != "" {
		why = f.unreadable
	} else {
		mayStay = record.Scheduled(f.owner, f.order, f.entry)
	}
	for _, at := range f.places {
		switch at.where {
		case "head", "tail":
			where = "lane"
		case "scheduled":
			member := record.Scheduled(at.subject, at.order, at.entry)
			if member != mayStay {
				scheduled = append(scheduled, member)
			}
		}
	}
	return append([]any{id, strings.ReplaceAll(why, "\n", " "), where, f.owner, f.entry, mayStay}, scheduled...)
}

func (d *Dispatcher) mend(ctx context.Context, call *script.Call) ([]string, error) {
	words, err := d.ask(ctx, call)
	if err != nil {
		return nil, err
	}
	return words[1:], nil
}
