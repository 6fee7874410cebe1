package dispatcher

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// survey is all that a partition's keys say, read piece by piece.
type survey struct {
	lanes map[string]*laneFacts
	jobs  map[string]*jobFacts
	kinds []string // that ready lists may exist for

	typed   map[string]string // keys whose type is not what it must be, and the type
	garbled []string          // members of the schedule that can't be read
	unsaid  []string          // kinds that have ready lanes but are not among the kinds
	seq     int64             // the highest sequence number of a job
	token   int64             // the highest token of a lease
	largest int64             // bytes of the largest job that has more than small
	clock   map[string]string

	unique   map[string]string // field -> id
	names    map[string]string // id -> field
	outcomes map[string]bool   // ids
	kept     int64             // bytes of outcomes
	notes    map[string]string // by id
	expiring map[string]bool   // members
	windows  map[string]bool   // fields
	ended    map[string]bool   // ids
}

// laneFacts is what the indexes say about one subject.
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

// place is one place where an id stands.
type place struct {
	where   string // head, tail, scheduled, dead
	subject string // canonical; not of the dead
	entry   string
	order   int64 // on the schedule
}

// jobFacts is what is known of one id.
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

func (s *survey) lane(subject string) *laneFacts {
	if s.lanes[subject] == nil {
		s.lanes[subject] = newLaneFacts()
	}
	return s.lanes[subject]
}

func newLaneFacts() *laneFacts {
	return &laneFacts{ready: make(map[string]int), tickets: make(map[string]bool), garbage: make(map[string]bool)}
}

func (s *survey) job(id string) *jobFacts {
	if s.jobs[id] == nil {
		s.jobs[id] = &jobFacts{}
	}
	return s.jobs[id]
}

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

const scanCount = 200

// small is how many bytes a stored job may have without a note in the clock: SMALL of lane.lua.
const small = 8192

// types says of which type each key must be.
func types(k subject.Keys) map[string]string {
	return map[string]string{
		k.Jobs(): "hash", k.Heads(): "hash", k.Leases(): "hash", k.Deadlines(): "zset", k.Parked(): "zset",
		k.Scheduled(): "zset", k.Dead(): "zset", k.Reasons(): "hash", k.Notes(): "hash", k.Clock(): "hash", k.Kinds(): "set",
		k.ParkReasons(): "hash", k.Asks(): "hash", k.Unique(): "hash", k.Names(): "hash", k.Outcomes(): "hash", k.Expiring(): "zset",
		k.Limits(): "hash", k.Windows(): "zset", k.Ended(): "zset",
	}
}

// typeOf says of which type one key must be; "" of one that nobody knows.
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

