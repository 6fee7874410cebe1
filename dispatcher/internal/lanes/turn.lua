-- turn: finish jobs that are done, then take up to n ready lanes.
--
-- KEYS[13+]  tail:<subject> of each finished job
-- ARGV[6]    holder
-- ARGV[7]    ttl      ms
-- ARGV[8]    n        0 only passes a hint on to another worker; -1 not even that: the
--            caller will claim with its next call
-- ARGV[9]    k        number of kinds that the caller handles; 0 claims nothing
-- ARGV[10+]  two a kind, the one whose turn it is in front: kind, and how many waiting
--            jobs of one lane to take along under one lease (1: only the head); with '/n'
--            behind it when no more than n lanes of the kind are to be given out
-- ARGV[..]   three a finished job: subject, entry, token; with '+' before the token
--            when the holder goes on with the lane under the same lease
--
-- Returns    {'ok', ready, token, attempts, ('ok' | 'lost') for each finished job,
--             (subject, entry, encoded job) for each job taken}
--            ready: how many lanes of these kinds are left, as far as was looked; with '+'
--            behind it when there are more, but no more of their kind were to be given out;
--            attempts: that have ended, of each job taken, with spaces between; '' when none has any;
--            jobs of one lane follow each other
--            {'stale'}
--
-- An expired lease that nobody took yet still finishes its job: refusing would
-- only repeat work that is done.

local holder, ttl, wanted = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2])
local kinds = tonumber(ARGV[FIRST + 3])
local ENDS = FIRST + 4 + 2 * kinds

local along, budget, batches, own = {}, {}, false, ' '
for at = FIRST + 4, ENDS - 1, 2 do
  local most = tonumber(ARGV[at + 1])
  if not most then
    most, budget[ARGV[at]] = string.match(ARGV[at + 1], '^(%d+)/(%d+)$')
    most, budget[ARGV[at]] = tonumber(most), tonumber(budget[ARGV[at]])
  end
  along[ARGV[at]], batches = most, batches or most > 1
  own = own .. ARGV[at] .. ' '
end

local noted = any_notes()

-- A turn is remembered by what it said of finished jobs, and by the token and
-- deadline of its lanes, not by its whole reply, which holds payloads. The same
-- request again gets the same lanes, those that are still its own.
local before, stale = recall()
if stale then
  return { stale }
