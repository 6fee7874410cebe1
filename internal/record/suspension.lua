-- suspension: why a lane stands still: "<when, ms> <operator|halted> <why>".

local function suspension_as(now, by, why)
  return whole(now) .. ' ' .. by .. ' ' .. why
end

-- is_halted reports whether it was the lane's head that stopped it, by its failure.
local function is_halted(record)
  return record and find(record, '^%d+ halted ') ~= nil
end
