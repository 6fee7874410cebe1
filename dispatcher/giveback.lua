-- giveback: give slots of a limit back, and tell as many of those who were short of them.
--
-- ARGV[6]  name of the limit
-- ARGV[7]  holder
-- ARGV[8]  mark of a start that was not used, which the rate does not count then; or '-'
-- ARGV[9+] pairs: number of the slot, token
--
-- Returns  {'ok'} | {'stale'}
--
-- They are told by name, and the giver is not: were it a hint for anybody, two idle workers
-- would take and give back the same slot without end.

local before = answered()
if before then
  return before
end

local name, holder, LIMITS, subjects = ARGV[FIRST], ARGV[FIRST + 1], extra('limits'), {}
for i = FIRST + 3, #ARGV, 2 do
  local subject = '\1~' .. name .. '#' .. ARGV[i]
  if fenced(call('HGET', LEASES, subject), ARGV[i + 1]) then
    subjects[#subjects + 1] = subject
  end
end
free(subjects, {})
local unused = call('HGET', LIMITS, name .. ' next') == ARGV[FIRST + 2]
if unused then
  call('HDEL', LIMITS, name .. ' next')
end
local short = (unused or #subjects > 0) and call('HGET', LIMITS, name .. ' short')
if short then
  local others, told = without_line(short, holder), 0
  for other in string.gmatch(others, '([^\n]+)\n') do
    if told < math.max(1, #subjects) then
      told = told + 1
      others = without_line(others, other)
      news(other .. '/slots', name)
    end
  end
  put_set(LIMITS, name .. ' short', others)
end
remember('ok')
return { 'ok' }