// survey reads all keys of a partition.
func (d *Dispatcher) survey(ctx context.Context, p int) (*survey, error) {
	keys := d.keys[p]
	s := &survey{
		lanes: make(map[string]*laneFacts), jobs: make(map[string]*jobFacts), typed: make(map[string]string),
		unique: make(map[string]string), names: make(map[string]string), outcomes: make(map[string]bool), notes: make(map[string]string), expiring: make(map[string]bool), windows: make(map[string]bool), ended: make(map[string]bool),
	}
	lists, err := d.surveyKeys(ctx, keys, s)
	if err != nil {
		return nil, err
	}
	hash := func(key string, each func(field, value string)) error {
		if s.typed[key] != "" {
			return nil
		}
		return d.scanHash(ctx, key, each)
	}
	zset := func(key string, each func(member, score string)) error {
		if s.typed[key] != "" {
			return nil
		}
		return scanPairs(ctx, scanCount, func(ctx context.Context, from uint64, n int64) *redis.ScanCmd {
			return d.rdb.ZScan(ctx, key, from, "", n)
		}, each)
	}
	steps := []func() error{
		func() error {
			return hash(keys.Heads(), func(subject, entry string) {
				s.lane(subject).head = entry
				s.place("head", subject, entry, 0)
			})
		},
		func() error {
			return hash(keys.Leases(), func(holding, text string) {
				if holding != record.Filler {
					s.lane(holding).leased, s.lane(holding).record = true, text
					s.token = max(s.token, record.ParseLease(text).Token)
				}
			})
		},
		func() error {
			return zset(keys.Deadlines(), func(holding, score string) {
				if holding != record.Filler {
					s.lane(holding).deadline, _ = strconv.ParseFloat(score, 64)
				}
			})
		},
		func() error {
			return zset(keys.Parked(), func(subject, score string) {
				s.lane(subject).parked = true
				s.lane(subject).again, _ = strconv.ParseFloat(score, 64)
			})
		},
		func() error { return d.surveyLists(ctx, keys, lists, s) },
		func() error {
			return zset(keys.Scheduled(), func(member, _ string) {
				if subject, order, entry, ok := record.ParseScheduled(member); ok {
					s.place("scheduled", subject, entry, order)
				} else {
					s.garbled = append(s.garbled, member)
				}
			})
		},
		func() error {
			return zset(keys.Dead(), func(id, _ string) {
				s.job(id).places = append(s.job(id).places, place{where: "dead"})
			})
		},
		func() error {
			return hash(keys.ParkReasons(), func(subject, reasons string) { s.lane(subject).reasons = reasons })
		},
		func() error {
			return hash(keys.Asks(), func(subject, asks string) { s.lane(subject).asked, s.lane(subject).asks = true, asks })
		},
		func() error {
			return hash(keys.Names(), func(id, name string) { s.names[id] = record.NameField(name) })
		},
		func() error { return hash(keys.Unique(), func(field, id string) { s.unique[field] = id }) },
		func() error {
			return hash(keys.Notes(), func(id, text string) { s.notes[id] = text })
		},
		func() error {
			return hash(keys.Outcomes(), func(id, outcome string) {
				s.outcomes[id] = true
				s.kept += record.OutcomeBytes(id, outcome)
			})
		},
		func() error {
			return zset(keys.Expiring(), func(member, _ string) {
				s.expiring[member] = true
				if subject, entry, ok := record.ParseExpiringTicket(member); ok {
					if _, here := s.lane(subject).tickets[entry]; here {
						s.lane(subject).tickets[entry] = true
					}
				}
			})
		},
		func() error { return zset(keys.Ended(), func(id, _ string) { s.ended[id] = true }) },
		func() error { return zset(keys.Windows(), func(field, _ string) { s.windows[field] = true }) },
		func() error { return hash(keys.Reasons(), func(id, _ string) { s.job(id).reason = true }) },
		func() error {
			return hash(keys.Jobs(), func(id, body string) {
				j := s.job(id)
				j.read(id, body)
				if len(body) > small {
					s.largest = max(s.largest, int64(len(body)))
				}
				s.seq = max(s.seq, record.OrderOf(body))
			})
		},
		func() (err error) {
			if s.typed[keys.Clock()] == "" {
				s.clock, err = connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) {
					return d.rdb.HGetAll(ctx, keys.Clock()).Result()
				})
			}
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for _, lane := range s.lanes {
		head, _ := record.ParseEntry(lane.head)
		note, _ := record.ParseNote(s.notes[head.ID])
		lane.asleep = note.Suspended
	}
	return s, nil
}

// read notes what a job's body says.
func (j *jobFacts) read(id, body string) {
	j.body = true
	job, err := decode(id, body)
	if err != nil {
		j.unreadable = err.Error()
		return
	}
	j.owner, j.entry, j.order = job.Subject.Canonical(), job.entry().String(), job.order
}

// behind returns the fields of the clock that are behind what was given out, and the
// least that they may be.
func (s *survey) behind() map[string]int64 {
	behind := make(map[string]int64)
	for field, least := range map[string]int64{"seq": s.seq, "token": s.token, "largest": s.largest} {
		if at, _ := strconv.ParseInt(s.clock[field], 10, 64); at < least {
			behind[field] = least
		}
	}
	return behind
}

