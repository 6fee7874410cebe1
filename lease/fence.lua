-- fence: the one gate for stale callers.

-- fenced is the one gate for staleness (I3): does the record of a lease, as read
-- from LEASES, still carry the caller's token? Lanes that were claimed together have
-- equal records, so the last answer is kept.
local asked_record, asked_token, answer

local function fenced(record, token)
  if record ~= asked_record or token ~= asked_token then
    asked_record, asked_token = record, token
    answer = record and sub(record, 1, #token + 1) == token .. ' '
  end
  return answer
end
