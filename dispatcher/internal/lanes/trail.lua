-- trail: put attempts that have ended in front of a trail, once for each number of a session.
--
-- KEYS[1]   trail     list    attempts, the latest in front
-- KEYS[2]   recorded  string  last number of the session that was used, for an hour
-- ARGV[6]   number
-- ARGV[7]   most      entries that the trail keeps
-- ARGV[8+]  entries   500 at most
--
-- Returns   {'ok'}

local TRAIL, RECORDED, number, most = KEYS[1], KEYS[2], ARGV[FIRST], tonumber(ARGV[FIRST + 1])
if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then
  return { 'ok' }
end
call('SET', RECORDED, number, 'PX', 3600000)
call('LPUSH', TRAIL, unpack(ARGV, FIRST + 2))
call('LTRIM', TRAIL, 0, most - 1)
return { 'ok' }
