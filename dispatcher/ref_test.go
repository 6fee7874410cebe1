package dispatcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/internal/redistest"
	"github.com/lanekeeper/lanekeeper/subject"
)

// near returns a lane in the partition of another one, and far one that is in another partition.
func (h *house) near(lane string) string { return h.other(lane, true) }
func (h *house) far(lane string) string  { return h.other(lane, false) }

func (h *house) other(lane string, same bool) string {
	ns := h.Namespace()
	for i := 0; ; i++ {
		name := fmt.Sprint(lane, "-", i)
		if (ns.Partition(key(name)) == ns.Partition(key(lane))) == same {
			return name
		}
	}
}

func of(lane, id string) dispatcher.JobRef { return dispatcher.JobRef{ID: id, Subject: key(lane)} }

// One id for two subjects is refused where both are in one partition, and makes two jobs where they are not: the documentation
// of NewJob.ID and docs/guarantees.md say so.
func TestOneIDForTwoSubjects(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 4})
		h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "Z"})
		if _, err := h.Enqueue(bg, dispatcher.NewJob{Subject: key(h.near("a")), Kind: "k", ID: "Z"}); !errors.Is(err, dispatcher.ErrConflict) {
			t.Errorf("in the same partition: %v", err)
		}
		if done := h.enqueue(dispatcher.NewJob{Subject: key(h.far("a")), Kind: "k", ID: "Z"}); !done.Created {
			t.Errorf("in another partition: %+v", done)
		}
	})
}

// H5: an id that jobs of two subjects have is no answer to which one is meant: nothing is done to
// either, by any command; with the subject each is found.
func TestH5_AmbiguousIDs(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 4})
		a, b := "a", h.far("a")
		for _, lane := range []string{a, b} {
			h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: "k", ID: "Z", Keep: time.Minute})
		}
		soon, cancel := context.WithTimeout(bg, 5*time.Second)
		defer cancel()
		before := dump(t, rdb, h.cfg.Namespace)
		for name, do := range map[string]func(dispatcher.JobRef) error{
			"Job":        func(r dispatcher.JobRef) error { _, err := h.Job(bg, r); return err },
			"Outcome":    func(r dispatcher.JobRef) error { _, err := h.Outcome(bg, r); return err },
			"WaitFor":    func(r dispatcher.JobRef) error { _, err := h.WaitFor(soon, r); return err },
			"Cancel":     func(r dispatcher.JobRef) error { _, err := h.Cancel(bg, r); return err },
			"SuspendJob": func(r dispatcher.JobRef) error { return h.SuspendJob(bg, r) },
			"ResumeJob":  func(r dispatcher.JobRef) error { return h.ResumeJob(bg, r) },
			"Replay":     func(r dispatcher.JobRef) error { _, err := h.Replay(bg, r, false); return err },
			"Discard":    func(r dispatcher.JobRef) error { return h.Discard(bg, r) },
			"IsDead":     func(r dispatcher.JobRef) error { _, err := h.IsDead(bg, r); return err },
		} {
			err := do(ref("Z"))
			var which *dispatcher.AmbiguousError
			if !errors.Is(err, dispatcher.ErrAmbiguous) || !errors.As(err, &which) || len(which.Subjects) != 2 ||
				!slices.Contains(which.Subjects, key(a)) || !slices.Contains(which.Subjects, key(b)) {
				t.Errorf("%s of an id that two jobs have: %v", name, err)
			}
		}
		if after := dump(t, rdb, h.cfg.Namespace); after != before {
			t.Errorf("it did something:\n%s\nbefore\n%s", after, before)
		}
		for _, lane := range []string{a, b} {
			if job, err := h.Job(bg, of(lane, "Z")); err != nil || job.Subject != key(lane) {
				t.Errorf("with its subject %s: %s, %v", lane, job.Subject, err)
			}
		}
		_, err := h.Cancel(bg, of(a, "Z"))
		h.ok(err)
		if job, err := h.Job(bg, ref("Z")); err != nil || job.Subject != key(b) {
			t.Errorf("the other one: %s, %v; want it alone, untouched", job.Subject, err)
		}
		if _, err := h.Cancel(bg, of("nobody", "Z")); !errors.Is(err, dispatcher.ErrNotFound) {
			t.Errorf("of a subject that has no such job: %v", err)
		}
	})
}

// H5: whoever waits for a job is told of no other one that has its id, in another partition or in
// the same one, before it or after it.
func TestH5_OutcomesAreOfTheirSubjects(t *testing.T) {
	t.Parallel()
	redistest.Each(t, func(t *testing.T, rdb *redis.Client) {
		h := newHouse(t, rdb, dispatcher.Config{Partitions: 4})
		finished := func(lane string) {
			h.enqueue(dispatcher.NewJob{Subject: key(lane), Kind: "k", ID: "Z", Keep: time.Minute})
			h.ok(finishWith(bg, h.Dispatcher, h.head("w", "Z", 1), []byte(lane)))
		}
		for _, other := range []string{h.far("a"), h.near("a")} {
			finished(other)
			done := h.enqueue(dispatcher.NewJob{Subject: key("a"), Kind: "k", ID: "Z", Keep: time.Minute})
			if done.Ref() != of("a", "Z") {
				t.Errorf("enqueued as %v", done.Ref())
			}
			if o, err := h.Outcome(bg, done.Ref()); !errors.Is(err, dispatcher.ErrNotEnded) {
				t.Errorf("a job that waits, beside one of %s that has ended: %+v, %v", other, o, err)
			}
			c := h.head("w", "Z", 1)
			h.advance(time.Second)
			ended := make(chan dispatcher.JobOutcome, 1)
			go func() {
				soon, cancel := context.WithTimeout(bg, 10*time.Second)
				defer cancel()
				o, err := h.WaitFor(soon, done.Ref())
				if err != nil {
					t.Errorf("wait: %v", err)
				}
				ended <- o
			}()
			h.ok(finishWith(bg, h.Dispatcher, c, []byte("a")))
			if o := <-ended; o.Subject != key("a") || string(o.Result) != "a" {
				t.Errorf("waited for the job of a, told of %+v", o)
			}
			if o, err := h.Outcome(bg, of(other, "Z")); err == nil && o.Subject != key(other) {
				t.Errorf("asked for %s, told of %s", other, o.Subject)
			}
			if _, err := h.Outcome(bg, of("nobody", "Z")); !errors.Is(err, dispatcher.ErrNotFound) {
				t.Errorf("of a subject that had no such job: %v", err)
			}
		}
		if _, err := h.Outcome(bg, ref("Z")); !errors.Is(err, dispatcher.ErrAmbiguous) {
			t.Errorf("two outcomes of one id: %v", err)
		}
	})
}

// What names a job names it in words that can be told from those of another one.
func TestJobRefText(t *testing.T) {
	t.Parallel()
	if got := of("a", "Z").String(); got != "Z of s:a" {
		t.Errorf("got %q", got)
	}
	if got := (dispatcher.JobRef{ID: "a b"}).String(); got != `"a b"` {
		t.Errorf("got %q", got)
	}
	if (dispatcher.JobRef{}).Subject != (subject.Key{}) {
		t.Error("the zero ref has a subject")
	}
}
