-- overtake: let the versions of a kind go on behind one that was given out, and never before it.
--
-- KEYS[1]  versions  hash  kind -> the last version that it had, whether it is declared or not
-- ARGV[6]  kind
-- ARGV[7]  version
--
-- Returns  {'ok'}

local VERSIONS = KEYS[1]
if tonumber(call('HGET', VERSIONS, ARGV[FIRST]) or 0) < tonumber(ARGV[FIRST + 1]) then
  despite_full_memory()
  call('HSET', VERSIONS, ARGV[FIRST], ARGV[FIRST + 1])
end
return { 'ok' }
