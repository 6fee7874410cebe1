-- limit: write a limit to where it is enforced, unless a later declaration was there first.
--
-- ARGV[6]   name
-- ARGV[7]   most at once
-- ARGV[8]   ms between two starts
-- ARGV[9]   version of the declaration
--
-- Returns   {'ok'} | {'older'}

local name, version = ARGV[FIRST], ARGV[FIRST + 3]
local before, declared = call('HGET', extra('limits'), name), limit_as(ARGV[FIRST + 1], ARGV[FIRST + 2], version)
if limit_version(before) > tonumber(version) then
  return { 'older' }
elseif before ~= declared then
  despite_full_memory()
  call('HSET', extra('limits'), name, declared)
end
return { 'ok' }
