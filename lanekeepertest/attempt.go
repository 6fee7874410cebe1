package lanekeepertest

import (
	"bytes"
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/session"
	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/result"
)

// Attempt returns a context like that of an attempt at a job, for a handler that a test calls by itself. worker.FromContext
// finds the claim in it, dispatcher.LeaseFrom its lease, and a Do within it knows which subject is held. What is zero is filled
// in: the first attempt of 25 at a job "job", under token 1. Nobody has the lease, so no server is needed; ctx alone ends it.
func Attempt(ctx context.Context, c session.Claim) context.Context {
	c.ID = cmp.Or(c.ID, "job")
	c.MaxAttempts = cmp.Or(c.MaxAttempts, record.DefaultMaxAttempts)
	c.Attempt = cmp.Or(c.Attempt, 1)
	c.Lease.Subject = c.Subject
	c.Lease.Token = cmp.Or(c.Lease.Token, 1)
	c.Lease.Holder = cmp.Or(c.Lease.Holder, "lanekeepertest")
	c.Lease.TTL = cmp.Or(c.Lease.TTL, 30*time.Second)
	if c.Lease.Proven.IsZero() {
		c.Lease.Proven = time.Now()
	}
	return result.With(session.WithClaim(ctx, &c), new(kept))
}

// Result returns what a handler has left with worker.SetResult in a context of [Attempt], or nil.
func Result(ctx context.Context) []byte {
	if by, ok := result.KeeperOf(ctx); ok {
		if k, ok := by.(*kept); ok {
			k.mu.Lock()
			defer k.mu.Unlock()
			return bytes.Clone(k.result)
		}
	}
	return nil
}

// kept is the result of an attempt, which goroutines of its handler may leave too.
type kept struct {
	mu     sync.Mutex
	result []byte
}

// KeepResult is where worker.SetResult leaves it.
func (k *kept) KeepResult(result []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.result = result
}
