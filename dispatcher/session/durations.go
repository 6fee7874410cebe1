package session

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/subject"
)

// Ending is how one attempt ended, for the record of durations. All ends are recorded: a mean over those that
// went well alone is too short by those that did not. The words stand in Redis, as the first word of a
// field.
type Ending string

// The endings. An interrupted attempt was stopped because its pool did, a lost one ended with
// its worker or its lease.
const (
	EndFinished    Ending = "finished"
	EndFailed      Ending = "failed"
	EndCancelled   Ending = "cancelled"
	EndLost        Ending = "lost"
	EndInterrupted Ending = "interrupted"
)

// Endings are all of them.
var Endings = []Ending{EndFinished, EndFailed, EndCancelled, EndLost, EndInterrupted}

// fields are the names of counts by their ending and bucket, "<ending> <bucket>", made once: one is counted with every job.
var fields = sync.OnceValue(func() map[Ending][]string {
	all := make(map[Ending][]string)
	for _, how := range Endings {
		for bucket := range lanes.LastBucket + 1 {
			all[how] = append(all[how], string(how)+" "+strconv.Itoa(bucket))
		}
	}
	return all
})

// Tally counts how long attempts took, in buckets (lanes.Bucket), so its size does not grow with the number of
// attempts; and it has what goes into the trail of them, and which subjects took most time. The zero value is ready. It is not safe for concurrent use.
type Tally struct {
	counts map[string]map[string]int64 // kind -> "<ending> <bucket>" -> how many
	max    map[string]time.Duration    // by kind
	trail  trail
	hot    hot
}

// Add counts one attempt.
func (t *Tally) Add(kind string, how Ending, took time.Duration) {
	if t.counts == nil {
		t.counts, t.max = make(map[string]map[string]int64), make(map[string]time.Duration)
	}
	if t.counts[kind] == nil {
		t.counts[kind] = make(map[string]int64)
	}
	t.counts[kind][fields()[how][lanes.Bucket(took)]]++
	t.max[kind] = max(t.max[kind], took)
}

// Ran counts for how long a handler ran for a subject. The tally remembers those that took most: all up to 64 subjects, and of more each
// that took over a 65th of all.
func (t *Tally) Ran(key subject.Key, took time.Duration) { t.hot.add(key, took) }

// Keep takes an attempt for the trail, of which it keeps a copy: all that failed, were lost, cancelled or interrupted, or took
// [Slow] or longer, and a uniform sample of the others. Of each there is a most, in a sample that says so.
func (t *Tally) Keep(a *Attempt) { t.trail.add(a) }

// Watch sets whose attempts are all kept from here on ([Session.Watched]), up to 200 of each subject, besides what
// stands for them in the trail.
func (t *Tally) Watch(subjects map[subject.Key]bool) { t.trail.watched = subjects }

// Empty reports whether nothing was counted or kept.
func (t *Tally) Empty() bool { return len(t.counts) == 0 && t.trail.empty() && t.hot.all == 0 }

// merge adds what another tally has counted.
func (t *Tally) merge(o *Tally) {
	for kind, counts := range o.counts {
		t.put(kind, counts, o.max[kind])
	}
	t.trail.merge(&o.trail)
	t.hot.merge(&o.hot)
}

// put adds what was counted of one kind. It keeps none of the maps that it is given.
func (t *Tally) put(kind string, counts map[string]int64, longest time.Duration) {
	if t.counts == nil {
		t.counts, t.max = make(map[string]map[string]int64), make(map[string]time.Duration)
	}
	if t.counts[kind] == nil {
		t.counts[kind] = make(map[string]int64)
	}
	for field, n := range counts {
		t.counts[kind][field] += n
	}
	t.max[kind] = max(t.max[kind], longest)
}

// attempts is how many were counted.
func (t *Tally) attempts() (all int64) {
	for _, counts := range t.counts {
		for _, n := range counts {
			all += n
		}
	}
	return all
}

