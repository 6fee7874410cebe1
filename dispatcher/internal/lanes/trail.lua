-- trail: put attempts that have ended in front of a trail, once for each number of a session.
--
-- KEYS[1]   trail     list    attempts, the latest in front
-- KEYS[2]   recorded  string  last number of the session that was used, for an hour
-- ARGV[6]   number
-- ARGV[7]   most      entries that the trail keeps
-- ARGV[8]   ms        after which the trail goes, 0 for never
-- ARGV[9+]  entries   500 at most
--
-- Returns   {'ok'}

local TRAIL, RECORDED, number = KEYS[1], KEYS[2], ARGV[FIRST]
local most, stays = tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2])
if tonumber(call('GET', RECORDED) or 0) >= tonumber(number) then
  return { 'ok' }
end
call('SET', RECORDED, number, 'PX', 3600000)
call('LPUSH', TRAIL, unpack(ARGV, FIRST + 3))
call('LTRIM', TRAIL, 0, most - 1)
if stays > 0 then
  call('PEXPIRE', TRAIL, stays)
end
return { 'ok' }
