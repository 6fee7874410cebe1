-- finishing: jobs that are done and leave nothing, many in one call.
--
-- Nothing here asks the time: it makes no difference to a finish when it comes, as long as its token is current
-- (I3).

-- go_on_with keeps the leases of lanes that their holders go on with: each stands for fewer jobs now, so a
-- crash charges only those that are left (I6), and a cancellation that was asked for the first one is over.
-- That the lane be suspended stays asked. The token stays too, and with it the trust of its keeper.
local function go_on_with(f, records, went)
  local leases, unasked = {}, {}
  for k, subject in ipairs(f.lanes) do
    if f.open[k] then
      local asks, record = f.asks[subject], records[k]
      local rest = asks and without_value(asks, 'cancel') or ''
      if asks and rest == '' then
        unasked[#unasked + 1] = subject
      elseif asks then
        call('HSET', extra('asks'), subject, rest)
      end
      f.asks[subject] = nil
      leases[#leases + 1] = subject
      leases[#leases + 1] = as_asked(with_along(record, along_of(record) - went[k]), rest ~= '')
    end
  end
  many('HSET', LEASES, leases)
  many('HDEL', extra('asks'), unasked)
end

-- finish finishes the jobs that stand in ARGV from `first` on, three words each, and adds to the reply what
-- became of each. It returns the lanes that had a job finished, each once, with its next head, whether its
-- holder goes on with it, and what is asked of that one; and how many jobs were finished. An expired lease that
-- nobody took yet still finishes its job: refusing would only repeat work that is done.
--
-- The second job of a lane in a call must be the next head by then, and the one before it must have said that
-- its holder goes on: otherwise it is 'lost'. A job costs one LPOP of its own; jobs without flags share all
-- other commands. The leases of lanes that nobody goes on with are ended by the caller (let_others_go) or given
-- anew.
local function finish(first, reply)
  local lanes, next_head, open, l, finished = {}, {}, {}, 0, 0
  local f = { lanes = lanes, next_head = next_head, open = open, asks = {}, finished = 0 }
  if first > #ARGV then
    return f
  end
  local subjects, n = {}, 0
  for at = first, #ARGV, 3 do
    n = n + 1
    subjects[n] = ARGV[at]
  end
  local records = call('HMGET', LEASES, unpack(subjects))
  local heads = call('HMGET', HEADS, unpack(subjects))
  local done, seen, record, went, special = {}, {}, {}, {}, {} -- went: jobs that holders went on from; special: entries with flags
  local at = first
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
        k, seen[subject], lanes[l] = l, l, subject
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
  f.finished = finished
  if finished > 0 then
    call('HDEL', JOBS, unpack(done))
    if any_notes() then
      call('HDEL', NOTES, unpack(done))
    end
    ended(special)
    f.asks = asks_of(lanes, record)
    local stay, gone, s = {}, {}, 0
    for k = 1, l do
      local head = next_head[k]
      if head then
        stay[s + 1], stay[s + 2] = lanes[k], head
        s = s + 2
      else
        gone[#gone + 1] = lanes[k]
      end
    end
    place(stay, gone)
    if next(went) then
      go_on_with(f, record, went)
    end
  end
  return f
end
