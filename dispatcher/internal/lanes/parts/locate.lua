-- locate: where a job stands.

-- order_in_store is the order of a stored job, by which it stands among those of its subject on the schedule.
-- It reads the whole body. For a job that is not stored it is 0.
local function order_in_store(id)
  return order_of(call('HGET', JOBS, id) or '\0\0\0\0\0')
end

-- locate returns where a job stands (I7): 'head'; 'tail', and how many are in front of it there; 'scheduled',
-- and as which member of the schedule. Nil is nowhere. The tail comes last, because to search it takes as long
-- as it is.
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
