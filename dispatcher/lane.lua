-- lane: moving the heads of lanes. Prepended, after fence and lease, to every
-- script that changes a lane.

-- current reads `stride` arguments a job, the first three being subject, entry and
-- token, and picks those whose token holds their lane and whose job is its head (I3).
-- Returns a reply with 'ok' or 'lost' for each, and of those picked the subjects,
-- entries, tails, which ones they are, and the records of their leases.
local function current(stride)
  local all, n = {}, 0
  for at = FIRST + 1, #ARGV, stride do
    n = n + 1
    all[n] = ARGV[at]
  end
  local records = call('HMGET', LEASES, unpack(all))
  local heads = call('HMGET', HEADS, unpack(all))
  local reply, subjects, entries, tails, which, held, taken = {}, {}, {}, {}, {}, {}, {}
  local k, at = 0, FIRST + 1
  for i = 1, n do
    local subject, entry, tail = all[i], ARGV[at + 1], KEYS[12 + i]
    if not taken[subject] and heads[i] == entry and fenced(records[i], ARGV[at + 2]) then
      k = k + 1
      reply[i], taken[subject] = 'ok', true
      subjects[k], entries[k], tails[k], which[k], held[k] = subject, entry, tail, i, records[i]
    else
      reply[i] = 'lost'
    end
    at = at + stride
  end
  return reply, subjects, entries, tails, which, held
end

-- arg returns the nth argument (from 0) of the ith job.
local function arg(i, stride, n)
  return ARGV[FIRST + 1 + (i - 1) * stride + n]
end

-- place writes new heads of lanes, as pairs, and drops lanes that have none left (I4).
local function place(heads, gone)
  many('HSET', HEADS, heads)
  many('HDEL', HEADS, gone)
end

