package lanes

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/lanekeeper/lanekeeper/internal/connect"
	"github.com/lanekeeper/lanekeeper/internal/script"
)

var measureScript = whole("measure")

// Measured is what a session adds to what is known of a kind: how many attempts there were of each "<ending>
// <bucket>", and the longest. Number counts the session's records, so that none counts twice: Redis remembers
// the last number for an hour, and takes no smaller one and not the same.
type Measured struct {
	Kind    string
	Counts  map[string]int64
	Longest time.Duration
	Number  int64
}

// Measure adds it, in one round trip on a connection of the worker's own: neither waits for the traffic of
// jobs, nor holds it up.
func (n *Namespace) Measure(ctx context.Context, on *script.Runner, holder string, m *Measured) error {
	flow := make(map[string]Flowed)
	for field, count := range m.Counts {
		how, bucket, _ := strings.Cut(field, " ")
		b, _ := strconv.Atoi(bucket)
		flow[how] = Flowed{flow[how].Count + count, flow[how].Took + time.Duration(count)*Middle(b)}
	}
	args := []any{m.Number, m.Longest.Milliseconds(), len(flow)}
	for how, f := range flow {
		args = append(args, how, f.Count, f.Took.Milliseconds())
	}
	for field, count := range m.Counts {
		args = append(args, field, count)
	}
	_, err := on.Ask(ctx, on.Whole(measureScript, []string{n.Durations(m.Kind), n.Recorded(holder), n.Flow(m.Kind)}, args...))
	return err
}

// Four buckets for each doubling from 1 ms on: what is read from them is 9 % off at most,
// and a year is in the 140th.
const (
	perDoubling = 4
	LastBucket  = 140
)

// Bucket is where a duration is counted: 0 up to 1 ms, then four buckets for each doubling; the last one takes
// all that is longer than a year.
func Bucket(d time.Duration) int {
	ms := float64(d) / float64(time.Millisecond)
	if ms <= 1 {
		return 0
	}
	return min(LastBucket, int(math.Log2(ms)*perDoubling)+1)
}

// Middle is the geometric middle of a bucket, the duration that its attempts count with; all below 1 ms counts
// as that.
func Middle(bucket int) time.Duration {
	if bucket == 0 {
		return time.Millisecond
	}
	return time.Duration(math.Exp2((float64(bucket)-0.5)/perDoubling) * float64(time.Millisecond))
}

// Measures is what was measured of a kind's attempts, by all workers since it was first run: how many in all,
// of each ending, and in each bucket over all endings; and the longest.
type Measures struct {
	Count   int64
	Endings map[string]int64
	Buckets [LastBucket + 1]int64
	Max     time.Duration
}

// Measures reads it, in one command. A field that can't be read is left out: estimates go by what is there.
func (n *Namespace) Measures(ctx context.Context, kind string) (Measures, error) {
	all := Measures{Endings: make(map[string]int64)}
	fields, err := connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) {
		return n.Redis.HGetAll(ctx, n.Durations(kind)).Result()
	})
	if err != nil {
		return all, Wrap("read durations", err)
	}
	for field, text := range fields {
		count, _ := strconv.ParseInt(text, 10, 64)
		if field == "max" {
			all.Max = time.Duration(count) * time.Millisecond
			continue
		}
		how, bucket, _ := strings.Cut(field, " ")
		if b, err := strconv.Atoi(bucket); err == nil && b >= 0 && b <= LastBucket {
			all.Buckets[b] += count
			all.Endings[how] += count
			all.Count += count
		}
	}
	return all, nil
}
