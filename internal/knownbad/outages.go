package main

// fromOutages are defects in what happens when Redis is slow or away, and what is told of it.
var fromOutages = []defect{
	{
		"a question waits for Redis after its time is over", "internal/connect/ask.go",
		`	case <-asking.Done():`, `	case <-context.Background().Done():`,
	},
	{
		"a script waits for Redis after its time is over", "internal/script/send.go",
		`	case <-riding.Done():`, `	case <-context.Background().Done():`,
	},
	{
		"a request's number is free while the request is under way", "internal/script/send.go",
		`		r.ride(riding, t.patience, send, sent)
		r.rest(sent)`, `		r.rest(sent)
		r.ride(riding, t.patience, send, sent)`,
	},
	{
		"a server that can't serve now has answered", "internal/connect/ask.go",
		`case errors.As(err, &answered) && !Passing(err) && !redis.HasErrorPrefix(err, "max number of clients"):`, `case errors.As(err, &answered):`,
	},
	{
		"a subject is busy when Redis does not answer", "dispatcher/section.go",
		`		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {`, `		if cause := ErrBusy; !errors.Is(err, cause) && ctx.Err() == nil {`,
	},
	{
		"goodbyes to a frozen Redis are waited for", "dispatcher/internal/lanes/ask.go",
		`	case <-waiting.Done():`, `	case <-context.WithoutCancel(waiting).Done():`,
	},
	{
		"an enqueue waits for the trips before it without end", "dispatcher/singles.go",
		`	case <-time.After(most):`, `	case <-time.After(time.Hour):`,
	},
	{
		"a batch of which nothing was taken is no error", "dispatcher/enqueue.go",
		`	return done, notAll(done)`, `	return done, nil`,
	},
	{
		"a batch does not say that its jobs may be there", "dispatcher/enqueue.go",
		`	if err != nil && lanes.Unanswered(err) {`, `	if false && lanes.Unanswered(err) {`,
	},
	{
		"a durable enqueue that wrote nothing asks the replicas about nothing (redis/redis#12439)", "internal/script/send.go",
		`	pipe.Set(ctx, r.partitions[calls[0].part].keys.Request("replicated"), "", time.Minute)
`, ``,
	},
	{
		"a record of durations is counted twice when its answer is lost", "dispatcher/internal/lanes/measure.lua",
		`if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then`, `if false then`,
	},
	{
		"an attempt stands twice in the trail when the answer to its record is lost", "dispatcher/internal/lanes/trail.lua",
		`if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then`, `if false then`,
	},
	{
		"handlers' time by subject counts twice when its answer is lost", "dispatcher/internal/lanes/hot.lua",
		`if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then`, `if false then`,
	},
	{
		"handlers' time by subject that was refused is dropped", "dispatcher/session/durations.go",
		`	t.hot.merge(&s.hot)`, `	_ = s.hot`,
	},
	{
		"a flow that can't be written keeps durations from being recorded", "dispatcher/internal/lanes/measure.lua",
		`redis.pcall('HMGET', FLOW`, `call('HMGET', FLOW`,
	},
	{
		"subjects of ten minutes that have come round are taken for hot", "dispatcher/internal/lanes/hot.lua",
		`  old, all = call('ZRANGE', SUBJECTS, 0, most - 1), 0`, `  all = 0`,
	},
	{
		"attempts that were refused are dropped", "dispatcher/session/durations.go",
		`	t.trail.merge(&s.trail)`, `	_ = s.trail`,
	},
	{
		"a record of durations that failed is dropped", "dispatcher/session/durations.go",
		`			why = err
			break`, `			why, r.sent = err, sent{}
			break`,
	},
	{
		"reaping does not tell of jobs that were claimed along", "dispatcher/internal/lanes/reap.lua",
		`    lost[#lost + 1] = {
`, `    lost[i == 1 and #lost + 1 or 'along'] = {
`,
	},
	{
		"each call that fails says that Redis is away", "worker/log.go",
		`	if !o.awayLocked() {
		o.since = since`, `	if true {
		o.since = since`,
	},
	{
		"a sign of life ends an outage", "worker/log.go",
		`	} else if err == nil && o.other[by] {`, `	} else if clear(o.trips); err == nil {`,
	},
	{
		"partitions of a server that is away are asked one by one", "worker/plan.go",
		`	if p.apart || !away {`, `	if true {`,
	},
	{
		"a stop waits for handlers that trips might bring", "worker/desk.go",
		`	return d.until(ctx, func() bool { return d.crew.running == 0 })`, `	return d.until(ctx, func() bool { return d.crew.busy() == 0 })`,
	},
	{
		"a stop leaves what trips under way have claimed", "worker/desk.go",
		`d.unsaid == 0 && d.crew.asked == 0 })`, `d.unsaid == 0 })`,
	},
	{
		"a failed attempt is not told", "worker/settle.go",
		`		p.log.Warn("attempt failed; its job is tried again", told("wait", end.Wait)...)
`, ``,
	},
	{
		"a burial is not told", "worker/settle.go",
		`	p.sayLost(answer.Reaped.Lost)
`, ``,
	},
	{
		"middleware is passed by a panic", "worker/handling.go",
		`one := guard(h.one)`, `one := h.one`,
	},
	{
		"a pool without handlers starts", "worker/run.go",
		`	if len(p.handlers) == 0 {`, `	if false {`,
	},
	{
		"a wait that is over is taken for an outage", "dispatcher/section.go",
		`context.WithTimeout(ctx, maxWait+lanes.BeyondEnd)`, `context.WithTimeout(ctx, maxWait)`,
	},
	{
		"a record of nothing says that Redis is back", "worker/run.go",
		`if err == nil { // else there is nobody to tell; and to have nothing to tell is no sign of Redis
			sent = time.Now()
			err := p.record(ctx)
			if err == nil {
				err = p.examine(ctx)
			}
			if err != nil && life.Err() == nil {`, `{
			sent = time.Now()
			err := p.record(ctx)
			if life.Err() == nil {`,
	},
}
