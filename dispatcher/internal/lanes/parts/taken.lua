-- taken: unique keys, who has them and when they are free again.

-- field_of returns where a job's unique key stands, or nil when it has none: a dead letter's does not stand
-- there, but is known by its name, for a replay.
local function field_of(id)
  local _, _, field = name_of(call('HGET', extra('names'), id))
  return field
end

-- owner says which job has a unique key: its sequence number, how many were merged into it, and its id. Without
-- `seq` it reads the job for that.
local function owner(id, seq)
  local body = not seq and call('HGET', JOBS, id)
  return owner_as(seq or body and seq_of(body) or 0, name_of(call('HGET', extra('names'), id)) or '0', id)
end

-- merge_into counts a job that was merged into another one.
local function merge_into(id)
  local merged, rules, field = name_of(call('HGET', extra('names'), id))
  if merged then
    call('HSET', extra('names'), id, name_as(whole(merged + 1), rules, field))
  end
end

-- let_go gives the unique keys of jobs free that no longer wait or run, but for those that stay taken for a
-- while longer (docs/features/unique.md): those in a window. A key that another job has by now is left alone
-- (I12). Jobs without the flag cost nothing.
local function let_go(entries)
  local unique = extra('unique')
  for _, entry in ipairs(entries) do
    local id = flag(entry, 'u') and id_of(entry)
    local field = id and field_of(id)
    if field and call('HGET', unique, field) == id and not call('ZSCORE', extra('windows'), field) then
      call('HDEL', unique, field)
    end
  end
end

-- ended tidies up after jobs that have ended for good: their entries say whether there
-- is anything to be done.
local function ended(entries)
  let_go(entries)
  for _, entry in ipairs(entries) do
    if flag(entry, 'u') then
      call('HDEL', extra('names'), id_of(entry))
    end
  end
end
