-- short: who waits for starts under a limit, first come first served. Prepended to the scripts that give starts
-- out and take them back.
--
-- A place in that line is a member "<partition> <holder>" of the zset line:<limit>, in the order of a number,
-- and a field of the hash places:<limit>, "<starts> <offered> <until>": so many starts are wanted there, as
-- many as lanes were ready, and so many of them nobody else may take until then (ms). Whoever lets an offer
-- pass loses all its places: it may be dead. A call goes along the line only as far as it has starts to give
-- out.

-- How long an offer is kept for a place, ms: time for a message, a round trip and a busy pool. And how many
-- places one command reads.
local OFFER_MS, LINE_PART = 100, 16

local function place_of(name, member)
  return place_from(member, call('HGET', extra('places:') .. name, member))
end

-- leave_line gives a place up, with what was offered to it: the next call offers that to others.
local function leave_line(name, member)
  call('ZREM', extra('line:') .. name, member)
  call('HDEL', extra('places:') .. name, member)
end

-- keep_place stores what has changed of a place, or its end.
local function keep_place(name, p)
  if p.starts > 0 then
    call('HSET', extra('places:') .. name, p.member, place_as(p))
  else
    leave_line(name, p.member)
  end
end

-- stand_last gives a place the last number in line: whoever comes later stands behind it (I15).
local function stand_last(name, p)
  local last = call('ZRANGE', extra('line:') .. name, -1, -1, 'WITHSCORES')[2]
  call('ZADD', extra('line:') .. name, (last or 0) + 1, p.member)
  keep_place(name, p)
end

-- offer offers up to n starts to a place, and tells its holder, unless that one asks by itself.
local function offer(name, p, n, now, asks)
  if n > p.offered then
    p.offered, p.till = n, now + OFFER_MS
    keep_place(name, p)
    if not asks then
      tell(p.holder .. '/slots', p.partition)
    end
  end
end

-- along_line looks at places from the first on, as long as each(place) returns true; one that has no starts left then
-- stands in line no more. Places of holders that have let an offer pass go, unless it is asked for
-- just now (`asked`, by member); `partitions` is how many they may have.
local function along_line(name, now, partitions, asked, each)
  local line, from, gone = extra('line:') .. name, 0, {}
  repeat
    local members, left, served = call('ZRANGE', line, from, from + LINE_PART - 1), {}, 0
    for _, member in ipairs(members) do
      local p = place_of(name, member)
      local late = p and not asked[member] and p.offered > 0 and (p.till <= now or p.till > now + OFFER_MS) -- or the clock was set back
      if not p or gone[p.holder] then
        left[#left + 1] = member
      elseif late then
        gone[p.holder], left[#left + 1] = true, member
      elseif not each(p) then
        members = {}
        break
      elseif p.starts == 0 then
        served = served + 1
      end
    end
    for _, member in ipairs(left) do
      leave_line(name, member)
    end
    from = from + LINE_PART - #left - served -- those are not in front any more
  until #members < LINE_PART
  for holder in pairs(gone) do
    for partition = 0, partitions - 1 do
      leave_line(name, place_member(whole(partition), holder))
    end
  end
end

-- asked_starts is what a holder asks for, in ARGV from `first` on: each partition's wish in order, and by its
-- member of the line. A partition without ready lanes gives its place up here. `line` says whether there is a
-- line at all: without one no place is looked for.
local function asked_starts(name, holder, first, line)
  local asks, order = {}, {}
  for at = first, #ARGV, 3 do
    local member = place_member(ARGV[at], holder)
    local own = {
      want = tonumber(ARGV[at + 1]), lanes = tonumber(ARGV[at + 2]), got = 0,
      place = line and place_of(name, member) or nil, member = member,
    }
    asks[member], order[#order + 1] = own, own
    if own.place and own.lanes == 0 then
      leave_line(name, member)
    end
  end
  return asks, order
end
