package doctor

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// survey is the room of the first look: all that a partition's keys say, read piece by piece
// while jobs move. It holds facts and no verdicts; doctor.go judges, and looks again.
//
// Lanes are read first and the jobs' bodies last, so a job that moves on from its lane meanwhile
// is not missed. All the same a survey mixes many moments: nothing in it is reported, or mended,
// before it was looked at again.
type survey struct {
	lanes map[string]*laneFacts
	jobs  map[string]*jobFacts
	kinds []string // that ready lists may exist for

	// These are amiss at first sight.
	typed   map[string]string // keys whose type is not what it must be, and the type
	garbled []string          // members of the schedule that can't be read
	unsaid  []string          // kinds that have ready lanes but are not among the kinds

	// The partition's clock must not be behind the first three.
	seq     int64 // the highest sequence number of a job
	token   int64 // the highest token of a lease
	largest int64 // bytes of the largest job that has more than lanes.Small
	clock   map[string]string

	// Jobs leave these behind, and leftovers compares them with the jobs.
	unique   map[string]string // field -> id
	names    map[string]string // id -> field
	outcomes map[string]bool   // ids
	kept     int64             // bytes of outcomes
	notes    map[string]string // by id
	expiring map[string]bool   // members
	windows  map[string]bool   // fields
	ended    map[string]bool   // ids
}

// laneFacts is what the indexes say about one subject. Records are kept as they are stored,
// because one that can't be read is a finding too.
type laneFacts struct {
	head     string         // entry, or empty
	leased   bool           // has a record in leases
	record   string         // which may be empty
	deadline float64        // 0 without a place in deadlines
	parked   bool           // has a place in parked,
	again    float64        // with this score
	reasons  string         // in park_reasons
	asked    bool           // has a record in asks,
	asks     string         // this one
	ready    map[string]int // kind -> how often it is listed
	tail     int            // jobs behind the head

	asleep  bool            // its head is suspended
	tickets map[string]bool // that stand in the lane; true when they have a deadline
	garbage map[string]bool // what stands behind the head and is no entry
}

// place is one place where an id stands. It is comparable, so it can be the key of a question
// about that place.
type place struct {
	where   string // head, tail, scheduled, dead
	subject string // canonical; not of the dead
	entry   string
	order   int64 // on the schedule
}

// jobFacts is what is known of one id, by the body that is stored under it and by all places that
// name it. It has no payload: of a body that was read, only whose it is and where it belongs
// stays.
type jobFacts struct {
	body       bool
	owner      string // canonical subject, by the body; empty when that can't be read
	entry      string // of the body
	order      int64  // of the body
	unreadable string // why not
	reason     bool   // has a record in reasons
	places     []place
}

// dead reports whether the job is a dead letter.
func (j *jobFacts) dead() bool {
	return slices.ContainsFunc(j.places, func(p place) bool { return p.where == "dead" })
}

func newSurvey() *survey {
	return &survey{
		lanes: make(map[string]*laneFacts), jobs: make(map[string]*jobFacts), typed: make(map[string]string), unique: make(map[string]string),
		names: make(map[string]string), outcomes: make(map[string]bool), notes: make(map[string]string), expiring: make(map[string]bool),
		windows: make(map[string]bool), ended: make(map[string]bool),
	}
}

// lane returns the facts of a subject, which begin when any index first names it.
func (s *survey) lane(subject string) *laneFacts {
	if s.lanes[subject] == nil {
		s.lanes[subject] = newLaneFacts()
	}
	return s.lanes[subject]
}

func newLaneFacts() *laneFacts {
	return &laneFacts{ready: make(map[string]int), tickets: make(map[string]bool), garbage: make(map[string]bool)}
}

// job returns the facts of an id, which begin when any index first names it.
func (s *survey) job(id string) *jobFacts {
	if s.jobs[id] == nil {
		s.jobs[id] = &jobFacts{}
	}
	return s.jobs[id]
}

// place notes where an entry stands. A ticket is nobody's job: its lane knows it. A text that is
// no entry counts as garbage behind a head only; as a head it is the lane's own verdict.
func (s *survey) place(where, subject, entry string, order int64) {
	if e, ok := record.ParseEntry(entry); ok && e.IsTicket() {
		s.lane(subject).tickets[entry] = false
	} else if ok {
		j := s.job(e.ID)
		j.places = append(j.places, place{where, subject, entry, order})
	} else if where == "tail" {
		s.lane(subject).garbage[entry] = true
	}
}

// types says of which type each key must be that a partition has at most one of. docs/data.md
// says what is in them.
func types(k subject.Keys) map[string]string {
	return map[string]string{
		k.Jobs(): "hash", k.Heads(): "hash", k.Leases(): "hash", k.Deadlines(): "zset", k.Parked(): "zset",
		k.Scheduled(): "zset", k.Dead(): "zset", k.Reasons(): "hash", k.Notes(): "hash", k.Clock(): "hash", k.Kinds(): "set",
		k.ParkReasons(): "hash", k.Asks(): "hash", k.Unique(): "hash", k.Names(): "hash", k.Outcomes(): "hash", k.Expiring(): "zset",
		k.Limits(): "hash", k.Windows(): "zset", k.Ended(): "zset", k.Audit(): "stream",
	}
}

