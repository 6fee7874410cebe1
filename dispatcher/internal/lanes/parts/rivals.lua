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
-- this call that takes it. For 'waiting' a job that runs is none: what is enqueued now starts after it. For
-- 'window' neither is one whose window is over, though no reap has dropped that yet; a key without a window is that of a
-- job of another scope.
local function rival(a, i)
  local at, subject = a.unique[i], a.subjects[i]
  local field, scope = ARGV[at + 1], ARGV[at + 2]
  if a.takes[field] then
    return nil, a.takes[field]
  end
  local id = call('HGET', extra('unique'), field)
  if not id or scope == 'waiting' and runs(a, subject, id) then
    return nil
  end
  local till = scope == 'window' and moment(call('ZSCORE', extra('windows'), field))
  if till then
    return till > a.now and id or nil -- nobody may be there to reap
  end
  return body_of(a, id) and id or nil -- else it outlived its job, in a window or by a lost key
end

-- alike reports whether the job that has a unique key, stored already or the one of this call with the number `here`,
-- goes by the same rules as an entry: replacing its payload must not change them, because its entry stays and
-- scripts go by that.
local function alike(other, here, entry)
  local _, rules
  if here then
    rules = rules_of(ARGV[ROW + 4 * here + 1])
  else
    _, rules = name_of(call('HGET', extra('names'), other))
  end
  return rules == rules_of(entry)
end

-- contend reports whether nobody has the unique key of the ith job. If not, it says why that job is refused,
-- or nothing, and it is to be merged into the one that has the key, which is noted in a.merges: `here` is the number of the other one
-- when it comes in this call too. 'replace' is refused where the other one goes by other rules, or is stored
-- already and may have started.
local function contend(a, i)
  local other, here = rival(a, i)
  if not (other or here) then
    return true
  end
  local on, entry = ARGV[a.unique[i] + 4], ARGV[ROW + 4 * i + 1]
  if other and body_of(a, other) == 'heavy' then
    return false, 'heavy', a.bytes
  elseif on == 'reject' or on == 'replace'
    and (not alike(other, here, entry) or other and (not body_of(a, other) or runs(a, a.subjects[i], other))) then
    local id = other or a.ids[here]
    return false, 'taken', owner(id, seq_in_store(a, id))
  end
  a.merges[i] = { id = other or a.ids[here], here = here, on = on }
  return false
end

-- admit looks at all jobs. It returns the number of the first one that may not be taken when none is to be taken then, and why
-- not, with a number or, for a unique key, who has it; else it notes that of each. A job whose id exists is taken for a
-- repeat and changes nothing, unless it is of another subject. What is plain passes with one call.
local function admit(a)
  local subjects, ids, known, unique, first, fresh, later = a.subjects, a.ids, a.known, a.unique, a.first, a.fresh, a.later
  local room, may_be_full, n = a.max_jobs - a.stored, a.deep, 0
  for i = 1, a.n do
    local subject, id = subjects[i], ids[i]
    local key, exists, goes_on, word, count = unique[i], nil, true, nil, 0
    if known then
      exists = known[i]
    else
      exists = body_of(a, id)
    end
    if exists == 'heavy' then
      word, count = 'heavy', a.bytes
    elseif exists or first[id] then
      local same = exists and is_of(exists, subject) or not exists and subjects[first[id]] == subject
      goes_on, word = false, not same and 'conflict' or nil
    elseif key then
      goes_on, word, count = contend(a, i)
    end
    if goes_on and not word then
      local at, is_due = placed_at(a, ARGV[ROW + 4 * i + 2])
      if n >= room then
        word, count = 'backlog', a.stored
      elseif key or may_be_full then
        word, count = no_room(a, i, is_due)
      end
      if not word then
        n = n + 1
        first[id], later[i], fresh[n] = i, at, i
        if key then
          a.takes[ARGV[key + 1]] = i
        end
      end
    end
    if word and not a.each then
      return i, word, count
    elseif word then
      a.said[i] = { word, count }
    end
  end
end
