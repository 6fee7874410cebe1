-- hold: add a hold to those of the namespace, or take one away, and say what its policy is then.
--
-- KEYS[1]   holds     hash    '' -> version of the policy; '#' -> number of the last one; id -> its line of the policy without
--                             the id, and behind that what is said of it to people, as JSON
-- KEYS[2]   audit     stream  what operators did
-- KEYS[3]   meta      hash    of the namespace
-- KEYS[4]   request   string  what this request was answered, for a minute
-- ARGV[6]   'hold' | 'release'
-- ARGV[7]   what the id begins with, to be followed by its number | the id
-- ARGV[8]   the line
-- ARGV[9]   the JSON
-- ARGV[10]  the hold in a few words
-- ARGV[11]  who acts (internal/record/act.lua)
-- ARGV[12]  what meta says when releases may open it that know of no holds | '': it says so
-- ARGV[13]  what it says when they may not
-- ARGV[14]  the most holds
-- ARGV[15]  the most bytes of a policy
--
-- Returns   {'ok', id, policy} | {'full', holds, bytes} | {'missing'} | {'closed', what meta says}
--
-- What is over goes with each change: a policy is read by every claim.

local HOLDS, LOG, META, REQUEST = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local releases, now, actor = ARGV[FIRST] == 'release', clock(), ARGV[FIRST + 5]
local there, lines, over = {}, {}, {}
for _, id in ipairs(call('HKEYS', HOLDS)) do
  local line = string.match(call('HGET', HOLDS, id), '^(%d+ %d+ [^\n]*)\n')
  there[id] = line ~= nil
  if line and tonumber(string.match(line, '^%d+ (%d+)')) <= now then
    over[#over + 1] = id
  else
    lines[id] = line
  end
end

-- policy_of returns the policy of these holds, in the order of their numbers, and how many those are.
local function policy_of(version)
  local ids = {}
  for id in pairs(lines) do
    ids[#ids + 1] = id
  end
  table.sort(ids, function(a, b) return tonumber(string.match(a, '%d+$')) < tonumber(string.match(b, '%d+$')) end)
  local all = { whole(version) }
  for i, id in ipairs(ids) do
    all[i + 1] = id .. ' ' .. lines[id]
  end
  return table.concat(all, '\n') .. '\n', #ids
end

local version, before = tonumber(call('HGET', HOLDS, '') or 0), call('GET', REQUEST)
if before then
  return { 'ok', before, (policy_of(version)) }
end
local schema = call('HGET', META, 'schema')
if schema ~= ARGV[FIRST + 6] and schema ~= ARGV[FIRST + 7] then
  return { 'closed', schema or '' }
end
local id, number = ARGV[FIRST + 1], tonumber(call('HGET', HOLDS, '#') or 0)
if releases and not there[id] then
  return { 'missing' }
elseif releases then
  lines[id] = nil
else
  number = number + 1
  id = id .. whole(number)
  lines[id] = ARGV[FIRST + 2]
end
version = math.max(version + 1, now)
local policy, n = policy_of(version)
if not releases and (n > tonumber(ARGV[FIRST + 8]) or #policy > tonumber(ARGV[FIRST + 9])) then
  return { 'full', whole(n), whole(#policy) }
end
if releases then
  call('HDEL', HOLDS, id) -- a full memory keeps no hold from its release
else
  call('HSET', HOLDS, id, ARGV[FIRST + 2] .. '\n' .. ARGV[FIRST + 3], '#', whole(number))
  call('HSET', META, 'schema', ARGV[FIRST + 7])
end
many('HDEL', HOLDS, over)
call('HSET', HOLDS, '', whole(version))
call('SET', REQUEST, id, 'EX', '60')
for _, ended in ipairs(over) do
  if ended ~= id then
    log_act(LOG, now, with_value('', 'most', value_in(actor, 'most') or '1'), act_as('', 'hold expire', { 'hold', ended }, 'held', 'over'))
  end
end
log_act(LOG, now, actor, act_as(actor, ARGV[FIRST], { 'hold', id }, releases and ARGV[FIRST + 4] or '', releases and 'released' or ARGV[FIRST + 4]))
return { 'ok', id, policy }
