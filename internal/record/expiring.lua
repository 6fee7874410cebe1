-- expiring: how the outcome of a job and the ticket of somebody who waits stand among what goes by itself
-- at a time.

local function outcome_as_expiring(id)
  return 'o' .. id
end

local function ticket_as(subject, entry)
  return 't' .. with_subject(subject, entry)
end

-- expiring_of returns the id of an outcome, or nil and the subject and the entry of a ticket.
local function expiring_of(member)
  if sub(member, 1, 1) == 'o' then
    return sub(member, 2)
  end
  return nil, without_subject(sub(member, 2))
end
