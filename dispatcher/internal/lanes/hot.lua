-- hot: add for how long handlers ran, by subject, to the ten minutes that it is now, once for each number of a session.
--
-- KEYS[1]   hot       hash    place of ten minutes -> "<which ten> <µs of all handlers>"
-- KEYS[2]   recorded  string  last number of the session that was used, for an hour
-- KEYS[3+]  hot:<place>  zset  subject -> µs, 13 of them
-- ARGV[6]   number
-- ARGV[7]   most      subjects that each keeps
-- ARGV[8]   µs        of all handlers, those of other subjects too
-- ARGV[9+]  pairs: µs, subject; 64 at most
--
-- Returns   {'ok'}

local HOT, RECORDED, number, most = KEYS[1], KEYS[2], ARGV[FIRST], tonumber(ARGV[FIRST + 1])
if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then
  return { 'ok' }
end
local time = math.floor(clock() / 600000)
local place = time % (#KEYS - 2)
local SUBJECTS = KEYS[3 + place]
local of, all = string.match(call('HGET', HOT, whole(place)) or '', '^(%d+) (%d+)$')
local old = {}
if of ~= whole(time) then -- what is there is of a time that has come round
  old, all = call('ZRANGE', SUBJECTS, 0, most - 1), 0
end
call('ZCARD', SUBJECTS) -- what is of another type is met before the first write

call('SET', RECORDED, number, 'PX', 3600000)
many('ZREM', SUBJECTS, old)
call('HSET', HOT, whole(place), whole(time) .. ' ' .. whole(all + ARGV[FIRST + 2]))
for at = FIRST + 3, #ARGV, 2 do
  call('ZADD', SUBJECTS, 'INCR', ARGV[at], ARGV[at + 1])
end
local over = call('ZCARD', SUBJECTS) - most
if over > 0 then -- those with least go; when they come again they begin at nothing, so what is shown is never too much
  call('ZREM', SUBJECTS, unpack(call('ZRANGE', SUBJECTS, 0, over - 1)))
end
call('PEXPIRE', HOT, 8400000)
call('PEXPIRE', SUBJECTS, 8400000)
return { 'ok' }
