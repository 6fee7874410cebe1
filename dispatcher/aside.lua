-- aside: rename a key that is not of the type that it must be, and not another one: a repair that
-- was slower than another one finds it whole.
--
-- KEYS[1]  the key
-- KEYS[2]  where it goes
-- ARGV[1]  the type that it must be
--
-- Returns  {'ok', type that it was} | {'whole'}

local is = redis.call('TYPE', KEYS[1]).ok
if is == ARGV[1] or is == 'none' or redis.call('RENAMENX', KEYS[1], KEYS[2]) == 0 then
  return { 'whole' }
end
return { 'ok', is }
