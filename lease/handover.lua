-- handover: who comes next in lanes that are free. Such lanes go from hand to hand as flat pairs: subject, entry of its head.

-- any_notes reports whether anything is noted of any job of the partition. Mostly there is nothing; then nobody asks of whom.
local has_notes

local function any_notes()
  if has_notes == nil then
    has_notes = call('EXISTS', NOTES) == 1
  end
  return has_notes
end

-- notes_of returns what is noted of jobs, in their order; of those of which nothing is, it may have nil or false.
local function notes_of(ids)
  return #ids > 0 and any_notes() and many('HMGET', NOTES, ids) or {}
end

-- awake returns those lanes whose heads may run, and stops those whose heads are suspended.
local function awake(lanes)
  local ids, up = {}, {}
  for i = 2, #lanes, 2 do
    ids[#ids + 1] = id_of(lanes[i])
  end
  local notes = notes_of(ids)
  for i = 1, #ids do
    local subject = lanes[2 * i - 1]
    if is_suspended(notes[i]) and not closed[subject] then
      stop(subject)
    else
      up[#up + 1], up[#up + 2] = subject, lanes[2 * i]
    end
  end
  return up
end

-- list_ready lists lanes by the kinds of their heads, at the back of the queue (a lane takes its
-- turn) or at the front (it was interrupted in its turn), and wakes one blocked
-- worker a kind. `own` holds the kinds that the caller claims next itself, each
-- between spaces: a hint for them would only wake others for nothing. Whoever waits with a ticket takes his lane by himself.
local function list_ready(lanes, push, own)
  local kinds, by_kind = {}, {}
  local from, to, step = 1, #lanes - 1, 2
  if push == 'LPUSH' then -- which puts the last one first
    from, to, step = #lanes - 1, 1, -2
  end
  for i = from, to, step do
    local subject, entry = lanes[i], lanes[i + 1]
    if closed[subject] then
      -- it was stopped, or somebody has it
    elseif is_ticket(entry) then
      tell(id_of(entry), 'ready')
    else
      local kind = kind_of(entry)
      if not by_kind[kind] then
        by_kind[kind], kinds[#kinds + 1] = {}, kind
      end
      local list = by_kind[kind]
      list[#list + 1] = subject
    end
  end
  for _, kind in ipairs(kinds) do
    many(push, READY .. kind, by_kind[kind])
    if not find(own, ' ' .. kind .. ' ', 1, true) then
      call('ZADD', WAKE .. kind, '0', 'ready')
    end
  end
end