// surveyKeys looks at the types of all keys, and returns those of lists: what is
// listed as ready and what waits behind heads, also of kinds that nobody remembers.
func (d *Dispatcher) surveyKeys(ctx context.Context, keys subject.Keys, s *survey) (lists []string, err error) {
	node, err := connect.Ask(ctx, func(ctx context.Context) (*redis.Client, error) {
		return connect.Node(ctx, d.rdb, keys.Jobs()) // a scan goes through one server
	})
	if err != nil {
		return nil, err
	}
	fixed := types(keys)
	check := func(batch []string) error {
		found := make([]*redis.StatusCmd, len(batch))
		err := d.together(ctx, func(pipe redis.Pipeliner) {
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
	seen := make(map[string]bool)
	step := func(ctx context.Context, from uint64) *redis.ScanCmd {
		return node.Scan(ctx, from, keys.Pattern(), scanCount)
	}
	err = scanAll(ctx, step, func(found []string) error {
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
	for batch := range slices.Chunk(all, scanCount) {
		if err := check(batch); err != nil {
			return nil, err
		}
	}
	return lists, nil
}

func (d *Dispatcher) surveyLists(ctx context.Context, keys subject.Keys, lists []string, s *survey) error {
	var known []string
	if s.typed[keys.Kinds()] == "" {
		var err error
		known, err = connect.Ask(ctx, func(ctx context.Context) ([]string, error) { return d.rdb.SMembers(ctx, keys.Kinds()).Result() })
		if err != nil {
			return err
		}
	}
	s.kinds = slices.Clone(known)
	for _, key := range lists {
		subject, isTail := keys.TrimTail(key)
		kind, isReady := strings.CutPrefix(key, keys.Ready(""))
		if isReady && !slices.Contains(known, kind) {
			s.unsaid, s.kinds = append(s.unsaid, kind), append(s.kinds, kind)
		}
		err := d.scanList(ctx, key, func(member string) {
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

// scanHash reads a hash. The first step asks for few fields where their values may be large.
func (d *Dispatcher) scanHash(ctx context.Context, key string, each func(field, value string)) error {
	return scanPairs(ctx, 2, func(ctx context.Context, from uint64, n int64) *redis.ScanCmd {
		return d.rdb.HScan(ctx, key, from, "", n)
	}, each)
}

// scanPairs reads a scan of pairs, which may bring one of them twice. A step is to bring half of
// MaxBatchBytes at most: it asks for as many pairs, scanCount at most, as those before it lead to expect.
func scanPairs(ctx context.Context, first int64, step func(ctx context.Context, from uint64, n int64) *redis.ScanCmd, each func(first, second string)) error {
	seen := make(map[string]bool)
	n := first
	return scanAll(ctx, func(ctx context.Context, from uint64) *redis.ScanCmd { return step(ctx, from, n) }, func(found []string) error {
		bytes := 0
		for i := 0; i+1 < len(found); i += 2 {
			bytes += len(found[i]) + len(found[i+1])
			if !seen[found[i]] {
				seen[found[i]] = true
				each(found[i], found[i+1])
			}
		}
		if pairs := int64(len(found) / 2); pairs > 0 {
			fitting := MaxBatchBytes / 2 * pairs / int64(bytes+1)
			n = max(1, min(scanCount, 4*n, fitting))
		}
		return nil
	})
}

// scanAll makes all steps of a scan.
func scanAll(ctx context.Context, step func(ctx context.Context, from uint64) *redis.ScanCmd, each func(found []string) error) error {
	for from := uint64(0); ; {
		part, err := scan(ctx, from, step)
		if err == nil {
			err = each(part.found)
		}
		if from = part.next; err != nil || from == 0 {
			return err
		}
	}
}

// scanList reads a list from its end to its head: what stands in it moves towards the
// head while others are taken off there, so it may come twice, but is not missed.
func (d *Dispatcher) scanList(ctx context.Context, key string, each func(member string)) error {
	n, err := connect.Ask(ctx, func(ctx context.Context) (int64, error) { return d.rdb.LLen(ctx, key).Result() })
	for to := n; to > 0 && err == nil; to -= scanCount {
		var part []string
		part, err = d.members(ctx, key, max(0, to-scanCount), to-1)
		for _, member := range part {
			each(member)
		}
	}
	return err
}
