package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
)

// A kind's limit is declared in the registry and enforced from its home partition, which may be
// on another server: two facts that no script can write at once. Versions keep them together, and
// doctor compares them.

// wrongLimits returns the limits that are enforced in another way than they are declared, by
// name, and how they are declared. Kinds whose limit is on a server that is away are left out.
// Limits of pools are not declared anywhere but where they are enforced, so there is nothing to
// compare them with.
//
// It asks for the registry, because the doctor's own dispatcher may have been opened before the last declaration, and, in
// one round trip for each server, for the record of each kind.
func (d *Doctor) wrongLimits(ctx context.Context) (declared map[string]record.Limit, enforced map[string]string, err error) {
	kinds, err := d.d.Kinds(ctx)
	if err != nil {
		return nil, nil, err
	}
	homes, records := make([]int, len(kinds)), make([]*redis.StringCmd, len(kinds))
	for i, k := range kinds {
		homes[i] = d.lanes.LimitHome(lanes.KindLimit(k.Name))
	}
	_, without, err := d.lanes.AcrossTogether(ctx, homes, func(i int, pipe redis.Pipeliner) {
		records[i] = pipe.HGet(ctx, d.lanes.Keys(homes[i]).Limits(), lanes.KindLimit(kinds[i].Name))
	})
	if err != nil {
		return nil, nil, unlessAbsent(err) // of a wrong type: a finding of its own
	}
	declared, enforced = make(map[string]record.Limit), make(map[string]string)
	for i, k := range kinds {
		want := record.Limit{Most: k.Limit, Every: k.Every, Version: k.Version}
		// No record is no limit; any other error is no knowledge.
		if without[i] || records[i].Err() != nil && !errors.Is(records[i].Err(), redis.Nil) {
			continue
		}
		if is, _ := record.ParseLimit(records[i].Val()); is.Most != want.Most || is.Every != want.Every {
			declared[lanes.KindLimit(k.Name)], enforced[lanes.KindLimit(k.Name)] = want, records[i].Val()
		}
	}
	return declared, enforced, nil
}

// examineLimits says which limits are not as they are declared. It does so after all partitions,
// once for the namespace.
func (d *Doctor) examineLimits(ctx context.Context) ([]Finding, error) {
	declared, enforced, err := d.wrongLimits(ctx)
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		is, _ := record.ParseLimit(enforced[name])
		findings = append(findings, Finding{Wrong, "limit", name,
			fmt.Sprintf("is declared as %s, and %s is enforced", declared[name], is)})
	}
	return findings, err
}

// repairLimits makes what is declared be enforced. Where the enforced one is of a later
// declaration, which did not come to its end, the kind's versions go on from there: else no
// declaration would count any more.
func (d *Doctor) repairLimits(ctx context.Context) ([]Repair, error) {
	declared, enforced, err := d.wrongLimits(ctx)
	if err != nil {
		return nil, err
	}
	// The versions first: no limit is written over one of a later version.
	for name, want := range declared {
		is, _ := record.ParseLimit(enforced[name])
		if is.Version > want.Version {
			if err := d.lanes.Overtake(ctx, strings.TrimPrefix(name, lanes.KindLimit("")), is.Version); err != nil {
				return nil, lanes.Wrap("raise the version of "+name, err)
			}
			want.Version = is.Version
			declared[name] = want
		}
	}
	if err := d.lanes.WriteLimits(ctx, declared); err != nil {
		return nil, err
	}
	// A declaration that came meanwhile is later than ours and counts: so only what agrees now
	// was done.
	still, _, err := d.wrongLimits(ctx)
	var all []Repair
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if _, wrong := still[name]; !wrong {
			all = append(all, Repair{"limit", name, "set it to " + declared[name].String() + ", as it is declared"})
		}
	}
	return all, err
}
