-- short: who waits for starts under a limit, in the order in which they came. Prepended to the
-- scripts that give starts out and take them back.
--
-- The field "<limit> short" of limits has a line for each place in that order:
-- "<starts> <offered> <until> <partition> <holder>". So many starts are wanted there, as many as
-- lanes were ready in the partition; so many of them nobody else may take until then (ms). Whoever
-- lets an offer pass loses its places: it may be dead.

local OFFER_MS = 100

local function places_of(name, now)
  local all, places, gone = {}, {}, {}
  local lines = call('HGET', extra('limits'), name .. ' short') or ''
  for starts, offered, till, partition, holder in string.gmatch(lines, '(%d+) (%d+) (%d+) (%d+) ([^\n]*)\n') do
    local p = {
      starts = tonumber(starts), offered = tonumber(offered), till = tonumber(till),
      partition = partition, holder = holder,
    }
    all[#all + 1] = p
    gone[holder] = gone[holder] or p.offered > 0 and p.till <= now
  end
  for _, p in ipairs(all) do
    if not gone[p.holder] then
      places[#places + 1] = p
    end
  end
  places.as_read = lines
  return places
end

local function keep_places(name, places)
  local lines = {}
  local before_it
  for _, p in ipairs(places) do
    if p.starts > 0 and before_it and before_it.holder == p.holder and before_it.partition == p.partition then
      p.starts, before_it.starts = p.starts + before_it.starts, 0 -- nobody stands between them any more
      p.offered, p.till = p.offered + before_it.offered, math.max(p.till, before_it.till)
    end
    before_it = p.starts > 0 and p or before_it
  end
  for _, p in ipairs(places) do
    if p.starts > 0 then
      lines[#lines + 1] = table.concat({ whole(p.starts), whole(p.offered), whole(p.till), p.partition, p.holder }, ' ') .. '\n'
    end
  end
  local text = table.concat(lines)
  if text ~= places.as_read then
    put_set(extra('limits'), name .. ' short', text)
  end
end

-- offer offers up to n starts to a place, and tells its holder, unless that one asks by itself.
local function offer(place, n, now, name, asks)
  if n > place.offered then
    place.offered, place.till = n, now + OFFER_MS
    if not asks then
      news(place.holder .. '/slots', name)
    end
  end
end
