package lease

import (
	"context"
	"time"
)

// kept is what the context of work knows of the lease that it runs under.
type kept struct {
	*Held
	around context.Context
}

type keptKey struct{}

// Until returns when the leases end that the work of a context runs under, as far as they have been
// proven by now; of several the first end. Each renewal moves it. It is for what goes on when this
// process does not, such as a program that it has started. ok is false when the work runs under
// none, or has lost or released one.
func Until(ctx context.Context) (end time.Time, ok bool) {
	for {
		c, under := ctx.Value(keptKey{}).(*kept)
		if !under {
			return end, ok
		}
		one, held := c.until()
		if !held {
			return time.Time{}, false
		}
		if !ok || one.Before(end) {
			end = one
		}
		ctx, ok = c.around, true
	}
}

// until is when the lease ends, by the monotonic clock as it goes on if the machine stays awake.
func (h *Held) until() (at time.Time, held bool) {
	k := h.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.held[h]; !ok {
		return time.Time{}, false
	}
	return h.lease.Proven.Add(h.lease.TTL - (k.slept() - h.proven.slept)), true
}
