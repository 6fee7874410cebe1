package lanekeepertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/inspect"
	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Enqueued asserts that there is exactly one job of a kind for a subject with this payload, and returns it for what else a test
// wants to know: when it runs, its headers, its id. Payloads are compared as values of T. A job that has finished is gone, so
// a test asserts before it drains; dead letters count.
func Enqueued[T any](k *Kit, kind dispatcher.TypedKind[T], key subject.Key, payload T) inspect.JobInfo {
	k.t.Helper()
	var found []inspect.JobInfo
	all := k.stored()
	for _, job := range all {
		var has T
		if job.Kind == kind.Name && job.Subject == key && json.Unmarshal(job.Payload, &has) == nil && reflect.DeepEqual(has, payload) {
			found = append(found, job)
		}
	}
	if len(found) != 1 {
		want, _ := json.Marshal(payload)
		k.t.Fatalf("lanekeepertest: want %s of %s with %s enqueued once, found it %d times among %s", kind.Name, key, want, len(found), list(all))
	}
	return found[0]
}

// NothingEnqueued asserts that there is no job: in no lane, on no schedule, and no dead letter.
func (k *Kit) NothingEnqueued() {
	k.t.Helper()
	if all := k.stored(); len(all) > 0 {
		k.t.Fatalf("lanekeepertest: want nothing enqueued, found %s", list(all))
	}
}

// LaneOrder asserts that the lane of a subject has jobs of these kinds in this order, its head first, and no others. Jobs whose
// time has not come are in no lane. With no kinds the lane is empty.
func (k *Kit) LaneOrder(key subject.Key, kinds ...string) {
	k.t.Helper()
	all := k.stored()
	var lane []inspect.JobInfo
	var has []string
	for _, job := range all {
		inLane := job.State != inspect.Scheduled && job.State != inspect.Dead && job.Seq > 0
		if inLane && job.Subject == key {
			lane = append(lane, job)
		}
	}
	slices.SortFunc(lane, func(a, b inspect.JobInfo) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, job := range lane {
		has = append(has, job.Kind)
	}
	if !slices.Equal(has, kinds) {
		k.t.Fatalf("lanekeepertest: want the lane of %s to be [%s], it is [%s], among %s", key, strings.Join(kinds, " "), strings.Join(has, " "), list(all))
	}
}

// list says which jobs there are, a line each, with their payloads: this is a test, and no log.
func list(jobs []inspect.JobInfo) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s:", len(jobs), oneOr(len(jobs), "job", "jobs"))
	for i := range jobs {
		j := &jobs[i]
		fmt.Fprintf(&b, "\n  %s of %s, %s", j.Kind, j.Subject, j.State)
		if !j.RunAt.IsZero() {
			fmt.Fprintf(&b, " until %s", j.RunAt.Format(time.RFC3339))
		}
		fmt.Fprintf(&b, ", id %s, with %.200s", j.ID, j.Payload)
	}
	return b.String()
}

// stored returns all jobs of the namespace.
func (k *Kit) stored() []inspect.JobInfo {
	k.t.Helper()
	ctx, cancel := connect.Bounded(context.WithoutCancel(k.t.Context()))
	defer cancel()
	all, err := k.jobs(ctx)
	if err != nil {
		k.t.Fatalf("lanekeepertest: look for jobs: %v", err)
	}
	return all
}

// jobs reads all jobs of the namespace, wherever they stand, by subject and then in the order of their lane. It walks over the
// bodies of all, which no look of a program would: a test has few.
func (k *Kit) jobs(ctx context.Context) (all []inspect.JobInfo, err error) {
	engine := k.plain.Engine()
	for p := range engine.Partitions {
		bodies, err := engine.Redis.HGetAll(ctx, engine.Keys(p).Jobs()).Result()
		if err != nil {
			return nil, err
		}
		for packed, body := range bodies {
			id, stored, err := record.DecodeJob(packed, body)
			if err != nil {
				return nil, err
			}
			job := dispatcher.JobOf(id, stored)
			switch info, err := k.look.Job(ctx, job.Ref()); {
			case err == nil:
				all = append(all, info)
			case !errors.Is(err, dispatcher.ErrNotFound): // else it has ended meanwhile
				return nil, err
			}
		}
	}
	slices.SortFunc(all, func(a, b inspect.JobInfo) int {
		return cmp.Or(strings.Compare(a.Subject.String(), b.Subject.String()), cmp.Compare(a.Seq, b.Seq), a.EnqueuedAt.Compare(b.EnqueuedAt), strings.Compare(a.ID, b.ID))
	})
	return all, nil
}
