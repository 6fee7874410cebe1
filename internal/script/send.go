package script

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// ErrNotSent is wrapped by the errors of calls whose context had ended before they set out:
// they had no effect, and never will.
var ErrNotSent = errors.New("not sent")

// Run sends calls in one round trip, in order, and returns when all are answered, or
// when ctx ends; each call then has its own reply or error. It is for callers who come
// again by themselves, and has no bound but ctx and the client's own timeouts: what was
// claimed by a call that is given up is lost to an attempt.
func (r *Runner) Run(ctx context.Context, calls ...*Call) { r.run(ctx, trip{}, r.send, calls) }

// Ride is Run for callers who do not come again by themselves: what the servers can't
// serve now, while one of them starts, fails over or gives a slot away, is sent
// again for some seconds. Where a server may have a successor, in a cluster or under
// Sentinels, that includes what it did not answer. It returns after [connect.Bound] at
// the latest.
func (r *Runner) Ride(ctx context.Context, calls ...*Call) {
	r.run(ctx, trip{patience: connect.Bound, most: connect.Bound}, r.send, calls)
}

// Ask is Ride of one call, and returns its reply as [Call.Words] does.
func (r *Runner) Ask(ctx context.Context, call *Call) ([]string, error) {
	r.Ride(ctx, call)
	return call.Words()
}

// RideTogether is Ride of calls on one partition in one transaction: nobody else's comes between them.
func (r *Runner) RideTogether(ctx context.Context, calls ...*Call) {
	r.run(ctx, trip{patience: connect.Bound, most: connect.Bound}, r.sendTogether, calls)
}

// RideReplicated is Ride, and then waits until so many replicas have what the calls
// wrote, or for so long; see [Call.Acked].
func (r *Runner) RideReplicated(ctx context.Context, replicas int, within time.Duration, calls ...*Call) {
	r.run(ctx, trip{patience: connect.Bound, most: connect.Bound + within}, func(ctx context.Context, calls []*Call, texts bool) {
		r.sendReplicated(ctx, replicas, within, calls, texts)
	}, calls)
}

// trip says how long calls are sent again, and how long they are waited for; 0 is for as long as
// the client does.
type trip struct{ patience, most time.Duration }

type sendFunc func(ctx context.Context, calls []*Call, texts bool)

func (r *Runner) run(ctx context.Context, t trip, send sendFunc, calls []*Call) {
	if !r.cluster {
		r.watch(ctx, t, send, calls)
		return
	}
	var all sync.WaitGroup
	for _, group := range byPartition(calls) {
		all.Go(func() { r.watch(ctx, t, send, group) })
	}
	all.Wait()
}