// typeOf says of which type one key must be: those of types by name, and those of which there are
// many, one for each lane, kind or request, by how they begin. It says "" for one that nobody
// knows, which is left alone.
func typeOf(k subject.Keys, key string, fixed map[string]string) string {
	_, isTail := k.TrimTail(key)
	switch {
	case isTail, strings.HasPrefix(key, k.Ready("")):
		return "list"
	case strings.HasPrefix(key, k.Wake("")):
		return "zset"
	case strings.HasPrefix(key, k.Request("")):
		return "string"
	}
	return fixed[key]
}

// visit is a hash or a sorted set of a partition, and what is noted of each of its pairs: field
// and value, or member and score. A scan may bring a pair twice while the hash grows; the
// engine's scans leave the second one out.
type visit struct {
	key  string
	note func(first, second string)
}

// ofLanes are those that are read before the lists of lanes, and ofJobs those that are read
// after. The filler in leases and deadlines is no lane's, and in heads one without a head, which is none: it is there for
// its length alone, see lease.lua.
func (s *survey) ofLanes(keys subject.Keys) []visit {
	return []visit{
		{keys.Heads(), func(subject, entry string) {
			s.lane(subject).head = entry
			s.place("head", subject, entry, 0)
		}},
		{keys.Leases(), func(holding, text string) {
			if holding != record.Filler {
				s.lane(holding).leased, s.lane(holding).record = true, text
				s.token = max(s.token, record.ParseLease(text).Token)
			}
		}},
		{keys.Deadlines(), func(holding, score string) {
			if holding != record.Filler {
				s.lane(holding).deadline, _ = strconv.ParseFloat(score, 64)
			}
		}},
		{keys.Parked(), func(subject, score string) {
			s.lane(subject).parked = true
			s.lane(subject).again, _ = strconv.ParseFloat(score, 64)
		}},
	}
}

// ofJobs ends with the bodies. Expiring comes after the lists, for it tells which tickets in them
// are somebody's.
func (s *survey) ofJobs(keys subject.Keys) []visit {
	return []visit{
		{keys.Scheduled(), func(member, _ string) {
			if subject, order, entry, ok := record.ParseScheduled(member); ok {
				s.place("scheduled", subject, entry, order)
			} else {
				s.garbled = append(s.garbled, member)
			}
		}},
		{keys.Dead(), func(id, _ string) { s.job(id).places = append(s.job(id).places, place{where: "dead"}) }},
		{keys.ParkReasons(), func(subject, reasons string) { s.lane(subject).reasons = reasons }},
		{keys.Asks(), func(subject, asks string) { s.lane(subject).asked, s.lane(subject).asks = true, asks }},
		{keys.Names(), func(id, name string) { s.names[id] = record.NameField(name) }},
		{keys.Unique(), func(field, id string) { s.unique[field] = id }},
		{keys.Notes(), func(id, text string) { s.notes[id] = text }},
		{keys.Outcomes(), func(id, outcome string) {
			s.outcomes[id] = true
			s.kept += record.OutcomeBytes(id, outcome)
		}},
		{keys.Expiring(), func(member, _ string) {
			s.expiring[member] = true
			if subject, entry, ok := record.ParseExpiringTicket(member); ok {
				if _, here := s.lane(subject).tickets[entry]; here {
					s.lane(subject).tickets[entry] = true
				}
			}
		}},
		{keys.Ended(), func(id, _ string) { s.ended[id] = true }},
		{keys.Windows(), func(field, _ string) { s.windows[field] = true }},
		{keys.Reasons(), func(id, _ string) { s.job(id).reason = true }},
		{keys.Jobs(), func(id, body string) {
			s.job(id).read(id, body)
			if len(body) > lanes.Small {
				s.largest = max(s.largest, int64(len(body)))
			}
			s.seq = max(s.seq, record.OrderOf(body))
		}},
	}
}

// survey reads all keys of a partition: those of lanes, and of jobs last, so that a job that
// moves on meanwhile is not missed.
func (d *Doctor) survey(ctx context.Context, p int) (*survey, error) {
	// A key of a wrong type is met by its type, before anybody reads it and gets an error.
	keys := d.lanes.Keys(p)
	s := newSurvey()
	lists, err := d.surveyKeys(ctx, keys, s)
	if err == nil {
		err = d.visitAll(ctx, s, keys, s.ofLanes(keys))
	}
	if err == nil {
		err = d.surveyLists(ctx, keys, lists, s)
	}
	if err == nil {
		err = d.visitAll(ctx, s, keys, s.ofJobs(keys))
	}
	if err == nil && s.typed[keys.Clock()] == "" {
		s.clock, err = connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) {
			return d.lanes.Redis.HGetAll(ctx, keys.Clock()).Result()
		})
	}
	if err != nil {
		return nil, err
	}
	// Whether a head is suspended its note says, and notes come last.
	for _, lane := range s.lanes {
		head, _ := record.ParseEntry(lane.head)
		note, _ := record.ParseNote(s.notes[head.ID])
		lane.asleep = note.Suspended
	}
	return s, nil
}

