-- register: write declarations of kinds, all or none.
--
-- KEYS[1]   registry  hash  kind -> what is declared of it (internal/record/declaration.lua)
-- KEYS[2]   versions  hash  kind -> the last version that it had, whether it is declared or not; and its retention
-- ARGV[6+]  four a kind: name, owner, JSON, and its retention (internal/record/retention.lua) or ''
--
-- Returns   {'ok', version of each kind...} | {'owner', kind, whose it is, who wants it} | {'garbled', kind}
--
-- Versions go on when a kind was taken out of the registry and comes again: what is told of an
-- older one elsewhere must not stay for it. A release that does not know of retention declares with three words a
-- kind, by a script of its own that leaves it as it is.

local REGISTRY, VERSIONS = KEYS[1], KEYS[2]
local records, versions, none, reply = {}, {}, {}, { 'ok' }
for at = FIRST, #ARGV, 4 do
  local kind, owner, json, retention = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local field = retention_field(kind)
  local kept = call('HGET', VERSIONS, field) or ''
  local version, owned_by, before = declaration_of(call('HGET', REGISTRY, kind) or declaration_as('0', owner, ''))
  local last = tonumber(call('HGET', VERSIONS, kind) or 0)
  if not version then
    return { 'garbled', kind }
  elseif owned_by ~= owner then
    return { 'owner', kind, owned_by, owner }
  elseif before ~= json or kept ~= retention or tonumber(version) < last then
    version = whole(math.max(version, last) + 1)
    records[#records + 1], records[#records + 2] = kind, declaration_as(version, owner, json)
    versions[#versions + 1], versions[#versions + 2] = kind, version
    if retention ~= '' then
      versions[#versions + 1], versions[#versions + 2] = field, retention
    elseif kept ~= '' then
      none[#none + 1] = field
    end
  end
  reply[#reply + 1] = version
end
many('HSET', REGISTRY, records)
many('HSET', VERSIONS, versions)
many('HDEL', VERSIONS, none)
return reply
