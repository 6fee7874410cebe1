-- locate: where a job stands.

-- order_in_store is the order of a stored job, by which it stands among those of its subject on the schedule.
-- It reads the whole body. For a job that is not stored it is 0.
local function order_in_store(id)
  return order_of(call('HGET', JOBS, id) or '\0\0\0\0\0')
end

-- locate returns where a job stands (I7): 'head'; 'scheduled', and as which member of the schedule; 'hand', with
-- the head in the hand of who has the lane; or 'tail', and its order there. Nil is nowhere. A tail is not
-- searched, which would take as long as it is: for a job that is stored, and stands nowhere else, nothing else
-- is left.
local function locate(subject, entry, record)
  if call('HGET', HEADS, subject) == entry then
    return 'head'
  end
  local id = id_of(entry)
  local body = call('HGET', JOBS, id)
  if not body or call('ZSCORE', DEAD, id) then
    return
  end
  local order, along = order_of(body), along_of(record)
  local member = scheduled_as(subject, order, entry)
  if call('ZSCORE', SCHEDULED, member) then
    return 'scheduled', member
  elseif along > 0 and call('LPOS', TAIL .. subject, entry, 'MAXLEN', along) then
    return 'hand'
  end
  return 'tail', order
end
