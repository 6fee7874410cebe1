-- slot: take starts under a limit, in turn with all who are short of them. A start is a slot, a lease
-- that comes with a number and with no lane, where the limit is a number of jobs at once.
--
-- ARGV[6]   name of the limit
-- ARGV[7]   holder
-- ARGV[8]   ttl      ms
-- ARGV[9]   partitions of the namespace
-- ARGV[10]  subject of a slot without its number
-- ARGV[11+] three a partition: it, starts wanted there now, and lanes that are ready there; with
--           none the place there is given up
--
-- Returns  {'ok', slots, later, mark, token, (starts, number of each slot...) for each partition}
--          slots: '1' when starts come with slots, else '0'
--          later: ms until there may be more, to who is first of those that are short; '-' to all
--          others, who will be told; mark is for giving a start back that the rate counts
--          {'none'}: no such limit; nothing may start | {'stale'}
--
-- Starts go to whoever came first (I15): where lanes are ready that there are no starts for, a place in
-- line is taken for as many, those that start now too, for they will be back; what becomes ready
-- meanwhile lines up when that is used up.
-- How many slots are taken is counted from the leases themselves, so no counter can drift, and a
-- dead holder's slots are free when its leases are over (G12).

local before = answered()
if before then
  return before
end

local name, holder, slot_of = ARGV[FIRST], ARGV[FIRST + 1], ARGV[FIRST + 4]
local size, every = limit_of(call('HGET', extra('limits'), name))
if not size then
  return { 'none' }
end
local now, now_us = clock()

-- free_starts is how many may start: of the rate one or none, of the slots as many as nobody holds alive. It has their numbers,
-- when the next lease of another one ends (soonest), and for how many ms the rate lets nothing start (rested).
local function free_starts()
  local vacant = { n = math.huge, rested = 0 }
  if every > 0 then
    local at = math.min(tonumber(call('HGET', extra('limits'), next_start(name)) or 0), now + every) -- it may have been slower, or the clock ahead
    vacant.n, vacant.rested = now >= at and 1 or 0, math.max(0, at - now)
  end
  for from = 1, size, 100 do
    local names = {}
    for n = from, math.min(from + 99, size) do
      names[#names + 1] = slot_of .. whole(n)
    end
    local records, deadlines = call('HMGET', LEASES, unpack(names)), call('ZMSCORE', DEADLINES, unpack(names))
    for i = 1, #names do
      local deadline = records[i] and moment(deadlines[i]) or now
      if deadline > now then
        vacant.soonest = math.min(vacant.soonest or deadline, deadline)
      else
        vacant[#vacant + 1] = from + i - 1
      end
    end
  end
  if size > 0 then
    vacant.n = math.min(vacant.n, #vacant)
  end
  return vacant
end

-- give_starts gives n starts out along the line, and what is left to those who have no place in it (I15). It
-- returns who is first of those that are short, by his member of the line, and when the next offer to another
-- one ends, ms.
local function give_starts(n, line, asks, order)
  local left, next_offer, first = n, nil, nil
  local function serve(p)
    local own = asks[p.member]
    local n = math.min(p.starts, left, own and own.want - own.got or left)
    left = left - n
    if own then
      own.got = own.got + n
      if n > 0 or p.offered > 0 then
        p.starts, p.offered = p.starts - n, 0
        keep_place(name, p)
      end
      own.place = p.starts > 0 and p or nil
    elseif n > 0 then
      offer(name, p, n, now)
      next_offer = math.min(next_offer or p.till, p.till)
    end
    if not own or own.got < own.want then
      first = first or n < p.starts and p.member or nil
    end
    return left > 0
  end
  if line then
    along_line(name, now, tonumber(ARGV[FIRST + 3]), asks, serve)
  end
  for _, own in ipairs(order) do
    local n = math.min(left, own.want - own.got)
    own.got, left = own.got + n, left - n
    if own.place and own.got >= own.lanes then
      leave_line(name, own.member) -- nobody waits there any more
    elseif own.got < own.lanes and left == 0 and not own.place then
      stand_last(name, { member = own.member, starts = own.lanes, offered = 0, till = 0, holder = holder })
      first = first or own.member
    end
  end
  return first, next_offer
end

-- take gives slots to those who got starts, under one token, and says so in the reply. It returns how many
-- starts there were.
local function take(reply, order, slots)
  local taken, subjects = 0, {}
  for _, own in ipairs(order) do
    reply[#reply + 1] = whole(own.got)
    for i = taken + 1, taken + (size > 0 and own.got or 0) do
      reply[#reply + 1] = whole(slots[i])
      subjects[#subjects + 1] = slot_of .. whole(slots[i])
    end
    taken = taken + own.got
  end
  if #subjects > 0 then
    reply[5] = grant(subjects, 'slot', holder, now + tonumber(ARGV[FIRST + 2]), now_us)
  end
  return taken
end

local vacant = free_starts()
despite_full_memory()
local line = call('EXISTS', extra('line:') .. name) == 1
local asks, order = asked_starts(name, holder, FIRST + 5, line)
local first, next_offer = give_starts(vacant.n, line, asks, order)
local reply = { 'ok', size > 0 and '1' or '0', '-', every > 0 and whole(now + every) or '-', '0' }
local taken = take(reply, order, vacant)
if asks[first] and asks[first].got < asks[first].want then
  local at = math.min(vacant.soonest or math.huge, next_offer or math.huge)
  if every > 0 and (taken > 0 or vacant.rested > 0) then
    at = math.min(at, now + (taken > 0 and every or vacant.rested))
  end
  reply[3] = at < math.huge and whole(at - now) or '-'
end
if taken > 0 then
  if every > 0 then
    call('HSET', extra('limits'), next_start(name), whole(now + every))
  end
  remember(words(reply))
end
return reply
