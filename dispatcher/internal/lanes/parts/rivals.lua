-- rivals: what a unique key makes of jobs that are enqueued.
--
-- A unique key has two records (I12): unique[field] is the id of the job that has it, names[id] how many jobs
-- were merged into that one, its rules and its field. The field has subject, kind and key, so a rival is always
-- a job of the same lane and kind.

-- runs reports whether a job of a subject may have been started, and has not ended: it is the head of a lane
-- that is leased for a job, or was claimed along with it. Each lane is looked at once in a call, for two
-- commands, or three where jobs were taken along.
local function runs(a, subject, id)
  if not a.running[subject] then
    local record, started = call('HGET', LEASES, subject), {}
    local head = use_of(record) == 'job' and call('HGET', HEADS, subject)
    local along = head and along_of(record) or 0
    for _, entry in ipairs(along > 0 and call('LRANGE', TAIL .. subject, 0, along - 1) or {}) do
      started[id_of(entry)] = true
    end
    if head then
      started[id_of(head)] = true
    end
    a.running[subject] = started
  end
  return a.running[subject][id]
end

-- rival returns the id of the job that has a unique key which the ith job wants; or the number of the one in
-- this call that takes it. For 'waiting' a job that runs is none: what is enqueued now starts after it. Neither
-- is one whose window is over, though no reap has dropped it yet.
local function rival(a, i)
  local at, subject = a.unique[i], a.subjects[i]
  local field, scope = ARGV[at + 1], ARGV[at + 2]
  if a.takes[field] then
    return nil, a.takes[field]
  end
  local id = call('HGET', extra('unique'), field)
  if not id or scope == 'waiting' and runs(a, subject, id) then
    return nil
  elseif scope == 'window' then
    local till = moment(call('ZSCORE', extra('windows'), field)) or 0
    return till > a.now and id or nil -- nobody may be there to reap
  elseif not body_of(a, id) then
    return nil -- it outlived its job, in a window or by a lost key
  end
  return id
end

-- alike reports whether the job that has a unique key, stored already or the one of this call with the number `here`,
-- goes by the same rules as an entry: replacing its payload must not change them, because its entry stays and
-- scripts go by that.
local function alike(other, here, entry)
  local rules
  if here then
    rules = rules_of(ARGV[ROW + 4 * here + 1])
  else
    local _, named = name_of(call('HGET', extra('names'), other))
    rules = named
  end
  return rules == rules_of(entry)
end

-- contend reports whether another job has the unique key of the ith one. Then it says why that one is refused,
-- or nothing, and the two are to be merged, which is noted in a.merges: `here` is the number of the other one
-- when it comes in this call too. 'replace' is refused where the other one goes by other rules, or is stored
-- already and may have started.
local function contend(a, i)
  local other, here = rival(a, i)
  if not (other or here) then
    return false
  end
  local on, entry = ARGV[a.unique[i] + 4], ARGV[ROW + 4 * i + 1]
  if other and body_of(a, other) == 'heavy' then
    return true, 'heavy', a.bytes
  elseif on == 'reject' or on == 'replace'
    and (not alike(other, here, entry) or other and (not body_of(a, other) or runs(a, a.subjects[i], other))) then
    local id = other or a.ids[here]
    return true, 'taken', owner(id, seq_in_store(a, id))
  end
  a.merges[i] = { id = other or a.ids[here], here = here, on = on }
  return true
end

-- admit returns nil when the ith job may be taken, or says why not, with a number or, for a unique key, who has
-- it. A job whose id exists is taken for a repeat and changes nothing, unless it is of another subject. All
-- that is taken is noted in a, and the writes go by that alone.
local function admit(a, i)
  local subject, id = a.subjects[i], a.ids[i]
  local exists
  if a.known then
    exists = a.known[i]
  else
    exists = body_of(a, id)
  end
  if exists == 'heavy' then
    return 'heavy', a.bytes
  elseif exists or a.first[id] then
    local same = exists and is_of(exists, subject) or not exists and a.subjects[a.first[id]] == subject
    return not same and 'conflict' or nil, 0
  end
  if a.unique[i] then
    local contested, word, count = contend(a, i)
    if contested then
      return word, count
    end
  end
  local at, is_due = placed_at(a, ARGV[ROW + 4 * i + 2])
  local full, there = no_room(a, i, is_due)
  if full then
    return full, there
  end
  a.placed = a.placed + (at and 0 or 1)
  a.first[id], a.later[i], a.fresh[#a.fresh + 1] = i, at, i
  if a.unique[i] then
    a.takes[ARGV[a.unique[i] + 1]] = i
  end
end
