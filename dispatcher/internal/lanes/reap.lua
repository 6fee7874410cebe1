-- reap: return to ready what time has set free, and say when to come again:
-- lanes of expired leases, lanes whose wait is over, jobs whose run-at has come; and
-- drop what is over: tickets whose owners are gone, windows of unique keys, outcomes.
--
-- ARGV[6]  kinds the caller claims next itself, each between spaces
-- ARGV[7]  most to do of each sort
-- ARGV[8]  backoff base after lost workers, ms
-- ARGV[9]  backoff cap, ms
--
-- Returns  {'ok', expired, buried, resumed, placed, next, (kind, token, deadline, subject, id,
--          attempt, fate, holder) for each attempt that was lost}
--          next: ms until something falls due, '0' when more is due already,
--          '-' when nothing is in sight
--          deadline: of the lease, ms, or '-' of a job that was claimed along with the head
--          fate: 'again' | 'dead' | 'halted' | 'cancelled'

-- Jobs that one call charges, bytes of those that it reads, and entries among which it looks for
-- tickets: that many take 2 ms.
local MOST, MOST_BYTES, MOST_SEARCHED = 250, 2097152, 100000
local now, own = clock(), ARGV[FIRST]

local function due(index)
  return call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, tonumber(ARGV[FIRST + 1]))
end

-- lose ends the attempts that a lease stood for, and adds them to those that were lost. The attempt that was
-- counted when the lease was given has failed (I6): a job that had no attempt before runs again at once and
-- first in line, any other one waits, and the last attempt is final. A job that was claimed along may
-- have started too, so it counts there as well.
local function lose(e, lost, subject, record, asks, head)
  local base, cap = tonumber(ARGV[FIRST + 2]), tonumber(ARGV[FIRST + 3])
  local holder, along, tail = holder_of(record), along_of(record), TAIL .. subject
  local entries = along > 0 and call('LRANGE', tail, 0, along - 1) or {}
  local keep_ms, rows = cancel_asked(asks) or 0, {}
  table.insert(entries, 1, head)
  local notes = notes_of(ids_of(entries))
  for i, entry in ipairs(entries) do
    local attempts = attempts_of(notes[i])
    local wait = attempts > 0 and math.min(cap, base * 2 ^ math.min(attempts - 1, 40)) or 0
    rows[i] = { entry, 'lost', wait, i == 1 and keep_ms or 0, 'worker lost: ' .. holder, nil, notes[i] }
  end
  local said = end_lane(e, subject, record, asks, tail, rows, 0, now)
  for i, entry in ipairs(entries) do
    local fate = said[2 * i - 1]
    if fate == 'aside' then
      fate, lost.bytes = 'again', lost.bytes + call('HSTRLEN', JOBS, id_of(entry))
    end
    lost[#lost + 1] = {
      kind_of(entry), token_of(record), i == 1 and call('ZSCORE', DEADLINES, subject) or '-', subject, id_of(entry),
      whole(attempts_of(notes[i]) + 1), fate, holder,
    }
  end
end

-- end_leases ends leases that ended without a word from their holder. It returns how many, how many jobs died of it, and the
-- attempts that were lost.
local function end_leases()
  local e, lost, expired = ends(), { bytes = 0 }, 0
  local subjects = due(DEADLINES)
  local records, heads = many('HMGET', LEASES, subjects), many('HMGET', HEADS, subjects)
  local asks = asks_of(subjects, records)
  for i, subject in ipairs(subjects) do
    if #lost > MOST or lost.bytes > MOST_BYTES then
      break -- the rest is due still, and left for the next call
    end
    expired = i
    if heads[i] and use_of(records[i]) == 'job' then
      lose(e, lost, subject, records[i], asks[subject], heads[i])
    else -- no attempt was under way
      e.subjects[#e.subjects + 1], e.asks[subject] = subject, asks[subject]
      if heads[i] then
        e.interrupted[#e.interrupted + 1], e.interrupted[#e.interrupted + 2] = subject, heads[i]
      end
    end
  end
  settle(e, now, own)
  return expired, #e.letters, lost
end

-- end_waits lets lanes go on whose wait is over, and returns how many: nothing but a backoff has kept these back.
local function end_waits()
  local subjects, lanes = due(PARKED), {}
  unpark(subjects)
  local heads, records = many('HMGET', HEADS, subjects), many('HMGET', LEASES, subjects)
  for i, subject in ipairs(subjects) do
    if heads[i] and not records[i] then
      lanes[#lanes + 1], lanes[#lanes + 2] = subject, heads[i]
    end
  end
  list_ready(lanes, 'RPUSH', own)
  return #subjects
end

-- expire drops what goes by itself: outcomes, windows of unique keys, and tickets whose owners have not been
-- heard of, which leave their lanes. Each ticket is a search through its lane, so the entries of these lanes
-- are counted.
local function expire()
  local outcomes, searched = {}, 0
  for _, member in ipairs(due(extra('expiring'))) do
    local outcome, subject, ticket = expiring_of(member)
    if outcome then
      outcomes[#outcomes + 1] = outcome
    elseif searched < MOST_SEARCHED then -- the rest is due still
      searched = searched + call('LLEN', TAIL .. subject)
      call('ZREM', extra('expiring'), member)
      withdraw(subject, ticket, now, 'RPUSH', own)
      tell(id_of(ticket), 'skipped') -- an owner who was only frozen takes another
    end
  end
  forget(outcomes)
  for _, field in ipairs(due(extra('windows'))) do
    local id = call('HGET', extra('unique'), field)
    call('ZREM', extra('windows'), field)
    call('HDEL', extra('unique'), field)
    call('HDEL', extra('names'), id or '')
  end
end

-- till_next is how many ms there are until something falls due, or '-'.
local function till_next()
  local soonest = math.huge
  for _, index in ipairs({ DEADLINES, PARKED, SCHEDULED, extra('expiring'), extra('windows') }) do
    soonest = math.min(soonest, moment(call('ZRANGE', index, 0, 0, 'WITHSCORES')[2]) or math.huge)
  end
  return soonest < math.huge and whole(math.max(0, soonest - now)) or '-'
end

local expired, buried, lost = end_leases()
local resumed, placed = end_waits(), take_due(now, own, true)
expire()
local reply = { 'ok', whole(expired), whole(buried), whole(resumed), whole(placed), till_next() }
for _, attempt in ipairs(lost) do
  for i = 1, #attempt do
    reply[#reply + 1] = attempt[i]
  end
end
return reply
