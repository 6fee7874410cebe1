package main

// unseenSim are defects that neither the simulator nor its checker saw.
var unseenSim = []defect{
	{
		"a lane that is to be suspended is handed over by the call that finishes and claims", "dispatcher/internal/lanes/parts/handing.lua",
		`local stops = c.asleep[subject] or suspend_asked(f.asks[subject]) -- a cancel was for the job that is done`, `local stops = c.asleep[subject]`,
	},
	{
		"the checker does not see a job that starts after its cancel", "internal/history/check.go",
		`c.say("cancel", "%s starts after it was cancelled", e.Job)`, ``,
	},
	{
		"the checker compares tokens of one worker only", "internal/history/check.go",
		`for _, b := range claims[i+1:] {`, `for _, b := range claims[i+1:] {
			if a.Worker != b.Worker {
				continue
			}`,
	},
	{
		"the checker does not see an end under a lease that was given back", "internal/history/check.go",
		`over[e.Token] = e`, `delete(over, e.Token)`,
	},
	{
		"the checker does not see a claim of what is suspended", "internal/history/check.go",
		`c.suspensions()`, ``,
	},
	{
		"the checker does not see that a limit is exceeded", "internal/history/check.go",
		`running[e.Kind]++; running[e.Kind] > most`, `running[e.Kind]++; false`,
	},
	{
		"the checker does not see two that wait with one key", "internal/history/check.go",
		`		c.unique()
`, ``,
	},
	{
		"the checker does not see that what was merged never ran", "internal/history/check.go",
		`c.merges()`, ``,
	},
	{
		"digits of the time that begin with a 0 are octal to the embedded server: it is up to 14 ms behind", "internal/script/clock.lua",
		`clock_ms, clock_us = t[1] * 1000 + math.floor(t[2] / 1000), `, `clock_ms, clock_us = t[1] * 1000 + string.sub('00000' .. t[2], -6, -4), `,
	},
	{
		"a worker that is blamed for one kind gives up its places in line for limits of others", "dispatcher/session/line.go",
		`if slices.ContainsFunc(but, func(l limit) bool { return l.name == at.limit }) {`, `if false {`,
	},
	{
		"a worker that is blamed for one kind gives up its place in line for the limit of its pool", "dispatcher/session/line.go",
		`if slices.ContainsFunc(but, func(l limit) bool { return l.name == at.limit }) {`,
		`if slices.ContainsFunc(but, func(l limit) bool { return l.name == at.limit && !lanes.IsPoolLimit(l.name) }) {`,
	},
	{
		"a worker that is blamed for all its kinds keeps its place in line for the limit of its pool", "dispatcher/session/line.go",
		`if slices.ContainsFunc(but, func(l limit) bool { return l.name == at.limit }) {`,
		`if lanes.IsPoolLimit(at.limit) || slices.ContainsFunc(but, func(l limit) bool { return l.name == at.limit }) {`,
	},
	{
		"a probe in vain forgets that it was short of its limit", "dispatcher/session/session.go",
		`tried.Short = tried.Short || rest.Short`, `tried.Short = rest.Short`,
	},
	{
		"the checker takes a batch's end for as many ends: what stays of it was never the head", "internal/history/model.go",
		`			s.stay = append(slices.Clip(s.stay), e.Job)
`, ``,
	},
	{
		"the checker takes an unanswered failure for one that leaves its job in place", "internal/history/model.go",
		`			e.Outcome = Gone
`, ``,
	},
	{
		"a blamed worker that finds no lane to try claims nothing of its other kinds", "dispatcher/session/session.go",
		`case len(left.Kinds) == 0 || tried.Err != nil:`, `case len(left.Kinds) == 0 || tried.Err != nil, len(tried.Claims) == 0:`,
	},
}
