package sim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// A simulation whose interpreter answers differently from miniredis's simulates nothing that exists.
func TestInterpreterAnswersAsMiniredisDoes(t *testing.T) {
	t.Parallel()
	scripts := []string{
		"return nil", "return true", "return false", "return 7", "return 3.9", "return 'text'", "return {}", "return { 1, 'a', { 2, nil, 3 } }",
		"return { 1, false, true, 'b' }", "return { ok = 'fine' }", "return { err = 'ERR bad' }",
		"return { KEYS[1], KEYS[2], ARGV[1], ARGV[2], #KEYS, #ARGV }", "return redis.call('SET', 'k', 'v')", "return redis.call('GET', 'k')",
		"return redis.call('GET', 'none')", "redis.call('RPUSH', 'l', 1, 2, 3) return redis.call('LRANGE', 'l', 0, -1)",
		"return redis.call('HMGET', 'h', 'a', 'b')", "return redis.call('LPOP', 'k')", "return redis.pcall('LPOP', 'k').err ~= nil",
		"return redis.call('NONE')", "return nowhere", "some = 1", "return 1 +", "return redis.call('SET', 'x', {})", "error('oh')",
		"return string.format('%d', 2^40)", "return math.floor(7.5)", "return table.concat({ 'a', 'b' }, ' ')",
		"return redis.call('ZADD', 'z', 'inf', 'm')", "return tonumber('x') == nil", "return unpack({ 1, 2 })",
	}
	answers := func(rdb *redis.Client) (all []string) {
		ctx := context.Background()
		for _, script := range scripts {
			got, err := rdb.Eval(ctx, script, []string{"a"}, "b", "c").Result()
			all = append(all, fmt.Sprintf("%s: %v %v", script, got, err != nil))
		}
		// A script is known by its SHA-1 until the scripts are flushed, and in a transaction too.
		s := redis.NewScript("return ARGV[1]")
		for _, flush := range []bool{false, false, true} {
			if flush {
				rdb.ScriptFlush(ctx)
			}
			got, err := s.EvalSha(ctx, rdb, nil, "x").Result()
			all = append(all, fmt.Sprint(flush, got, err))
			s.Eval(ctx, rdb, nil, "x")
		}
		cmds, err := rdb.TxPipelined(ctx, func(tx redis.Pipeliner) error { s.Eval(ctx, tx, nil, "queued"); tx.Get(ctx, "k"); return nil })
		return append(all, fmt.Sprint(cmds, err))
	}
	mini := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mini.Addr()})
	defer rdb.Close()
	want := answers(rdb)
	synctest.Test(t, func(t *testing.T) {
		w, err := New(1, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		c := w.Client("")
		defer c.Close()
		for i, got := range answers(c) {
			if got != want[i] {
				t.Errorf("%s, miniredis says %s", got, want[i])
			}
		}
	})
}
