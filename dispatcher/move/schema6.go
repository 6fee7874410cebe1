package move

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// What was otherwise in schema 6:
//
//	entry      "<ended attempts> <max attempts>" once there were any, and a last flag '~' while its job was suspended;
//	           now both stand in the job's note, and an entry never changes
//	errors     hash: id -> what the last attempt failed with; failed: id -> the workers it failed on: in the note too
//	delayed    zset: subject -> when its head may run; now parked, with the reason backoff
//	leases     a suspended or halted lane had a lease "<token> suspended operator" that never ended; now it is parked.
//	           A lease said itself what was asked of its holder, '!' and the letters c, s or r; now asks says it
//	suspended  hash: subject -> "<when, ms> <operator|halted> <why>"; now in the reasons to be parked, or in asks
//	heads      had no filler

// from6 brings one partition from schema 6 to 7. Each write is one transaction that takes away what it was made of,
// or comes to the same when it is repeated; and none is made once another run has taken over.
func from6(ctx context.Context, m *lanes.Mover, p int) error {
	k := m.Keys(p)
	o := &old6{n: m, keys: k, base: strings.TrimSuffix(k.Jobs(), "jobs")}
	for _, step := range []func(context.Context) error{o.lanes, o.scheduled, o.delayed, o.leases, o.rest} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// old6 is a partition of schema 6.
type old6 struct {
	n    *lanes.Mover
	keys subject.Keys
	base string
}

// entry6 is an entry of schema 6, and how the new one is written where it stands.
type entry6 struct {
	record.Entry
	attempts  int
	suspended bool
	changed   bool // its text is another one now
	put       func(tx redis.Pipeliner, entry string)
}

var counted = regexp.MustCompile(`^((\d+) )?(\d+)([shuk]*)(~?)$`)

// parse6 reads an entry. A ticket, and an entry of schema 7, are as they were.
func parse6(text string) (e entry6, err error) {
	if len(text) > 2 && len(text) > 2+int(text[0])+int(text[1]) {
		kind, rules := 2+int(text[0]), 2+int(text[0])+int(text[1])
		if m := counted.FindStringSubmatch(text[rules:]); m != nil {
			e.ID, e.Kind, e.Flags = text[2:kind], text[kind:rules], m[4]
			e.attempts, _ = strconv.Atoi(m[2])
			e.Max, err = strconv.Atoi(m[3])
			e.suspended, e.changed = m[5] != "", m[1] != "" || m[5] != ""
			return e, err
		}
	}
	return e, fmt.Errorf("%w: the entry %q can't be read; mend it with 'lanekeeper doctor --fix' of the release that made it", record.ErrCorrupt, text)
}

// put writes what stands for jobs in the new form, each with its note in one transaction.
func (o *old6) put(ctx context.Context, entries []entry6) error {
	if len(entries) == 0 {
		return nil
	}
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	failures, err := o.n.Fields(ctx, o.base+"errors", ids)
	if err != nil {
		return err
	}
	workers, err := o.n.Fields(ctx, o.base+"failed", ids)
	if err != nil {
		return err
	}
	var writes []func(tx redis.Pipeliner)
	for i, e := range entries {
		failure, failed := failures[i].(string)
		on, had := workers[i].(string)
		if !e.changed && !failed && !had {
			continue
		}
		note := record.Note{Attempts: e.attempts, Suspended: e.suspended, Error: failure}
		if on = strings.TrimSuffix(on, "\n"); on != "" {
			note.Workers = strings.Split(on, "\n")
		}
		writes = append(writes, func(tx redis.Pipeliner) {
			if text := note.String(); text != "" {
				tx.HSet(ctx, o.keys.Notes(), e.ID, text)
			}
			tx.HDel(ctx, o.base+"errors", e.ID)
			tx.HDel(ctx, o.base+"failed", e.ID)
			if e.changed {
				e.put(tx, e.String())
			}
		})
	}
	return o.atomically(ctx, writes)
}

// writesAtOnce is how many lanes or jobs one script writes, with a few commands for each: each is whole in it.
const writesAtOnce = 50

// atomically writes, as long as this run may.
func (o *old6) atomically(ctx context.Context, writes []func(tx redis.Pipeliner)) error {
	for some := range slices.Chunk(writes, writesAtOnce) {
		err := o.n.Write(ctx, o.keys.Clock(), func(tx redis.Pipeliner) {
			for _, write := range some {
				write(tx)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pairs reads a hash or a sorted set step by step, and hands on at most two hundred pairs at a time.
func (o *old6) pairs(ctx context.Context, step func(ctx context.Context, from uint64) *redis.ScanCmd, each func(some []string) error) error {
	return lanes.ScanAll(ctx, step, func(found []string) error {
		for some := range slices.Chunk(found, 2*lanes.ScanCount) {
			if err := each(some); err != nil {
				return err
			}
		}
		return nil
	})
}

func (o *old6) fields(key string) func(ctx context.Context, from uint64) *redis.ScanCmd {
	return func(ctx context.Context, from uint64) *redis.ScanCmd {
		return o.n.Redis.HScan(ctx, key, from, "", lanes.ScanCount)
	}
}

func (o *old6) members(key string) func(ctx context.Context, from uint64) *redis.ScanCmd {
	return func(ctx context.Context, from uint64) *redis.ScanCmd {
		return o.n.Redis.ZScan(ctx, key, from, "", lanes.ScanCount)
	}
}

// lanes rewrites the entries of all lanes, heads and what is behind them.
func (o *old6) lanes(ctx context.Context) error {
	return o.pairs(ctx, o.fields(o.keys.Heads()), func(some []string) error {
		var heads []entry6
		for i := 0; i+1 < len(some); i += 2 {
			canonical := some[i]
			if canonical == record.Filler {
				continue
			}
			e, err := parse6(some[i+1])
			if err != nil {
				return err
			}
			e.put = func(tx redis.Pipeliner, entry string) { tx.HSet(ctx, o.keys.Heads(), canonical, entry) }
			heads = append(heads, e)
			if err := o.tail(ctx, o.keys.Tail(canonical)); err != nil {
				return err
			}
		}
		return o.put(ctx, heads)
	})
}

func (o *old6) tail(ctx context.Context, key string) error {
	for from := int64(0); ; from += lanes.ScanCount {
		some, err := o.n.Members(ctx, key, from, from+lanes.ScanCount-1)
		if err != nil || len(some) == 0 {
			return err
		}
		entries := make([]entry6, len(some))
		for i, text := range some {
			if entries[i], err = parse6(text); err != nil {
				return err
			}
			at := from + int64(i)
			entries[i].put = func(tx redis.Pipeliner, entry string) { tx.LSet(ctx, key, at, entry) }
		}
		if err := o.put(ctx, entries); err != nil {
			return err
		}
	}
}

// scheduled rewrites members of the schedule, each with its score.
func (o *old6) scheduled(ctx context.Context) error {
	return o.pairs(ctx, o.members(o.keys.Scheduled()), func(some []string) error {
		var entries []entry6
		for i := 0; i+1 < len(some); i += 2 {
			member := some[i]
			score, err := strconv.ParseFloat(some[i+1], 64)
			canonical, rest, ok := record.CutSubject(member)
			if err != nil || !ok || len(rest) < 5 {
				return fmt.Errorf("%w: the schedule has %q", record.ErrCorrupt, member)
			}
			e, err := parse6(rest[5:])
			if err != nil {
				return err
			}
			e.put = func(tx redis.Pipeliner, entry string) {
				tx.ZRem(ctx, o.keys.Scheduled(), member)
				tx.ZAdd(ctx, o.keys.Scheduled(), redis.Z{Score: score, Member: record.WithSubject(canonical, rest[:5]+entry)})
			}
			entries = append(entries, e)
		}
		return o.put(ctx, entries)
	})
}

// delayed parks the lanes whose heads wait for their next attempt.
func (o *old6) delayed(ctx context.Context) error {
	return o.pairs(ctx, o.members(o.base+"delayed"), func(some []string) error {
		var writes []func(tx redis.Pipeliner)
		for i := 0; i+1 < len(some); i += 2 {
			ms, err := strconv.ParseFloat(some[i+1], 64)
			if err != nil {
				return err
			}
			writes = append(writes, o.park(ctx, some[i], record.Park{Backoff: time.UnixMilli(int64(ms))}))
		}
		return o.atomically(ctx, writes)
	})
}

// park parks a lane. One that stands still until somebody resumes it had a lease for that.
func (o *old6) park(ctx context.Context, canonical string, why record.Park) func(tx redis.Pipeliner) {
	return func(tx redis.Pipeliner) {
		tx.HSet(ctx, o.keys.ParkReasons(), canonical, why.String())
		tx.ZAdd(ctx, o.keys.Parked(), redis.Z{Score: why.LookAgain(), Member: canonical})
		if why.Stopped() {
			tx.HDel(ctx, o.keys.Leases(), canonical)
			tx.ZRem(ctx, o.keys.Deadlines(), canonical)
		}
	}
}

var lease6 = regexp.MustCompile(`(?s)^(\d+ [a-z]+(?:\+\d+)?)(?:!([a-z]+))? (.*)$`)

// leases makes stops of the leases that were stops, and notes what is asked of holders beside their leases. By now all
// entries have their new form.
func (o *old6) leases(ctx context.Context) error {
	return o.pairs(ctx, o.fields(o.keys.Leases()), func(some []string) error {
		var subjects []string
		leases := make(map[string][]string)
		for i := 0; i+1 < len(some); i += 2 {
			if m := lease6.FindStringSubmatch(some[i+1]); m != nil && (strings.HasSuffix(m[1], " suspended") || m[2] != "") {
				subjects, leases[some[i]] = append(subjects, some[i]), m
			}
		}
		if len(subjects) == 0 {
			return nil
		}
		stops, err := o.n.Fields(ctx, o.base+"suspended", subjects)
		if err != nil {
			return err
		}
		asks, err := o.n.Fields(ctx, o.keys.Asks(), subjects)
		if err != nil {
			return err
		}
		asleep, err := o.asleep(ctx, subjects)
		if err != nil {
			return err
		}
		var writes []func(tx redis.Pipeliner)
		for i, s := range subjects {
			stop, _ := stops[i].(string)
			cancel, _ := asks[i].(string)
			m := leases[s]
			if strings.HasSuffix(m[1], " suspended") {
				writes = append(writes, o.park(ctx, s, parkOf(stop, asleep[i])))
			} else {
				writes = append(writes, o.ask(ctx, s, m, stop, cancel))
			}
		}
		return o.atomically(ctx, writes)
	})
}

// asleep reports which lanes have heads that are suspended by themselves.
func (o *old6) asleep(ctx context.Context, subjects []string) ([]bool, error) {
	heads, err := o.n.Fields(ctx, o.keys.Heads(), subjects)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(heads))
	for i, head := range heads {
		text, _ := head.(string)
		e, _ := record.ParseEntry(text)
		ids[i] = e.ID
	}
	notes, err := o.n.Fields(ctx, o.keys.Notes(), ids)
	if err != nil {
		return nil, err
	}
	asleep := make([]bool, len(notes))
	for i, note := range notes {
		text, _ := note.(string)
		n, _ := record.ParseNote(text)
		asleep[i] = n.Suspended
	}
	return asleep, nil
}

// stop6 reads who has stopped a lane, and why.
func stop6(text string) (s *record.Stop, who string) {
	when, rest, _ := strings.Cut(text, " ")
	who, why, _ := strings.Cut(rest, " ")
	ms, err := strconv.ParseInt(when, 10, 64)
	if err != nil || who == "" {
		return &record.Stop{At: time.UnixMilli(0), Why: "its reason was lost"}, "operator"
	}
	return &record.Stop{At: time.UnixMilli(ms), Why: why}, who
}

func parkOf(stop string, asleep bool) record.Park {
	why := record.Park{Job: asleep}
	if stop == "" && asleep { // nobody has stopped the lane but its head
		return why
	}
	s, who := stop6(stop)
	if who == "halted" {
		why.Halted = s
	} else {
		why.Suspended = s
	}
	return why
}

// ask notes what is asked of a holder; that an attempt is to be given back is forgotten with its worker.
func (o *old6) ask(ctx context.Context, canonical string, lease []string, stop, cancel string) func(tx redis.Pipeliner) {
	lines := ""
	if strings.Contains(lease[2], "c") {
		ms, _, _ := strings.Cut(strings.TrimPrefix(cancel, "cancel "), "\n")
		if _, err := strconv.Atoi(ms); err != nil {
			ms = "0"
		}
		lines = "cancel " + ms + "\n"
	}
	if strings.Contains(lease[2], "s") {
		s, _ := stop6(stop)
		lines += s.Suspending()
	}
	record := lease[1] + map[bool]string{true: "! ", false: " "}[lines != ""] + lease[3]
	return func(tx redis.Pipeliner) {
		tx.HSet(ctx, o.keys.Leases(), canonical, record)
		if lines != "" {
			tx.HSet(ctx, o.keys.Asks(), canonical, lines)
		} else {
			tx.HDel(ctx, o.keys.Asks(), canonical)
		}
	}
}

// rest takes away what has no meaning any more.
func (o *old6) rest(ctx context.Context) error {
	return o.atomically(ctx, []func(tx redis.Pipeliner){func(tx redis.Pipeliner) {
		for _, key := range []string{"errors", "failed", "delayed", "suspended"} {
			tx.Unlink(ctx, o.base+key)
		}
		tx.HSet(ctx, o.keys.Heads(), record.Filler, "")
	}})
}
