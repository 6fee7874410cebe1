package main

// unseenLanes are defects that no test saw once: where lane batches, marks of operators, repeated claims and sections
// meet each other and what else there is.
var unseenLanes = []defect{
	{
		"the next job of a lane batch starts though a kept end has freed the lane", "worker/attempt.go",
		`end.Outcome == session.Finished && a.claim.Keep == 0 && !a.cancelled()`, `end.Outcome == session.Finished && !a.cancelled()`,
	},
	{
		"a cancel stays on the lease of a lane batch: it is for the next job then", "dispatcher/internal/lanes/parts/finishing.lua",
		`without_value(asks, 'cancel')`, `asks`,
	},
	{
		"a suspension is forgotten when the holder goes on with a lane batch", "dispatcher/internal/lanes/parts/finishing.lua",
		`without_value(asks, 'cancel')`, `''`,
	},
	{
		"a job that was claimed along can be suspended", "dispatcher/internal/lanes/suspendjob.lua",
		`elseif at == 'hand' then`, `elseif false then`,
	},
	{
		"a job that was claimed along can be cancelled", "dispatcher/internal/lanes/cancel.lua",
		`elseif at == 'hand' then`, `elseif false then`,
	},
	{
		"slots go back after the first job of a lane batch", "dispatcher/session/starts.go",
		`if name := record.LimitOf(slot.Subject); !e.GoesOn {`, `if name := record.LimitOf(slot.Subject); true {`,
	},
	{
		"a refund leaves the job blamed on its worker", "dispatcher/internal/lanes/refund.lua",
		`without_line(workers, holder)`, `workers`,
	},
	{
		"what comes of a job stays after its end", "dispatcher/internal/lanes/parts/finishing.lua",
		`      call('HDEL', NOTES, unpack(done))`, ``,
	},
	{
		"each claim is the first attempt", "dispatcher/internal/lanes/parts/lot.lua",
		`tried = tried or attempts[#attempts] ~= '0'`, `tried = false`,
	},
	{
		"a suspended job is taken along in a batch", "dispatcher/internal/lanes/parts/lot.lua",
		`same and stops or tried or is_suspended(notes[i])`, `same and stops or tried`,
	},
	{
		"a job that has failed is claimed with others behind it", "dispatcher/internal/lanes/parts/lot.lua",
		`      stops = tried
`, `      stops = false
`,
	},
	{
		"a suspended job takes its place when it is due", "dispatcher/internal/lanes/parts/due.lua",
		`is_suspended(notes[i])`, `false`,
	},
	{
		"a repair leaves garbage in a lane", "dispatcher/doctor/repair.go",
		`all[canonical] = append(all[canonical], lanes.Suspect{How: "drop", Entry: entry})`, `_ = entry`,
	},
	{
		"a suspended head is claimed by the call that finishes the one before", "dispatcher/internal/lanes/parts/handing.lua",
		`stops[lanes[i]] = is_suspended(note)`, `stops[lanes[i]] = false`,
	},
	{
		"a lane waits as long as the last failed job of its batch says", "dispatcher/internal/lanes/parts/ending.lua",
		`if #stay == 1 then`, `if #stay >= 1 then`,
	},
	{
		"a batch that finished while its pool stops runs again", "worker/attempt.go",
		`case v.failed && (stopped || errors.Is(cause, lease.ErrCancelled)):`, `case stopped || v.failed && errors.Is(cause, lease.ErrCancelled):`,
	},
	{
		"a batch handler that returns too few errors ends the process", "worker/verdict.go",
		`	case len(errs) != a.size():`, `	case false:`,
	},
	{
		"a batch that has ended forgets that its lane is to be suspended", "dispatcher/internal/lanes/parts/ending.lua",
		`free(e.subjects, e.asks)`, `free(e.subjects, {})`,
	},
	{
		"a lane that is to be suspended is handed over in the call of the end", "dispatcher/internal/lanes/parts/handing.lua",
		`c.asleep[subject] or suspend_asked(f.asks[subject]) --`, `c.asleep[subject] or false --`,
	},
	{
		"a lane whose cancelled job finished is handed to nobody", "dispatcher/internal/lanes/parts/handing.lua",
		`c.asleep[subject] or suspend_asked(f.asks[subject]) --`, `c.asleep[subject] or f.asks[subject] --`,
	},
	{
		"jobs that one crash has used up die in reverse order", "dispatcher/internal/lanes/reap.lua",
		`  for i, entry in ipairs(entries) do
    local attempts`, `  for k = #entries, 1, -1 do
    local i, entry = k, entries[#entries + 1 - k]
    local attempts`,
	},
	{
		"a repeated claim gives out what others got in the same ms", "dispatcher/internal/lanes/parts/claiming.lua",
		`if entries[i] and fenced(records[i], token) then`, `if entries[i] then`,
	},
	{
		"taking a suspension back forgets that the job was cancelled", "dispatcher/internal/lanes/resume.lua",
		`asks = without_value(asks, 'suspend')`, `asks = ''`,
	},
	{
		"suspending a halted lane forgets that it is halted", "dispatcher/internal/lanes/suspend.lua",
		`with_value(reasons, 'suspended', `, `with_value('', 'suspended', `,
	},
	{
		"a suspension takes the place of a cancel that is asked for", "dispatcher/internal/lanes/suspend.lua",
		`with_value(asks, 'suspend', `, `with_value('', 'suspend', `,
	},
	{
		"a cancel takes the place of a suspension that is asked for", "dispatcher/internal/lanes/cancel.lua",
		`with_value(asks, 'cancel', `, `with_value('', 'cancel', `,
	},
	{
		"an empty lane that is suspended is ready when it gets a job", "dispatcher/internal/lanes/parts/placing.lua",
		` and not parked[i] then`, ` then`,
	},
	{
		"an empty lane that is suspended is ready when a job falls due", "dispatcher/internal/lanes/parts/due.lua",
		` and not call('ZSCORE', PARKED, subject) then`, ` then`,
	},
	{
		"the next job of a lane waits out the backoff of the one that was taken out", "dispatcher/internal/lanes/parts/lane.lua",
		`advance({ subject }, { tail }), of_next(reasons)`, `advance({ subject }, { tail }), reasons`,
	},
	{
		"resuming a lane ends its head's backoff", "dispatcher/internal/lanes/resume.lua",
		`{ 'backoff', 'hold' }`, `{ 'hold' }`,
	},
	{
		"a lane whose backoff ended while it was suspended is not ready when it is resumed", "lease/park.lua",
		`if waits_till > now then`, `if waits_till > 0 then`,
	},
	{
		"a lane that is to be suspended forgets its head's backoff", "dispatcher/internal/lanes/parts/ending.lua",
		`add_reason(parks, d[2], 'backoff', whole(d[1]))`, `parks[d[2]] = parks[d[2]] or with_value('', 'backoff', whole(d[1]))`,
	},
	{
		"a refund is given to another subject's job of the id", "dispatcher/internal/lanes/refund.lua",
		`if not body or not is_of(body, subject) then`, `if not body then`,
	},
	{
		"a head that comes into a suspended lane does not park it for itself", "dispatcher/internal/lanes/parts/lane.lua",
		`  if stays ~= '' then
`, `  if stays ~= '' and leased then
`,
	},
	{
		"a lane stays halted by a head that is gone", "internal/record/park.lua",
		`  rest = without_value(without_value(rest, 'halted'), 'hold')`, `  halted = nil`,
	},
	{
		"a repeated suspension is asked for again", "dispatcher/internal/lanes/suspend.lua",
		`  remember('later ' .. holder_of(record))
`, ``,
	},
	{
		"a repeated cancel cancels again", "dispatcher/internal/lanes/cancel.lua",
		`  remember('asked ' .. holder_of(record))
`, ``,
	},
	{
		"a repair lets a lane go whose suspension was asked of a holder that is gone", "dispatcher/internal/lanes/parts/mending.lua",
		`if to_stop and not value_in(why, 'suspended') then`, `if false then`,
	},
	{
		"a repair ends a suspension that can't be read", "dispatcher/internal/lanes/parts/mending.lua",
		`    lines = value and with_value(`, `    lines = value and find(value, '^%d+ ') and with_value(`,
	},
	{
		"a lane that goes on with a backoff tells nobody when", "dispatcher/internal/lanes/resume.lua",
		`    call('ZADD', WAKE .. kind_of(head), 0, 'due')`, `    local _ = 0`,
	},
	{
		"a job is not suspended when memory is full", "dispatcher/internal/lanes/suspendjob.lua",
		`despite_full_memory()
`, ``,
	},
	{
		"a repair does not see that a parked lane is looked at at a wrong time", "dispatcher/doctor/doctor.go",
		`f.again != park.LookAgain()`, `false`,
	},
	{
		"an expired lease over a lane that is to be suspended is taken", "lease/acquire.lua",
		`deadline > now or waiting or asked(record)`, `deadline > now or waiting`,
	},
	{
		"a section takes the lane of a dead one that is to be suspended", "dispatcher/internal/lanes/section.lua",
		`local parks = free({ subject }, asks_of({ subject }, { record }))`, `local parks = free({ subject }, {})`,
	},
	{
		"what a section call frees is listed nowhere", "dispatcher/internal/lanes/section.lua",
		`if freed and head and not record and not stopped and reply[1] ~= 'ok' then`, `if false then`,
	},
	{
		"a batch that halts its lane says that attempts are exhausted, whatever its head failed with", "dispatcher/internal/lanes/parts/ending.lua",
		`e.halted[#e.halted + 1] = { subject, reason, `, `e.halted[#e.halted + 1] = { subject, reason_for('exhausted'), `,
	},
	{
		"a lane whose slot is lost is kept by a worker that does not work at it", "worker/attempt.go",
		`	a.release()
	if q, ok := a.pool.desk.vacate(a)`, `	if q, ok := a.pool.desk.vacate(a)`,
	},
	{
		"a look that is cut off shows a part as if it were all", "dispatcher/doctor/survey.go",
		`		if err := scan(ctx, v.key, v.note); err != nil {
			return err`, `		if err := scan(ctx, v.key, v.note); err != nil {
			break`,
	},
	{
		"a repair sets a job aside that has come back meanwhile", "dispatcher/internal/lanes/restore.lua",
		`and not (subject ~= '' and stands()) then`, `then`,
	},
	{
		"priorities do not age where a limit is asked first", "dispatcher/session/permit.go",
		`		whos[i].ranks.served(got.Claims, wants[i], p.who.Kinds, now)
`, `		_ = now
`,
	},
	{
		"a start that comes back is offered to who has one offered already", "dispatcher/internal/lanes/giveback.lua",
		`p.starts - p.offered`, `p.starts`,
	},
	{
		"a section on a busy lane is an error in full memory", "dispatcher/internal/lanes/section.lua",
		`  despite_full_memory()
  remember('held somebody 0')`, `  remember('held somebody 0')`,
	},
	{
		"all kinds are young when a limit lets fewer start than there is room for", "dispatcher/session/permit.go",
		`served(got.Claims, wants[i],`, `served(got.Claims, p.turns[i].Want,`,
	},
	{
		"the window of a job before ends the key of the one that has it", "dispatcher/internal/lanes/parts/placing.lua",
		`      elseif before_it then`, `      elseif false then`,
	},
	{
		"a replay leaves the window of another job on its key", "dispatcher/internal/lanes/replay.lua",
		`  if other and other ~= id then
    call('ZREM'`, `  if false then
    call('ZREM'`,
	},
	{
		"a payload of other rules replaces one of the same call", "dispatcher/internal/lanes/parts/rivals.lua",
		`    rules = rules_of(ARGV[ROW + 4 * here + 1])`, `    rules = rules_of(entry)`,
	},
	{
		"what waits for a limit of which an answer is out is forgotten", "dispatcher/session/starts.go",
		`p.got[i].short[k] = want > 0`, `p.got[i].short[k] = false`,
	},
	{
		"an attempt that can't be given back keeps all others", "dispatcher/session/blame.go",
		`if ctx.Err() != nil || errors.Is(err, connect.ErrUnavailable) {`, `if err != nil || errors.Is(err, connect.ErrUnavailable) {`,
	},
	{
		"two ask again for what got lost", "dispatcher/session/lost.go",
		`	case <-ctx.Done(): // the leases of what is left expire`, `	default:
		s.recoverLost(ctx)`,
	},
}
