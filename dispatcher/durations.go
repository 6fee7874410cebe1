package dispatcher

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

// Ending is how one attempt ended, for the record of durations. All ends are recorded: what
// only counts those that went well is too short by those that did not (U13).
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

// Tally counts how long attempts took. The zero value is ready. It is not safe for
// concurrent use.
type Tally struct {
	counts map[string]map[string]int64 // kind -> "<ending> <bucket>" -> how many
	max    map[string]time.Duration    // by kind
}

// Add counts one attempt.
func (t *Tally) Add(kind string, how Ending, took time.Duration) {
	if t.counts == nil {
		t.counts, t.max = make(map[string]map[string]int64), make(map[string]time.Duration)
	}
	if t.counts[kind] == nil {
		t.counts[kind] = make(map[string]int64)
	}
	t.counts[kind][string(how)+" "+strconv.Itoa(bucketOf(took))]++
	t.max[kind] = max(t.max[kind], took)
}

// Empty reports whether nothing was counted.
func (t *Tally) Empty() bool { return len(t.counts) == 0 }

// Four buckets for each doubling from 1 ms on: what is read from them is 9 % off at most,
// and a year is in the 140th.
const (
	perDoubling = 4
	lastBucket  = 140
)

func bucketOf(d time.Duration) int {
	ms := float64(d) / float64(time.Millisecond)
	if ms <= 1 {
		return 0
	}
	return min(lastBucket, int(math.Log2(ms)*perDoubling)+1)
}

// middleOf is the geometric middle of a bucket; all below 1 ms counts as that.
func middleOf(bucket int) time.Duration {
	if bucket == 0 {
		return time.Millisecond
	}
	return time.Duration(math.Exp2((float64(bucket)-0.5)/perDoubling) * float64(time.Millisecond))
}

// merge adds what another tally has counted.
func (t *Tally) merge(o *Tally) {
	for kind, counts := range o.counts {
		t.put(kind, counts, o.max[kind])
	}
}

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

var (
	//go:embed measure.lua
	measureLua string

	measureScript = script.NewWhole("record durations", measureLua)
)

// records is what a session has measured and not recorded yet. It takes no more room than there
// are kinds and buckets, however long Redis is away.
type records struct {
	turn    chan struct{} // whoever has put something in may use the rest
	number  int64         // of the last record
	sent    *oneRecord    // whose answer is not known
	waiting Tally
}

// oneRecord is what is recorded of one kind. The same is sent again under the same number until it
// is answered, so nothing is counted twice.
type oneRecord struct {
	kind    string
	counts  map[string]int64
	longest time.Duration
	number  int64
}

// Record takes what a tally has counted, empties it, and adds it to what is known of its kinds. What can't
// be recorded now stays with the session and goes with the next call; so an error is that
// something waits, and nothing is counted twice when an answer was lost, for an hour.
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
	for r.next() {
		err := s.record(ctx, r.sent)
		if err != nil && unanswered(err) {
			why = err
			break
		}
		if err != nil { // another kind may do better
			refused.put(r.sent.kind, r.sent.counts, r.sent.longest)
			why = err
		}
		r.sent = nil
	}
	r.waiting.merge(&refused)
	if why == nil {
		return nil
	}
	left := r.waiting.attempts()
	if r.sent != nil {
		one := Tally{counts: map[string]map[string]int64{r.sent.kind: r.sent.counts}}
		left += one.attempts()
	}
	return fmt.Errorf("record durations of %d attempts: %w", left, why)
}

// next makes the next record, unless one is under way, and reports whether there is any.
func (r *records) next() bool {
	if r.sent != nil {
		return true
	}
	for kind, counts := range r.waiting.counts {
		r.number++
		r.sent = &oneRecord{kind, counts, r.waiting.max[kind], r.number}
		delete(r.waiting.counts, kind)
		delete(r.waiting.max, kind)
		return true
	}
	return false
}

func (s *Session) record(ctx context.Context, r *oneRecord) error {
	args := []any{r.number, r.longest.Milliseconds()}
	for field, n := range r.counts {
		args = append(args, field, n)
	}
	call := s.beats.Whole(measureScript, []string{s.d.ns.Durations(r.kind), s.d.ns.Recorded(s.who.Holder)}, args...)
	_, err := s.beats.Ask(ctx, call)
	return err
}

