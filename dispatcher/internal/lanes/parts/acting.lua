-- acting: what verbs of operators share: the head that an operator saw, and the line that is left of what he did.

-- job_at returns the id of the job that is a head, '' where there is none.
local function job_at(head)
  return head and not is_ticket(head) and id_of(head) or ''
end

-- moved reports whether the head of a lane is another job than the one that the caller saw: its id, '' no job, '*' any.
local function moved(head, seen)
  return seen ~= '*' and seen ~= job_at(head)
end

-- state_of is the state of a lane in a word.
local function state_of(head, record, reasons)
  if record then
    return 'leased'
  elseif value_in(reasons, 'halted') then
    return 'halted'
  elseif stopped_by(reasons) ~= '' then
    return 'suspended'
  elseif value_in(reasons, 'hold') then
    return 'barred'
  elseif reasons ~= '' then
    return 'delayed'
  end
  return head and 'ready' or 'empty'
end

-- state_now reads it.
local function state_now(subject)
  return state_of(call('HGET', HEADS, subject), call('HGET', LEASES, subject), reasons_of(subject))
end

-- job_state is where a job stands (locate) in a word.
local function job_state(at)
  return at == 'scheduled' and at or 'waiting'
end

-- log_lane and log_job add what was done to a lane, at whose head was that, or to a job.
local function log_job(actor, verb, subject, id, before, after, now)
  log_act(extra('audit'), now, actor, act_as(actor, verb, { 'subject', subject, 'job', id }, before, after))
end

local function log_lane(actor, verb, subject, head, before, after, now)
  log_job(actor, verb, subject, job_at(head), before, after, now)
end
