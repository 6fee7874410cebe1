-- fates: what becomes of jobs that have ended, or failed.

-- drop forgets jobs that are over: body, note, unique key. The caller takes them out of their lanes, and keeps
-- their outcomes.
local function drop(entries)
  local ids = ids_of(entries)
  many('HDEL', JOBS, ids)
  forget_notes(ids)
  ended(entries)
end

-- bury turns jobs into dead letters, each {entry, attempts, reason, error}. Their bodies stay where they are;
-- the caller advances their lanes. Those that die within the same ms die a fraction of it apart, so that they
-- are listed, and replayed, in their order. Their notes go: a replay begins with all attempts. Their unique
-- keys are free.
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
  forget_notes(ids)
  many('ZADD', DEAD, dead)
  many('HSET', REASONS, reasons)
  let_go(entries) -- a replay takes it again
  for i, entry in ipairs(entries) do
    if flag(entry, 'k') then
      tell(ids[i], 'dead')
    end
  end
end
