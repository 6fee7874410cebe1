-- limit: a limit, "<most at once> <ms between two starts> <version>"; and a place in the line of those who are
-- short of it: the member "<partition> <holder>" and the record "<starts> <offered> <until, ms>".

local function limit_as(most, every, version)
  return most .. ' ' .. every .. ' ' .. version
end

-- limit_of returns the most at once and the ms between two starts; nil of no record.
local function limit_of(record)
  local most, every = string.match(record or '', '^(%d+) (%d+)')
  return tonumber(most), tonumber(every)
end

-- limit_version is 0 of no record.
local function limit_version(record)
  return tonumber(string.match(record or '', '^%d+ %d+ (%d+)$') or 0)
end

-- next_start is the field where it stands when the next start may be.
local function next_start(name)
  return name .. ' next'
end

local function place_member(partition, holder)
  return partition .. ' ' .. holder
end

local function place_as(p)
  return whole(p.starts) .. ' ' .. whole(p.offered) .. ' ' .. whole(p.till)
end

-- place_from returns a place by its member and its record; nil of no record.
local function place_from(member, record)
  local starts, offered, till = string.match(record or '', '^(%d+) (%d+) (%d+)$')
  if starts then
    local partition, holder = string.match(member, '^(%d+) (.*)$')
    return {
      member = member, partition = partition, holder = holder,
      starts = tonumber(starts), offered = tonumber(offered), till = tonumber(till),
    }
  end
end
