-- putback: jobs that holders have in hand behind the one that they are at go back to their lanes, unused: no attempt counts (I6).
--
-- ARGV[6+]  three a lane: subject, entry of its head, token
--
-- Returns  {'ok'} | {'stale'}
--
-- Nothing moves: jobs in hand stand in their lane. A lane whose head is another one by now is left alone: its holder has said
-- since what is in hand.

local before = answered()
if before then
  return before
end

local leases = {}
for i = FIRST, #ARGV, 3 do
  local record = call('HGET', LEASES, ARGV[i])
  if fenced(record, ARGV[i + 2]) and call('HGET', HEADS, ARGV[i]) == ARGV[i + 1] then
    leases[#leases + 1], leases[#leases + 2] = ARGV[i], with_along(record, 0)
  end
end
despite_full_memory()
many('HSET', LEASES, leases)
remember('ok')
return { 'ok' }
