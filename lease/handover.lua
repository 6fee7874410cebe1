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

-- unparked returns those lanes that are not to be parked.
local function unparked(lanes, parks)
  if not next(parks) then
    return lanes
  end
  local others = {}
  for i = 1, #lanes, 2 do
    if not parks[lanes[i]] then
      others[#others + 1], others[#others + 2] = lanes[i], lanes[i + 1]
    end
  end
  return others
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
    if is_ticket(entry) then
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

-- list_awake lists those lanes that are not to be parked, and whose heads are not suspended; it adds those to `parks`.
local function list_awake(lanes, parks, push, own)
  local ids = {}
  for i = 2, #lanes, 2 do
    ids[#ids + 1] = id_of(lanes[i])
  end
  for i, note in ipairs(notes_of(ids)) do
    local subject = lanes[2 * i - 1]
    if is_suspended(note) then
      add_reason(parks, subject, 'job', '-')
    end
  end
  list_ready(unparked(lanes, parks), push, own)
end

-- go_on lets free lanes go on: it lists those that may be claimed, and parks the others.
local function go_on(lanes, parks, push, own)
  list_awake(lanes, parks, push, own)
  park(parks)
end

-- give_up ends a lease that is about no job, and lets its lane go on.
local function give_up(subject, record)
  local head = call('HGET', HEADS, subject)
  local parks = free({ subject }, asks_of({ subject }, { record }))
  go_on(head and { subject, head } or {}, parks, 'RPUSH', '')
end
