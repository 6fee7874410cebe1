package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// StallFor is how long a stalled client hangs.
const StallFor = 15 * time.Second

// conn is a client's end of a connection, on which requests meet their fates.
type conn struct {
	*end
	world    *World
	name     string
	requests *atomic.Uint64
	deaf     atomic.Bool // the next reply is lost
}

// Roll returns a number below n that depends on nothing but the seed and the words.
func (w *World) Roll(n uint64, words ...any) uint64 {
	h := fnv.New64a()
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], w.Seed)
	_, _ = h.Write(seed[:])
	fmt.Fprint(h, words...)
	x := h.Sum64() // fnv spreads its last bytes badly
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x % n
}

// fate decides what happens to the nth request of a client.
func (w *World) fate(name string, n uint64) Fault {
	if name == "" || w.calm.Load() {
		return ""
	}
	w.mu.Lock()
	faults, ok := w.worse[name]
	w.mu.Unlock()
	if !ok {
		faults = w.Faults
	}
	roll := int(w.Roll(1000, name, n))
	for _, f := range []Fault{LostRequest, LostReply, SlowReply, NoScript, Stalled} {
		if roll < faults[f] {
			w.Saw(f)
			return f
		}
		roll -= faults[f]
	}
	return ""
}

// Write sends a request: go-redis writes a whole pipeline at once.
func (c *conn) Write(b []byte) (int, error) {
	c.world.setClock()
	n := c.requests.Add(1)
	switch c.world.fate(c.name, n) {
	case LostRequest:
		_ = c.Close()
		return len(b), nil
	case LostReply:
		c.deaf.Store(true)
	case SlowReply:
		c.in.delay(time.Now().Add(time.Duration(c.world.Roll(3000, "slow", c.name, n)) * time.Millisecond))
	case NoScript:
		_ = c.world.control.ScriptFlush(context.Background()).Err()
	case Stalled:
		c.world.stall(c.name)
	}
	return c.end.Write(b)
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.end.Read(b)
	if err == nil && c.deaf.Load() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

func (c *conn) Close() error {
	c.world.mu.Lock()
	delete(c.world.conns, c)
	c.world.mu.Unlock()
	return c.end.Close()
}

// of returns the connections of a client; with "*" those of all but the world's own.
func (w *World) of(name string) []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []*conn
	for c := range w.conns {
		if c.name == name || name == "*" && c.name != "" {
			found = append(found, c)
		}
	}
	return found
}

// stall holds up all that a client says and hears.
func (w *World) stall(name string) {
	till := time.Now().Add(StallFor)
	for _, c := range w.of(name) {
		c.in.delay(till)
		c.out.delay(till)
	}
}

// Kill cuts a client off for good, as kill -9 of its process does.
func (w *World) Kill(name string) {
	w.mu.Lock()
	w.dead[name] = true
	w.mu.Unlock()
	for _, c := range w.of(name) {
		_ = c.Close()
	}
}

// Snapshot is all that the server holds at one moment.
type Snapshot []any

// takeLua returns {key, type, pttl, values...} of each key, but for logs of acts, of which nothing depends.
const takeLua = `
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key)
  kind = kind.ok or kind
  local values
  if kind == 'string' then values = { redis.call('GET', key) }
  elseif kind == 'hash' then values = redis.call('HGETALL', key)
  elseif kind == 'list' then values = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then values = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then values = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  end
  if values then table.insert(all, { key, kind, redis.call('PTTL', key), values }) end
end
return all`

// Take takes a snapshot.
func (w *World) Take(ctx context.Context) (Snapshot, error) {
	return w.control.Eval(ctx, takeLua, nil).Slice()
}

// FailOver replaces the server by one that holds an earlier snapshot, as when a replica
// that was behind becomes the master: all connections break, what came after is gone.
func (w *World) FailOver(ctx context.Context, s Snapshot) error {
	_, err := w.control.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.FlushAll(ctx)
		for _, row := range s {
			r := row.([]any)
			key, kind, ttl, values := r[0].(string), r[1].(string), r[2].(int64), r[3].([]any)
			switch kind {
			case "string":
				tx.Set(ctx, key, values[0], 0)
			case "hash":
				tx.HSet(ctx, key, values...)
			case "list":
				tx.RPush(ctx, key, values...)
			case "set":
				tx.SAdd(ctx, key, values...)
			case "zset":
				for i := 0; i+1 < len(values); i += 2 {
					score, err := strconv.ParseFloat(values[i+1].(string), 64)
					if err != nil {
						return err
					}
					tx.ZAdd(ctx, key, redis.Z{Score: score, Member: values[i]})
				}
			}
			if ttl > 0 {
				tx.PExpire(ctx, key, time.Duration(ttl)*time.Millisecond)
			}
		}
		return nil
	})
	for _, c := range w.of("*") {
		_ = c.Close()
	}
	w.Saw("failover")
	return err
}

// Tick lets time pass for what the server keeps only for a while: what it remembers
// of requests. Miniredis does not do it by itself.
func (w *World) Tick(d time.Duration) { w.mini.FastForward(d) }
