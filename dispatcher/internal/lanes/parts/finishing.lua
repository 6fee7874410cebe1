-- finishing: jobs that are done and leave nothing, many in one call.
--
-- Nothing here asks the time: it makes no difference to a finish when it comes, as long as its token is current
-- (I3).

-- keep_open keeps the leases of lanes that their holders go on with: each stands for its head and as many jobs
-- behind it as its holder says are in hand, so a crash charges only those (I6); and a cancellation that was asked
-- for the one that is done is over. That the lane be suspended stays asked. The token stays too, and with it the
-- trust of its keeper. The leases are written by go_on_with, when it is known what comes into the hand.
local function keep_open(f, records, in_hand, rows)
  local unasked = {}
  for k, subject in ipairs(f.lanes) do
    if f.open[k] then
      local asks, n = f.asks[subject], in_hand[k]
      local rest = asks and without_value(asks, 'cancel') or ''
      if asks and rest == '' then
        unasked[#unasked + 1] = subject
      elseif asks then
        call('HSET', extra('asks'), subject, rest)
      end
      f.asks[subject] = nil
      f.kept[#f.kept + 1] = { subject = subject, head = f.next_head[k], hand = n, row = rows[k],
        record = as_asked(records[k], rest ~= '') }
    end
  end
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
-- anew; those of the others are in `kept`.
local function finish(first, reply)
  local lanes, next_head, open, l, finished = {}, {}, {}, 0, 0
  local f = { lanes = lanes, next_head = next_head, open = open, asks = {}, kept = {}, finished = 0 }
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
  local done, seen, record, in_hand, rows, special = {}, {}, {}, {}, {}, {} -- rows: of each lane's last job; special: entries with flags
  local at = first
  for i = 1, n do
    local subject, entry, token, k = subjects[i], ARGV[at + 1], ARGV[at + 2], seen[subjects[i]]
    local head, goes_on, hand = heads[i], byte(token) == 43, nil
    if k then
      head = open[k] and next_head[k]
    end
    if goes_on then
      hand, token = string.match(token, '^%+(%d+) (.*)$')
    end
    if head == entry and fenced(records[i], token) then
      if not k then
        l = l + 1
        k, seen[subject], lanes[l] = l, l, subject
      end
      local id, follower = id_of(entry), call('LPOP', KEYS[12 + i])
      next_head[k], open[k], record[k] = follower, goes_on, records[i]
      in_hand[k], rows[k] = tonumber(hand or 0), i
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
    keep_open(f, record, in_hand, rows)
  end
  return f
end
