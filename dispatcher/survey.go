package dispatcher

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/subject"
)

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

const scanCount = 200

// survey reads all keys of a partition.
func (d *Dispatcher) survey(ctx context.Context, p int) (*survey, error) {
	keys := d.keys[p]
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
			return d.scanHash(ctx, keys.Leases(), func(holding, _ string) {
				if holding != subject.Filler {
					s.lane(holding).lease = true
				}
			})
		},
		func() error {
			return d.scanZset(ctx, keys.Deadlines(), func(holding string) {
				if holding != subject.Filler {
					s.lane(holding).deadline = true
				}
			})
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
					s.jobs[id].entry = entryOf(&job)
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
	node, err := connect.Node(ctx, d.rdb, keys.Jobs()) // a scan goes through one server
	if err != nil {
		return err
	}
	iter := node.Scan(ctx, 0, keys.Tail("")+"*", scanCount).Iterator()
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
	return scanPairs(ctx, d.rdb.HScan(ctx, key, 0, "", scanCount).Iterator(), each)
}

func (d *Dispatcher) scanZset(ctx context.Context, key string, each func(member string)) error {
	return scanPairs(ctx, d.rdb.ZScan(ctx, key, 0, "", scanCount).Iterator(), func(member, _ string) { each(member) })
}

// scanPairs reads a scan of pairs, which may bring one of them twice.
func scanPairs(ctx context.Context, iter *redis.ScanIterator, each func(first, second string)) error {
	seen := make(map[string]bool)
	for iter.Next(ctx) {
		first := iter.Val()
		if !iter.Next(ctx) {
			break
		}
		if !seen[first] {
			seen[first] = true
			each(first, iter.Val())
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
