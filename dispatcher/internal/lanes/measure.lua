-- measure: add what was measured of one kind's attempts, once for each number of a session: a request may
-- come again after longer than requests are remembered.
--
-- KEYS[1]   durations  hash    "<ending> <bucket>" -> how many; 'max' -> longest, ms
-- KEYS[2]   recorded   string  last number of the session that was used, for an hour
-- KEYS[3]   flow       hash    "<slot> <ending>" -> "<minute, or ten> <how many> <ms>"
-- ARGV[6]   number
-- ARGV[7]   longest    ms
-- ARGV[8]   endings    how many
-- ARGV[9+]  triples: ending, how many, ms of their handlers; then pairs: "<ending> <bucket>", how many
--
-- Returns   {'ok'}

local DURATIONS, RECORDED, FLOW, number, longest = KEYS[1], KEYS[2], KEYS[3], ARGV[FIRST], ARGV[FIRST + 1]
local first, last = FIRST + 3, FIRST + 2 + 3 * ARGV[FIRST + 2] -- of the triples

if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then
  return { 'ok' }
end
-- A slot of each ending for the minute and one for the ten minutes that it is now.
local now, slots, times = clock(), {}, {}
for at = first, last, 3 do
  for letter, of in pairs({ m = { 60000, 120 }, t = { 600000, 432 } }) do
    local time = math.floor(now / of[1])
    slots[#slots + 1], times[#times + 1] = letter .. whole(time % of[2]) .. ' ' .. ARGV[at], whole(time)
  end
end
-- The flow is for people to look at, and durations are what estimates go by: where the one can't be had the other goes on.
local had = redis.pcall('HMGET', FLOW, unpack(slots))
local longest_yet = tonumber(call('HGET', DURATIONS, 'max') or 0)

call('SET', RECORDED, number, 'PX', 3600000)
if longest_yet < tonumber(longest) then
  call('HSET', DURATIONS, 'max', longest)
end
for at = last + 1, #ARGV, 2 do
  call('HINCRBY', DURATIONS, ARGV[at], ARGV[at + 1])
end
if had.err then
  return { 'ok' }
end
local fields = {}
for i, slot in ipairs(slots) do
  local at = first + 3 * math.floor((i - 1) / 2)
  local of, count, ms = string.match(had[i] or '', '^(%d+) (%d+) (%d+)$')
  if of ~= times[i] then -- it is still of a time that has come round, so nothing ever has to be taken out of the hash
    count, ms = 0, 0
  end
  fields[2 * i - 1], fields[2 * i] = slot, times[i] .. ' ' .. whole(count + ARGV[at + 1]) .. ' ' .. whole(ms + ARGV[at + 2])
end
many('HSET', FLOW, fields)
call('PEXPIRE', FLOW, 259200000)
return { 'ok' }