// watch rides calls and waits until that is done, or until ctx or the trip's time is over:
// then the ride goes on by itself, on copies, and what becomes of the calls is not known.
// Only its end frees their callers, who may have one request in flight (I9).
func (r *Runner) watch(ctx context.Context, t trip, send sendFunc, calls []*Call) {
	if err := ctx.Err(); err != nil {
		r.rest(calls)
		for _, c := range calls {
			c.err = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return
	}
	riding := ctx
	if t.most > 0 {
		limited, cancel := context.WithTimeout(ctx, t.most)
		defer cancel()
		riding = limited
	}
	copies, sent := make([]Call, len(calls)), make([]*Call, len(calls))
	for i, c := range calls {
		copies[i] = *c
		sent[i] = &copies[i]
	}
	back := make(chan struct{})
	r.start(func() {
		r.ride(riding, t.patience, send, sent)
		r.rest(sent)
		close(back)
	})
	select {
	case <-back:
		for i, c := range calls {
			c.reply, c.Acked = sent[i].reply, sent[i].Acked
			c.err = connect.Judge(ctx, t.most, c.reply.Err())
		}
	case <-riding.Done():
		for _, c := range calls {
			c.err = connect.Judge(ctx, t.most, riding.Err())
		}
	}
}

// spareFor is how long a goroutine that has made a trip waits for another one.
const spareFor = 100 * time.Millisecond

// start begins a ride beside its caller, in a goroutine that has just made one, if any rests: a new one
// would grow its stack first, which took a quarter of a lone trip's time.
func (r *Runner) start(ride func()) {
	select {
	case r.spare <- ride:
	default:
		go r.rideOn(ride)
	}
}

func (r *Runner) rideOn(ride func()) {
	idle := time.NewTimer(spareFor)
	for {
		ride()
		idle.Reset(spareFor)
		select {
		case ride = <-r.spare:
		case <-idle.C:
			return
		}
	}
}

// rest gives the callers of calls that are over back.
func (r *Runner) rest(calls []*Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range calls {
		if c.caller != nil {
			c.caller.flights--
			c.caller.restLocked()
		}
	}
}

// byPartition splits calls into those that travel together on a cluster, so that a
// server that is away fails no other's calls.
func byPartition(calls []*Call) [][]*Call {
	var groups [][]*Call
	at := make(map[int]int)
	for _, c := range calls {
		i, ok := at[c.part]
		if !ok {
			i = len(groups)
			at[c.part], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

// ride sends calls until they are served or patience is at an end. A call that was not
// served did nothing, or nobody knows. It is sent again, and so is all that came
// after it, to keep the order of the trip: what did run recognizes the repeat, or is
// harmless (I9).
func (r *Runner) ride(ctx context.Context, patience time.Duration, send sendFunc, calls []*Call) {
	begin, pause := time.Now(), 10*time.Millisecond
	for texts := false; ; {
		send(ctx, calls, texts)
		i := slices.IndexFunc(calls, func(c *Call) bool { return r.again(c.reply.Err()) })
		if i < 0 {
			return
		}
		calls = calls[i:]
		if redis.HasErrorPrefix(calls[0].reply.Err(), "NOSCRIPT") {
			texts = true
			continue
		}
		texts = false
		connect.Reload(ctx, r.rdb) // go-redis by itself looks for a new master much later
		if time.Since(begin)+pause > patience {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}

// again reports whether a call that met an error may be served when it is sent again.
func (r *Runner) again(err error) bool {
	var answered redis.Error
	switch {
	case err == nil:
		return false
	case errors.As(err, &answered):
		return redis.HasErrorPrefix(err, "NOSCRIPT") || connect.Passing(err)
	}
	return r.successor
}

func (r *Runner) send(ctx context.Context, calls []*Call, texts bool) {
	pipe := r.rdb.Pipeline()
	queue(ctx, pipe, calls, texts)
	_, _ = pipe.Exec(ctx) // each call carries its own error
}

// sendTogether is send as a transaction. Where a script is not cached none of its calls runs, so a repeat with texts
// keeps their order.
func (r *Runner) sendTogether(ctx context.Context, calls []*Call, texts bool) {
	err := connect.Atomically(ctx, r.rdb, func(tx redis.Pipeliner) { queue(ctx, tx, calls, texts) })
	for _, c := range calls {
		if err != nil && c.reply.Err() == nil && len(c.reply.Val()) == 0 {
			c.reply.SetErr(err) // of a transaction that was refused only the command at fault may say so
		}
	}
}

// queue lays calls into a pipeline, with the texts of their scripts or with the digests.
func queue(ctx context.Context, pipe redis.Pipeliner, calls []*Call, texts bool) {
	for _, c := range calls {
		lua := c.script.lua()
		args := append(make([]any, 0, 3+len(c.args)), "evalsha", lua.sha, c.keys)
		if texts {
			args[0], args[1] = "eval", lua.text
		}
		c.reply = redis.NewStringSliceCmd(ctx, append(args, c.args...)...)
		c.reply.SetFirstKeyPos(3)
		_ = pipe.Process(ctx, c.reply)
	}
}

// sendReplicated sends calls and asks, on the same connection, how many replicas have
// caught up with it: on another one the answer proves nothing (redis/redis#12439). What
// WAIT waits for is the connection's last write; up to 7.0 that is all that the server had
// written when the connection's last command ended, but newer servers answer at once where
// the connection itself has written nothing, as a repeated call does. So a write comes last,
// of a key that stands for nothing and goes by itself.
func (r *Runner) sendReplicated(ctx context.Context, replicas int, within time.Duration, calls []*Call, texts bool) {
	node, err := connect.Node(ctx, r.rdb, r.partitions[calls[0].part].keys.Request(""))
	if err != nil {
		for _, c := range calls {
			c.reply = redis.NewStringSliceResult(nil, err)
		}
		return
	}
	conn := node.Conn()
	defer conn.Close()
	pipe := conn.Pipeline()
	queue(ctx, pipe, calls, texts)
	pipe.Set(ctx, r.partitions[calls[0].part].keys.Request("replicated"), "", time.Minute)
	if _, err := pipe.Exec(ctx); err == nil {
		acked := conn.Wait(ctx, replicas, within).Val() // not known is none
		for _, c := range calls {
			c.Acked = int(acked)
		}
	}
}
