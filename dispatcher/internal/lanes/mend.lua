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
despite_full_memory()

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
  if use_of(record) == 'job' then -- it was given for an attempt at that
    park(free({ subject }, asks_of({ subject }, { record })))
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

-- The lease: a record and a deadline, or neither; and what is asked of its holder, or nothing.
if record and not is_lease(record) then
  call('HDEL', LEASES, subject)
  record = false
  did('ended a lease that nobody can read')
end
local deadline = call('ZSCORE', DEADLINES, subject)
if record and not deadline then
  call('ZADD', DEADLINES, now + grace, subject)
  did('gave the lease a deadline')
elseif deadline and not record then
  call('ZREM', DEADLINES, subject)
  did('dropped the deadline of no lease')
end
local said = call('HGET', extra('asks'), subject)
local asks = said and ask_lines(said, now) or ''
local to_stop = not record and suspend_asked(asks) -- of a holder who is gone
if said and (not record or #asks ~= #said) then
  many(asks ~= '' and record and 'HSET' or 'HDEL', extra('asks'), asks ~= '' and record and { subject, asks } or { subject })
  did(record and 'dropped what was asked that nobody can read' or 'dropped what was asked of nobody')
end
if record and asked(record) == (asks == '') then
  record = as_asked(record, asks ~= '')
  call('HSET', LEASES, subject, record)
  did('noted in the lease whether something is asked of its holder')
end

-- Parked: for reasons that hold, and then looked at when they say. A lane that is leased is not: what an operator wants of it
-- is asked of its holder.
local reasons, score = reasons_of(subject), moment(call('ZSCORE', PARKED, subject))
local suspended = head and is_suspended(call('HGET', NOTES, id_of(head)))
local why = stop_lines(reasons, now)
if to_stop and not value_in(why, 'suspended') then
  why = with_value(why, 'suspended', to_stop)
elseif reasons == '' and score == math.huge and not suspended then
  why = with_value(why, 'suspended', since(now, 'its reason was lost'))
end
local until_then = not record and head and (value_in(reasons, 'backoff') or reasons == '' and score and score < 1e15 and whole(score))
if until_then and find(until_then, '^%d+$') and #until_then < 16 then
  why = with_value(why, 'backoff', until_then)
end
if suspended and not record then
  why = with_value(why, 'job', '-')
end
if record and (reasons ~= '' or score) then
  unpark({ subject })
  if value_in(why, 'suspended') then
    call('HSET', extra('asks'), subject, with_value(asks, 'suspend', value_in(why, 'suspended')))
    call('HSET', LEASES, subject, as_asked(record, true))
    did('noted that it is to be suspended')
  else
    did('ended a wait that was none')
  end
  why = ''
elseif not record and (not same_reasons(why, reasons) or score ~= moment(why ~= '' and look_again(why))) then
  if why ~= '' then
    park({ [subject] = why })
    did('noted why nobody may have it')
  else
    unpark({ subject })
    did('ended a wait that nobody knows the reason of')
  end
end

-- One state: leased, else parked, else ready.
local own = head and kind_of(head)
local ready = head and not record and why == '' and not is_ticket(head)
for i = 1, kinds do
  local kind = ARGV[FIRST + 2 + i]
  local n = #call('LPOS', READY .. kind, subject, 'COUNT', 0)
  local keep = (ready and kind == own and n > 0) and 1 or 0
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
  list_ready({ subject, head }, 'RPUSH', '')
  did('listed it as ready')
end
return done
