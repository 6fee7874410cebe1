package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/subject"
)

// JobRef says which job is meant. An id is sure to be one job's only within a subject: jobs of two
// subjects that fall into different partitions may have the same ([NewJob] says when that is
// refused). With its Subject the job is looked for there alone, in one partition; without, in
// all of them, and when several have the id nothing is done and the error is an
// [*AmbiguousError].
type JobRef struct {
	ID      string
	Subject subject.Key // the zero key is any
}

// Ref returns what names the job and no other.
func (j *Job) Ref() JobRef { return JobRef{ID: j.ID, Subject: j.Subject} }

// Ref returns what names the job that was enqueued, or the one that was there in its place.
func (e *EnqueueResult) Ref() JobRef { return JobRef{ID: e.ID, Subject: e.Subject} }

// String shows the id, and the subject if one is given.
func (r JobRef) String() string {
	if r.anywhere() {
		return subject.IDText(r.ID)
	}
	return subject.IDText(r.ID) + " of " + r.Subject.String()
}

func (r JobRef) anywhere() bool { return r.Subject == (subject.Key{}) }

// AmbiguousError is returned for an id without a subject that several jobs have, as jobs of different
// partitions may. Subjects are theirs.
type AmbiguousError struct {
	ID       string
	Subjects []subject.Key
}

func (e *AmbiguousError) Error() string {
	names := make([]string, len(e.Subjects))
	for i, key := range e.Subjects {
		names[i] = key.String()
	}
	return fmt.Sprintf("dispatcher: id is ambiguous: %s is a job of %s; name the subject",
		subject.IDText(e.ID), strings.Join(names, " and one of "))
}

// Is makes errors.Is(err, ErrAmbiguous) true.
func (e *AmbiguousError) Is(target error) bool { return target == ErrAmbiguous }

// stored is what a partition has of a job.
type stored struct {
	partition int
	text      string
}

// lookUp reads what one hash of each partition in which a job may be has of it; owner reads whose
// that is. With an [IncompleteError] others may have the id too, and without one [ErrNotFound]
// says that none has.
func (d *Dispatcher) lookUp(ctx context.Context, ref JobRef, hash func(subject.Keys) string, owner func(text string) (subject.Key, error)) (stored, error) {
	places := []int{d.lanes.Partition(ref.Subject)}
	if ref.anywhere() {
		places = d.lanes.EveryPartition()
	}
	found := make([]*redis.StringCmd, len(places))
	missing, without, err := d.lanes.AcrossTogether(ctx, places, func(i int, pipe redis.Pipeliner) {
		found[i] = pipe.HGet(ctx, hash(d.lanes.Keys(places[i])), record.PackID(ref.ID))
	})
	if err != nil {
		return stored{}, err
	}
	var has []stored
	var subjects []subject.Key
	for i, p := range places {
		if without[i] || found[i].Err() != nil {
			continue
		}
		key, err := owner(found[i].Val())
		if !ref.anywhere() && err == nil && key != ref.Subject { // one that can't be read may be looked at
			continue
		}
		has, subjects = append(has, stored{p, found[i].Val()}), append(subjects, key)
	}
	switch {
	case len(has) > 1:
		return stored{}, &AmbiguousError{ref.ID, subjects}
	case len(has) == 1:
		return has[0], missing.OrNil()
	case missing != nil:
		return stored{}, missing
	}
	return stored{}, ErrNotFound
}

// find looks for a job that is stored. An [IncompleteError] may come beside it.
func (d *Dispatcher) find(ctx context.Context, ref JobRef) (stored, error) {
	s, err := d.lookUp(ctx, ref, subject.Keys.Jobs, func(text string) (subject.Key, error) {
		job, err := decode(record.PackID(ref.ID), text)
		return job.Subject, err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		err = fmt.Errorf("%w: no job %s; it has finished, or was never enqueued", ErrNotFound, ref)
	case !errors.Is(err, ErrAmbiguous):
		err = lanes.Wrap("find job", err)
	}
	return s, err
}

// Find is for package dispatcher/inspect alone: it returns in which partition a job is stored, and what is
// stored of it. Applications look at a job with inspect.Inspector.Job.
func (d *Dispatcher) Find(ctx context.Context, ref JobRef) (partition int, text string, err error) {
	s, err := d.find(ctx, ref)
	return s.partition, s.text, err
}

// only is find for who means to change the job: it must be the only one of its id.
func (d *Dispatcher) only(ctx context.Context, ref JobRef) (stored, error) {
	s, err := d.find(ctx, ref)
	var missing *IncompleteError
	if errors.As(err, &missing) {
		err = fmt.Errorf("find job %s: %w: there may be one in %s; name the subject", ref, missing.Err, strings.Join(missing.Missing, ", "))
	}
	return s, err
}

// stored finds a job that can be read.
func (d *Dispatcher) stored(ctx context.Context, ref JobRef) (partition int, job Job, err error) {
	s, err := d.only(ctx, ref)
	if err == nil {
		job, err = decode(record.PackID(ref.ID), s.text)
	}
	return s.partition, job, err
}
