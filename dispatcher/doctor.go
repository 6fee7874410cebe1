package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/subject"
)

// The two severities of a [Finding].
const (
	Wrong   = "wrong"   // lanes and indexes disagree, or the server can't keep lanes
	Warning = "warning" // a setting by which acknowledged jobs can be lost
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity string `json:"severity"`
	What     string `json:"what"`
	Where    string `json:"where"`
	Detail   string `json:"detail"`
}

// Doctor recomputes every index from the lanes (I4) and says what disagrees, and
// which server settings lose data. It reads partition by partition without
// stopping anybody, so what it suspects then is looked at again at one moment
// before it is reported. It costs as much as there are jobs. progress, if not
// nil, is told how many partitions are done.
func (d *Dispatcher) Doctor(ctx context.Context, progress func(done int)) ([]Finding, error) {
	findings, err := d.checkServer(ctx)
	if err != nil {
		return nil, err
	}
	for p := range d.ns.Partitions {
		found, err := d.examine(ctx, p)
		if err != nil {
			return nil, err
		}
		findings = append(findings, found...)
		if progress != nil {
			progress(p + 1)
		}
	}
	return findings, nil
}

// laneFacts is what the indexes say about one subject.
type laneFacts struct {
	head     string         // entry, or empty
	lease    bool           // has a record in leases
	deadline bool           // has a place in deadlines
	delayed  bool           // has a place in delayed
	ready    map[string]int // kind -> how often it is listed
	tail     int            // jobs behind the head
}

