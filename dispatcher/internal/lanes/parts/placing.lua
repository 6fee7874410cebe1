-- placing: what an enqueue writes, once all that may be refused was.

-- grown notes the longest of some new bodies, every stride-th of a table, where that is a new one: by 'largest'
-- scripts know without a look at each that jobs are small (light). In a partition without jobs it begins anew.
local function grown(a, new, stride)
  local longest = SMALL
  for i = stride, #new, stride do
    if #new[i] > longest then
      longest = #new[i]
    end
  end
  if longest > SMALL and (a.stored == 0 or longest > tonumber(call('HGET', CLOCK, 'largest') or 0)) then
    call('HSET', CLOCK, 'largest', longest)
  end
end

-- numbering gives the jobs that are taken the numbers behind seq, in the order of the call (I5). It returns
-- these by job, 0 for one on the schedule; the bodies to be stored; and where each entry goes: on the schedule,
-- behind a tail, or as the head of a lane that opens (I7). Where a job of this call replaces the payload of
-- another one, the last of them counts.
local function numbering(a, seq)
  local seqs, bodies, to = {}, {}, { scheduled = {}, openers = {}, opened = {}, tails = {}, order = {} }
  local stamp, replaced = big_endian(a.now, 6), {} -- by job, the last one of this call that replaces its payload
  for i, change in pairs(a.merges) do
    if change.here and change.on == 'replace' and i > (replaced[change.here] or 0) then
      replaced[change.here] = i
    end
  end
  local subjects, ids, heads, later = a.subjects, a.ids, a.heads, a.later
  local scheduled, openers, opened, tails, order = to.scheduled, to.openers, to.opened, to.tails, to.order
  for k, i in ipairs(a.fresh) do
    local at, subject, waits = ROW + 4 * i, subjects[i], later[i]
    local entry, tail = ARGV[at + 1], KEYS[12 + i]
    seq = seq + 1
    if waits then
      scheduled[#scheduled + 1] = { waits, scheduled_as(subject, ordered(seq), entry), kind_of(entry) }
    elseif tails[tail] then
      tails[tail][#tails[tail] + 1] = entry
    elseif heads[i] or openers[subject] then
      tails[tail], order[#order + 1] = { entry }, tail
    else
      openers[subject], opened[#opened + 1] = entry, subject
    end
    seqs[i] = waits and 0 or seq
    bodies[2 * k - 1] = ids[i]
    bodies[2 * k] = with_seq(seq, waits, stamp .. ARGV[ROW + 4 * (replaced[i] or i) + 3])
  end
  return seqs, bodies, to
end

-- take_keys gives jobs that are taken their unique keys (I12). Whoever had one before gives it up: it runs, has
-- ended, or its window is over. A dead letter's name stays, because a replay takes the key by it.
local function take_keys(a)
  for _, i in ipairs(a.fresh) do
    local at = a.unique[i]
    if at then
      local id, field, window = a.ids[i], ARGV[at + 1], tonumber(ARGV[at + 3])
      local before_it = call('HGET', extra('unique'), field)
      if before_it and not call('ZSCORE', DEAD, before_it) then
        call('HDEL', extra('names'), before_it) -- it runs, and has the key no longer
      end
      call('HSET', extra('unique'), field, id)
      call('HSET', extra('names'), id, name_as('0', rules_of(ARGV[ROW + 4 * i + 1]), field))
      if window > 0 then
        call('ZADD', extra('windows'), a.now + window, field)
      elseif before_it then
        call('ZREM', extra('windows'), field) -- one of a job before, whose end would free the key of this one
      end
    end
  end
end

-- merge_all makes jobs one with those that have their unique keys, and says so. A replaced payload goes under
-- the number and time of the job that has the key, which keeps its place.
local function merge_all(a, seqs)
  for i = 1, a.n do
    local change = a.merges[i]
    if change then
      local id, here, on = change.id, change.here, change.on
      if on == 'replace' and not here then
        local body = rewritten(body_of(a, id), ARGV[ROW + 4 * i + 3])
        call('HSET', JOBS, id, body)
        grown(a, { body }, 1)
      elseif on == 'merge' then
        merge_into(id)
      end
      a.said[i] = { on == 'merge' and 'merged' or 'replaced', owner(id, here and seqs[here] or seq_in_store(a, id)) }
    end
  end
end

-- open_lanes gives lanes that were empty a head. One is ready unless its subject is leased, as for a section,
-- or parked by an operator (I4). It costs three commands and the listing, for any number of lanes.
local function open_lanes(opened, openers)
  local records, parked = call('HMGET', LEASES, unpack(opened)), call('ZMSCORE', PARKED, unpack(opened))
  local fields, lanes = {}, {}
  for i, subject in ipairs(opened) do
    fields[2 * i - 1], fields[2 * i] = subject, openers[subject]
    if not records[i] and not parked[i] then
      lanes[#lanes + 1], lanes[#lanes + 2] = subject, openers[subject]
    end
  end
  call('HSET', HEADS, unpack(fields))
  list_ready(lanes, 'RPUSH', '')
end

-- schedule puts jobs on the schedule, each {at, member, kind}. A blocked worker sleeps until the first thing
-- due that it knew of, so it is woken when something falls due earlier. That is a hint: with it lost the job
-- waits for the next reap.
local function schedule(jobs, waits)
  for _, job in ipairs(jobs) do
    local earliest = moment(call('ZRANGE', SCHEDULED, 0, 0, 'WITHSCORES')[2])
    call('ZADD', SCHEDULED, job[1], job[2])
    if waits or not earliest or job[1] < earliest then
      call('ZADD', WAKE .. job[3], 0, 'due')
    end
  end
end