// records is what a session has measured and not recorded yet. A record that was sent is sent again under the same
// number until it is answered, so nothing is counted twice. It takes no more room than there are kinds and
// buckets, however long Redis is away.
//
// Its fields are for whoever has the turn, which is a channel and no mutex: a caller whose context ends does
// not wait for one whose Redis hangs. sent is the record of one kind or of the trail, waiting is what has no number yet.
type records struct {
	turn    chan struct{} // whoever has put something in may use the rest
	number  int64         // of the last record
	sent    sent          // whose answer is not known
	waiting Tally
}

// sent is a record under way: durations of a kind, attempts for the trail, or the time of subjects. It has what the tally had of the last two,
// in case that they are refused.
type sent struct {
	durations *lanes.Measured
	attempts  *lanes.Trailed
	trail     trail
	heat      *lanes.Heat
	hot       hot
}

// back puts what was refused into a tally.
func (s *sent) back(t *Tally) {
	if d := s.durations; d != nil {
		t.put(d.Kind, d.Counts, d.Longest)
	}
	t.trail.merge(&s.trail)
	t.hot.merge(&s.hot)
}

// Record takes what a tally has counted, empties it, and adds it to what is known of its kinds and to the trail, in one round
// trip for each kind and two more. Counts that can't be recorded now stay with the session and go with the next call; so an
// error is that something waits, and nothing is counted twice when an answer was lost, for an hour.
//
// The tally is emptied unless ctx ends before the session's turn comes: then it keeps what it has.
func (s *Session) Record(ctx context.Context, t *Tally) error {
	r := &s.records
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return fmt.Errorf("record durations of %d attempts: %w", t.attempts(), ctx.Err())
	}
	r.waiting.merge(t)
	*t = Tally{}
	var refused Tally
	var why error
	// One record after the other: once a higher number was recorded, Redis takes a lower one for a repeat.
	for r.next() {
		err := s.send(ctx, &r.sent)
		if err != nil && lanes.Unanswered(err) {
			why = err
			break
		}
		if err != nil { // another kind may do better
			r.sent.back(&refused)
			why = err
		}
		r.sent = sent{}
	}
	r.waiting.merge(&refused)
	if why == nil {
		return nil
	}
	left := r.waiting.attempts()
	if d := r.sent.durations; d != nil {
		one := Tally{counts: map[string]map[string]int64{d.Kind: d.Counts}}
		left += one.attempts()
	}
	return fmt.Errorf("record durations of %d attempts: %w", left, why)
}

// send sends a record, once more when its answer did not come.
func (s *Session) send(ctx context.Context, r *sent) error {
	if r.durations != nil {
		return s.lanes.Measure(ctx, s.beats, s.who.Holder, r.durations)
	}
	if r.heat != nil {
		return s.lanes.AddHeat(ctx, s.beats, s.who.Holder, r.heat)
	}
	return s.lanes.AddToTrail(ctx, s.beats, s.who.Holder, r.attempts)
}

// next makes the next record, unless one is under way, and reports whether there is any. A number is used for
// one record only: it is what tells a repeat from news.
func (r *records) next() bool {
	if r.sent.durations != nil || r.sent.attempts != nil || r.sent.heat != nil {
		return true
	}
	for kind, counts := range r.waiting.counts {
		r.number++
		r.sent.durations = &lanes.Measured{Kind: kind, Counts: counts, Longest: r.waiting.max[kind], Number: r.number}
		delete(r.waiting.counts, kind)
		delete(r.waiting.max, kind)
		return true
	}
	if h := &r.waiting.hot; h.all > 0 {
		r.number++
		r.sent = sent{heat: h.heat(), hot: *h}
		r.sent.heat.Number, r.waiting.hot = r.number, hot{}
		return true
	}
	if r.waiting.trail.empty() {
		return false
	}
	r.number++
	for key, entries := range r.waiting.trail.whole {
		delete(r.waiting.trail.whole, key)
		r.sent = sent{attempts: &lanes.Trailed{Subject: key.Canonical(), Entries: entries, Number: r.number}}
		r.sent.trail.whole = map[subject.Key][]string{key: entries}
		return true
	}
	entries := r.waiting.trail.entries()
	r.sent = sent{attempts: &lanes.Trailed{Entries: entries, Number: r.number}, trail: r.waiting.trail}
	r.waiting.trail = trail{}
	return true
}
