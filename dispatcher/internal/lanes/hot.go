package lanes

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

var hotScript = whole("hot")

// HotEvery is the time that handlers' time is added up for; a namespace has hotPlaces of those: two hours, and the one that is not
// over. MostHot is how many subjects each keeps, and MostHotSent how many a session tells of at once.
const (
	HotEvery    = 10 * time.Minute
	hotPlaces   = 13
	MostHot     = 256
	MostHotSent = 64
)

// Heat is for how long handlers ran, by subject. All has those of subjects too that are not in it.
type Heat struct {
	From     time.Time // begin of the ten minutes, when it was read
	All      time.Duration
	Subjects []HotSubject
	Number   int64 // when it is added: see [Measured]
}

// HotSubject is a subject, canonical, and for how long its handlers ran, at least.
type HotSubject struct {
	Subject string
	Took    time.Duration
}

// hotKeys are the zsets of all places.
func (n *Namespace) hotKeys() []string {
	keys := make([]string, hotPlaces)
	for i := range keys {
		keys[i] = n.HotAt(strconv.Itoa(i))
	}
	return keys
}

// AddHeat adds it to that of the namespace, as Measure adds durations.
func (n *Namespace) AddHeat(ctx context.Context, on *script.Runner, holder string, h *Heat) error {
	args := make([]any, 3, 3+2*len(h.Subjects))
	rest := h.All
	for i := range h.Subjects {
		rest -= h.Subjects[i].Took
		args = append(args, h.Subjects[i].Took.Microseconds(), &h.Subjects[i].Subject)
	}
	// All is the sum of what is sent, so that who reads it sees whether anything is left out.
	all := rest.Microseconds()
	for i := range h.Subjects {
		all += h.Subjects[i].Took.Microseconds()
	}
	args[0], args[1], args[2] = h.Number, MostHot, all
	_, err := on.Ask(ctx, on.Whole(hotScript, append([]string{n.Hot(), n.Recorded(holder)}, n.hotKeys()...), args...))
	return err
}

// ReadHeat reads what is known since a time, in one transaction of 14 commands; the hottest subject of each ten minutes first. What
// can't be read is left out.
func (n *Namespace) ReadHeat(ctx context.Context, since time.Time) ([]Heat, error) {
	var said *redis.MapStringStringCmd
	parts := make([]*redis.ZSliceCmd, hotPlaces)
	err := n.Atomically(ctx, func(tx redis.Pipeliner) {
		said = tx.HGetAll(ctx, n.Hot())
		for i, key := range n.hotKeys() {
			parts[i] = tx.ZRevRangeWithScores(ctx, key, 0, MostHot-1)
		}
	})
	if err != nil {
		return nil, Wrap("read what is hot", err)
	}
	var all []Heat
	for i, part := range parts {
		var which, us int64
		if n, err := fmt.Sscanf(said.Val()[strconv.Itoa(i)], "%d %d", &which, &us); err != nil || n != 2 {
			continue
		}
		h := Heat{From: time.UnixMilli(which * HotEvery.Milliseconds()).UTC(), All: time.Duration(us) * time.Microsecond}
		if !h.From.Add(HotEvery).After(since) {
			continue
		}
		for _, z := range part.Val() {
			h.Subjects = append(h.Subjects, HotSubject{z.Member.(string), time.Duration(z.Score) * time.Microsecond})
		}
		all = append(all, h)
	}
	return all, nil
}