-- advance drops the heads of lanes and puts the next jobs in their place: listed
-- as ready where there is one, the lane gone where there is none.
local function advance(subjects, tails)
  local heads, gone = {}, {}
  for i, subject in ipairs(subjects) do
    local entry = call('LPOP', tails[i])
    if entry then
      heads[#heads + 1] = subject
      heads[#heads + 1] = entry
      list(entry, subject)
    else
      gone[#gone + 1] = subject
    end
  end
  place(heads, gone)
end

-- pop makes the next entry of a lane its head and returns it, or false when the lane is gone.
local function pop(subject, tail)
  local head = call('LPOP', tail)
  place(head and { subject, head } or {}, head and {} or { subject })
  return head
end

-- unlist takes a lane out of where it waits, ready or delayed.
local function unlist(subject, head)
  call('ZREM', DELAYED, subject)
  call('LREM', READY .. kind_of(head), 1, subject)
end

-- held_up reports whether a lane stands still for no other reason than that its head is
-- suspended.
local function held_up(subject, record)
  return use_of(record) == 'suspended' and not call('HGET', extra('suspended'), subject)
end

-- withdraw takes an entry that nobody holds out of its lane, wherever it stands there.
local function withdraw(subject, entry)
  local tail = TAIL .. subject
  if call('HGET', HEADS, subject) ~= entry then
    call('LREM', tail, 1, entry)
    return
  end
  local record = call('HGET', LEASES, subject)
  if not record then
    unlist(subject, entry)
  elseif held_up(subject, record) then
    free({ subject }, {})
  else
    closed[subject] = true -- somebody holds it, and lists it at the end
  end
  advance({ subject }, { tail })
end

-- order_in_store is the order of a stored job.
local function order_in_store(id)
  return order_of(call('HGET', JOBS, id) or '\0\0\0\0\0')
end

-- MOST_BYTES is how much of stored jobs one call reads, or one job if that has more (I16): to read a MiB
-- takes Redis more than a ms, and nobody else is served meanwhile.
local MOST_BYTES = 2097152

-- light reports whether up to 256 jobs have no more than that together, without a look at each: the
-- partition has had no job of more than SMALL bytes, or 'largest' says how many the largest had.
local SMALL = 8192

local function light(n)
  local largest = n > 1 and tonumber(call('HGET', CLOCK, 'largest') or SMALL) or 0
  return largest * n <= MOST_BYTES
end

local function put_set(key, field, set)
  if set == '' then
    call('HDEL', key, field)
  else
    call('HSET', key, field, set)
  end
end

-- locate returns where a job stands, 'head', 'tail' or 'scheduled', as which entry, and as which
-- member of the schedule; nil when nowhere. Its entry is given as it was before any attempt. Only a job that has failed has
-- attempts behind it; in a tail it is near the front then, for it was head or claimed with
-- the head.
local MOST_TRIED, NEAR = 100, 1000

local function locate(subject, entry)
  local id, _, max = id_of(entry), counts_of(entry)
  local head, tail = call('HGET', HEADS, subject), TAIL .. subject
  if head and id_of(head) == id then
    return 'head', head
  end
  local tried = call('HEXISTS', ERRORS, id) == 1
  local forms, members, order = {}, {}, order_in_store(id)
  for attempts = 0, tried and flag(entry, 's') and math.min(max, MOST_TRIED) or 0 do
    local form = with_attempts(entry, attempts)
    for _, as in ipairs({ form, as_suspended(form) }) do
      forms[#forms + 1], members[#members + 1] = as, scheduled_as(subject, order, as)
    end
  end
  for i, score in ipairs(call('ZMSCORE', SCHEDULED, unpack(members))) do
    if score then
      return 'scheduled', forms[i], members[i]
    end
  end
  for i = 1, 2 do
    if call('LPOS', tail, forms[i]) then
      return 'tail', forms[i]
    end
  end
  for _, other in ipairs(tried and call('LRANGE', tail, 0, NEAR - 1) or {}) do
    if id_of(other) == id then
      return 'tail', other
    end
  end
end

-- worn returns whether a job has now failed on as many different workers as it may (0: any
-- number), and notes in `failed`, as a pair to be stored, on whom it has.
local function worn(id, holder, most, failed)
  if most == 0 then
    return false
  end
  local holders = with_line(call('HGET', extra('failed'), id) or '', holder)
  failed[#failed + 1], failed[#failed + 2] = id, holders
  return lines_of(holders) >= most
end

-- field_of returns where a job's unique key stands, or nil when it has none: a dead letter's does
-- not stand there, but is known.
local function field_of(id)
  local _, _, field = name_of(call('HGET', extra('names'), id))
  return field
end

-- owner says which job has a unique key: its sequence number, how many were merged into it, and its
-- id.
local function owner(id, seq)
  local body = not seq and call('HGET', JOBS, id)
  return owner_as(seq or body and seq_of(body) or 0, name_of(call('HGET', extra('names'), id)) or '0', id)
end

-- merge_into counts a job that was merged into another one.
local function merge_into(id)
  local merged, rules, field = name_of(call('HGET', extra('names'), id))
  if merged then
    call('HSET', extra('names'), id, name_as(whole(merged + 1), rules, field))
  end
end

-- let_go gives the unique keys of jobs free that no longer wait or run, but for those that stay
-- taken for a while longer (docs/features/unique.md).
local function let_go(entries)
  local unique = extra('unique')
  for _, entry in ipairs(entries) do
    local id = flag(entry, 'u') and id_of(entry)
    local field = id and field_of(id)
    if field and call('HGET', unique, field) == id and not call('ZSCORE', extra('windows'), field) then
      call('HDEL', unique, field)
    end
  end
end

-- ended tidies up after jobs that have ended for good: their entries say whether there
-- is anything to be done.
local function ended(entries)
  let_go(entries)
  for _, entry in ipairs(entries) do
    if flag(entry, 'u') then
      call('HDEL', extra('names'), id_of(entry))
    end
  end
end

-- forget takes outcomes away.
local function forget(ids)
  local bytes, outcomes, expiring = 0, extra('outcomes'), {}
  for i, id in ipairs(ids) do
    local length = call('HSTRLEN', outcomes, id)
    bytes = bytes + (length > 0 and outcome_bytes(id, length) or 0)
    expiring[i] = outcome_as_expiring(id)
  end
  many('HDEL', outcomes, ids)
  many('ZREM', extra('ended'), ids)
  many('ZREM', extra('expiring'), expiring)
  return bytes > 0 and call('HINCRBY', CLOCK, 'kept', whole(-bytes))
end

-- keep stores the outcome of a job for a while, and tells who waits for it. All outcomes of a
-- partition together have at most MOST_KEPT bytes: the oldest make room for the new, so many small ones for a
-- large one.
local MOST_KEPT, MOST_FORGOTTEN = 67108864, 100

local function keep(subject, id, outcome, attempts, text, ms, now)
  local record = outcome_as(outcome, attempts, now, subject, text)
  if call('HEXISTS', extra('outcomes'), id) == 1 then -- of a job that had the id earlier
    forget({ id })
  end
  local kept = call('HINCRBY', CLOCK, 'kept', outcome_bytes(id, #record))
  for _ = 1, 4 do
    local oldest = kept > MOST_KEPT and call('ZRANGE', extra('ended'), 0, MOST_FORGOTTEN - 1) or {}
    if #oldest == 0 then
      break
    end
    kept = forget(oldest) or kept
  end
  call('HSET', extra('outcomes'), id, record)
  call('ZADD', extra('ended'), now, id)
  call('ZADD', extra('expiring'), now + ms, outcome_as_expiring(id))
  news(id, outcome)
end

-- KEEP_MS is how long the outcome of a job is kept that was cancelled by a script which
-- does not know for how long its kind keeps outcomes.
local KEEP_MS = 3600000

-- drop forgets jobs that are over; the caller takes them out of their lanes. Given a time and their
-- subjects, they were cancelled while they ran.
local function drop(entries, now, subjects)
  local ids = {}
  for i, entry in ipairs(entries) do
    ids[i] = id_of(entry)
  end
  many('HDEL', JOBS, ids)
  many('HDEL', ERRORS, ids)
  many('HDEL', extra('failed'), ids)
  ended(entries)
  for i, entry in ipairs(entries) do
    if now and flag(entry, 'k') then
      keep(subjects[i], ids[i], 'cancelled', counts_of(entry) + 1, '', KEEP_MS, now)
    end
  end
end

-- bury turns jobs into dead letters, each {entry, attempts, reason, error}. Their
-- bodies stay where they are; the caller advances their lanes. Those that die within the same
-- ms die a fraction of it apart, so that they are listed, and replayed, in their order.
local LATER = 1 / 4096 -- the least that a zset tells apart at today's times

local function bury(letters, now)
  if #letters == 0 then
    return
  end
  local last = call('ZREVRANGEBYSCORE', DEAD, '(' .. whole(now + 1), whole(now), 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local at = last and last + LATER or now
  local ids, dead, reasons, entries = {}, {}, {}, {}
  for i, letter in ipairs(letters) do
    local id = id_of(letter[1])
    ids[i], entries[i] = id, letter[1]
    dead[2 * i - 1], dead[2 * i] = at + (i - 1) * LATER, id
    reasons[2 * i - 1], reasons[2 * i] = id, reason_as(letter[2], letter[3], letter[4])
  end
  many('HDEL', ERRORS, ids)
  many('HDEL', extra('failed'), ids)
  many('ZADD', DEAD, dead)
  many('HSET', REASONS, reasons)
  let_go(entries) -- a replay takes it again
  for i, entry in ipairs(entries) do
    if flag(entry, 'k') then
      news(ids[i], 'dead')
    end
  end
end

-- halt stops the lane of a head that has failed for good (its kind says so): it stays
-- head, with no attempts left, until an operator decides. letter is as for bury.
local function halt(subject, letter, now)
  local entry = letter[1]
  call('HSET', HEADS, subject, with_attempts(entry, letter[2]))
  call('HSET', ERRORS, id_of(entry), letter[4])
  call('HSET', extra('suspended'), subject, suspension_as(now, 'halted', letter[3]))
  stop(subject)
  if flag(entry, 'k') then
    news(id_of(entry), 'halted')
  end
end

-- fates gathers what becomes of heads whose last attempt is over, and makes it so. A verdict
-- returns the word that says what it was.
local function fates()
  local f = { letters = {}, halted = {}, gone = {}, gone_from = {}, over = {}, tails = {} }

  -- leaves notes that a head leaves its lane, which the caller then advances.
  function f.leaves(subject, tail)
    f.over[#f.over + 1], f.tails[#f.tails + 1] = subject, tail
  end

  function f.cancelled(subject, entry, tail)
    f.gone[#f.gone + 1] = entry
    f.gone_from[#f.gone] = subject
    f.leaves(subject, tail)
    return 'cancelled'
  end

  -- failed takes a letter as bury does.
  function f.failed(subject, letter, tail)
    if flag(letter[1], 'h') then
      f.halted[subject] = letter
      return 'halted'
    end
    f.letters[#f.letters + 1] = letter
    f.leaves(subject, tail)
    return 'dead'
  end

  function f.settle(now)
    bury(f.letters, now)
    drop(f.gone, now, f.gone_from)
    for subject, letter in pairs(f.halted) do
      halt(subject, letter, now)
    end
  end

  return f
end

-- set_aside puts the jobs of heads that failed on the schedule (their kind says so), each
-- {subject, entry, at}; the caller advances their lanes.
local function set_aside(jobs)
  for _, job in ipairs(jobs) do
    local order = order_in_store(id_of(job[2]))
    call('ZADD', SCHEDULED, job[3], scheduled_as(job[1], order, job[2]))
  end
end

-- take_due gives jobs whose time has come their places at the tails of their lanes, in the order
-- of their times, with the sequence numbers of these places; lanes that get a head by it are
-- listed. So when a job fell due decides on its place, and not who looked when: whatever puts
-- something behind a lane does this first (I14). Payloads are copied, so bytes are bounded
-- too. Returns how many were placed, and whether others are due still. A caller that must go
-- on when memory is full says so.
local MOST_DUE, MOST_DUE_BYTES = 100, 524288

local function take_due(now, urgent)
  local members = call('ZRANGEBYSCORE', SCHEDULED, '-inf', now, 'LIMIT', 0, MOST_DUE)
  if #members == 0 then
    return 0, false
  elseif urgent then
    despite_full_memory()
  end
  local seq = call('HINCRBY', CLOCK, 'seq', #members) - #members
  local placed, bytes, taken = 0, 0, {}
  for i, member in ipairs(members) do
    if bytes > MOST_DUE_BYTES then
      break
    end
    local subject, entry = scheduled_of(member)
    local id = id_of(entry)
    local body = not suspended(entry) and call('HGET', JOBS, id)
    if suspended(entry) then
      call('ZADD', SCHEDULED, 'inf', member) -- until it is resumed
    else
      taken[#taken + 1] = member
    end
    if body then
      bytes, placed = bytes + #body, placed + 1
      call('HSET', JOBS, id, renumbered(body, seq + i))
      if call('HSETNX', HEADS, subject, entry) == 0 then
        call('RPUSH', TAIL .. subject, entry)
      elseif call('HEXISTS', LEASES, subject) == 0 then
        list(entry, subject)
      end
    end
  end
  many('ZREM', SCHEDULED, taken)
  local more = call('ZRANGEBYSCORE', SCHEDULED, '-inf', now, 'LIMIT', 0, 1)
  return placed, #more > 0
end
