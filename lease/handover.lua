-- handover: who comes next in a lane that is free.

-- Lanes to be listed as ready gather here, by the kind of their head.
local ready_kinds, ready_lanes = {}, {}

local function hand_over(entry, subject)
  if closed[subject] then
    return
  elseif suspended(entry) then
    return stop(subject)
  end
  if is_ticket(entry) then -- its owner takes it by itself
    return tell(id_of(entry), 'ready')
  end
  local kind = kind_of(entry)
  local lanes = ready_lanes[kind]
  if not lanes then
    lanes = {}
    ready_lanes[kind], ready_kinds[#ready_kinds + 1] = lanes, kind
  end
  lanes[#lanes + 1] = subject
end

-- list_ready lists the gathered lanes, at the back of the queue (a lane takes its
-- turn) or at the front (it was interrupted in its turn), and wakes one blocked
-- worker a kind. `own` holds the kinds that the caller claims next itself, each
-- between spaces: a hint for them would only wake others for nothing.
local function list_ready(push, own)
  for _, kind in ipairs(ready_kinds) do
    local lanes = ready_lanes[kind]
    if push == 'LPUSH' then -- which puts the last one first
      local turned = {}
      for i = #lanes, 1, -1 do
        turned[#turned + 1] = lanes[i]
      end
      lanes = turned
    end
    many(push, READY .. kind, lanes)
    if not find(own, ' ' .. kind .. ' ', 1, true) then
      call('ZADD', WAKE .. kind, '0', 'ready')
    end
  end
  ready_kinds, ready_lanes = {}, {}
end
