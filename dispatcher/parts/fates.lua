-- fates: what becomes of jobs that have ended, or failed.

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
      tell(ids[i], 'dead')
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
    tell(id_of(entry), 'halted')
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
