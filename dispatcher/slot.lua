-- slot: take starts under a limit, in turn with all who are short of them. A start is a slot, a lease
-- that comes with a number and with no lane, where the limit is a number of jobs at once.
--
-- ARGV[6]   name of the limit
-- ARGV[7]   holder
-- ARGV[8]   ttl      ms
-- ARGV[9+]  three a partition: it, starts wanted there now, and lanes that are ready there; with
--          none the place there is given up
--
-- Returns  {'ok', slots, later, mark, token, (starts, number of each slot...) for each partition}
--          slots: '1' when starts come with slots, else '0'
--          later: ms until there may be more for who got less than was wanted, '-' when nobody
--          knows; mark is for giving a start back that the rate counts
--          {'none'}: no such limit; nothing may start | {'stale'}
--
-- Starts go to whoever came first (I15): who wants more than there is gets a place in the order,
-- for as many starts as lanes were ready, and comes behind all others with what it wants next.
-- How many slots are taken is counted from the leases themselves, so no counter can drift, and a
-- dead holder's slots are free when its leases are over (G12).

local before = answered()
if before then
  return before
end

local name, holder, ttl, ASKED = ARGV[FIRST], ARGV[FIRST + 1], tonumber(ARGV[FIRST + 2]), FIRST + 3
local LIMITS = extra('limits')
local size, every = string.match(call('HGET', LIMITS, name) or '', '^(%d+) (%d+)$')
if not size then
  return { 'none' }
end
size, every = tonumber(size), tonumber(every)
local now, now_us = clock()

-- Who comes again and again has so many places at the most, of so many starts together, and waits
-- longer in the last one.
local MOST_PLACES, MOST_STARTS = 8, 250

-- What is free: of the rate one start or none, of the slots those that nobody holds alive.
local free_starts, rested, soonest, slots = math.huge, 0, nil, {}
if every > 0 then
  local free_at = tonumber(call('HGET', LIMITS, name .. ' next') or 0)
  free_starts, rested = now >= free_at and 1 or 0, math.max(0, free_at - now)
end
for from = 1, size, 100 do
  local names = {}
  for n = from, math.min(from + 99, size) do
    names[#names + 1] = '\1~' .. name .. '#' .. whole(n)
  end
  local records, deadlines = call('HMGET', LEASES, unpack(names)), call('ZMSCORE', DEADLINES, unpack(names))
  for i = 1, #names do
    local deadline = records[i] and moment(deadlines[i]) or now
    if deadline > now then
      soonest = math.min(soonest or deadline, deadline)
    else
      slots[#slots + 1] = from + i - 1
    end
  end
end
if size > 0 then
  free_starts = math.min(free_starts, #slots)
end

-- Places in the order: as many starts as lanes are ready now, the first ones where they were. So a
-- partition's turn is as long as it has lanes, though its holder has room for fewer at a time.
local places, wanted, got = places_of(name, now), {}, {}
for at = ASKED, #ARGV, 3 do
  local partition, want = ARGV[at], math.min(tonumber(ARGV[at + 2]), MOST_STARTS)
  local have, last, lines = 0, nil, 0
  for _, p in ipairs(places) do
    if p.holder == holder and p.partition == partition then
      p.starts = math.min(p.starts, want - have)
      have, last, lines = have + p.starts, p, lines + 1
    end
  end
  local hindmost = places[#places]
  if want > have and last and (last == hindmost or lines >= MOST_PLACES) then
    last.starts = last.starts + want - have
  elseif want > have then
    places[#places + 1] = { starts = want - have, offered = 0, till = 0, partition = partition, holder = holder }
  end
  wanted[partition], got[partition] = tonumber(ARGV[at + 1]), 0
end
local left, next_offer = free_starts, nil
for _, p in ipairs(places) do
  local own = p.holder == holder and wanted[p.partition]
  local n = math.min(p.starts, left, own and own - got[p.partition] or left)
  left = left - n
  if own then
    got[p.partition] = got[p.partition] + n
    p.starts, p.offered = p.starts - n, 0
  else
    offer(p, n, now, name)
    if n > 0 then
      next_offer = math.min(next_offer or p.till, p.till)
    end
  end
end

despite_full_memory()
keep_places(name, places)
local reply = { 'ok', size > 0 and '1' or '0', '-', every > 0 and whole(now + every) or '-', '0' }
local taken, subjects, short = 0, {}, false
for at = ASKED, #ARGV, 3 do
  local n = got[ARGV[at]]
  reply[#reply + 1] = whole(n)
  for i = taken + 1, taken + (size > 0 and n or 0) do
    reply[#reply + 1] = whole(slots[i])
    subjects[#subjects + 1] = '\1~' .. name .. '#' .. whole(slots[i])
  end
  taken, short = taken + n, short or n < wanted[ARGV[at]]
end
if short then
  local at = math.min(soonest or math.huge, next_offer or math.huge)
  if every > 0 then
    at = math.min(at, now + (taken > 0 and every or rested))
  end
  reply[3] = at < math.huge and whole(at - now) or '-'
end
if #subjects > 0 then
  reply[5] = grant(subjects, 'slot', holder, now + ttl, now_us)
end
if taken > 0 then
  if every > 0 then
    call('HSET', LIMITS, name .. ' next', whole(now + every))
  end
  remember(words(reply))
end
return reply
