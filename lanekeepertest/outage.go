package lanekeepertest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Away has the server be away, for the kit's Dispatcher and the pools on it: connections break, and new ones are refused.
// Calls return errors that wrap dispatcher.ErrUnavailable. What asserts, and Advance, see the server all the same.
func (k *Kit) Away() { k.net.set(func(n *network) { n.away = true }) }

// Slow has each answer come late by d. With more than a caller's deadline, or with an hour, it is a server that hangs.
func (k *Kit) Slow(d time.Duration) { k.net.set(func(n *network) { n.slow = d }) }

// Full has the server's memory be full: it refuses enqueues with an error that begins with OOM, and stores nothing.
// Handlers run and end, as they do then.
func (k *Kit) Full() { k.net.set(func(n *network) { n.full = true }) }

// Back ends all that Away, Slow and Full have begun. What waits for a late answer gets it.
func (k *Kit) Back() { k.net.set(func(n *network) { n.away, n.slow, n.full = false, 0, false }) }

// oom is what a server whose memory is full answers to a script that begins with a write.
type oom struct{}

func (oom) Error() string { return "OOM command not allowed when used memory > 'maxmemory'." }
func (oom) RedisError()   {}

// DialHook, ProcessHook and ProcessPipelineHook make a network a hook of its client: what it refuses never sets out.
func (n *network) DialHook(next redis.DialHook) redis.DialHook { return next }

func (n *network) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if n.refuses(cmd) {
			cmd.SetErr(oom{})
			return oom{}
		}
		return next(ctx, cmd)
	}
}

func (n *network) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		rest := slices.DeleteFunc(slices.Clone(cmds), n.refuses)
		if len(rest) == len(cmds) {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			if n.refuses(cmd) {
				cmd.SetErr(oom{})
			}
		}
		if len(rest) > 0 {
			_ = next(ctx, rest) // each has its own error
		}
		return oom{}
	}
}

// refuses reports whether a command is an enqueue while memory is full. Its script is known by its first own argument, which
// is behind the five that all scripts share; it alone begins with a write that a full memory refuses.
func (n *network) refuses(cmd redis.Cmder) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	args := cmd.Args()
	if !n.full || len(args) < 3 || cmd.Name() != "evalsha" && cmd.Name() != "eval" {
		return false
	}
	var keys int
	_, _ = fmt.Sscan(fmt.Sprint(args[2]), &keys)
	at := 3 + keys + 5
	if at >= len(args) {
		return false
	}
	mode := text(args[at])
	return mode == "each" || mode == "all"
}

// text is an argument, which may be a pointer to a text that others share.
func text(arg any) string {
	switch a := arg.(type) {
	case *string:
		return *a
	case []byte:
		return string(a)
	}
	return fmt.Sprint(arg)
}
