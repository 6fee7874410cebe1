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
local expired, lost = {}, {}
local fate, aside, tails = fates(), {}, {}
local lanes, errors, delayed, first, jobs, bytes = {}, {}, {}, {}, 0, 0

-- charge counts a failed attempt of a job and returns its new entry, or nil and its letter
-- when it was the last one; and how many attempts had ended before.
local function charge(entry, holder, refunded)
  local id, attempts, max = id_of(entry), counts_of(entry)
  local failure = 'worker lost: ' .. holder
  jobs = jobs + 1
  if attempts + 1 - refunded >= max then
    return nil, attempts, { entry, attempts + 1, 'worker lost', failure }
  end
  errors[#errors + 1] = id
  errors[#errors + 1] = failure
  return with_attempts(entry, attempts + 1 - refunded), attempts
end

-- settle decides what becomes of the head of a lane whose holder went silent.
local function settle(subject, entry, record, tail)
  if marked(record, 'c') then
    fate.cancelled(subject, entry, tail)
    return
  end
  local again, attempts, letter = charge(entry, holder_of(record), marked(record, 'r') and 1 or 0)
  local wait = attempts > 0 and math.min(cap, base * 2 ^ math.min(attempts - 1, 40)) or 0
  if letter then
    fate.failed(subject, letter, tail)
  elseif flag(entry, 's') then
    aside[#aside + 1] = { subject, again, now + wait }
    bytes = bytes + call('HSTRLEN', JOBS, id_of(entry))
    fate.leaves(subject, tail)
  else
    lanes[#lanes + 1] = subject
    lanes[#lanes + 1] = again
    if wait == 0 then
      first[#first + 1] = { entry, subject }
    elseif not marked(record, 's') then
      delayed[#delayed + 1] = now + wait
      delayed[#delayed + 1] = subject
    end
  end
end

local candidates = due(DEADLINES)
local all_records, all_heads = many('HMGET', LEASES, candidates), many('HMGET', HEADS, candidates)
for i, subject in ipairs(candidates) do
  if jobs > MOST or bytes > MOST_BYTES then
    break -- the rest is due still, and left for the next call
  end
  local record, entry = all_records[i], all_heads[i]
  expired[i] = subject
  if entry and use_of(record) ~= 'job' then
    first[#first + 1] = { entry, subject } -- no attempt was under way
  elseif entry then
    local holder, along, tail = holder_of(record), along_of(record), TAIL .. subject
    local letters, gone = #fate.letters, #fate.gone
    settle(subject, entry, record, tail)
    local became = fate.halted[subject] and 'halted' or #fate.letters > letters and 'dead'
      or #fate.gone > gone and 'cancelled' or 'again'
    local token = token_of(record)
    lost[#lost + 1] = {
      kind_of(entry), token, call('ZSCORE', DEADLINES, subject) or '0', subject, id_of(entry),
      whole(counts_of(entry) + 1), became, holder,
    }
    if along > 0 then
      local followers, back = call('LRANGE', tail, 0, along - 1), {}
      for _, follower in ipairs(followers) do -- in their order: so they die, and are replayed
        local changed, before, letter = charge(follower, holder, 0)
        lost[#lost + 1] = {
          kind_of(follower), token, '-', subject, id_of(follower), whole(before + 1), letter and 'dead' or 'again', holder,
        }
        fate.letters[#fate.letters + 1] = letter
        if changed then
          table.insert(back, 1, changed) -- LPUSH puts the last one first
        end
      end
      tails[#tails + 1] = { tail, #followers, back }
    end
  end
end
free(expired, all_records)
fate.settle(now)
many('HSET', HEADS, lanes)
many('HSET', ERRORS, errors)
many('ZADD', DELAYED, delayed)
for _, t in ipairs(tails) do
  call('LTRIM', t[1], t[2], -1)
  many('LPUSH', t[1], t[3])
end
set_aside(aside)
for _, f in ipairs(first) do
  hand_over(f[1], f[2])
end
list_ready('LPUSH', ARGV[FIRST])
advance(fate.over, fate.tails)

-- Lanes whose wait is over.
local resumed = due(DELAYED)
many('ZREM', DELAYED, resumed)
local heads = many('HMGET', HEADS, resumed)
local records = many('HMGET', LEASES, resumed)
for i, subject in ipairs(resumed) do
  if heads[i] and not records[i] then
    hand_over(heads[i], subject)
  end
end

-- Jobs whose run-at has come take their place.
local placed = take_due(now, true)

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
    withdraw(subject, ticket)
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
list_ready('RPUSH', ARGV[FIRST])

local soonest
for _, index in ipairs({ DEADLINES, DELAYED, SCHEDULED, EXPIRING, WINDOWS }) do
  local at = moment(call('ZRANGE', index, 0, 0, 'WITHSCORES')[2])
  if at and at < math.huge and (not soonest or at < soonest) then
    soonest = at
  end
end
local reply = {
  'ok', whole(#expired), whole(#fate.letters), whole(#resumed), whole(placed),
  soonest and whole(math.max(0, soonest - now)) or '-',
}
for _, attempt in ipairs(lost) do
  for i = 1, #attempt do
    reply[#reply + 1] = attempt[i]
  end
end
return reply