elseif before then
  local token, deadline, said = string.match(before, '^(%d+) (%d+) ?(.*)$')
  local reply, subjects, heads, bounds = { 'ok', 0, token, '' }, {}, {}, {}
  for word in string.gmatch(said, '%S+') do
    reply[#reply + 1] = word
  end
  if token ~= '0' then
    local from, part = 0, 1000 -- any number may end in that ms
    repeat
      local at = call('ZRANGEBYSCORE', DEADLINES, deadline, deadline, 'LIMIT', from, part)
      local records, entries = many('HMGET', LEASES, at), many('HMGET', HEADS, at)
      for i, subject in ipairs(at) do
        if entries[i] and fenced(records[i], token) then
          local k = #subjects + 1
          subjects[k], heads[k], bounds[k] = subject, entries[i], along_of(records[i])
        end
      end
      from = from + part
    until #at < part
    give(reply, subjects, heads, batches and along, bounds)
  end
  return reply
end

-- Finish: the jobs go, and the next ones in their lanes become heads.
local reply = { 'ok', 0, '0', '' }
local lane, next_head, open, l = {}, {}, {}, 0 -- lanes that had a job finished
local record, went, finished = {}, {}, 0 -- their leases; jobs that their holders went on from; jobs finished
local special, asks = {}, {} -- entries with flags; what is asked of holders
if ENDS <= #ARGV then
  local subjects, n = {}, 0
  for at = ENDS, #ARGV, 3 do
    n = n + 1
    subjects[n] = ARGV[at]
  end
  local records = call('HMGET', LEASES, unpack(subjects))
  local heads = call('HMGET', HEADS, unpack(subjects))
  local done, seen, at = {}, {}, ENDS
  for i = 1, n do
    local subject, entry, token, k = subjects[i], ARGV[at + 1], ARGV[at + 2], seen[subjects[i]]
    local head, goes_on = heads[i], byte(token) == 43
    if k then
      head = open[k] and next_head[k]
    end
    if goes_on then
      token = sub(token, 2)
    end
    if head == entry and fenced(records[i], token) then
      if not k then
        l = l + 1
        k, seen[subject], lane[l] = l, l, subject
      end
      local id, follower = id_of(entry), call('LPOP', KEYS[12 + i])
      next_head[k], open[k], record[k] = follower, goes_on, records[i]
      if goes_on then
        went[k] = (went[k] or 0) + 1
      end
      finished = finished + 1
      done[finished] = id
      if flagged(entry) then
        special[#special + 1] = entry
      end
      reply[4 + i] = 'ok'
    else
      reply[4 + i] = 'lost'
    end
    at = at + 3
  end
  if finished > 0 then
    call('HDEL', JOBS, unpack(done))
    if noted then
      call('HDEL', NOTES, unpack(done))
    end
    ended(special)
    asks = asks_of(lane, record)
    local stay, gone, held, unasked, s = {}, {}, {}, {}, 0
    for k = 1, l do
      local head = next_head[k]
      if open[k] then -- its lease stands for fewer jobs now, and what was asked for the first one is over
        local rest = asks[lane[k]] and without_value(asks[lane[k]], 'cancel') or ''
        if asks[lane[k]] and rest == '' then
          unasked[#unasked + 1] = lane[k]
        elseif asks[lane[k]] then
          call('HSET', extra('asks'), lane[k], rest)
        end
        asks[lane[k]] = nil
        held[#held + 1] = lane[k]
        held[#held + 1] = as_asked(with_along(record[k], along_of(record[k]) - went[k]), rest ~= '')
      end
      if head then
        stay[s + 1], stay[s + 2] = lane[k], head
        s = s + 2
      else
        gone[#gone + 1] = lane[k]
      end
    end
    place(stay, gone)
    many('HSET', LEASES, held)
    many('HDEL', extra('asks'), unasked)
  end
end
local said = #reply > 4 and table.concat(reply, ' ', 5) or ''

-- Claim: ready lanes first. A lane in ready has a head and no lease (I4); an index
-- that says otherwise is corrupt and gives nothing out, so a subject never has two
-- holders (I1).
local lanes, heads, popped, n, m = {}, {}, {}, 0, 0
for k = 1, kinds do
  local kind, most = ARGV[FIRST + 2 + 2 * k], wanted - n
  if budget[kind] then
    most = math.min(most, budget[kind])
    budget[kind] = budget[kind] - math.max(most, 0)
  end
  if most > 0 then
    local part = call('LPOP', READY .. kind, most) or {}
    if budget[kind] then
      budget[kind] = budget[kind] + most - #part
    end
    for i = 1, #part do
      popped[n + i] = part[i]
    end
    n = n + #part
  end
end
if n > 0 then
  local entries, records = call('HMGET', HEADS, unpack(popped)), call('HMGET', LEASES, unpack(popped))
  local taken = {}
  for i = 1, n do
    local subject, entry = popped[i], entries[i]
    if entry and not records[i] and not taken[subject] then
      m = m + 1
      taken[subject], lanes[m], heads[m] = true, subject, entry
    end
  end
end

-- Then those that have just ended, which stand behind them: as if they had been
-- listed and taken, but without the trouble. The others are listed and free, or stopped by a head that is suspended.
local asleep = {}
if noted then
  local ended_lanes, next_ids = {}, {}
  for k = 1, l do
    if not open[k] and next_head[k] then
      ended_lanes[#ended_lanes + 1], next_ids[#next_ids + 1] = lane[k], id_of(next_head[k])
    end
  end
  for i, note in ipairs(notes_of(next_ids)) do
    asleep[ended_lanes[i]] = is_suspended(note)
  end
end
local handed, freed, next_up, h, f = {}, {}, {}, 0, 0
for k = 1, l do
  if not open[k] then
    local subject, head = lane[k], next_head[k]
    local stops = asleep[subject] or suspend_asked(asks[subject]) -- a cancel was for the job that is done
    local left = head and budget[kind_of(head)]
    if head and n + h < wanted and along[kind_of(head)] and not stops and (not left or left > 0) then
      if left then
        budget[kind_of(head)] = left - 1
      end
      h, m = h + 1, m + 1
      handed[h], lanes[m], heads[m] = subject, subject, head
    else
      f = f + 1
      freed[f], next_up[f] = subject, head
    end
  end
end
local given, broken, took, late = give(reply, lanes, heads, batches and along)
for i = 1, h do
  if broken[handed[i]] then
    freed[#freed + 1] = handed[i]
  elseif late[handed[i]] then
    f = #freed + 1
    freed[f], next_up[f] = handed[i], heads[m - h + i]
  end
end
local back = {} -- lanes that were ready stay so, in their order
for i = m - h, 1, -1 do
  if late[lanes[i]] then
    back[#back + 1] = { kind_of(heads[i]), lanes[i] }
  end
end
local parks, listed = free(freed, asks), {}
for i, subject in ipairs(freed) do
  if asleep[subject] then
    add_reason(parks, subject, 'job', '-')
  elseif next_up[i] then
    listed[#listed + 1], listed[#listed + 2] = subject, next_up[i]
  end
end
list_ready(unparked(listed, parks), 'RPUSH', own)
park(parks)
for _, lane in ipairs(back) do
  call('LPUSH', READY .. lane[1], lane[2])
end

-- What is left is for somebody else: one waker a kind, and it wakes the next.
if wanted >= 0 and (n + h >= wanted or next(late)) then
  if finished + n == 0 then
    despite_full_memory()
  end
  local ready = 0
  for k = 1, kinds do
    local kind = ARGV[FIRST + 2 + 2 * k]
    local left = budget[kind] == 0 and 0 or call('LLEN', READY .. kind)
    if left > 0 then
      ready = ready + left
      call('ZADD', WAKE .. kind, '0', 'ready')
    end
  end
  reply[2] = ready
end
for kind, more in pairs(budget) do
  if more == 0 and call('LLEN', READY .. kind) > 0 then
    reply[2] = whole(reply[2]) .. '+'
    break
  end
end

local deadline = '0'
if #given > 0 then
  local now, now_us = clock()
  deadline = whole(now + ttl)
  reply[3] = grant(given, 'job', holder, deadline, now_us, took)
end
if #given + finished > 0 then
  remember(reply[3] .. ' ' .. deadline .. ' ' .. said)
end
return reply
