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
local limit, base, cap = tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2]), tonumber(ARGV[FIRST + 3])
local now = clock()

local function due(index)
  return call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, limit)
end

-- Leases that ended without a word from their holder. The attempt that was
-- counted when the lease was given has failed (I6): the first such failure runs
-- again at once and first in line, later ones wait, and the last one is final. What
-- was claimed along with the head may have started too, so it counts there as well.
local e, lost, expired, jobs, bytes = ends(), {}, 0, 0, 0

-- lose ends the attempts that a lease stood for.
local function lose(subject, record, asks, head)
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
      fate, bytes = 'again', bytes + call('HSTRLEN', JOBS, id_of(entry))
    end
    lost[#lost + 1] = {
      kind_of(entry), token_of(record), i == 1 and call('ZSCORE', DEADLINES, subject) or '-', subject, id_of(entry),
      whole(attempts_of(notes[i]) + 1), fate, holder,
    }
  end
  jobs = jobs + #entries
end

local candidates = due(DEADLINES)
local records, heads = many('HMGET', LEASES, candidates), many('HMGET', HEADS, candidates)
local asks = asks_of(candidates, records)
for i, subject in ipairs(candidates) do
  if jobs > MOST or bytes > MOST_BYTES then
    break -- the rest is due still, and left for the next call
  end
  expired = i
  if heads[i] and use_of(records[i]) == 'job' then
    lose(subject, records[i], asks[subject], heads[i])
  else -- no attempt was under way
    e.subjects[#e.subjects + 1], e.asks[subject] = subject, asks[subject]
    if heads[i] then
      e.interrupted[#e.interrupted + 1], e.interrupted[#e.interrupted + 2] = subject, heads[i]
    end
  end
end
settle(e, now, ARGV[FIRST])

-- Lanes whose wait is over.
local resumed, goes_on = due(PARKED), {} -- nothing but a backoff has kept these back
unpark(resumed)
heads, records = many('HMGET', HEADS, resumed), many('HMGET', LEASES, resumed)
for i, subject in ipairs(resumed) do
  if heads[i] and not records[i] then
    goes_on[#goes_on + 1], goes_on[#goes_on + 2] = subject, heads[i]
  end
end
list_ready(goes_on, 'RPUSH', ARGV[FIRST])

-- Jobs whose run-at has come take their place.
local placed = take_due(now, ARGV[FIRST], true)

-- What goes by itself. A ticket whose owner has not been heard of leaves its lane.
local EXPIRING, WINDOWS = extra('expiring'), extra('windows')
local outcomes, searched = {}, 0
for _, member in ipairs(due(EXPIRING)) do
  local outcome, subject, ticket = expiring_of(member)
  if outcome then
    outcomes[#outcomes + 1] = outcome
  elseif searched < MOST_SEARCHED then -- the rest is due still
    searched = searched + call('LLEN', TAIL .. subject)
    call('ZREM', EXPIRING, member)
    withdraw(subject, ticket, now, 'RPUSH', ARGV[FIRST])
    tell(id_of(ticket), 'skipped') -- an owner who was only frozen takes another
  end
end
forget(outcomes)
for _, field in ipairs(due(WINDOWS)) do
  local id = call('HGET', extra('unique'), field)
  call('ZREM', WINDOWS, field)
  call('HDEL', extra('unique'), field)
  call('HDEL', extra('names'), id or '')
end

local soonest
for _, index in ipairs({ DEADLINES, PARKED, SCHEDULED, EXPIRING, WINDOWS }) do
  local at = moment(call('ZRANGE', index, 0, 0, 'WITHSCORES')[2])
  if at and at < math.huge and (not soonest or at < soonest) then
    soonest = at
  end
end
local reply = {
  'ok', whole(expired), whole(#e.letters), whole(#resumed), whole(placed),
  soonest and whole(math.max(0, soonest - now)) or '-',
}
for _, attempt in ipairs(lost) do
  for i = 1, #attempt do
    reply[#reply + 1] = attempt[i]
  end
end
return reply
