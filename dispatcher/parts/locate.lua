-- locate: where a job stands.

-- order_in_store is the order of a stored job.
local function order_in_store(id)
  return order_of(call('HGET', JOBS, id) or '\0\0\0\0\0')
end

-- locate returns where a job stands, 'head', 'tail' or 'scheduled', as which entry, and as which
-- member of the schedule; nil when nowhere. Its entry is given as it was before any attempt. Only a job that has failed has
-- attempts behind it; in a tail it is near the front then, for it was head or claimed with
-- the head.
local MOST_TRIED, NEAR = 100, 1000

local function locate(subject, entry)
  local id, _, max = id_of(entry), counts_of(entry)
  local head, tail = call('HGET', HEADS, subject), TAIL .. subject
  if head and id_of(head) == id then
    return 'head', head
  end
  local tried = call('HEXISTS', ERRORS, id) == 1
  local forms, members, order = {}, {}, order_in_store(id)
  for attempts = 0, tried and flag(entry, 's') and math.min(max, MOST_TRIED) or 0 do
    local form = with_attempts(entry, attempts)
    for _, as in ipairs({ form, as_suspended(form) }) do
      forms[#forms + 1], members[#members + 1] = as, scheduled_as(subject, order, as)
    end
  end
  for i, score in ipairs(call('ZMSCORE', SCHEDULED, unpack(members))) do
    if score then
      return 'scheduled', forms[i], members[i]
    end
  end
  for i = 1, 2 do
    if call('LPOS', tail, forms[i]) then
      return 'tail', forms[i]
    end
  end
  for _, other in ipairs(tried and call('LRANGE', tail, 0, NEAR - 1) or {}) do
    if id_of(other) == id then
      return 'tail', other
    end
  end
end
