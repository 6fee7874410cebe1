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
  list_ready(awake(advance({ subject }, { KEYS[13] })), 'LPUSH', '')
elseif skip then
  local attempts, _, _, failure = note_of(call('HGET', NOTES, id_of(head)))
  bury({ { head, attempts, 'skipped', failure } }, (clock()))
  list_ready(awake(advance({ subject }, { KEYS[13] })), 'LPUSH', '')
elseif head then
  local attempts, _, workers, failure = note_of(call('HGET', NOTES, id_of(head)))
  if halted then
    attempts, workers, failure = 0, '', ''
  end
  write_note(id_of(head), attempts, false, workers, failure) -- it is resumed with its lane
  list_ready({ subject, head }, 'LPUSH', '')
end
remember('ok')
return { 'ok' }
