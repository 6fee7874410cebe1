-- giveback: give slots of a limit back, and tell those who were short of them.
--
-- ARGV[6]  name of the limit
-- ARGV[7]  kinds that it limits, with spaces between
-- ARGV[8]  mark of a start that was not used, which the rate does not count then; or '-'
-- ARGV[9+] pairs: number of the slot, token
--
-- Returns  {'ok'} | {'stale'}

local before = answered()
if before then
  return before
end

local name, LIMITS, subjects, at = ARGV[FIRST], extra('limits'), {}, FIRST + 3
for i = at, #ARGV, 2 do
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
if unused or #subjects > 0 then
  if call('HDEL', LIMITS, name .. ' short') == 1 then
    for kind in string.gmatch(ARGV[FIRST + 1], '%S+') do
      call('ZADD', WAKE .. kind, '0', 'slot')
    end
  end
end
remember('ok')
return { 'ok' }
