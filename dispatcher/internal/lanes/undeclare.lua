-- undeclare: take a kind out of the registry, in two steps: the first one gives what is said of it
-- elsewhere its version, the second one ends it, unless it was declared anew in between.
--
-- KEYS[1]   registry  hash  kind -> what is declared of it (internal/record/declaration.lua)
-- KEYS[2]   versions  hash  kind -> the last version that it had, whether it is declared or not; and its retention
-- KEYS[3]   audit     stream  what operators did
-- ARGV[6]   kind
-- ARGV[7]   version from the first step, or ''
-- ARGV[8]   who acts (internal/record/act.lua)
--
-- Returns   {'ok', version} | {'missing'} | {'again'}: it was declared anew

local REGISTRY, VERSIONS = KEYS[1], KEYS[2]
local kind, given = ARGV[FIRST], ARGV[FIRST + 1]
local record = call('HGET', REGISTRY, kind)
if not record then
  return { given == '' and 'missing' or 'ok', given }
end
local version, last = declared_version(record), tonumber(call('HGET', VERSIONS, kind) or 0)
if given == '' then
  last = whole(math.max(version, last) + 1)
  call('HSET', VERSIONS, kind, last)
  return { 'ok', last }
elseif version >= tonumber(given) then
  return { 'again' }
end
call('HDEL', REGISTRY, kind)
call('HDEL', VERSIONS, retention_field(kind))
local actor = ARGV[FIRST + 2]
log_act(KEYS[3], clock(), actor, act_as(actor, 'kind rm', { 'kind', kind }, 'version ' .. whole(version), 'not declared'))
return { 'ok', given }
