package main

// rolling are defects of what holders have in hand of their lanes.
var rolling = []defect{
	{
		"in hand: filled while another lane is ready", "dispatcher/internal/lanes/turn.lua",
		`reply[2] == 0 and not next(c.next_up)`, `true`,
	},
	{
		"in hand: a lane that is handed over is taken deep while another one waits", "dispatcher/internal/lanes/parts/handing.lua",
		`c.nobody_waits = c.popped < t.wanted and not next(c.next_up)`, `c.nobody_waits = true`,
	},
	{
		"in hand: filled though something is asked of the holder", "dispatcher/internal/lanes/parts/rolling.lua",
		`not asked(lane.record) and math.min`, `math.min`,
	},
	{
		"in hand: what comes does not stand in the lease", "dispatcher/internal/lanes/parts/rolling.lua",
		`lane.hand + (lane.more or 0)`, `lane.hand`,
	},
	{
		"in hand: filled one job too far back", "dispatcher/internal/lanes/parts/rolling.lua",
		`behind(lane.subject, kind, lane.hand, n, true)`, `behind(lane.subject, kind, lane.hand + 1, n, true)`,
	},
	{
		"in hand: what failed before comes too", "dispatcher/internal/lanes/parts/lot.lua",
		`same and stops or tried or is_suspended(notes[i])`, `same and stops or is_suspended(notes[i])`,
	},
	{
		"in hand: a job comes for which a crash would be the end", "dispatcher/internal/lanes/parts/lot.lua",
		`rolls and (max_of(entry) < 2 or`, `rolls and (false or`,
	},
	{
		"in hand: a repeated turn brings the jobs before", "dispatcher/internal/lanes/parts/rolling.lua",
		`call('LRANGE', TAIL .. ARGV[at], along - more, along - 1)`, `call('LRANGE', TAIL .. ARGV[at], 0, more - 1)`,
	},
	{
		"in hand: a repeated turn brings nothing", "dispatcher/internal/lanes/parts/rolling.lua",
		`if more and fenced(record, token) then`, `if false then`,
	},
	{
		"in hand: the hands of two lanes are mixed up", "dispatcher/internal/lanes/parts/rolling.lua",
		`a.row < b.row`, `a.row > b.row`,
	},
	{
		"in hand: more comes than one call may read", "dispatcher/internal/lanes/parts/rolling.lua",
		`given == 0 and fits(ids) or light(#ids + given) and #ids or 0`, `#ids`,
	},
	{
		"in hand: more jobs come than one call may give", "dispatcher/internal/lanes/parts/rolling.lua",
		`math.min(most - 1 - lane.hand, room - #ids)`, `most - 1 - lane.hand`,
	},
	{
		"in hand: an end says what was there when its claim was made", "worker/desk.go",
		`a.end.More = len(a.hand.jobs) + a.packed + 1 - len(a.claim.Along)`, `a.end.More = 0`,
	},
	{
		"in hand: an end forgets those whose ends travel with it", "worker/desk.go",
		`a.end.More = len(a.hand.jobs) + a.packed + 1 - len(a.claim.Along)`, `a.end.More = len(a.hand.jobs) + 1 - len(a.claim.Along)`,
	},
	{
		"in hand: a lane rolls for ever past other partitions", "worker/desk.go",
		`len(d.crew.queue) > 0 || a.ended.Sub(a.begun) >= d.hands.lasts`, `len(d.crew.queue) > 0`,
	},
	{
		"in hand: a batch is cut short like a lane that rolls", "worker/desk.go",
		`d.bars(a.claim) || a.rolls && (`, `d.bars(a.claim) || (`,
	},
	{
		"in hand: a lane rolls though another one waits for its place", "worker/desk.go",
		`len(d.crew.queue) > 0 || a.ended.Sub`, `a.ended.Sub`,
	},
	{
		"in hand: filled though a lane waits for a place", "worker/desk.go",
		`if len(d.crew.queue) == 0 { // else lanes wait here, though Redis knows of none`, `if true {`,
	},
	{
		"in hand: places that go on ask for more lanes", "worker/plan.go",
		`		if !a.end.GoesOn {`, `		if !a.end.GoesOn || true {`,
	},
	{
		"in hand: on a slow link jobs are in it for as long as it takes", "worker/hand.go",
		` && time.Duration(2*n)*took <= maxPatience`, ``,
	},
	{
		"in hand: goes back while an end that says so is to be said", "worker/desk.go",
		`l.unsaid == 0 {`, `true {`,
	},
	{
		"in hand: what goes back is forgotten under limits", "dispatcher/session/permit.go",
		`, PutBack: t.PutBack}`, `}`,
	},
	{
		"in hand: a put-back that Redis did not hear is a sign of it", "dispatcher/session/turn.go",
		`if p.back != nil && a.Err == nil {`, `if false {`,
	},
	{
		"in hand: a place that drops its lane keeps what is in it", "worker/desk.go",
		`	a.hand.jobs, a.over = nil, true
	return d.crew.vacate()
}

// handBackLocked`, `	return d.crew.vacate()
}

// handBackLocked`,
	},
	{
		"in hand: what waits behind a slow job stays there", "worker/desk.go",
		`part.eased = append(part.eased, l.running)`, `part.eased = part.eased[:0]`,
	},
	{
		"in hand: what goes back is begun all the same", "worker/desk.go",
		`	l.hand.jobs = nil
	delete(d.held, l)`, `	delete(d.held, l)`,
	},
	{
		"in hand: who has no room asks for none", "worker/plan.go",
		`e.Refuse || rolls`, `e.Refuse || rolls && false`,
	},
	{
		"in hand: a holder whose token is over puts jobs back", "dispatcher/internal/lanes/putback.lua",
		`fenced(record, ARGV[i + 2]) and call`, `record and call`,
	},
	{
		"in hand: a cancel does not wait until the job goes back", "dispatcher/suspend.go",
		`did != "claimed" || time.Since`, `did != "" || time.Since`,
	},
	{
		"in hand: kinds roll whose jobs go one by one", "worker/run.go",
		`k.Limit == 0 && k.Every == 0 && k.Keep == 0 && k.OnFailure != dispatcher.Halt`, `true`,
	},
}
