package script

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lanekeeper/lanekeeper/internal/connect"
)

// Run sends calls in one round trip, in order, and returns when all are
// answered; each call then has its own reply or error.
func (r *Runner) Run(ctx context.Context, calls ...*Call) { r.run(ctx, 0, r.send, calls) }

// patience is how long Ride goes on asking servers that can't serve now: longer than
// a replica takes to be promoted, shorter than replies are remembered.
const patience = 10 * time.Second

// Ride is Run for callers who do not come again by themselves: what the servers can't
// serve now, while one of them starts, fails over or gives a slot away, is sent
// again for some seconds. Where a server may have a successor, in a cluster or under
// Sentinels, that includes what it did not answer.
func (r *Runner) Ride(ctx context.Context, calls ...*Call) { r.run(ctx, patience, r.send, calls) }

// RideReplicated is Ride, and then waits until so many replicas have what the calls
// wrote, or for so long; see [Call.Acked].
func (r *Runner) RideReplicated(ctx context.Context, replicas int, within time.Duration, calls ...*Call) {
	r.run(ctx, patience, func(ctx context.Context, calls []*Call, eval evalFunc) {
		r.sendReplicated(ctx, replicas, within, calls, eval)
	}, calls)
}

type sendFunc func(ctx context.Context, calls []*Call, eval evalFunc)

func (r *Runner) run(ctx context.Context, patience time.Duration, send sendFunc, calls []*Call) {
	if r.cluster {
		var all sync.WaitGroup
		for _, group := range byPartition(calls) {
			all.Go(func() { r.ride(ctx, patience, send, group) })
		}
		all.Wait()
	} else {
		r.ride(ctx, patience, send, calls)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range calls {
		if c.caller != nil {
			r.idle = append(r.idle, c.caller)
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
	for eval := (*redis.Script).EvalSha; ; {
		send(ctx, calls, eval)
		i := slices.IndexFunc(calls, func(c *Call) bool { return r.again(c.reply.Err()) })
		if i < 0 {
			return
		}
		calls = calls[i:]
		if redis.HasErrorPrefix(calls[0].reply.Err(), "NOSCRIPT") {
			eval = (*redis.Script).Eval
			continue
		}
		eval = (*redis.Script).EvalSha
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

type evalFunc func(*redis.Script, context.Context, redis.Scripter, []string, ...any) *redis.Cmd

func (r *Runner) send(ctx context.Context, calls []*Call, eval evalFunc) {
	_ = exec(ctx, r.rdb.Pipeline(), calls, eval) // each call carries its own error
}

// exec sends calls in a pipeline and returns the first error of any.
func exec(ctx context.Context, pipe redis.Pipeliner, calls []*Call, eval evalFunc) error {
	for _, c := range calls {
		c.reply = eval(c.script.lua(), ctx, pipe, c.keys, c.args...)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// sendReplicated sends calls and asks, on the same connection, how many replicas have
// caught up with it: on another one the answer proves nothing (redis/redis#12439). WAIT
// covers all that the server had written when the connection's last command ended, so
// it holds for a repeated call too, which writes nothing.
func (r *Runner) sendReplicated(ctx context.Context, replicas int, within time.Duration, calls []*Call, eval evalFunc) {
	node, err := connect.Node(ctx, r.rdb, calls[0].keys[0])
	if err != nil {
		for _, c := range calls {
			c.reply = redis.NewCmdResult(nil, err)
		}
		return
	}
	conn := node.Conn()
	defer conn.Close()
	if exec(ctx, conn.Pipeline(), calls, eval) == nil {
		acked := conn.Wait(ctx, replicas, within).Val() // not known is none
		for _, c := range calls {
			c.Acked = int(acked)
		}
	}
}
