-- mend: make the indexes of one lane agree with its jobs, which are the truth (I4).
--
-- KEYS[13]  tail:<subject>
-- ARGV[6]   subject
-- ARGV[7]   ms that a lease without a deadline gets: time for its holder to renew it
-- ARGV[8]   number of kinds that ready lists may exist for
-- ARGV[9+]  those kinds; then entries that may have no place in this lane, each after
--           'look', which drops it when its job has no body or is another subject's, or
--           'drop', for a body that can't be read; that one is looked at no further
--
-- Returns   {'ok', what was done...}
--
-- It looks at everything again, so it does no harm to a lane that has moved meanwhile,
-- nor when it is repeated.

local subject, grace, TAIL_KEY = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), KEYS[13]
local kinds = tonumber(ARGV[FIRST + 2])
local now = clock()
local done = { 'ok' }

local function did(what)
  done[#done + 1] = what
end

-- belongs reports whether the job of an entry is stored, and is one of this subject. A
-- ticket belongs as long as its owner is heard of.
local function belongs(entry)
  if readable(entry) and is_ticket(entry) then
    return call('ZSCORE', extra('expiring'), ticket_as(subject, entry)) ~= false
  end
  local body = readable(entry) and call('HGET', JOBS, id_of(entry))
  return body and is_of(body, subject)
end

-- What has no place here goes. Of a job that stands here twice the first entry stays.
local unwanted, seen, kept = {}, {}, {}
for at = FIRST + 3 + kinds, #ARGV - 1, 2 do
  local entry = ARGV[at + 1]
  if not seen[entry] then
    seen[entry] = true
    if ARGV[at] == 'drop' or not belongs(entry) or kept[id_of(entry)] then
      unwanted[entry] = true
      if call('LREM', TAIL_KEY, 0, entry) > 0 then
        did('took out of the lane what is no job of it')
      end
    else
      local n = #call('LPOS', TAIL_KEY, entry, 'COUNT', 0)
      if call('HGET', HEADS, subject) == entry then
        n = n + 1
      end
      kept[id_of(entry)] = n > 0
      if n > 1 then
        call('LREM', TAIL_KEY, 1 - n, entry)
        did('took out of the lane what stood in it twice')
      end
    end
  end
end

local head, record = call('HGET', HEADS, subject), call('HGET', LEASES, subject)
if head and (unwanted[head] or not readable(head)) then
  if use_of(record) == 'job' then
    free({ subject }, {}) -- its lease was given for an attempt at it
    call('HDEL', extra('asks'), subject)
    record = false
  end
  call('HDEL', HEADS, subject)
  head = false
  did('took out a head that is no job of the lane')
end
if not head then
  head = call('LPOP', TAIL_KEY)
  while head and not readable(head) do
    head = call('LPOP', TAIL_KEY)
  end
  if head then
    call('HSET', HEADS, subject, head)
    did('made the next job the head')
  end
end

-- The lease: a record and a deadline, or neither.
if record and not is_lease(record) then
  call('HDEL', LEASES, subject)
  call('HDEL', extra('asks'), subject)
  record = false
  did('ended a lease that nobody can read')
end
local suspended = head and is_suspended(call('HGET', NOTES, id_of(head)))
local stopped = call('HEXISTS', extra('suspended'), subject) == 1
if stopped and not record then
  call('ZREM', DELAYED, subject)
  stop(subject)
  record = call('HGET', LEASES, subject)
  did('suspended it again')
elseif stopped and use_of(record) ~= 'suspended' and not marked(record, 's') then
  record = mark(record, 's')
  call('HSET', LEASES, subject, record)
  did('noted that it is to be suspended')
elseif not stopped and use_of(record) == 'suspended' and not suspended then
  free({ subject }, {})
  record = false
  did('ended a suspension that nobody knows the reason of')
end
local deadline = call('ZSCORE', DEADLINES, subject)
if record and not deadline then
  call('ZADD', DEADLINES, use_of(record) == 'suspended' and 'inf' or now + grace, subject)
  did('gave the lease a deadline')
elseif deadline and not record then
  call('ZREM', DEADLINES, subject)
  did('dropped the deadline of no lease')
end

-- One state: leased, else delayed, else ready.
local delayed = call('ZSCORE', DELAYED, subject)
if delayed and (record or not head) then
  call('ZREM', DELAYED, subject)
  delayed = false
  did('ended a wait that was none')
end
local own = head and kind_of(head)
local ready = head and not record and not delayed and not is_ticket(head)
for i = 1, kinds do
  local kind = ARGV[FIRST + 2 + i]
  local n = #call('LPOS', READY .. kind, subject, 'COUNT', 0)
  local keep = (ready and kind == own and n > 0 and not suspended) and 1 or 0
  if n > keep then
    call('LREM', READY .. kind, keep - n, subject)
    did('took it off a list of ready lanes')
  end
  if keep == 1 then
    ready = false
  end
end
if head and not is_ticket(head) then
  call('SADD', KINDS, own)
end
if ready then
  closed[subject] = nil
  list_ready(awake({ subject, head }), 'RPUSH', '')
  did(suspended and 'stopped it at its suspended head' or 'listed it as ready')
end
return done
