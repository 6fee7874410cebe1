-- ask: what an operator asked of the holder of a lane: "cancel <ms to keep the outcome>".

local function cancel_as(ms)
  return 'cancel ' .. ms
end

-- cancel_of returns the ms, 0 of no record.
local function cancel_of(record)
  return tonumber(string.match(record or '', '^cancel (%d+)$') or 0)
end
