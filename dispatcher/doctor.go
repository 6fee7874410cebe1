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
	findings, err := d.checkServers(ctx)
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

// laneFacts reads what the indexes say about one subject at one moment.
func (d *Dispatcher) laneFacts(ctx context.Context, p int, subject string) (*laneFacts, error) {
	keys := d.keys[p]
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
	keys := d.keys[p]
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
