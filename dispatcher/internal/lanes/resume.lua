-- resume: let a suspended or halted lane go on, with its head or without it.
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   'resume' | 'skip', which makes a dead letter of the head first
-- ARGV[8]   id of the head that the caller saw, '' of no job, '*' of any
-- ARGV[9]   who acts (internal/record/act.lua)
--
-- Returns   {'ok'} | {'no'}: it is not suspended | {'empty'}: no head to skip | {'moved', id}: that is the head now | {'stale'}
--
-- A head that has halted its lane gets all its attempts again.

local before = answered()
if before then
  return before
end

local subject, skip, now = ARGV[FIRST], ARGV[FIRST + 1] == 'skip', clock()
local record, head = call('HGET', LEASES, subject), call('HGET', HEADS, subject)
local asks, reasons = call('HGET', extra('asks'), subject) or '', reasons_of(subject)
if moved(head, ARGV[FIRST + 2]) then
  return { 'moved', job_at(head) }
end
if record and (skip or not suspend_asked(asks)) or not record and stopped_by(reasons) == '' then
  return { 'no' }
elseif skip and not head then
  return { 'empty' }
end
despite_full_memory()
if record then
  asks = without_value(asks, 'suspend')
  call('HSET', LEASES, subject, as_asked(record, asks ~= ''))
  if asks ~= '' then
    call('HSET', extra('asks'), subject, asks)
  else
    call('HDEL', extra('asks'), subject)
  end
-- A ticket is no job and can't be a dead letter: its owner is told, and stands at the tail again if it still
-- waits.
elseif skip and is_ticket(head) then
  unpark({ subject })
  call('ZREM', extra('expiring'), ticket_as(subject, head))
  tell(id_of(head), 'skipped') -- its owner takes another
  go_on(advance({ subject }, { KEYS[13] }), {}, 'LPUSH', '')
elseif skip then
  unpark({ subject })
  local attempts, _, _, failure = note_of(call('HGET', NOTES, id_of(head)))
  bury({ { head, attempts, 'skipped', failure } }, now)
  go_on(advance({ subject }, { KEYS[13] }), {}, 'LPUSH', '')
else
  if head then
    local attempts, _, workers, failure = note_of(call('HGET', NOTES, id_of(head)))
    if value_in(reasons, 'halted') then
      attempts, workers, failure = 0, '', ''
    end
    write_note(id_of(head), attempts, false, workers, failure) -- it is resumed with its lane
  end
  -- Stops go, the rest of a backoff stays, and a hold: it did not, when the suspension was written over it
  -- (docs/design.md).
  local rest = ''
  for _, word in ipairs({ 'backoff', 'hold' }) do
    local value = value_in(reasons, word)
    rest = value and with_value(rest, word, value) or rest
  end
  if not repark(subject, rest, now) and head then
    call('ZADD', WAKE .. kind_of(head), 0, 'due') -- nobody has heard of that time
  elseif head then
    list_ready({ subject, head }, 'LPUSH', '')
  end
end
local was = record and 'to be suspended' or state_of(head, record, reasons)
log_lane(ARGV[FIRST + 3], 'lane ' .. ARGV[FIRST + 1], subject, head, was, state_now(subject), now)
remember('ok')
return { 'ok' }
