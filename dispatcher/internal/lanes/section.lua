-- section: give the lease of a subject to somebody who is no worker, in turn: at once when the
-- lane is empty and nobody has it; else when their ticket, which stands in the lane like a
-- job, is its head.
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   holder
-- ARGV[8]   ttl of the lease, and of the ticket until it is asked for again, ms
-- ARGV[9]   ticket: an entry of the kind '~'; or '' for somebody who does not wait
--
-- Returns   {'ok', token} | {'stale'}
--           {'waits', ms until what is in front of the caller may be over without anybody telling, or '-'}
--           {'again'}: more is due than one call places, and it goes first; ask at once
--           {'held', holder, end of the lease in ms}, to who does not wait: '' and '0' when nobody has it and
--           jobs wait; 'operator' and '0' when the lane is stopped, by an operator or by its head
--           {'barred', id of the hold, until, ms}, and who had no ticket has none after it
--
-- The ticket leaves the lane when its lease begins; so what ends the lease, in whatever way,
-- finds the next job or ticket as head.

local before = answered()
if before then
  return before
end

local subject, holder, ttl, entry = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2]), ARGV[FIRST + 3]
local EXPIRING, ticket = extra('expiring'), ticket_as(subject, entry)
local now, now_us = clock()
local waits = select(2, take_due(now, '', true)) -- what fell due goes first (I14)
if waits and not call('ZSCORE', EXPIRING, ticket) then
  return { 'again' }
end
local record, head = call('HGET', LEASES, subject), call('HGET', HEADS, subject)
local reply

-- There may be no worker at all to reap: what the dead have left in front of the caller goes
-- here too, a section whose lease is over and tickets that nobody has asked for again.
local freed = false
if use_of(record) == 'section' and (moment(call('ZSCORE', DEADLINES, subject)) or 0) <= now then
  local parks = free({ subject }, asks_of({ subject }, { record }))
  if next(parks) then
    go_on(head and { subject, head } or {}, parks, 'RPUSH', '')
  end
  record, freed = false, true
end
local reasons = record and '' or reasons_of(subject)
local stopped = stopped_by(reasons) ~= ''
for _ = 1, 100 do
  if record or stopped or not head or head == entry or not is_ticket(head)
    or (moment(call('ZSCORE', EXPIRING, ticket_as(subject, head))) or 0) > now then
    break
  end
  call('ZREM', EXPIRING, ticket_as(subject, head))
  head, freed = pop(subject, KEYS[13]), true
end

local hold = not (record and holder_of(record) == holder) and bars_section(subject, holder)
if record and holder_of(record) == holder then
  return { 'ok', token_of(record) }
elseif hold and not call('ZSCORE', EXPIRING, ticket) then
  despite_full_memory()
  reply = { 'barred', hold.id, whole(hold.till) }
elseif hold then
  despite_full_memory()
  call('ZADD', EXPIRING, now + ttl, ticket)
  reply = { 'waits', whole(math.min(1000, hold.till - now)) } -- nobody tells a ticket of a hold's end
elseif not record and not stopped and (not head or head == entry) then
  if head then
    call('ZREM', EXPIRING, ticket)
    pop(subject, KEYS[13])
  end
  if reasons ~= '' then -- of a hold that is over
    unpark({ subject })
  end
  reply = { 'ok', grant({ subject }, 'section', holder, now + ttl, now_us) }
else
  if entry == '' then
    local deadline = record and moment(call('ZSCORE', DEADLINES, subject)) or 0
    reply = { 'held', record and holder_of(record) or stopped and 'operator' or '', whole(deadline) }
  elseif call('ZSCORE', EXPIRING, ticket) then
    despite_full_memory() -- but no new ticket is taken then
  elseif head then
    call('RPUSH', KEYS[13], entry)
  else
    call('HSET', HEADS, subject, entry)
  end
  if not reply then
    call('ZADD', EXPIRING, now + ttl, ticket)
    local over = record and call('ZSCORE', DEADLINES, subject)
      or not record and not stopped and head ~= entry and call('ZSCORE', EXPIRING, ticket_as(subject, head))
    over = over and moment(over) or math.huge
    reply = { 'waits', over < math.huge and whole(math.max(0, over - now)) or '-' }
  end
end
if freed and head and not record and not stopped and reply[1] ~= 'ok' then
  go_on({ subject, head }, {}, 'RPUSH', '')
end
if reply[1] == 'held' then -- a copy that comes late must not get what is free by then; names may have spaces
  despite_full_memory()
  remember('held somebody 0')
else
  remember(words(reply))
end
return reply
