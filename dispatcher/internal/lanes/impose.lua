-- impose: make a policy that of the partition, unless a later one is there, and let lanes go on that were parked for holds
-- which are no more.
--
-- ARGV[6]  policy (internal/record/hold.lua), or '' to change none
-- ARGV[7]  most lanes to let go on
--
-- Returns  {'ok', version that is in force, 'more' | 'done', its clock, ms}
--
-- It may be repeated, and come late: whatever comes in whatever order, the latest policy stays.

local policy, most, now = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), clock()
local stored = call('HGET', CLOCK, 'policy') or call('GET', extra('policy')) or ''
despite_full_memory()
if policy_version(policy) > policy_version(stored) then
  call('HSET', CLOCK, 'policy', policy)
  call('SET', extra('policy'), policy)
  stored = policy
end
local ids, lanes = hold_ids(stored), {}
for _, id in ipairs(call('SMEMBERS', extra('barring'))) do
  if not ids[id] then
    local subjects = most > 0 and call('LPOP', extra('barred:') .. id, most) or {}
    most = most - #subjects
    for i, reasons in ipairs(many('HMGET', extra('park_reasons'), subjects)) do
      local subject = subjects[i]
      local by = reasons and string.match(value_in(reasons, 'hold') or '', ' (.*)$')
      if by == id and repark(subject, without_value(reasons, 'hold'), now) then
        lanes[#lanes + 1] = subject
      end
    end
    if most > 0 then
      call('SREM', extra('barring'), id)
    end
  end
end
local ready = {}
for i, head in ipairs(many('HMGET', HEADS, lanes)) do
  if head then
    ready[#ready + 1], ready[#ready + 2] = lanes[i], head
  end
end
list_ready(ready, 'RPUSH', '')
return { 'ok', whole(policy_version(stored)), most > 0 and 'done' or 'more', whole(now) }
