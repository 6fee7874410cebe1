-- leave: give a ticket up, or the lease that it was given meanwhile. A request of the same caller
-- that asked for either, and is still on its way, has no effect any more: this one is remembered.
--
-- ARGV[6]  subject
-- ARGV[7]  holder
-- ARGV[8]  ticket
--
-- Returns  {'ok'} | {'stale'}

local before = answered()
if before then
  return before
end

local subject, holder, entry = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2]
local record = call('HGET', LEASES, subject)
if record and holder_of(record) == holder then
  give_up(subject, record)
elseif call('ZREM', extra('expiring'), ticket_as(subject, entry)) == 1 then
  withdraw(subject, entry, (clock()), 'RPUSH', '')
end
remember('ok') -- also in full memory: to Redis ZREM is a write, even of nothing
return { 'ok' }
