package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

// leftover is an entry of an index that stands for nothing (any more), and how it goes.
type leftover struct {
	what, where, detail string
	mended              string
	mend                func(ctx context.Context) error
}

// leftovers compares what jobs and lanes leave for a while, unique keys, outcomes and tickets,
// with what it is there for. Each is looked at again at one moment: jobs end all the time.
func (d *Dispatcher) leftovers(ctx context.Context, p int, s *survey) ([]leftover, error) {
	var found []leftover
	for _, field := range slices.Sorted(maps.Keys(s.unique)) {
		id := s.unique[field]
		if s.jobs[id] != nil && s.jobs[id].body && s.names[id] == field || s.expiring["w"+field] {
			continue
		}
		gone, err := d.confirm(ctx, dropUnique, p, "look", field, id)
		if err != nil {
			return nil, err
		}
		if gone {
			found = append(found, leftover{"unique key", fmt.Sprintf("%q", field), "is taken by " + idText(id) + ", which does not have it",
				"freed it", func(ctx context.Context) error {
					_, err := d.confirm(ctx, dropUnique, p, "drop", field, id)
					return err
				}})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.names)) {
		if s.jobs[id] != nil && s.jobs[id].body && s.unique[s.names[id]] != "" {
			continue
		}
		gone, err := d.confirm(ctx, dropName, p, "look", s.names[id], id)
		if err != nil {
			return nil, err
		}
		if gone {
			found = append(found, leftover{"unique key", idText(id), "is said to have one, but does not",
				"dropped that", func(ctx context.Context) error {
					_, err := d.confirm(ctx, dropName, p, "drop", s.names[id], id)
					return err
				}})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.outcomes)) {
		if s.expiring["o"+id] {
			continue
		}
		gone, err := d.confirm(ctx, dropOutcome, p, "look", "o"+id, id)
		if err != nil {
			return nil, err
		}
		if gone {
			found = append(found, leftover{"outcome", idText(id), "would be kept for ever",
				"dropped it", func(ctx context.Context) error {
					_, err := d.confirm(ctx, dropOutcome, p, "drop", "o"+id, id)
					return err
				}})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.failed)) {
		if s.jobs[id] != nil && s.jobs[id].body {
			continue
		}
		gone, err := d.confirm(ctx, dropFailed, p, "look", "", id)
		if err != nil {
			return nil, err
		}
		if gone {
			found = append(found, leftover{"failures", idText(id), "are noted of a job that is not there",
				"dropped them", func(ctx context.Context) error { _, err := d.confirm(ctx, dropFailed, p, "drop", "", id); return err }})
		}
	}
	return found, nil
}

// These look once more, and drop what is confirmed, at one moment. KEYS: jobs, unique, names,
// expiring, outcomes, failed. ARGV: 'look' or 'drop', field, id.
var (
	dropUnique = redis.NewScript(`
local field, id = ARGV[2], ARGV[3]
local name = redis.call('HGET', KEYS[3], id)
local has = redis.call('HEXISTS', KEYS[1], id) == 1 and name and string.match(name, '^%d+ %S+ (.*)$') == field
if has or redis.call('HGET', KEYS[2], field) ~= id or redis.call('ZSCORE', KEYS[4], 'w' .. field) then
  return 0
end
return ARGV[1] == 'drop' and redis.call('HDEL', KEYS[2], field) or 1`)
	dropName = redis.NewScript(`
local name = redis.call('HGET', KEYS[3], ARGV[3])
local field = name and string.match(name, '^%d+ %S+ (.*)$')
if not name or field and redis.call('HEXISTS', KEYS[1], ARGV[3]) == 1 and redis.call('HEXISTS', KEYS[2], field) == 1 then
  return 0
end
return ARGV[1] == 'drop' and redis.call('HDEL', KEYS[3], ARGV[3]) or 1`)
	dropOutcome = redis.NewScript(`
if redis.call('HEXISTS', KEYS[5], ARGV[3]) == 0 or redis.call('ZSCORE', KEYS[4], ARGV[2]) then
  return 0
end
return ARGV[1] == 'drop' and redis.call('HDEL', KEYS[5], ARGV[3]) or 1`)
	dropFailed = redis.NewScript(`
if redis.call('HEXISTS', KEYS[6], ARGV[3]) == 0 or redis.call('HEXISTS', KEYS[1], ARGV[3]) == 1 then
  return 0
end
return ARGV[1] == 'drop' and redis.call('HDEL', KEYS[6], ARGV[3]) or 1`)
)

func (d *Dispatcher) confirm(ctx context.Context, script *redis.Script, p int, what, field, id string) (bool, error) {
	k := d.keys[p]
	n, err := script.Run(ctx, d.rdb, []string{k.Jobs(), k.Unique(), k.Names(), k.Expiring(), k.Outcomes(), k.Failed()}, what, field, id).Int()
	if redis.HasErrorPrefix(err, "WRONGTYPE") {
		return false, nil // a finding of its own
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, wrap("examine what is left over", err)
	}
	return n == 1, nil
}
