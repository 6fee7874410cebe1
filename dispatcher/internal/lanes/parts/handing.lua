-- handing: lanes whose jobs have just ended go from hand to hand.

-- asleep says of which lanes that had a job finished the next head is suspended by itself. Mostly no job of a
-- partition has a note, and then it costs one command in the whole call.
local function asleep(f)
  local stops = {}
  if #f.lanes > 0 and any_notes() then
    local lanes, ids = {}, {}
    for k, subject in ipairs(f.lanes) do
      if not f.open[k] and f.next_head[k] then
        lanes[#lanes + 1], ids[#ids + 1] = subject, id_of(f.next_head[k])
      end
    end
    for i, note in ipairs(notes_of(ids)) do
      stops[lanes[i]] = is_suspended(note)
    end
  end
  return stops
end

-- hand_over adds lanes that had a job finished, which stand behind those that were ready (a lane takes its
-- turn): as if they had been listed and taken, but without the trouble. The others are listed and free, or
-- stopped by a head that is suspended, or because that was asked of their holder. A head of a kind that the
-- caller does not handle is for others (I11), and so is a ticket.
local function hand_over(t, f, c)
  local lanes, heads, m, h, n = c.lanes, c.heads, #c.lanes, 0, 0
  local budget, wanted, takes = t.budget, t.wanted - c.popped, t.takes
  c.asleep = asleep(f)
  for k, subject in ipairs(f.lanes) do
    if not f.open[k] then
      local head = f.next_head[k]
      local stops = c.asleep[subject] or suspend_asked(f.asks[subject]) -- a cancel was for the job that is done
      local left = head and budget[kind_of(head)]
      if head and h < wanted and takes[kind_of(head)] and not stops and (not left or left > 0) and not bars(t, kind_of(head), subject) then
        if left then
          budget[kind_of(head)] = left - 1
        end
        h, m = h + 1, m + 1
        c.handed[h], lanes[m], heads[m] = subject, subject, head
      else
        n = n + 1
        c.freed[n], c.next_up[n] = subject, head
      end
    end
  end
  c.nobody_waits = c.popped < t.wanted and not next(c.next_up)
end