// visitAll reads hashes and sorted sets, but for those of a wrong type, which are a finding of
// their own.
func (d *Doctor) visitAll(ctx context.Context, s *survey, keys subject.Keys, visits []visit) error {
	must := types(keys)
	for _, v := range visits {
		scan := d.lanes.ScanHash
		if must[v.key] == "zset" {
			scan = d.lanes.ScanSet
		}
		if s.typed[v.key] != "" {
			continue
		}
		if err := scan(ctx, v.key, v.note); err != nil {
			return err
		}
	}
	return nil
}

// read notes what a job's body says, or why it can't be read: such a job has no owner, so no lane
// can claim it as its own.
func (j *jobFacts) read(id, body string) {
	j.body = true
	_, job, err := record.DecodeJob(id, body)
	if err != nil {
		j.unreadable = err.Error()
		return
	}
	j.owner, j.order = job.Subject.Canonical(), job.Order
	j.entry = job.Entry(id).String()
}

// behind returns the fields of the clock that are behind what was given out, and the least that
// they may be. A clock that is behind would give a number or a token a second time, and let
// scripts believe that jobs are smaller than they are.
func (s *survey) behind() map[string]int64 {
	behind := make(map[string]int64)
	for field, least := range map[string]int64{"seq": s.seq, "token": s.token, "largest": s.largest} {
		if at, _ := strconv.ParseInt(s.clock[field], 10, 64); at < least {
			behind[field] = least
		}
	}
	return behind
}

// surveyKeys looks at the types of all keys, and returns those of lists: what is listed as ready
// and what waits behind heads, also of kinds that nobody remembers.
//
// It scans the partition's server, all keys of its database, for those with the partition's tag,
// and asks for the type of each that it finds, 200 in a round trip. A user without the right to
// scan asks for the keys that are known by name.
func (d *Doctor) surveyKeys(ctx context.Context, keys subject.Keys, s *survey) (lists []string, err error) {
	node, err := connect.Ask(ctx, func(ctx context.Context) (*redis.Client, error) {
		return connect.Node(ctx, d.lanes.Redis, keys.Jobs()) // a scan goes through one server
	})
	if err != nil {
		return nil, err
	}
	fixed := types(keys)
	// A key that is of no type by now was deleted since the scan, as an empty list is.
	check := func(batch []string) error {
		found := make([]*redis.StatusCmd, len(batch))
		err := d.lanes.Together(ctx, func(pipe redis.Pipeliner) {
			for i, key := range batch {
				found[i] = pipe.Type(ctx, key)
			}
		})
		if err != nil {
			return err
		}
		for i, key := range batch {
			must := typeOf(keys, key, fixed)
			switch is := found[i].Val(); {
			case must == "" || is == "none":
			case is != must:
				s.typed[key] = is
			case must == "list":
				lists = append(lists, key)
			}
		}
		return nil
	}
	seen := make(map[string]bool) // a scan may bring a key several times
	step := func(ctx context.Context, from uint64) *redis.ScanCmd {
		return node.Scan(ctx, from, keys.Pattern(), lanes.ScanCount)
	}
	err = lanes.ScanAll(ctx, step, func(found []string) error {
		for _, key := range found {
			seen[key] = true
		}
		return nil
	})
	all := slices.Sorted(maps.Keys(seen))
	if redis.HasErrorPrefix(err, "NOPERM") {
		all, err = d.namedKeys(ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(all, lanes.ScanCount) {
		if err := check(batch); err != nil {
			return nil, err
		}
	}
	return lists, nil
}

// surveyLists reads the lists: tails of lanes, and who is ready of each kind. They are read from
// their ends, so what moves towards the head meanwhile is not missed.
func (d *Doctor) surveyLists(ctx context.Context, keys subject.Keys, lists []string, s *survey) error {
	var known []string
	if s.typed[keys.Kinds()] == "" {
		var err error
		known, err = connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return d.lanes.Redis.SMembers(ctx, keys.Kinds()).Result() })
		if err != nil {
			return err
		}
	}
	s.kinds = slices.Clone(known) // and those of lists that are there although nobody noted their kind
	for _, key := range lists {
		subject, isTail := keys.TrimTail(key)
		kind, isReady := strings.CutPrefix(key, keys.Ready(""))
		if isReady && !slices.Contains(known, kind) {
			s.unsaid, s.kinds = append(s.unsaid, kind), append(s.kinds, kind)
		}
		err := d.lanes.ScanList(ctx, key, func(member string) {
			if isTail {
				s.lane(subject).tail++
				s.place("tail", subject, member, 0)
			} else {
				s.lane(member).ready[kind]++
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
