-- resume: let a suspended or halted lane go on, with its head or without it.
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   'resume' | 'skip', which makes a dead letter of the head first
--
-- Returns   {'ok'} | {'no'}: it is not suspended | {'empty'}: no head to skip | {'stale'}
--
-- A head that has halted its lane gets all its attempts again.

local before = answered()
if before then
  return before
end

local subject, skip = ARGV[FIRST], ARGV[FIRST + 1] == 'skip'
local record, head = call('HGET', LEASES, subject), call('HGET', HEADS, subject)
if use_of(record) ~= 'suspended' then
  if not marked(record, 's') or skip then
    return { 'no' }
  end
  call('HDEL', extra('suspended'), subject)
  call('HSET', LEASES, subject, unmark(record, 's'))
  remember('ok')
  return { 'ok' }
elseif skip and not head then
  return { 'empty' }
end
local halted = is_halted(call('HGET', extra('suspended'), subject))
free({ subject }, {})
call('HDEL', extra('suspended'), subject)
if skip and is_ticket(head) then
  call('ZREM', extra('expiring'), ticket_as(subject, head))
  tell(id_of(head), 'skipped') -- its owner takes another
  advance({ subject }, { KEYS[13] })
elseif skip then
  local failure = call('HGET', ERRORS, id_of(head)) or ''
  bury({ { head, (counts_of(head)), 'skipped', failure } }, (clock()))
  advance({ subject }, { KEYS[13] })
elseif head then
  if suspended(head) then
    head = as_resumed(head)
  end
  if halted then
    head = with_attempts(head, 0)
    call('HDEL', extra('failed'), id_of(head))
    call('HDEL', ERRORS, id_of(head))
  end
  call('HSET', HEADS, subject, head)
  hand_over(head, subject)
end
list_ready('LPUSH', '')
remember('ok')
return { 'ok' }
