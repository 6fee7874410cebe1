-- ask: what is asked of the holder of a lane, a line each: "cancel <ms to keep the outcome>" its head, "suspend <when, ms> <why>"
-- the lane when the lease ends, as park says it.

-- cancel_asked returns the ms, or nil; suspend_asked "<when> <why>", or nil.
local function cancel_asked(asks)
  return asks and tonumber(value_in(asks, 'cancel'))
end

local function suspend_asked(asks)
  return asks and value_in(asks, 'suspend')
end
