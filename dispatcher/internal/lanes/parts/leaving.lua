-- leaving: what a turn leaves to others.

-- let_others_go lets lanes go on that are not given: those that are free, those with a body that is missing,
-- and those that have to wait for another call. Lanes that were handed over had a lease, which ends here
-- (free); lanes that were ready had none, and go back to the front of their lists, because it was their turn.
-- One with a missing body stands in no list after this, for the doctor to find: nothing of it can run.
local function let_others_go(t, f, c, broken, late)
  local freed, next_up, back = c.freed, c.next_up, {}
  local ready = #c.lanes - #c.handed
  for i, subject in ipairs(c.handed) do
    if broken[subject] then
      freed[#freed + 1] = subject
    elseif late[subject] then
      local n = #freed + 1
      freed[n], next_up[n] = subject, c.heads[ready + i]
    end
  end
  for i = ready, 1, -1 do -- lanes that were ready stay so, in their order
    if late[c.lanes[i]] then
      back[#back + 1] = { kind_of(c.heads[i]), c.lanes[i] }
    end
  end
  local parks, listed = free(freed, f.asks), {}
  for i, subject in ipairs(freed) do
    if c.asleep[subject] then
      add_reason(parks, subject, 'job', '-')
    elseif next_up[i] then
      listed[#listed + 1], listed[#listed + 2] = subject, next_up[i]
    end
  end
  list_ready(unparked(listed, parks), 'RPUSH', t.own)
  park(parks)
  for _, lane in ipairs(back) do
    call('LPUSH', READY .. lane[1], lane[2])
  end
end

-- left_over returns how many lanes are left of the kinds that the caller asked for, as a turn says it; with '+' behind
-- it when there are more of a kind of which no more were to be given out. Where the caller got all that it wanted
-- (`full`), the rest is for somebody else: one waker a kind, and it wakes the next when it has its lanes, so a burst
-- wakes workers one by one and not all at once. A kind whose budget is used up, or that is held, counts as none: whoever is woken
-- would meet the same limit, or the same hold. idle says that the call has written nothing yet.
local function left_over(t, full, idle)
  local ready = 0
  if full and idle then
    despite_full_memory()
  end
  for k = 1, full and t.kinds or 0 do
    local kind = ARGV[FIRST + 2 + 2 * k]
    local left = (t.budget[kind] == 0 or t.held[kind]) and 0 or call('LLEN', READY .. kind)
    if left > 0 then
      ready = ready + left
      call('ZADD', WAKE .. kind, '0', 'ready')
    end
  end
  for kind, most in pairs(t.budget) do
    if most == 0 and not t.held[kind] and call('LLEN', READY .. kind) > 0 then
      return whole(ready) .. '+'
    end
  end
  return ready
end
