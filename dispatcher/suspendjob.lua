-- suspendjob: keep one job from running until it is resumed, or let it run again.
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   entry of the job before any attempt
-- ARGV[8]   'suspend' | 'resume'
--
-- Returns   {'ok'} | {'no'}: it is not suspended | {'running'} | {'dead'} | {'missing'} | {'stale'}
--
-- A suspended head stops its lane, unless jobs of its kind are set aside when they fail:
-- then it steps aside, and takes a new place at the tail when it is resumed.

local before = answered()
if before then
  return before
end

local subject, entry, resume = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2] == 'resume'
local tail, now = KEYS[13], clock()
local at, as, member = locate(subject, entry)
if not at then
  return { call('ZSCORE', DEAD, id_of(entry)) and 'dead' or 'missing' }
elseif resume and not suspended(as) then
  return { 'no' }
elseif not resume and suspended(as) then
  return { 'ok' }
end
local record = call('HGET', LEASES, subject)
local place = at == 'tail' and call('LPOS', tail, as) or 0
if at == 'head' and use_of(record) == 'job' or at == 'tail' and place < along_of(record) then
  return { 'running' }
end

local to = resume and as_resumed(as) or as_suspended(as)
if at == 'scheduled' or not resume and flag(as, 's') then
  local due = math.huge -- of one that steps aside, or whose time has come meanwhile (reap)
  if at == 'scheduled' then
    due = moment(call('ZSCORE', SCHEDULED, member))
    call('ZREM', SCHEDULED, member)
  else
    withdraw(subject, as)
  end
  if resume and due == math.huge then
    due = now
  end
  member = scheduled_as(subject, order_in_store(id_of(to)), to)
  call('ZADD', SCHEDULED, due < math.huge and due or 'inf', member)
  if resume then
    call('ZADD', WAKE .. kind_of(to), 0, 'due')
  end
elseif at == 'tail' then
  call('LSET', tail, place, to)
else
  call('HSET', HEADS, subject, to)
  if not resume and not record then
    unlist(subject, to)
    stop(subject)
  elseif resume and held_up(subject, record) then
    free({ subject }, {})
    hand_over(to, subject)
  end
end
list_ready('LPUSH', '')
remember('ok')
return { 'ok' }
