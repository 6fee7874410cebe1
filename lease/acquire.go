package lease

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/record"
	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/subject"
)

//go:embed acquire.lua
var acquireLua string

var acquireScript = script.New("acquire", acquireLua, Lua)

// Acquire takes the lease of a subject that nobody holds and whose lane is
// empty, for ttl. It returns a [*HeldError] when it can't be had now. When Redis does not answer, the
// lease is given back in the background if it was given.
func (s *Store) Acquire(ctx context.Context, key subject.Key, holder string, ttl time.Duration) (Lease, error) {
	if err := key.Validate(); err != nil {
		return Lease{}, err
	}
	if holder == "" || ttl < time.Millisecond {
		return Lease{}, fmt.Errorf("lease: acquire %s: holder %q must not be empty and ttl %s must be at least 1ms",
			key, holder, ttl)
	}
	sent, caller := time.Now(), s.run.Caller()
	defer caller.Rest()
	call := caller.Once(s.ns.Partition(key), acquireScript, nil,
		key.Canonical(), holder, ttl.Milliseconds())
	words, err := s.run.Ask(ctx, call)
	if err != nil {
		if !errors.As(err, new(redis.Error)) && !errors.Is(err, script.ErrNotSent) {
			s.forgo(caller, key, holder, ttl)
		}
		return Lease{}, fmt.Errorf("acquire lease %s: %w", key, err)
	}
	if words[0] == "barred" {
		return Lease{}, Barred(key, words[1], words[2])
	}
	if words[0] == "held" {
		held := &HeldError{Subject: key, Holder: words[1], Suspended: words[1] != "" && words[2] == "0"}
		if ms, _ := strconv.ParseInt(words[2], 10, 64); ms > 0 {
			held.Until = time.UnixMilli(ms)
		}
		return Lease{}, held
	}
	token, err := ParseToken(words[1])
	if err != nil {
		return Lease{}, fmt.Errorf("acquire lease %s: %w", key, err)
	}
	return Lease{Subject: key, Token: token, Holder: holder, Proven: sent, TTL: ttl}, nil
}

// Barred is the error of a subject that a hold bars until a moment, Unix ms; it is for package dispatcher, which asks for leases too.
func Barred(key subject.Key, hold, until string) *HeldError {
	held := &HeldError{Subject: key, Hold: hold}
	if ms, _ := strconv.ParseInt(until, 10, 64); ms > 0 && ms < record.Forever.UnixMilli() {
		held.Until = time.UnixMilli(ms)
	}
	return held
}

// forgoFor is how long it is tried at most to give a lease back that nobody knows of.
const forgoFor = time.Minute

// forgo gives back what a caller has asked for, if the holder was given it, without waiting: a lease that
// nobody knows of would close its subject until its end. The question, if it is still on its way,
// has no effect after that.
func (s *Store) forgo(caller *script.Caller, key subject.Key, holder string, ttl time.Duration) {
	call := caller.Once(s.ns.Partition(key), releaseScript, nil, key.Canonical(), "", holder)
	caller.Insist(call, min(ttl, forgoFor))
}
