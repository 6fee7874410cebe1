-- replay: put a dead letter back into its lane, with all its attempts before it. Its unique key is
-- taken again, unless another job has it (I12).
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   id
-- ARGV[8]   kind
-- ARGV[9]   max attempts, and flags
-- ARGV[10]  'front' | 'back'
-- ARGV[11]  'merge': into the job that has its unique key, where one has it | 'refuse' that
-- ARGV[12]  who acts (internal/record/act.lua)
--
-- Returns   {'ok', seq} | {'missing'} | {'stale'}
--           {'taken', '<seq>,<jobs merged>,<id in hex>' of the job that has the key} | {'merged', the same}
--
-- At the front it becomes the head, or the next behind what its holder claimed.
-- A head that it displaces keeps its attempts and loses the rest of its wait.

local before = answered()
if before then
  return before
end

local subject, id, place = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 4]
local entry = entry_of(id, ARGV[FIRST + 2], ARGV[FIRST + 3])
local body = call('HGET', JOBS, id)
if not body or not call('ZSCORE', DEAD, id) then
  return { 'missing' }
end
local now, waits = clock(), nil

-- done ends the call with a line of what was done.
local function done(after, reply)
  log_job(ARGV[FIRST + 6], 'dead replay', subject, id, 'dead', after, now)
  remember(words(reply))
  return reply
end

local field = field_of(id)
-- Another job has the key only if it waits or runs: a window may keep the field for a job that has ended.
local other = field and call('HGET', extra('unique'), field)
if other and other ~= id and call('HEXISTS', JOBS, other) == 1 and not call('ZSCORE', DEAD, other) then
  if ARGV[FIRST + 5] ~= 'merge' then
    return { 'taken', owner(other) }
  end
  call('ZREM', DEAD, id)
  call('HDEL', REASONS, id)
  call('HDEL', JOBS, id)
  call('HDEL', extra('names'), id)
  merge_into(other)
  return done('merged', { 'merged', owner(other) })
end
if place == 'back' then
  local _, more = take_due(now, '', true) -- what fell due goes first (I14)
  waits = more
end
-- A replay to the front has to respect the head, who has it, why nobody may, and the last job that its
-- holder has claimed.
local head = call('HGET', HEADS, subject)
local leased = call('HGET', LEASES, subject)
local reasons = leased and '' or reasons_of(subject)
local along = along_of(leased)
local behind = along > 0 and call('LINDEX', KEYS[13], along - 1)

call('ZREM', DEAD, id)
call('HDEL', REASONS, id)
if field then
  call('HSET', extra('unique'), field, id)
  if other and other ~= id then
    call('ZREM', extra('windows'), field) -- one of the other job, whose end would free the key of this one
  end
end
local seq = seq_of(body)
if place == 'back' then
  seq = call('HINCRBY', CLOCK, 'seq', 1)
  call('HSET', JOBS, id, renumbered(body, seq, waits))
end
if waits then -- it lines up behind what could not be placed now
  call('ZADD', SCHEDULED, now, scheduled_as(subject, ordered(seq), entry))
  call('ZADD', WAKE .. kind_of(entry), 0, 'due')
  return done('scheduled', { 'ok', '0' })
end
-- At the front it passes no job that somebody has claimed (I3), nor the head that has halted the lane.
if not head then
  call('HSET', HEADS, subject, entry)
  if not leased and reasons == '' then
    list_ready({ subject, entry }, 'RPUSH', '')
  end
elseif place == 'back' or along > 0 and not behind then
  call('RPUSH', KEYS[13], entry)
elseif behind then
  call('LINSERT', KEYS[13], 'AFTER', behind, entry)
elseif leased or value_in(reasons, 'halted') then -- its head is somebody's, or what halted the lane
  call('LPUSH', KEYS[13], entry)
else
  local kind = kind_of(head)
  if reasons == '' and kind ~= ARGV[FIRST + 2] then
    unlist(subject, head) -- it keeps its turn, but must be listed under its new head's kind
  end
  if reasons ~= '' and repark(subject, of_next(reasons), now) or reasons == '' and kind ~= ARGV[FIRST + 2] then
    list_ready({ subject, entry }, 'RPUSH', '')
  end
  call('LPUSH', KEYS[13], head)
  call('HSET', HEADS, subject, entry)
end
return done('waiting at the ' .. place, { 'ok', whole(seq) })
