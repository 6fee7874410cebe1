-- several: end all jobs of a batch at once, each in its own way, and the lease they ran under.
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   kinds the caller claims next itself, each between spaces
-- ARGV[7]   subject
-- ARGV[8]   token
-- ARGV[9]   on how many different workers a job may fail (0: any number)
-- ARGV[10+] four a job, the head first: entry, how it ended
--           'finished' | 'failed' | 'dead' | 'back', ms to keep its outcome or to wait, text
--           (result or error; of a dead one "<reason>\n<error>")
--
-- Returns   {'ok' | 'dead' | 'halted' | 'cancelled', ...}, a word per job | {'lost'} | {'stale'}
--
-- Those that stay, because they failed or were handed back, stay in their order in front of
-- what was behind the batch.

local before = answered()
if before then
  return before
end

local subject, tail, JOB = ARGV[FIRST + 1], KEYS[13], FIRST + 4
local n = (#ARGV - JOB + 1) / 4
local now = clock()
local record = call('HGET', LEASES, subject)
local lane = { call('HGET', HEADS, subject) }
for i, entry in ipairs(n > 1 and call('LRANGE', tail, 0, n - 2) or {}) do
  lane[i + 1] = entry
end
if not fenced(record, ARGV[FIRST + 2]) then
  return { 'lost' }
end
for i = 1, n do
  if lane[i] ~= ARGV[JOB + 4 * (i - 1)] then
    return { 'lost' }
  end
end

local workers = tonumber(ARGV[FIRST + 3])
local reply, over, kept, gone, letters, halted = {}, {}, {}, {}, {}, nil -- those that leave
local stay, aside, errors, failed, wait = {}, {}, {}, {}, 0
for i = 1, n do
  local at = JOB + 4 * (i - 1)
  local entry, how, ms, text = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  local attempts, max = counts_of(entry)
  local counted = i == 1 and marked(record, 'r') and attempts or attempts + 1 -- a refund is paid
  local worn_out = how == 'failed' and worn(id_of(entry), holder_of(record), workers, failed)
  reply[i] = 'ok'
  if how ~= 'finished' and i == 1 and marked(record, 'c') then
    reply[i] = 'cancelled'
    gone[1] = entry
  elseif how == 'finished' then
    over[#over + 1] = entry
    kept[#kept + 1] = ms > 0 and { id_of(entry), attempts + 1, text, ms } or nil
  elseif flag(entry, 'h') and #stay == 0 and (how == 'dead' or how == 'failed' and counted >= max) then
    local reason, failure = 'attempts exhausted', text
    if how == 'dead' then
      reason, failure = string.match(text, '^([^\n]*)\n(.*)$')
    end
    reply[i] = 'halted'
    halted = { entry, attempts + 1, reason, failure } -- apart from stay: miniredis's Lua mixes them up
    stay[1] = entry
  elseif how == 'dead' then
    local reason, failure = string.match(text, '^([^\n]*)\n(.*)$')
    letters[#letters + 1] = { entry, attempts + 1, reason, failure }
  elseif how == 'failed' and (counted >= max or worn_out) then
    reply[i] = 'dead'
    letters[#letters + 1] = { entry, attempts + 1, worn_out and 'failed on different workers' or 'attempts exhausted', text }
  elseif how == 'failed' then
    local again = with_attempts(entry, counted)
    errors[#errors + 1] = id_of(entry)
    errors[#errors + 1] = text
    if flag(entry, 's') then
      aside[#aside + 1] = { subject, again, now + ms }
    else
      wait = #stay == 0 and ms or wait
      stay[#stay + 1] = again
    end
  elseif counted == attempts and attempts > 0 then
    stay[#stay + 1] = with_attempts(entry, attempts - 1)
  else
    stay[#stay + 1] = entry
  end
end

free({ subject }, { record })
many('HSET', extra('failed'), failed)
drop(over)
drop(gone, now, { subject })
bury(letters, now)
for _, k in ipairs(kept) do
  keep(subject, k[1], 'finished', k[2], k[3], k[4], now)
end
set_aside(aside)
many('HSET', ERRORS, errors)
if n > 1 then
  call('LTRIM', tail, n - 1, -1)
end
if #stay == 0 then
  advance({ subject }, { tail })
else
  call('HSET', HEADS, subject, stay[1])
  for i = #stay, 2, -1 do
    call('LPUSH', tail, stay[i])
  end
  if halted then
    halt(subject, halted, now)
  elseif wait > 0 and not closed[subject] then
    call('ZADD', DELAYED, now + wait, subject)
    if ARGV[FIRST] == '' then
      call('ZADD', WAKE .. kind_of(stay[1]), 0, 'due')
    end
  else
    hand_over(stay[1], subject)
  end
end
list_ready('RPUSH', ARGV[FIRST])
remember(words(reply))
return reply
