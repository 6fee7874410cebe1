-- mending: what a repair makes of what is said of lanes.

-- stop_as is a stop as it is said, or as one of now when that can't be read: to stop too much is safe.
local function stop_as(value, now)
  local when = string.match(value, '^(%d+) ')
  return when and #when < 16 and value or since(now, value)
end

-- stop_lines is those lines of why a lane is parked that an operator or a halt has left.
local function stop_lines(reasons, now)
  local lines = ''
  for _, word in ipairs({ 'suspended', 'halted' }) do
    local value = value_in(reasons, word)
    lines = value and with_value(lines, word, stop_as(value, now)) or lines
  end
  return lines
end

-- ask_lines is those lines of what is asked of a holder that can be read.
local function ask_lines(asks, now)
  local lines, cancel, stop = '', value_in(asks, 'cancel'), value_in(asks, 'suspend')
  if cancel and find(cancel, '^%d+$') then
    lines = with_value(lines, 'cancel', cancel)
  end
  return stop and with_value(lines, 'suspend', stop_as(stop, now)) or lines
end

-- same_reasons reports whether two say the same reasons, in any order.
local function same_reasons(one, other)
  for _, word in ipairs({ 'backoff', 'suspended', 'halted', 'job' }) do
    if value_in(one, word) ~= value_in(other, word) then
      return false
    end
  end
  return #one == #other
end
