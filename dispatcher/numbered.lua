-- numbered: let what follows in a script run once for each number of a session, however often
-- the request comes. It is for scripts outside of the partitions, which have no request key.
--
-- KEYS[2]   recorded  string  last number of the session that was used, for an hour
--
-- The script's last argument is the number, and is taken away.
--
-- Returns   {'ok'}: it ran before

local number = table.remove(ARGV)
if tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(number) then
  return { 'ok' }
end
redis.call('SET', KEYS[2], number, 'PX', 3600000)
