-- wait: that who has a lease waits for another subject: "<until, ms> <token> <subject>".

local function wait_as(till, token, subject)
  return whole(till) .. ' ' .. token .. ' ' .. subject
end

-- wait_of returns until when it counts, the token, and the subject that is waited for; nil of no record.
local function wait_of(record)
  local till, token, subject = string.match(record or '', '^(%d+) (%d+) (.*)$')
  return tonumber(till), token, subject
end
