package dispatcher

import (
	"context"
	"fmt"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/subject"
)

// maxWatch is how long a subject is watched at most, unless that is asked for again.
const maxWatch = 24 * time.Hour

// Watch has workers remember all attempts of a subject for so long, where the trail would have a sample of them; 0 stops
// that. They hear of it within five seconds. It returns when the watch ends: a later call sets that anew. The last 200 attempts
// stay for an hour after the latest one: the trail that package dispatcher/inspect lists has them.
//
// A namespace has 64 watched subjects at most; one more is an error that says when the first of them ends.
func (d *Dispatcher) Watch(ctx context.Context, key subject.Key, long time.Duration) (until time.Time, err error) {
	if err := CheckSubject(key); err != nil {
		return time.Time{}, err
	}
	if long < 0 || long > maxWatch || long > 0 && long < time.Millisecond {
		return time.Time{}, invalid("watch", long, "must be 0s, or 1ms to 24h")
	}
	until, ok, err := d.lanes.Watch(ctx, key, long)
	if err != nil {
		return time.Time{}, lanes.Wrap("watch "+key.String(), err)
	}
	if !ok {
		return time.Time{}, fmt.Errorf("dispatcher: watch %s: %d subjects are watched already, which is the most; the first of them until %s",
			key, lanes.MostWatched, until.Format(time.DateTime))
	}
	return until, nil
}
