-- locate: where a job stands.

-- order_in_store is the order of a stored job.
local function order_in_store(id)
  return order_of(call('HGET', JOBS, id) or '\0\0\0\0\0')
end

-- locate returns where a job stands: 'head'; 'tail', and how many are in front of it there; 'scheduled', and as which
-- member of the schedule. Nil is nowhere.
local function locate(subject, entry)
  if call('HGET', HEADS, subject) == entry then
    return 'head'
  end
  local member = scheduled_as(subject, order_in_store(id_of(entry)), entry)
  if call('ZSCORE', SCHEDULED, member) then
    return 'scheduled', member
  end
  local place = call('LPOS', TAIL .. subject, entry)
  if place then
    return 'tail', place
  end
end
