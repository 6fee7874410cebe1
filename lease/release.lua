-- release: give a lease back before its end, and list the lane if jobs wait.
--
-- ARGV[6]  subject
-- ARGV[7]  token, or '' for whichever it was given
-- ARGV[8]  holder
--
-- Returns  {'ok'} | {'lost'} | {'stale'}
--
-- A request that asked for the lease, of the same caller, has no effect after this one.

local before = answered()
if before then
  return before
end

local subject, token, holder = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 2]
local record = call('HGET', LEASES, subject)
local own = token ~= '' and fenced(record, token) or token == '' and record and holder_of(record) == holder
if not own then
  if token == '' then
    despite_full_memory()
    remember('lost')
  end
  return { 'lost' }
end
give_up(subject, record)
remember('ok')
return { 'ok' }
