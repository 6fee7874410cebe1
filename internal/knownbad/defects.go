package main

import "slices"

// defect is one mistake: what stands in a file, and what would stand there instead. The
// name says what is wrong, with the peer that shipped it, where one did.
type defect struct {
	name, file, good, bad string
}

// defects are all of the list: by verb and feature here, and by the kind of fault beside.
var defects = slices.Concat(byVerb, fromCommands, fromOutages, fromOrder, fromHostility, fromUsers, fromMoving, unseenBounds, unseenCLI, unseenLanes, unseenSim, rolling)

var byVerb = []defect{
	{
		"any token finishes (hibiken/asynq doneCmd has no owner)", "lease/fence.lua",
		`answer = record and sub(record, 1, #token + 1) == token .. ' '`, `answer = record`,
	},
	{
		"renew does not compare tokens (OptimalBits/bull#308)", "lease/renew.lua",
		`if fenced(records[i], tokens[i]) and alive then`, `if records[i] and alive then`,
	},
	{
		"a lease that is over is renewed", "lease/renew.lua",
		`if fenced(records[i], tokens[i]) and alive then`, `if fenced(records[i], tokens[i]) then`,
	},
	{
		"release does not compare tokens (rails/solid_queue#761)", "lease/release.lua",
		`token ~= '' and fenced(record, token) or`, `token ~= '' and record or`,
	},
	{
		"acquire takes what is held", "lease/acquire.lua",
		`if record and (deadline > now or waiting or asked(record)) then`, `if record and waiting then`,
	},
	{
		"tokens by counting only: they repeat after a failover", "lease/lease.lua",
		`local last, token = look().token, now_us
  if last and tonumber(last) >= tonumber(now_us) then
    token = whole(last + 1)
  end`, `local token = whole((look().token or 0) + 1)`,
	},
	{
		"tokens by the clock only: they fall when it is set back", "lease/lease.lua",
		`if last and tonumber(last) >= tonumber(now_us) then`, `if false then`,
	},
	{
		"numbers with 14 digits, as Redis' tostring prints them", "internal/record/text.lua",
		`return string.format('%d', n)`, `return tostring(n)`,
	},
	{
		"times from the client's clock (MailFathom#1989)", "internal/script/script.go",
		`if r.now == nil {
		return ""
	}`, `if r.now == nil {
		return strconv.FormatInt(time.Now().UnixMilli(), 10)
	}`,
	},
	{
		"a repeated request runs twice (redis/jedis#3187)", "internal/script/request.lua",
		`local last = ARGV[2] ~= '' and call('GET', REQUEST)`, `local last = false`,
	},
	{
		"a request that was overtaken runs late", "internal/script/request.lua",
		`return false, tonumber(nth) > tonumber(ARGV[2]) and 'stale'`, `return false`,
	},
	{
		"a finish leaves the lease (triggerdotdev/trigger.dev#2907)", "dispatcher/internal/lanes/parts/leaving.lua",
		"local parks, listed = free(freed, f.asks), {}", "local parks, listed = {}, {}",
	},
	{
		"a retry leaves the lease (triggerdotdev/trigger.dev#4540)", "dispatcher/internal/lanes/parts/ending.lua",
		`local parks = free(e.subjects, e.asks)`, `local parks = {}`,
	},
	{
		"a dead letter leaves a hole (avifenesh/glide-mq#206)", "dispatcher/internal/lanes/parts/ending.lua",
		`go_on(advance(e.over, e.over_tails), parks, 'RPUSH', own)`, `go_on({}, parks, 'RPUSH', own)`,
	},
	{
		"a hand-back does not list its lane", "dispatcher/internal/lanes/parts/ending.lua",
		`  list_ready(unparked(e.front, parks), 'LPUSH', own)
`, ``,
	},
	{
		"a claim does not look for a lease (taskforcesh/bullmq#3210)", "dispatcher/internal/lanes/parts/claiming.lua",
		`if entry and not records[i] and not taken[subject] then`, `if entry and not taken[subject] then`,
	},
	{
		"a lane is handed over to one who does not handle its kind", "dispatcher/internal/lanes/parts/handing.lua",
		`if head and h < wanted and takes[kind_of(head)] and not stops`, `if head and h < wanted and not stops`,
	},
	{
		"reaping forgets to list lanes (Openpanel-dev/groupmq#14)", "dispatcher/internal/lanes/parts/ending.lua",
		`  list_awake(e.interrupted, parks, 'LPUSH', own)
`, ``,
	},
	{
		"reaping forgets the dead letter of a last attempt", "dispatcher/internal/lanes/parts/ending.lua",
		`
  bury(e.letters, now)
`, `
`,
	},
	{
		"a crash does not count (contribsys/faktory#99)", "dispatcher/internal/lanes/parts/ending.lua",
		`or attempts + 1 >= max_of(entry) and (verdict == 'lost' and 'lost' or 'exhausted')`, `or verdict ~= 'lost' and attempts + 1 >= max_of(entry) and 'exhausted'`,
	},
	{
		"a crash of a batch counts for its head only", "dispatcher/internal/lanes/reap.lua",
		`local entries = along > 0 and call('LRANGE', tail, 0, along - 1) or {}`, `local entries = {}`,
	},
	{
		"a job that falls due keeps no place in the order", "dispatcher/internal/lanes/parts/due.lua",
		`renumbered(body, seq + i)`, `renumbered(body, 1)`,
	},
	{
		"one id makes two jobs (contribsys/faktory#416)", "dispatcher/internal/lanes/parts/rivals.lua",
		`elseif exists or first[id] then`, `elseif first[id] then`,
	},
	{
		"a batch is half taken", "dispatcher/internal/lanes/parts/rivals.lua",
		`if word and not a.each then`, `if false then`,
	},
	{
		"an enqueue is taken in full memory", "dispatcher/internal/lanes/enqueue.lua",
		`local fresh, first_seq, seqs = #a.fresh, 0, {}`, `call('HDEL', LEASES, '')
local fresh, first_seq, seqs = #a.fresh, 0, {}`,
	},
	{
		"renewals are refused in full memory", "lease/renew.lua",
		"\ndespite_full_memory()\n", "\n",
	},
	{
		"an enqueue wakes nobody", "lease/handover.lua",
		`call('ZADD', WAKE .. kind, '0', 'ready')`, `call('ZCARD', WAKE .. kind)`,
	},
	{
		"a discarded job leaves its body (hibiken/asynq#730)", "dispatcher/internal/lanes/discard.lua",
		"\n  many('HDEL', JOBS, ids)\n", "\n",
	},
	{
		"a repair throws away what stands nowhere", "dispatcher/internal/lanes/restore.lua",
		`bury({ { entry ~= '' and entry or entry_of(id, '?', '1'), 0, 'lost+found', why } }, now)`, `call('HDEL', JOBS, id)`,
	},
	{
		"a repair ends leases whose holder lives", "dispatcher/internal/lanes/parts/mending.lua",
		`now + grace, subject)`, `now, subject)`,
	},
	{
		"a key outside of the hash tag (hibiken/asynq#480)", "subject/keys.go",
		`return k.base + "request:" + caller`, `return "request:" + caller`,
	},
	{
		"two subjects with one name", "subject/key.go",
		`b = binary.AppendUvarint(b, uint64(len(k.Kind)))`, `b = binary.AppendUvarint(b, 0)`,
	},
	{
		"a flushed script cache is not filled again", "internal/script/send.go",
		`if redis.HasErrorPrefix(calls[0].reply.Err(), "NOSCRIPT") {`, `if false {`,
	},
	{
		"a moving slot may run half a script (redis/redis#9526)", "internal/script/script.go",
		`all = append(all, l.keys.Request("")) // no caller is named so: it never exists`, ``,
	},
	{
		"WAIT on another connection (redis/redis#12439)", "internal/script/send.go",
		`acked := conn.Wait(ctx, replicas, within).Val()`, `acked := node.Wait(ctx, replicas, within).Val()`,
	},
	{
		"a lease counts from the reply", "dispatcher/session/turn.go",
		`sent, now := time.Now(), s.lanes.Clock()
	s.lanes.Scripts.Run(ctx, calls...)
	answers := make([]TurnReply, len(turns))
	for i := range turns {`, `s.lanes.Scripts.Run(ctx, calls...)
	sent, now := time.Now(), s.lanes.Clock()
	answers := make([]TurnReply, len(turns))
	for i := range turns {`,
	},
	{
		"work is cancelled after its lease has ended", "lease/keeper.go",
		`h.lease.Proven.Add(h.lease.TTL - k.margin)`, `h.lease.Proven.Add(h.lease.TTL + k.margin)`,
	},
	{
		"a renewal may hang for ever (sky1wu/Bili-SyncPlay#263)", "lease/keeper.go",
		`ctx, cancel := context.WithTimeout(ctx, k.ttl/3)`, `ctx, cancel := context.WithCancel(ctx)`,
	},
	{
		"one failed renewal ends renewing (redisson/redisson#775)", "lease/keeper.go",
		`h.renewAt = time.Now().Add(k.ttl / 12)`, `h.renewAt = time.Now().Add(k.ttl * 12)`,
	},
	{
		"work starts on a lease that is over (inngest/inngest#4766)", "worker/attempt.go",
		`if !a.trusted(p.life) {`, `if false {`,
	},
	{
		"an end whose answer was lost is not sent again", "worker/settle.go",
		`		a.resent = true
		return ended.Err`, `		a.resent = true`,
	},
	{
		"why: a time that is past is said to come", "dispatcher/inspect/whylane.go",
		`		case l.RunAt.After(f.now):
			w.Until = l.RunAt`, `		default:
			w.Until = l.RunAt`,
	},
	{
		"why: a lane that nobody serves is said to wait for nothing", "dispatcher/inspect/whylane.go",
		`	if !f.who || l.HeadID == "" ||`, `	if true ||`,
	},
	{
		"why: a limit that is used up is not seen", "dispatcher/inspect/limits.go",
		`u.Held >= u.Most`, `u.Held > u.Most`,
	},
	{
		"why: a lease that is over is said to be held", "dispatcher/inspect/whylane.go",
		`case !l.ExpiresAt.After(f.now):`, `case false:`,
	},
	{
		"why: what stands still ends with 0", "cmd/lanekeeper/why.go",
		`		stuck = falseError{}`, `		stuck = nil`,
	},
	{
		"why: an id that could be a subject is of no job", "cmd/lanekeeper/why.go",
		`!errors.Is(e, dispatcher.ErrNotFound) {`, `e == nil && false {`,
	},
	{
		"why: a job behind others says nothing of them", "dispatcher/inspect/whyjob.go",
		`first + ". Of the first one: " + lane.Text`, `first + "."`,
	},
	{
		"guard: strangers are ended when the worker dies while the guard looks for its child", "cmd/lanekeeper/system_linux.go",
		`	if os.Getppid() != parent {
		return nil
	}`, ``,
	},
	{
		"context: who listens after a timeout has ended stays a child of the pool's life", "worker/context.go",
		`		tell(cause) // nobody else may: the attempt may have ended`, ``,
	},
	{
		"the filler of heads counts as a lane", "dispatcher/inspect/stats.go",
		`		s.Lanes--`, ``,
	},
	{
		"heads is a flat list until it has hundreds of lanes", "dispatcher/internal/lanes/enqueue.lua",
		`if first_seq == 1 then`, `if first_seq == 0 then`,
	},
	{
		"context: a deadline is over only for who listens", "worker/context.go",
		`case !now.Before(a.deadline):`, `case false:`,
	},
	{
		"context: who listens late hears of the deadline before the cancel", "worker/context.go",
		`		tell(cause) // before`, `		defer tell(cause) // before`,
	},
	{
		"context: who listens does not hear of a cancel", "worker/context.go",
		`		tell(cause)
	}
}`, `	}
}`,
	},
	{
		"context: it goes on when its handler has returned", "worker/context.go",
		`		tell(context.Canceled)`, ``,
	},
	{
		"context: the last cause counts", "worker/context.go",
		`	if l.cause == nil {
		l.cause = cause
	}`, `	l.cause = cause`,
	},
	{
		"context: it shows the payload to who prints it", "worker/context.go",
		`func (c jobContext) String() string {`, `func (c jobContext) text() string {`,
	},
	{
		"watch: a cancelled handler has until its timeout to return", "worker/watch.go",
		`if a.watched >= 0 && due.Before(a.due) {`, `if false {`,
	},
	{
		"watch: the first look is the last", "worker/watch.go",
		`			w.setLocked(a.due)
			continue`, `			continue`,
	},
	{
		"watch: an attempt that is due earlier waits for the others", "worker/watch.go",
		`if !w.next.IsZero() && !due.Before(w.next) {`, `if !w.next.IsZero() {`,
	},
	{
		"watch: a cancel at the start of an attempt is missed", "worker/attempt.go",
		`	p.watch.begin(a, a.deadline.Add(p.cfg.CancelGrace)) // before a cancel can be about it, which hurries it
	l.mu.Lock()
	l.at = a
	cut := l.cause != nil
	l.mu.Unlock()
`, `	l.mu.Lock()
	l.at = a
	cut := l.cause != nil
	l.mu.Unlock()
	p.watch.begin(a, a.deadline.Add(p.cfg.CancelGrace))
`,
	},
	{
		"watch: an attempt that begins cancelled has until its timeout to return", "worker/attempt.go",
		`	cut := l.cause != nil`, `	cut := false`,
	},
	{
		"a handler that does not return keeps its lane (Tencent/WeKnora#3462)", "worker/watch.go",
		`go a.giveUp()`, `_ = a.giveUp`,
	},
	{
		"a pool that stops keeps what it had claimed ahead", "worker/desk.go",
		"	for _, q := range waiting {\n", "	for _, q := range waiting[:0] {\n",
	},

	// What a lane can do (docs/features).
	{
		"jobs that should be set aside are tried in place", "dispatcher/internal/lanes/parts/ending.lua",
		`return aside and 'aside' or 'again'`, `return 'again'`,
	},
	{
		"a lane that should halt goes on", "dispatcher/internal/lanes/parts/ending.lua",
		`return flag(entry, 'h') and in_front and 'halted' or 'dead'`, `return 'dead'`,
	},
	{
		"a crash does not halt a lane", "dispatcher/internal/lanes/parts/ending.lua",
		`return flag(entry, 'h') and in_front and 'halted' or 'dead'`, `return flag(entry, 'h') and in_front and verdict ~= 'lost' and 'halted' or 'dead'`,
	},
	{
		"a lane to be suspended goes on when its lease ends", "lease/lease.lua",
		`parks[subject] = stop and with_value('', 'suspended', stop) or nil`, `parks[subject] = nil`,
	},
	{
		"a suspended head is given out", "lease/handover.lua",
		`    if is_suspended(note) then`, `    if false then`,
	},
	{
		"a cancelled job is tried again", "dispatcher/internal/lanes/parts/ending.lua",
		`elseif cancelled then`, `elseif verdict == 'back' and cancelled then`,
	},
	{
		"a cancelled job is handed back", "dispatcher/internal/lanes/parts/ending.lua",
		`elseif cancelled then`, `elseif verdict ~= 'back' and cancelled then`,
	},
	{
		"a job that runs is taken away", "dispatcher/internal/lanes/cancel.lua",
		`if at == 'head' and use_of(record) == 'job' then`, `if false then`,
	},
	{
		"the holder hears of no cancellation", "lease/renew.lua",
		`cancel_asked(asks[subject]) and 'cancel' or 'ok'`, `'ok'`,
	},
	{
		"a job merges with one that runs", "dispatcher/internal/lanes/parts/rivals.lua",
		`scope == 'waiting' and runs(a, subject, id)`, `false`,
	},
	{
		"a unique key outlives its job (hibiken/asynq#918)", "dispatcher/internal/lanes/parts/taken.lua",
		"\n  let_go(entries)\n", "\n",
	},
	{
		"a window never ends", "dispatcher/internal/lanes/parts/rivals.lua",
		`return till > a.now and id or nil`, `return id`,
	},
	{
		"merges are not counted", "dispatcher/internal/lanes/parts/taken.lua",
		`name_as(whole(merged + 1), rules, field)`, `name_as(merged, rules, field)`,
	},
	{
		"a section overtakes jobs", "dispatcher/internal/lanes/section.lua",
		`elseif not record and not stopped and (not head or head == entry) then`, `elseif not record and not stopped then`,
	},
	{
		"a ticket stays when its wait has ended", "dispatcher/internal/lanes/leave.lua",
		"\n  withdraw(subject, entry, (clock()), 'RPUSH', '')\n", "\n",
	},
	{
		"a circle of three is not seen", "dispatcher/internal/lanes/wait.lua",
		`for _ = 1, 100 do`, `for _ = 1, 2 do`,
	},
	{
		"an outcome is kept for ever", "dispatcher/internal/lanes/parts/kept.lua",
		"\n  call('ZADD', extra('expiring'), now + ms, outcome_as_expiring(id))\n", "\n",
	},
	{
		"slots are given twice", "dispatcher/internal/lanes/slot.lua",
		`if deadline > now then`, `if false then`,
	},
	{
		"a limit that is gone limits nothing", "dispatcher/internal/lanes/slot.lua",
		"if not size then\n  return { 'none' }\nend", "size, every = size or '0', every or '0'",
	},
	{
		"a lost slot stops nobody", "worker/attempt.go",
		`for one := range q.claim.Leases() {`, `for _, one := range []lease.Lease{q.claim.Lease} {`,
	},
	{
		"priorities count for nothing", "dispatcher/session/rank.go",
		`return -cmp.Compare(rank(a), rank(b))`, `return cmp.Compare(0, 0*rank(a))`,
	},
	{
		"low priorities starve", "dispatcher/session/rank.go",
		`r.priority[kind] + int(now.Sub(since)/Aging)`, `r.priority[kind] + 0*int(now.Sub(since)/Aging)`,
	},
	{
		"a batch that ended is ended again", "dispatcher/internal/lanes/end.lua",
		`fenced(records[i], ARGV[row + 1])`, `records[i]`,
	},
	{
		"one bad job is blamed on its worker", "worker/blame.go",
		`return f[0].ID == failed[0].ID`, `return false`,
	},
	{
		"a refund is not paid", "dispatcher/internal/lanes/refund.lua",
		`write_note(id, attempts - 1, suspended,`, `write_note(id, attempts, suspended,`,
	},
	{
		"a job may fail on every worker", "dispatcher/internal/lanes/parts/ending.lua",
		`and lines_of(workers) >= most_workers`, `and false`,
	},
	{
		"two owners share a kind", "dispatcher/internal/lanes/register.lua",
		`elseif owned_by ~= owner then`, `elseif false then`,
	},
	{
		"a misspelt kind is taken", "dispatcher/kind.go",
		`case !ok && len(d.registry) > 0 && CheckKind(job.Kind) == nil:`, `case false:`,
	},
	{
		"an estimate is made of nothing", "dispatcher/inspect/durations.go",
		`if at.IsZero() || !known {`, `if at.IsZero() && !known {`,
	},
	{
		"lost attempts are not recorded", "worker/settle.go",
		`p.note(&ended, lost.Took, !lost.Along)`, `_ = ended`,
	},
	{
		"an error quotes the payload", "worker/handler.go",
		`payload is not JSON of the expected form: %s", withoutValues(err)`, `payload is not JSON of the expected form: %w", err`,
	},
	{
		"news that may not be said stops a script", "internal/script/partition.lua",
		`redis.pcall('PUBLISH'`, `call('PUBLISH'`,
	},
}
