package lanes

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Flowed is how many attempts ended in a time, and for how long their handlers ran.
type Flowed struct {
	Count int64
	Took  time.Duration
}

// FlowSlot is what ended in one way in a minute, or in ten.
type FlowSlot struct {
	From   time.Time
	Long   time.Duration
	Ending string
	Flowed
}

// How many slots there are of each length, as measure.lua has them.
const (
	FlowMinutes    = 120
	FlowTenMinutes = 432
)

// ReadFlow reads what flowed of a kind, in one command of 5,520 words at most, in no order. Slots of a time that has come round are
// still there, each with its own time. What can't be read is left out.
func (n *Namespace) ReadFlow(ctx context.Context, kind string) ([]FlowSlot, error) {
	fields, err := connect.Ask(ctx, func(ctx context.Context) (map[string]string, error) {
		return n.Redis.HGetAll(ctx, n.Flow(kind)).Result()
	})
	var slots []FlowSlot
	for field, text := range fields {
		if s, ok := flowSlot(field, text); ok {
			slots = append(slots, s)
		}
	}
	return slots, Wrap("read the flow", err)
}

// flowKinds is how many kinds one trip reads.
const flowKinds = 20

// ReadFlows reads the last so many minutes, that which is not over among them, of several kinds and some endings: a command a kind,
// twenty a trip.
func (n *Namespace) ReadFlows(ctx context.Context, kinds, endings []string, now time.Time, minutes int) (map[string][]FlowSlot, error) {
	this := now.UnixMilli() / time.Minute.Milliseconds()
	fields := make([]string, 0, minutes*len(endings))
	for i := range int64(min(minutes, FlowMinutes)) {
		for _, how := range endings {
			fields = append(fields, fmt.Sprintf("m%d %s", (this-i)%FlowMinutes, how))
		}
	}
	all := make(map[string][]FlowSlot, len(kinds))
	for at := 0; at < len(kinds); at += flowKinds {
		some := kinds[at:min(at+flowKinds, len(kinds))]
		had := make([]*redis.SliceCmd, len(some))
		err := n.Together(ctx, func(pipe redis.Pipeliner) {
			for i, kind := range some {
				had[i] = pipe.HMGet(ctx, n.Flow(kind), fields...)
			}
		})
		if err != nil {
			return nil, Wrap("read the flow", err)
		}
		for i, kind := range some {
			for k, value := range had[i].Val() {
				text, _ := value.(string)
				if s, ok := flowSlot(fields[k], text); ok {
					all[kind] = append(all[kind], s)
				}
			}
		}
	}
	return all, nil
}

// flowSlot reads one field and its value.
func flowSlot(field, text string) (FlowSlot, bool) {
	_, how, ok := strings.Cut(field, " ")
	s := FlowSlot{Long: time.Minute, Ending: how}
	if strings.HasPrefix(field, "t") {
		s.Long = 10 * time.Minute
	}
	var at, ms int64
	if n, err := fmt.Sscanf(text, "%d %d %d", &at, &s.Count, &ms); !ok || err != nil || n != 3 {
		return s, false
	}
	s.From, s.Took = time.UnixMilli(at*s.Long.Milliseconds()).UTC(), time.Duration(ms)*time.Millisecond
	return s, true
}
