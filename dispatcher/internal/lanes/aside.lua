-- aside: rename a key that is not of the type that it must be, and not another one: a repair that
-- was slower than another one finds it whole.
--
-- KEYS[13]  the key
-- KEYS[14]  where it goes
-- ARGV[6]   the type that it must be
--
-- Returns  {'ok', type that it was} | {'whole'}

local is = call('TYPE', KEYS[13]).ok
if is == ARGV[FIRST] or is == 'none' or call('RENAMENX', KEYS[13], KEYS[14]) == 0 then
  return { 'whole' }
end
return { 'ok', is }
