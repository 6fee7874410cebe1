package connect

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Atomically sends commands as one transaction. Of one that Redis did not take at all it returns
// why: EXECABORT says only that one of the commands was refused, and that one's own answer says what
// is missing (H18).
func Atomically(ctx context.Context, rdb redis.UniversalClient, say func(tx redis.Pipeliner)) error {
	cmds, err := rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error { say(tx); return nil })
	if !redis.HasErrorPrefix(err, "EXECABORT") {
		return err
	}
	for _, cmd := range cmds {
		if cause := cmd.Err(); cause != nil && !redis.HasErrorPrefix(cause, "EXECABORT") {
			return cause
		}
	}
	return err
}
