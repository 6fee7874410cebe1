package main

// unseenBounds are defects that no test saw once: bounds and pages that none filled, requests repeated with
// several lanes and holders, hints that got lost, leaks, and rules that none set.
var unseenBounds = []defect{
	{
		"a repeated claim gives back a hundred of its lanes", "dispatcher/internal/lanes/parts/claiming.lua",
		`if entries[i] and fenced(records[i], token) then`, `if entries[i] and fenced(records[i], token) and #subjects < 100 then`,
	},
	{
		"a repeated claim looks at the first thousand leases of its ms", "dispatcher/internal/lanes/parts/claiming.lua",
		`from, more = from + part, #at == part`, `from, more = from + part, false`,
	},
	{
		"a repeated claim gives out other holders' lanes", "dispatcher/internal/lanes/parts/claiming.lua",
		`if entries[i] and fenced(records[i], token) then`, `if entries[i] and records[i] then`,
	},
	{
		"a reap that stops at its bound ends one lease more than it charges", "dispatcher/internal/lanes/reap.lua",
		`      break -- the rest is due still, and left for the next call`,
		`      e.subjects[#e.subjects + 1], e.asks[subject] = subject, asks[subject]
      break`,
	},
	{
		"of more finishes than one call takes the first go last", "dispatcher/session/turn.go",
		`with, parts = parts[n-1], parts[:n-1]`, `with, parts = parts[0], parts[1:]`,
	},
	{
		"a list of lanes skips what a page cut off a batch", "dispatcher/inspect/lanes.go",
		`			return subjects, at, nil
		case len(step) > room && count > 1:`, `			return subjects, cursor{at.partition, 0, part.Next}, nil
		case len(step) > room && count > 1:`,
	},
	{
		"a job that has more bytes than a trip takes never sets out", "dispatcher/singles.go",
		`(n == 0 || bytes+len(s.waiting[n].job.Body) <= MaxBatchBytes)`, `bytes+len(s.waiting[n].job.Body) <= max(MaxBatchBytes, 16<<20)`,
	},
	{
		"one call fills a lane beyond its bound while the partition is small", "dispatcher/internal/lanes/enqueue.lua",
		`a.deep = a.stored + a.n > a.max_lane`, `a.deep = a.stored > a.max_lane`,
	},
	{
		"a job due before what sleepers know of wakes nobody", "dispatcher/internal/lanes/parts/placing.lua",
		`if waits or not earliest or job[1] < earliest then`, `if waits or not earliest then`,
	},
	{
		"what happened before a subscription is not looked for", "dispatcher/internal/lanes/news.go",
		`	n.live[channel] = n.listeners[channel] != nil
	n.mu.Unlock()
	n.signal(channel, "")`, `	n.live[channel] = n.listeners[channel] != nil
	n.mu.Unlock()`,
	},
	{
		"who has no room keeps a hint to itself", "worker/plan.go",
		`	part.passOn = full
`, ``,
	},
	{
		"the answer of a trip buries a hint that came meanwhile", "worker/plan.go",
		`	case part.news != e.heard: // a hint came meanwhile; what the answer knows is old
`, ``,
	},
	{
		"who has no room keeps an offer to itself", "worker/plan.go",
		`part.ready, part.short, part.refuse = unknown, false, full`, `part.ready, part.short, part.refuse = unknown, false, full && false`,
	},
	{
		"remembered replies never expire", "internal/script/request.lua",
		`call('SET', REQUEST, ARGV[2] .. ' ' .. reply, 'PX', REMEMBER_MS)`, `call('SET', REQUEST, ARGV[2] .. ' ' .. reply)`,
	},
	{
		"channels are never left while anybody listens", "dispatcher/internal/lanes/news.go",
		`err = errors.Join(err, sub.Unsubscribe(ctx, gone...))`, `_ = gone`,
	},
	{
		"the error of a halted head outlives its resumption", "dispatcher/internal/lanes/resume.lua",
		`attempts, workers, failure = 0, '', ''`, `attempts, workers = 0, ''`,
	},
	{
		"a job's own timeout is ignored", "worker/attempt.go",
		`cmp.Or(a.claim.Timeout, p.cfg.Timeout))`, `p.cfg.Timeout)`,
	},
	{
		"how long a kind keeps outcomes is ignored", "dispatcher/kind.go",
		`	job.Keep = cmp.Or(job.Keep, kind.Keep)
`, ``,
	},
	{
		"an enqueue that asks for two replicas waits for one", "internal/script/send.go",
		`conn.Wait(ctx, replicas, within)`, `conn.Wait(ctx, 1, within)`,
	},
	{
		"lost attempts are measured until they were reaped", "dispatcher/internal/lanes/reap.lua",
		`i == 1 and call('ZSCORE', DEADLINES, subject) or '-'`, `i == 1 and whole(now) or '-'`,
	},
	{
		"the outcome of a job cancelled while it ran is kept for seconds", "dispatcher/session/end.go",
		`Keep: e.Claim.Keep, Text: ""}`, `Keep: e.Claim.Keep / 1000, Text: ""}`,
	},
	{
		"the last look trusts the clock that stood still", "lease/keeper.go",
		`	if !ok || h.past(now, k.deadline(h)) {`, `	if !ok || !now.at.Before(k.deadline(h)) {`,
	},
	{
		"a renewal that took long is trusted by the clock that stood still", "lease/keeper.go",
		`	return ok && !h.past(k.now(), k.deadline(h))`, `	return ok && time.Now().Before(k.deadline(h))`,
	},
	{
		"jobs of two kinds with one unique key merge", "dispatcher/unique.go",
		`record.UniqueField(canonical, job.Kind, u.Key, digest[:])`, `record.UniqueField(canonical, "", u.Key, digest[:])`,
	},
	{
		"estimates of a rated kind are made as if it were not", "dispatcher/inspect/durations.go",
		`k.Limit > 0 || k.Every > 0 {`, `k.Limit > 0 {`,
	},
	{
		"the doctor says nothing of a worker that is to blame", "dispatcher/doctor/standstill.go",
		`if w.Alive && len(w.Blamed) > 0 {`, `if false {`,
	},
}
