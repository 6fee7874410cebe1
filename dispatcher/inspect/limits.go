package inspect

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/lease"
	"github.com/lanekeeper/lanekeeper/subject"
)

// LimitUse says how far a limit is used at one moment. It is zero where there is no limit.
type LimitUse struct {
	Most   int           `json:"most,omitempty"` // jobs that may run at once; 0 of a limit that is a rate alone
	Held   int           `json:"held"`           // slots that are taken, of that many
	Every  time.Duration `json:"every_ns,omitempty"`
	Holder string        `json:"holder,omitempty"` // who has had a slot for the longest
	Since  time.Time     `json:"since,omitzero"`   // when that one was taken
	Next   time.Time     `json:"next,omitzero"`    // no job starts before, because of the rate
}

// Full reports whether the limit keeps jobs from starting now.
func (u LimitUse) Full() bool { return u.Most > 0 && u.Held >= u.Most }

// KindLimit says how far the limit of a kind is used, as it is enforced, in three round trips at most.
func (in *Inspector) KindLimit(ctx context.Context, kind string) (LimitUse, error) {
	now, err := in.lanes.Time(ctx)
	if err != nil {
		return LimitUse{}, err
	}
	return in.limitUse(ctx, lanes.KindLimit(kind), now)
}

// limitUse reads a limit from the partition that enforces it, and its slots, all of which are there.
func (in *Inspector) limitUse(ctx context.Context, name string, now time.Time) (u LimitUse, err error) {
	keys := in.lanes.Keys(in.lanes.LimitHome(name))
	texts, err := in.lanes.Fields(ctx, keys.Limits(), []string{name, name + " next"})
	if err != nil {
		return u, lanes.Wrap("read a limit", err)
	}
	declared, _ := texts[0].(string)
	limit, ok := record.ParseLimit(declared)
	if !ok {
		return u, nil
	}
	u.Most, u.Every = limit.Most, limit.Every
	next, _ := texts[1].(string)
	if ms, _ := strconv.ParseInt(next, 10, 64); u.Every > 0 && time.UnixMilli(ms).After(now) {
		u.Next = time.UnixMilli(ms).UTC()
	}
	if u.Most == 0 {
		return u, nil
	}
	slots := make([]string, u.Most)
	for i := range slots {
		slots[i] = subject.Slot(name, i+1).Canonical()
	}
	var held *redis.SliceCmd
	var ends *redis.FloatSliceCmd
	err = in.lanes.Atomically(ctx, func(tx redis.Pipeliner) {
		held, ends = tx.HMGet(ctx, keys.Leases(), slots...), tx.ZMScore(ctx, keys.Deadlines(), slots...)
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return u, lanes.Wrap("read slots", err)
	}
	for i := range slots {
		text, ok := held.Val()[i].(string)
		if !ok || !time.UnixMilli(int64(ends.Val()[i])).After(now) { // a lease that is over leaves its slot to others
			continue
		}
		by := record.ParseLease(text)
		if since := given(lease.Token(by.Token)); u.Held == 0 || since.Before(u.Since) {
			u.Since, u.Holder = since, by.Holder
		}
		u.Held++
	}
	return u, nil
}
