package worker

import (
	"context"
	"fmt"
	"slices"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/dispatcher/session"
)

// handling is how a pool handles a kind. All handlers have one form inside, so that an attempt calls, catches and judges in
// one way: of a claim they return an error for each job that they were given, or nil. What is promised of batches alone, or
// of single jobs alone, goes by the field batch.
type handling struct {
	do    func(context.Context, *session.Claim) []error
	one   Handler // what do is made of when the pool starts; nil of a batch
	batch bool    // do gets all jobs that were claimed together, and reports an end of each
}

// single makes the inner form of a handler that takes one job.
func single(h Handler) func(context.Context, *session.Claim) []error {
	return func(ctx context.Context, c *session.Claim) []error {
		if err := h(ctx, c.Payload); err != nil {
			return []error{err}
		}
		return nil
	}
}

// several makes the inner form of a handler that takes all jobs of a claim.
func several(h BatchHandler) func(context.Context, *session.Claim) []error {
	return func(ctx context.Context, c *session.Claim) []error {
		return h(ctx, append([]dispatcher.Job{c.Job}, c.Along...))
	}
}

// Handle sets the handler of a job kind. It panics when the kind is malformed or
// has a handler already: both are mistakes in the program. A kind without a
// handler is left alone by this pool; its lanes wait for one that knows it.
func (p *Pool) Handle(kind string, h Handler) {
	p.handle(kind, handling{one: h})
}

// BatchHandler does the work of up to so many jobs of one lane and kind as [Pool.HandleBatch]
// was told. It returns an error for each, in their order, which counts as a [Handler]'s does
// for that job alone; nil is that all have finished. Middleware is not for batches.
type BatchHandler func(ctx context.Context, jobs []dispatcher.Job) []error

// HandleBatch sets the handler of a job kind that takes up to most waiting jobs of one lane at
// once, 1 to 250, under one lease. They are in their order, and all that end are reported
// together; those that fail stay in their order in front of the lane. A job that failed
// before comes alone. The timeout of the first job is that of all.
func (p *Pool) HandleBatch(kind string, most int, h BatchHandler) {
	if h == nil || most < 1 || most > session.MaxLaneBatch {
		panic(fmt.Sprintf("worker: kind %s needs a handler, and a batch of 1 to %d", kind, session.MaxLaneBatch))
	}
	p.handle(kind, handling{do: several(h), batch: true})
	if p.cfg.LaneBatch == nil {
		p.cfg.LaneBatch = make(map[string]int)
	}
	p.cfg.LaneBatch[kind] = most
}

// handle notes the one handler of a kind, of whichever form.
func (p *Pool) handle(kind string, h handling) {
	if err := dispatcher.CheckKind(kind); err != nil {
		panic(err)
	}
	if _, twice := p.handlers[kind]; twice || h.do == nil && h.one == nil {
		panic(fmt.Sprintf("worker: kind %s needs exactly one handler", kind))
	}
	p.handlers[kind] = h
}

// Use wraps all handlers in middleware, the first one outermost. Those of [Pool.HandleBatch] get
// none: what middleware would do for one job, a batch handler does for its jobs itself.
func (p *Pool) Use(m ...Middleware) { p.middleware = append(p.middleware, m...) }

// wrap puts the middleware around the handlers, gives all the one form, and returns their kinds.
// It waits for the start of the pool, because Use may come after Handle.
func (p *Pool) wrap() []string {
	var kinds []string
	for kind, h := range p.handlers {
		if !h.batch {
			one := guard(h.one)
			for _, m := range slices.Backward(p.middleware) {
				one = m(one)
			}
			h.do = single(one)
			p.handlers[kind] = h
		}
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}
