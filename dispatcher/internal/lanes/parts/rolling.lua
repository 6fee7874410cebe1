-- rolling: lanes of which a holder has more jobs in hand than the one that it is at.
--
-- A holder begins with the next job of a lane while it reports the one before, and the answer fills its hand up: so it
-- never waits for a trip. That is only while nobody waits: as soon as another lane of its kinds is ready, hands are not
-- filled, and the lane goes behind that one when its hand is empty. What is in a hand counts as an attempt (I6).

-- deep is how many jobs of each lane that is given out are taken at most, or nil where that is one of each. Lanes that
-- were ready give what was asked for; those that had a job finished, and for which nobody else waits, what rolls.
local function deep(t, c)
  local ready = #c.lanes - #c.handed
  local rolls = c.nobody_waits and #c.handed > 0 and t.rolls
  if not t.along and not rolls then
    return nil
  end
  local most = {}
  for i, head in ipairs(c.heads) do
    local kind = kind_of(head)
    most[i] = rolls and i > ready and rolls[kind] or t.along and t.along[kind] or 1
  end
  return most
end

-- fill lists what comes into the hands of those who go on with their lanes: three lists, the lanes (of f.kept), entries and
-- ids, in the order of the jobs that are done. room is how many jobs the call may still give.
local function fill(t, f, room)
  local of, entries, ids = {}, {}, {}
  table.sort(f.kept, function(a, b) return a.row < b.row end)
  for _, lane in ipairs(f.kept) do
    local kind = lane.head and kind_of(lane.head)
    local most = kind and t.rolls[kind] or 0
    local n = not asked(lane.record) and math.min(most - 1 - lane.hand, room - #ids) or 0
    local next_ones = behind(lane.subject, kind, lane.hand, n, true)
    if #next_ones > 0 and bars(t, kind, lane.subject) then
      next_ones = {}
    end
    for _, entry in ipairs(next_ones) do
      of[#of + 1], entries[#entries + 1], ids[#ids + 1] = lane, entry, id_of(entry)
    end
  end
  if any_notes() then
    alone(of, entries, ids, notes_of(ids), true)
  end
  return of, entries, ids
end

-- go_on_with writes the leases of lanes that their holders go on with, and fills their hands up: with 'ok+n' for the last
-- job of a lane that is done, and with n jobs of it behind those that were claimed.
local function go_on_with(t, f, reply, nobody_waits, given)
  local of, entries, ids = {}, {}, {}
  if nobody_waits and t.rolls and t.wanted >= 0 and #f.kept > 0 then
    of, entries, ids = fill(t, f, MOST - given)
  end
  local n = #ids == 0 and 0 or given == 0 and fits(ids) or light(#ids + given) and #ids or 0
  if n > 0 then
    local bodies, broken = call('HMGET', JOBS, unpack(ids, 1, n)), {}
    for i = 1, n do
      local lane = of[i]
      broken[lane] = broken[lane] or not bodies[i]
      if not broken[lane] then
        local last = #reply
        reply[last + 1], reply[last + 2], reply[last + 3] = lane.subject, entries[i], bodies[i]
        lane.more = (lane.more or 0) + 1
      end
    end
  end
  local leases = {}
  for _, lane in ipairs(f.kept) do
    if lane.more then
      reply[4 + lane.row] = 'ok+' .. lane.more
    end
    leases[#leases + 1], leases[#leases + 2] = lane.subject, with_along(lane.record, lane.hand + (lane.more or 0))
  end
  many('HSET', LEASES, leases)
end

-- given_again adds to the answer of a turn that is repeated what it put into hands (I9): it says of how many jobs that was, and
-- no other call has changed the hand of a holder who waits for this answer.
local function given_again(t, reply, done)
  for i = 1, done do
    local more, at = string.match(reply[4 + i], '^ok%+(%d+)$'), t.done_from + 3 * (i - 1)
    more = more and tonumber(more)
    local token = more and string.match(ARGV[at + 2], ' (.*)$')
    local record = more and call('HGET', LEASES, ARGV[at])
    if more and fenced(record, token) then
      local along = along_of(record)
      local entries = along >= more and call('LRANGE', TAIL .. ARGV[at], along - more, along - 1) or {}
      local bodies = many('HMGET', JOBS, ids_of(entries))
      for k, entry in ipairs(entries) do
        local n = #reply
        reply[n + 1], reply[n + 2], reply[n + 3] = ARGV[at], entry, bodies[k] or ''
      end
      reply[4 + i] = #entries > 0 and 'ok+' .. #entries or 'ok'
    elseif more then
      reply[4 + i] = 'ok'
    end
  end
  return reply
end
