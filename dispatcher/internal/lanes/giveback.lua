-- giveback: give starts under a limit back, and offer them to those who are short of them.
--
-- ARGV[6]   name of the limit
-- ARGV[7]   holder
-- ARGV[8]   partitions that it asks for by itself next, each between spaces
-- ARGV[9]   mark of a start that was not used, which the rate does not count then; or '-'
-- ARGV[10]  partitions of the namespace
-- ARGV[11+] pairs: subject of the slot, token
--
-- Returns  {'ok'} | {'stale'}
--
-- Offers are made by name and in order: were they hints for anybody, two idle workers would take
-- and give back the same slot without end.

local before = answered()
if before then
  return before
end

local name, holder, mark, LIMITS, subjects = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 3], extra('limits'), {}
for i = FIRST + 5, #ARGV, 2 do
  if fenced(call('HGET', LEASES, ARGV[i]), ARGV[i + 1]) then
    subjects[#subjects + 1] = ARGV[i]
  end
end
free(subjects, {})
local n = #subjects
if mark ~= '-' and call('HGET', LIMITS, next_start(name)) == mark then
  call('HDEL', LIMITS, next_start(name))
  n = math.max(n, 1)
end
-- Starts that have come back are offered along the line, to each place no more than it still wants.
if n > 0 then
  local now = clock()
  along_line(name, now, tonumber(ARGV[FIRST + 4]), {}, function(p)
    local more = math.min(n, p.starts - p.offered)
    n = n - more
    local asks = p.holder == holder and find(ARGV[FIRST + 2], ' ' .. p.partition .. ' ', 1, true)
    offer(name, p, p.offered + more, now, asks)
    return n > 0
  end)
end
remember('ok')
return { 'ok' }
