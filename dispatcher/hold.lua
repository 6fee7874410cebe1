-- hold: keep a lock of one's own for a while longer, or give it up; another one's is left alone.
--
-- KEYS[1]  lock  string  its holder
-- ARGV[1]  holder
-- ARGV[2]  ms to keep it, or '' to give it up
--
-- Returns  {'ok'} | {'lost'}

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return { 'lost' }
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return { 'ok' }
