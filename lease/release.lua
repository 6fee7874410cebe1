-- release: give a lease back before its end, and list the lane if jobs wait.
--
-- ARGV[6]  subject
-- ARGV[7]  token
--
-- Returns  {'ok'} | {'lost'} | {'stale'}

local before = answered()
if before then
  return before
end

local subject, token = ARGV[FIRST], ARGV[FIRST + 1]
local record = call('HGET', LEASES, subject)
if not fenced(record, token) then
  return { 'lost' }
end
local head = call('HGET', HEADS, subject)
free({ subject }, { record })
if head then
  list(head, subject)
end
publish('RPUSH', '')
remember('ok')
return { 'ok' }
