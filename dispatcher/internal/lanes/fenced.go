package lanes

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/script"
)

var fencedScript = whole("fenced")

// Writes makes a call of commands that write, each to one key, which is its first word. They are done all or not at all, and only if
// the hash, a clock or the meta in the same slot, says that this run may. None may fail, and each may be repeated. They should be a few hundred at most.
func (m *Mover) Writes(hash string, say func(tx redis.Pipeliner)) *script.Call {
	pipe := m.Redis.Pipeline() // it only writes down what is said
	say(pipe)
	keys, args, at := []string{hash}, []any{m.run.String()}, map[string]int{hash: 1}
	for _, cmd := range pipe.Cmds() {
		words := cmd.Args()
		key := words[1].(string)
		if at[key] == 0 {
			keys = append(keys, key)
			at[key] = len(keys)
		}
		args = append(append(args, len(words)-2, words[0], at[key]), words[2:]...)
	}
	return m.Scripts.Whole(fencedScript, keys, args...)
}

// Write sends what [Mover.Writes] makes. It returns an error that wraps [ErrMismatch] when this run may not write.
func (m *Mover) Write(ctx context.Context, hash string, say func(tx redis.Pipeliner)) error {
	return m.together(ctx, []*script.Call{m.Writes(hash, say)})
}

// Unlink takes keys away, each only if the hash beside it says that this run may: by that hash. One that is gone says nothing, and what
// it spoke for is not looked at: as when this was done before, and its answer lost.
func (m *Mover) Unlink(ctx context.Context, by map[string][]string) error {
	var calls []*script.Call
	for hash, keys := range by {
		calls = append(calls, m.Writes(hash, func(tx redis.Pipeliner) {
			for _, key := range keys {
				tx.Unlink(ctx, key)
			}
		}))
	}
	m.Scripts.Ride(ctx, calls...)
	for _, call := range calls {
		if words, err := call.Words(); err != nil {
			return err
		} else if words[0] == "taken" {
			return m.overtaken()
		}
	}
	return nil
}