// verdicts says what is wrong with a lane.
func (f *laneFacts) verdicts() []string {
	var out []string
	say := func(wrong bool, format string, args ...any) {
		if wrong {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	head, ok := parseEntry(f.head)
	say(f.head != "" && !ok, "the head %q can't be read", f.head)
	say(f.lease != f.deadline, "lease %t but deadline %t", f.lease, f.deadline)
	say(f.head == "" && f.tail > 0, "%d jobs wait behind no head", f.tail)
	say(f.head == "" && f.delayed, "delayed without a head")
	listed := 0
	for k, n := range f.ready {
		listed += n
		say(n > 0 && k != head.kind, "listed as ready for kind %s, but the head's kind is %q", k, head.kind)
	}
	say(listed > 1, "listed as ready %d times", listed)
	states := min(listed, 1)
	for _, in := range []bool{f.lease, f.delayed} {
		if in {
			states++
		}
	}
	say(f.head != "" && states == 0, "stuck: neither ready, leased nor delayed")
	say(states > 1, "in several states: ready %t, leased %t, delayed %t", listed > 0, f.lease, f.delayed)
	return out
}

// jobFacts is where one id stands.
type jobFacts struct {
	subject string // canonical; empty while not known
	entry   string // as it stands in its lane
	body    bool
	places  []string // of: head, tail, scheduled, dead
}

func (f *jobFacts) verdict() string {
	switch {
	case !f.body && len(f.places) > 0:
		return "stands in " + strings.Join(f.places, " and ") + " but has no body"
	case f.body && len(f.places) == 0:
		return "has a body but stands nowhere: it will never run"
	case len(f.places) > 1:
		return "stands in several places: " + strings.Join(f.places, ", ")
	}
	return ""
}

// survey is all that a partition's keys say, read piece by piece.
type survey struct {
	lanes map[string]*laneFacts
	jobs  map[string]*jobFacts
	stray []Finding // what is wrong by itself
}

func (s *survey) lane(subject string) *laneFacts {
	if s.lanes[subject] == nil {
		s.lanes[subject] = &laneFacts{ready: make(map[string]int)}
	}
	return s.lanes[subject]
}

func (s *survey) place(id, subject, entry, place string) {
	j := s.jobs[id]
	if j == nil {
		j = &jobFacts{}
		s.jobs[id] = j
	}
	if place == "body" {
		j.body = true
		return
	}
	j.places = append(j.places, place)
	if subject != "" {
		j.subject, j.entry = subject, entry
	}
}

// examine checks one partition.
func (d *Dispatcher) examine(ctx context.Context, p int) ([]Finding, error) {
	s, err := d.survey(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("examine partition %d: %w", p, err)
	}
	var findings []Finding
	for subject, facts := range s.lanes {
		if len(facts.verdicts()) == 0 {
			continue
		}
		again, err := d.laneFacts(ctx, p, subject)
		if err != nil {
			return nil, err
		}
		for _, v := range again.verdicts() {
			findings = append(findings, Finding{Wrong, "lane", textOf(subject), v})
		}
	}
	for id, facts := range s.jobs {
		if facts.verdict() == "" {
			continue
		}
		again, err := d.jobFacts(ctx, p, id, *facts)
		if err != nil {
			return nil, err
		}
		if v := again.verdict(); v != "" {
			findings = append(findings, Finding{Wrong, "job", idText(id), v})
		}
	}
	findings = append(findings, s.stray...)
	slices.SortFunc(findings, func(a, b Finding) int {
		return strings.Compare(a.What+a.Where+a.Detail, b.What+b.Where+b.Detail)
	})
	return findings, nil
}

const scanCount = 1000

// survey reads all keys of a partition.
func (d *Dispatcher) survey(ctx context.Context, p int) (*survey, error) {
	keys := d.ns.Keys(p)
	s := &survey{lanes: make(map[string]*laneFacts), jobs: make(map[string]*jobFacts)}
	kinds, err := d.kinds(ctx, p)
	if err != nil {
		return nil, err
	}
	steps := []func() error{
		func() error {
			return d.scanHash(ctx, keys.Heads(), func(subject, entry string) {
				s.lane(subject).head = entry
				if e, ok := parseEntry(entry); ok {
					s.place(e.id, subject, entry, "head")
				}
			})
		},
		func() error {
			return d.scanHash(ctx, keys.Leases(), func(subject, _ string) { s.lane(subject).lease = true })
		},
		func() error {
			return d.scanZset(ctx, keys.Deadlines(), func(subject string) { s.lane(subject).deadline = true })
		},
		func() error {
			return d.scanZset(ctx, keys.Delayed(), func(subject string) { s.lane(subject).delayed = true })
		},
		func() error { return d.surveyReady(ctx, keys, kinds, s) },
		func() error { return d.surveyTails(ctx, keys, s) },
		func() error {
			return d.scanZset(ctx, keys.Scheduled(), func(member string) {
				if subject, entry, ok := parseScheduled(member); ok {
					e, _ := parseEntry(entry)
					s.place(e.id, subject, entry, "scheduled")
					return
				}
				s.stray = append(s.stray, Finding{Wrong, "schedule", fmt.Sprintf("%q", member), "can't be read"})
			})
		},
		func() error {
			return d.scanZset(ctx, keys.Dead(), func(id string) { s.place(id, "", "", "dead") })
		},
		func() error {
			return d.scanHash(ctx, keys.Jobs(), func(id, body string) {
				s.place(id, "", "", "body")
				if job, err := decode(id, body); err != nil {
					s.stray = append(s.stray, Finding{Wrong, "job", idText(id), err.Error()})
				} else if s.jobs[id].subject == "" {
					s.jobs[id].subject = job.Subject.Canonical()
					s.jobs[id].entry = entryOf(job)
				}
			})
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (d *Dispatcher) surveyReady(ctx context.Context, keys subject.Keys, kinds []string, s *survey) error {
	for _, kind := range kinds {
		err := d.scanList(ctx, keys.Ready(kind), func(subject string) { s.lane(subject).ready[kind]++ })
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Dispatcher) surveyTails(ctx context.Context, keys subject.Keys, s *survey) error {
	iter := d.rdb.Scan(ctx, 0, keys.Tail("")+"*", scanCount).Iterator()
	for iter.Next(ctx) {
		subject, ok := keys.TrimTail(iter.Val())
		if !ok {
			continue
		}
		err := d.scanList(ctx, iter.Val(), func(entry string) {
			s.lane(subject).tail++
			if e, ok := parseEntry(entry); ok {
				s.place(e.id, subject, entry, "tail")
			}
		})
		if err != nil {
			return err
		}
	}
	return iter.Err()
}

func (d *Dispatcher) scanHash(ctx context.Context, key string, each func(field, value string)) error {
	iter := d.rdb.HScan(ctx, key, 0, "", scanCount).Iterator()
	seen := make(map[string]bool)
	for iter.Next(ctx) {
		field := iter.Val()
		if !iter.Next(ctx) {
			break
		}
		if !seen[field] { // a scan may bring a field twice
			seen[field] = true
			each(field, iter.Val())
		}
	}
	return iter.Err()
}

func (d *Dispatcher) scanZset(ctx context.Context, key string, each func(member string)) error {
	iter := d.rdb.ZScan(ctx, key, 0, "", scanCount).Iterator()
	seen := make(map[string]bool)
	for iter.Next(ctx) {
		member := iter.Val()
		if !iter.Next(ctx) {
			break
		}
		if !seen[member] {
			seen[member] = true
			each(member)
		}
	}
	return iter.Err()
}

func (d *Dispatcher) scanList(ctx context.Context, key string, each func(member string)) error {
	for from := int64(0); ; from += scanCount {
		part, err := d.rdb.LRange(ctx, key, from, from+scanCount-1).Result()
		if err != nil {
			return err
		}
		for _, member := range part {
			each(member)
		}
		if len(part) < scanCount {
			return nil
		}
	}
}

// laneFacts reads what the indexes say about one subject at one moment.
func (d *Dispatcher) laneFacts(ctx context.Context, p int, subject string) (*laneFacts, error) {
	keys := d.ns.Keys(p)
	kinds, err := d.kinds(ctx, p)
	if err != nil {
		return nil, err
	}
	var head, record *redis.StringCmd
	var deadline, delayed *redis.FloatCmd
	var tail *redis.IntCmd
	listed := make([]*redis.IntSliceCmd, len(kinds))
	_, err = d.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		head, record = tx.HGet(ctx, keys.Heads(), subject), tx.HGet(ctx, keys.Leases(), subject)
		deadline, delayed = tx.ZScore(ctx, keys.Deadlines(), subject), tx.ZScore(ctx, keys.Delayed(), subject)
		tail = tx.LLen(ctx, keys.Tail(subject))
		for i, kind := range kinds {
			listed[i] = tx.LPosCount(ctx, keys.Ready(kind), subject, 2, redis.LPosArgs{})
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, wrap("examine lane", err)
	}
	f := &laneFacts{
		head: head.Val(), lease: record.Err() == nil, deadline: deadline.Err() == nil,
		delayed: delayed.Err() == nil, tail: int(tail.Val()), ready: make(map[string]int),
	}
	for i, kind := range kinds {
		f.ready[kind] = len(listed[i].Val())
	}
	return f, nil
}

// jobFacts reads where one id stands at one moment. before says where its lane is.
func (d *Dispatcher) jobFacts(ctx context.Context, p int, id string, before jobFacts) (*jobFacts, error) {
	keys := d.ns.Keys(p)
	var body *redis.BoolCmd
	var dead, scheduled *redis.FloatCmd
	var head *redis.StringCmd
	var tail *redis.IntSliceCmd
	_, err := d.rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		body, dead = tx.HExists(ctx, keys.Jobs(), id), tx.ZScore(ctx, keys.Dead(), id)
		head = tx.HGet(ctx, keys.Heads(), before.subject)
		scheduled = tx.ZScore(ctx, keys.Scheduled(), fmt.Sprintf("%d %s%s", len(before.subject), before.subject, before.entry))
		tail = tx.LPosCount(ctx, keys.Tail(before.subject), before.entry, 2, redis.LPosArgs{})
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, wrap("examine job", err)
	}
	f := &jobFacts{body: body.Val()}
	if e, ok := parseEntry(head.Val()); ok && e.id == id {
		f.places = append(f.places, "head")
	}
	for range tail.Val() {
		f.places = append(f.places, "tail")
	}
	if scheduled.Err() == nil {
		f.places = append(f.places, "scheduled")
	}
	if dead.Err() == nil {
		f.places = append(f.places, "dead")
	}
	return f, nil
}

// parseScheduled splits "<length of subject> <subject><entry>".
func parseScheduled(member string) (subject, entry string, ok bool) {
	length, rest, found := strings.Cut(member, " ")
	n := 0
	if _, err := fmt.Sscanf(length, "%d", &n); err != nil || !found || n < 1 || n > len(rest) {
		return "", "", false
	}
	_, ok = parseEntry(rest[n:])
	return rest[:n], rest[n:], ok
}

func textOf(canonical string) string {
	key, err := subject.FromCanonical(canonical)
	if err != nil {
		return fmt.Sprintf("%q", canonical)
	}
	return key.String()
}

func idText(packed string) string {
	id, err := unpackID(packed)
	if err != nil {
		return fmt.Sprintf("%q", packed)
	}
	return id
}
