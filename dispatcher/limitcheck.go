package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// A kind's limit is declared in the registry and enforced from its home partition, which may be on
// another server: two facts that no script can write at once. Versions keep them together, and
// doctor compares them.

// wrongLimits returns the limits that are enforced in another way than they are declared, by name,
// and how they are declared. What is away is not compared.
func (d *Dispatcher) wrongLimits(ctx context.Context) (declared map[string]limitRecord, enforced map[string]string, err error) {
	kinds, err := readRegistry(ctx, d.rdb, d.ns)
	if err != nil {
		return nil, nil, err
	}
	names := slices.Sorted(maps.Keys(kinds))
	homes, records := make([]int, len(names)), make([]*redis.StringCmd, len(names))
	for i, name := range names {
		homes[i] = d.limitHome(kindLimit(name))
	}
	_, without, err := d.acrossTogether(ctx, homes, func(i int, pipe redis.Pipeliner) {
		records[i] = pipe.HGet(ctx, d.keys[homes[i]].Limits(), kindLimit(names[i]))
	})
	if err != nil {
		return nil, nil, unlessAbsent(err) // of a wrong type: a finding of its own
	}
	declared, enforced = make(map[string]limitRecord), make(map[string]string)
	for i, name := range names {
		k := kinds[name]
		want := limitRecord{k.Limit, k.Every, k.Version}
		if without[i] || records[i].Err() != nil && !errors.Is(records[i].Err(), redis.Nil) {
			continue
		}
		if is, _ := parseLimit(records[i].Val()); is.most != want.most || is.every != want.every {
			declared[kindLimit(name)], enforced[kindLimit(name)] = want, records[i].Val()
		}
	}
	return declared, enforced, nil
}

// words say what a limit is to who reads of it.
func (r limitRecord) words() string {
	switch {
	case r.most == 0 && r.every == 0:
		return "none"
	case r.every == 0:
		return fmt.Sprintf("%d at once", r.most)
	case r.most == 0:
		return fmt.Sprintf("one start every %s", r.every)
	}
	return fmt.Sprintf("%d at once and one start every %s", r.most, r.every)
}

func (d *Dispatcher) examineLimits(ctx context.Context) ([]Finding, error) {
	declared, enforced, err := d.wrongLimits(ctx)
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		is, _ := parseLimit(enforced[name])
		findings = append(findings, Finding{Wrong, "limit", name,
			fmt.Sprintf("is declared as %s, and %s is enforced", declared[name].words(), is.words())})
	}
	return findings, err
}

// repairLimits makes what is declared be enforced. Where the enforced one is of a later declaration, which did not
// come to its end, the kind's versions go on from there: else no declaration would count any more.
func (d *Dispatcher) repairLimits(ctx context.Context) ([]Mended, error) {
	declared, enforced, err := d.wrongLimits(ctx)
	if err != nil {
		return nil, err
	}
	for name, want := range declared {
		is, _ := parseLimit(enforced[name])
		if is.version > want.version {
			_, err := connect.Ask(ctx, func(ctx context.Context) (any, error) {
				return raiseScript.Run(ctx, d.rdb, []string{d.ns.Versions()}, strings.TrimPrefix(name, kindLimit("")), is.version).Result()
			})
			if err != nil {
				return nil, wrap("raise the version of "+name, err)
			}
			want.version = is.version
			declared[name] = want
		}
	}
	if err := d.registerLimits(ctx, declared); err != nil {
		return nil, err
	}
	still, _, err := d.wrongLimits(ctx)
	var all []Mended
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if _, wrong := still[name]; !wrong {
			all = append(all, Mended{"limit", name, "set it to " + declared[name].words() + ", as it is declared"})
		}
	}
	return all, err
}
