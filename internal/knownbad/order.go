package main

// fromOrder are defects in the order of jobs that fall due, turns under limits, and keys that come back.
var fromOrder = []defect{
	{
		"a due job is placed only when a worker looks (shiftonelabs/laravel-sqs-fifo-queue#3)", "dispatcher/internal/lanes/enqueue.lua",
		`local _, waits = take_due(a.now, '')`, `local waits = false`,
	},
	{
		"jobs due together go by their ids (OptimalBits/bull#183)", "dispatcher/internal/lanes/parts/placing.lua",
		`scheduled_as(subject, ordered(seq), entry)`, `scheduled_as(subject, ordered(0), entry)`,
	},
	{
		"jobs set aside together go by their ids", "dispatcher/internal/lanes/parts/due.lua",
		`local order = order_in_store(id_of(job[2]))`, `local order = big_endian(0, 5)`,
	},
	{
		"an enqueue overtakes what it could not place", "dispatcher/internal/lanes/parts/arriving.lua",
		`return (at > now or a.behind) and math.max(at, now) or nil`, `return at > now and at or nil`,
	},
	{
		"a section overtakes what is due", "dispatcher/internal/lanes/section.lua",
		`local waits = select(2, take_due(now, '', true))`, `local waits = false`,
	},
	{
		"a replay overtakes what is due", "dispatcher/internal/lanes/replay.lua",
		`  local _, more = take_due(now, '', true)`, `  local more = false`,
	},
	{
		"dead letters of one moment are listed by their ids", "dispatcher/internal/lanes/parts/fates.lua",
		`local at = last and last + LATER or now`, `local at = now`,
	},
	{
		"what is due is half placed when memory is full", "dispatcher/internal/lanes/parts/due.lua",
		`  elseif urgent then
    despite_full_memory()`, `  else
    despite_full_memory()`,
	},
	{
		"a pool that has filled up reaps as seldom as an idle one", "worker/plan.go",
		`if working := part.reaped.Add(p.reapEvery); (part.short || f.working) && working.Before(at) {`,
		`if working := part.reaped.Add(p.reapEvery); false && working.Before(at) {`,
	},
	{
		"a slot that comes back wakes no lane of another partition (PrefectHQ/prefect#23183)", "dispatcher/internal/lanes/giveback.lua",
		`offer(name, p, p.offered + more, now, asks)`, `offer(name, p, p.offered + more, now, p.holder == holder)`,
	},
	{
		"who gave a slot back takes it again before all others", "dispatcher/internal/lanes/slot.lua",
		`local left, next_offer, first = n, nil, nil`, `local left, next_offer, first, line = n, nil, nil, false`,
	},
	{
		"a slot that comes back is offered to nobody", "dispatcher/internal/lanes/parts/short.lua",
		`      tell(p.holder .. '/slots', p.partition)`, `      local _ = name`,
	},
	{
		"an offer that is let pass is kept for ever", "dispatcher/internal/lanes/parts/short.lua",
		`p.offered > 0 and (p.till <= now or p.till > now + OFFER_MS)`, `false`,
	},
	{
		"the slots of the dead are never free again", "dispatcher/internal/lanes/slot.lua",
		`      if deadline > now then`, `      if records[i] then`,
	},
	{
		"a limit that is declared later is not seen by sessions that run", "dispatcher/internal/lanes/limit.go",
		`n.tell(ctx, n.LimitNews())`, `n.tell(ctx, n.keys[0].News("nobody"))`,
	},
	{
		"a claim takes more lanes than it has slots for", "dispatcher/session/permit.go",
		`		if p.got[i].starts[turn] == want {`, `		if p.got[i].starts[turn] <= want {`,
	},
	{
		"a replay does not take its unique key again (zoolutions/sidekiq-unique-jobs#890)", "dispatcher/internal/lanes/replay.lua",
		"  call('HSET', extra('unique'), field, id)\n", "",
	},
	{
		"a replay waits beside the job that has its key", "dispatcher/internal/lanes/replay.lua",
		`if other and other ~= id and call('HEXISTS', JOBS, other) == 1 and not call('ZSCORE', DEAD, other) then`, `if false then`,
	},
	{
		"a dead letter's key is forgotten", "dispatcher/internal/lanes/parts/fates.lua",
		`  let_go(entries) -- a replay takes it again`, `  ended(entries)`,
	},
	{
		"the largest lane batch takes one less", "dispatcher/internal/lanes/parts/lot.lua",
		`MOST - n - (#subjects - i) + 1)`, `MOST - n - (#subjects - i))`,
	},
	{
		"a page whose head is a ticket has one entry too many", "dispatcher/inspect/jobinfo.go",
		`int64(start+limit-len(entries)-1)`, `int64(start+limit-1)`,
	},
	{
		"who has had its turn stands first in line again", "dispatcher/internal/lanes/parts/short.lua",
		`(last or 0) + 1, p.member)`, `(last or 0) - 1, p.member)`,
	},
	{
		"a place in line is for as many starts as there is room, not for as many as there are lanes", "dispatcher/internal/lanes/slot.lua",
		`starts = own.lanes, offered`, `starts = own.want, offered`,
	},
	{
		"a pool that is about to claim gives up its place in line", "worker/desk.go",
		`d.planner.hearOffer(offered, d.crew.lanes() >= d.crew.concurrency)`, `d.planner.hearOffer(offered, d.crew.busy() >= d.crew.concurrency)`,
	},
	{
		"slots of a limit that is no more do not go back", "dispatcher/session/session.go",
		`len(limits) > 0 || slices.ContainsFunc(turns, Turn.returnsSlots)`, `len(limits) > 0`,
	},
}