// Durations is what was measured of a kind's attempts.
type Durations struct {
	Count    int64
	ByEnding map[Ending]int64
	P50, P95 time.Duration // of all, however they ended
	Max      time.Duration
}

// Durations returns what was measured of a kind. A Count of 0 is nothing.
func (d *Dispatcher) Durations(ctx context.Context, kind string) (Durations, error) {
	fields, err := connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) {
		return d.rdb.HGetAll(ctx, d.ns.Durations(kind)).Result()
	})
	if err != nil {
		return Durations{}, wrap("read durations", err)
	}
	var buckets [lastBucket + 1]int64
	all := Durations{ByEnding: make(map[Ending]int64)}
	for field, text := range fields {
		n, _ := strconv.ParseInt(text, 10, 64)
		if field == "max" {
			all.Max = time.Duration(n) * time.Millisecond
			continue
		}
		how, bucket, _ := strings.Cut(field, " ")
		if b, err := strconv.Atoi(bucket); err == nil && b >= 0 && b <= lastBucket {
			buckets[b] += n
			all.ByEnding[Ending(how)] += n
			all.Count += n
		}
	}
	quantile := func(q float64) time.Duration {
		rank, seen := int64(math.Ceil(q*float64(all.Count))), int64(0)
		for b, n := range buckets {
			if seen += n; n > 0 && seen >= rank {
				return middleOf(b)
			}
		}
		return 0
	}
	if all.Count > 0 {
		all.P50, all.P95 = quantile(0.50), quantile(0.95)
		all.Max = max(all.Max, time.Millisecond)
	}
	return all, nil
}

// typical returns how long a job of each kind takes: the median of what was measured, else
// what is declared. A kind of which neither is known is not in it.
func (d *Dispatcher) typical(ctx context.Context, kinds []string) (map[string]time.Duration, error) {
	known := make(map[string]time.Duration)
	for _, kind := range kinds {
		measured, err := d.Durations(ctx, kind)
		if err != nil {
			return nil, err
		}
		if took := cmp.Or(measured.P50, d.registry[kind].Expected); took > 0 {
			known[kind] = took
		}
	}
	return known, nil
}

// maxAhead is how many jobs of a lane an estimate looks over.
const maxAhead = 1000

// estimate fills in when jobs of a lane start and end, as far as their kinds' durations are
// known: each starts when the one before it ends. A lane that is ready is taken to be claimed
// now if any worker handles its head; a suspended one has no estimate. jobs are those at
// the positions from on; ahead are the kinds of those before.
func (d *Dispatcher) estimate(ctx context.Context, lane *Lane, jobs []JobInfo, ahead []string) error {
	kinds := slices.Clone(ahead)
	for i := range jobs {
		kinds = append(kinds, jobs[i].Kind)
	}
	slices.Sort(kinds)
	took, err := d.typical(ctx, slices.Compact(kinds))
	if err != nil {
		return err
	}
	now, err := d.now(ctx)
	if err != nil {
		return err
	}
	at, err := d.startOf(ctx, lane, now)
	if err != nil {
		return err
	}
	step := func(kind string) (starts, ends time.Time) {
		length, known := took[kind]
		starts = at
		if at.IsZero() || !known {
			at = time.Time{}
			return starts, time.Time{}
		}
		if at = at.Add(length); at.Before(now) { // the head takes longer than most
			at = now
		}
		return starts, at
	}
	for _, kind := range ahead {
		step(kind)
	}
	for i := range jobs {
		jobs[i].Starts, jobs[i].Ends = step(jobs[i].Kind)
	}
	return nil
}

// startOf returns when the head of a lane has started or starts, or zero when nobody can say.
func (d *Dispatcher) startOf(ctx context.Context, lane *Lane, now time.Time) (time.Time, error) {
	switch lane.State {
	case Leased:
		if lane.HeadID == "" || lane.Section {
			return time.Time{}, nil // nobody knows how long a section takes
		}
		return time.UnixMicro(int64(lane.Token)).UTC(), nil // tokens follow the clock
	case Delayed:
		return lane.RunAt, nil
	case Ready:
		if k := d.registry[lane.Kind]; k.Limit > 0 || k.Every > 0 {
			return time.Time{}, nil // others of the kind go first, nobody knows how many
		}
		workers, err := d.Workers(ctx)
		for _, w := range workers {
			if w.Takes(lane.Kind) {
				return now, err
			}
		}
		return time.Time{}, err
	}
	return time.Time{}, nil
}
