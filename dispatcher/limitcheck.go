package dispatcher

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// A kind's limit is declared in the registry and enforced from its home partition, which may be on
// another server: two facts that no script can write at once. Versions keep them together, and
// doctor compares them.

// wrongLimits returns the limits that are enforced in another way than they are declared, by name,
// and how they are declared. What is away is not compared.
func (d *Dispatcher) wrongLimits(ctx context.Context) (declared map[string]record.Limit, enforced map[string]string, err error) {
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
	declared, enforced = make(map[string]record.Limit), make(map[string]string)
	for i, name := range names {
		k := kinds[name]
		want := record.Limit{Most: k.Limit, Every: k.Every, Version: k.Version}
		if without[i] || records[i].Err() != nil && !errors.Is(records[i].Err(), redis.Nil) {
			continue
		}
		if is, _ := record.ParseLimit(records[i].Val()); is.Most != want.Most || is.Every != want.Every {
			declared[kindLimit(name)], enforced[kindLimit(name)] = want, records[i].Val()
		}
	}
	return declared, enforced, nil
}

//go:embed overtake.lua
var overtakeLua string

var overtakeScript = script.NewWhole("overtake", overtakeLua)

func (d *Dispatcher) examineLimits(ctx context.Context) ([]Finding, error) {
	declared, enforced, err := d.wrongLimits(ctx)
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		is, _ := record.ParseLimit(enforced[name])
		findings = append(findings, Finding{Wrong, "limit", name,
			fmt.Sprintf("is declared as %s, and %s is enforced", declared[name], is)})
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
		is, _ := record.ParseLimit(enforced[name])
		if is.Version > want.Version {
			call := d.run.Whole(overtakeScript, []string{d.ns.Versions()}, strings.TrimPrefix(name, kindLimit("")), is.Version)
			if _, err := d.ask(ctx, call); err != nil {
				return nil, wrap("raise the version of "+name, err)
			}
			want.Version = is.Version
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
			all = append(all, Mended{"limit", name, "set it to " + declared[name].String() + ", as it is declared"})
		}
	}
	return all, err
}
