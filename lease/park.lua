-- park: lanes that may not be claimed now, though nobody holds them.

local function reasons_of(subject)
  return call('HGET', extra('park_reasons'), subject) or ''
end

-- add_reason adds a reason to those for which a lane is to be parked.
local function add_reason(parks, subject, word, value)
  parks[subject] = with_value(parks[subject] or '', word, value)
end

-- park keeps lanes back that nobody holds, and that are listed nowhere, for reasons by subject.
local function park(parks)
  local moments, reasons = {}, {}
  for subject, why in pairs(parks) do
    moments[#moments + 1], moments[#moments + 2] = look_again(why), subject
    reasons[#reasons + 1], reasons[#reasons + 2] = subject, why
  end
  many('ZADD', PARKED, moments)
  many('HSET', extra('park_reasons'), reasons)
end

-- unpark forgets why lanes were parked.
local function unpark(subjects)
  many('ZREM', PARKED, subjects)
  many('HDEL', extra('park_reasons'), subjects)
end

-- repark says anew why a parked lane is. It returns whether the lane may go on now: nothing keeps it back any more.
local function repark(subject, reasons, now)
  local waits_till = tonumber(look_again(reasons) or 0) or math.huge
  if waits_till > now then
    park({ [subject] = reasons })
    return false
  end
  unpark({ subject })
  return true
end
