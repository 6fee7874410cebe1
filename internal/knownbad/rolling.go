package main

// rolling are defects of what holders have in hand of their lanes.
var rolling = []defect{
	{
		"in hand: filled while another lane is ready", "dispatcher/internal/lanes/turn.lua",
		`reply[2] == 0 and not next(c.next_up)`, `true`,
	},
	{
		"in hand: a lane that is handed over is taken deep while another one waits", "dispatcher/internal/lanes/parts/claiming.lua",
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
		`ipairs(behind(lane.subject, kind, lane.hand, n, true))`, `ipairs(behind(lane.subject, kind, lane.hand + 1, n, true))`,
	},
	{
		"in hand: what failed before comes too", "dispatcher/internal/lanes/parts/rolling.lua",
		`attempts_of(notes[i]) > 0 or is_suspended(notes[i])`, `is_suspended(notes[i])`,
	},
	{
		"in hand: what is suspended comes too", "dispatcher/internal/lanes/parts/rolling.lua",
		`attempts_of(notes[i]) > 0 or is_suspended(notes[i])`, `attempts_of(notes[i]) > 0`,
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
		`#ids > 0 and light(#ids + given)`, `#ids > 0`,
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
		`a.rolls && a.ended.Sub(a.begun) >= d.hands.lasts`, `false`,
	},
	{
		"in hand: a batch is cut short like a lane that rolls", "worker/desk.go",
		`a.rolls && a.ended.Sub(a.begun) >= d.hands.lasts`, `a.ended.Sub(a.begun) >= d.hands.lasts`,
	},
	{
		"in hand: what waits behind a slow job stays there", "worker/desk.go",
		`part.eased = append(part.eased, l.running)`, ``,
	},
	{
		"in hand: what goes back is begun all the same", "worker/desk.go",
		`			l.hand.jobs = nil
			delete(d.held, l)`, `			delete(d.held, l)`,
	},
	{
		"in hand: who has no room asks for none", "worker/plan.go",
		`e.Refuse || rolls`, `e.Refuse`,
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
