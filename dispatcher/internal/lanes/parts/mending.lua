-- mending: what a repair makes of what is said of lanes.

-- stop_as is a stop as it is said, or as one of now when that can't be read: to stop too much is safe.
local function stop_as(value, now)
  local when = string.match(value, '^(%d+) ')
  return when and #when < 16 and value or since(now, value)
end

-- stop_lines is those lines of why a lane is parked that an operator or a halt has left.
local function stop_lines(reasons, now)
  local lines = ''
  for _, word in ipairs({ 'suspended', 'halted' }) do
    local value = value_in(reasons, word)
    lines = value and with_value(lines, word, stop_as(value, now)) or lines
  end
  return lines
end

-- ask_lines is those lines of what is asked of a holder that can be read.
local function ask_lines(asks, now)
  local lines, cancel, stop = '', value_in(asks, 'cancel'), value_in(asks, 'suspend')
  if cancel and find(cancel, '^%d+$') then
    lines = with_value(lines, 'cancel', cancel)
  end
  return stop and with_value(lines, 'suspend', stop_as(stop, now)) or lines
end

-- same_reasons reports whether two say the same reasons, in any order.
local function same_reasons(one, other)
  for _, word in ipairs({ 'backoff', 'suspended', 'halted', 'job' }) do
    if value_in(one, word) ~= value_in(other, word) then
      return false
    end
  end
  return #one == #other
end

-- mended_lease makes the record of a lease and its deadline agree, and returns the record, or false when there
-- is no lease; one without a deadline gets `grace` ms, in which a holder that lives renews it. did notes what
-- was done.
local function mended_lease(subject, record, grace, now, did)
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
  return record
end

-- mended_asks makes the record of a lease say whether something is asked of its holder. It returns the record, what is asked,
-- and the suspension that was asked of a holder who is gone, or nil.
local function mended_asks(subject, record, now, did)
  local said = call('HGET', extra('asks'), subject)
  local asks = said and ask_lines(said, now) or ''
  if said and (not record or #asks ~= #said) then
    many(asks ~= '' and record and 'HSET' or 'HDEL', extra('asks'), asks ~= '' and record and { subject, asks } or { subject })
    did(record and 'dropped what was asked that nobody can read' or 'dropped what was asked of nobody')
  end
  if record and asked(record) == (asks == '') then
    record = as_asked(record, asks ~= '')
    call('HSET', LEASES, subject, record)
    did('noted in the lease whether something is asked of its holder')
  end
  return record, asks, not record and suspend_asked(asks) or nil
end

-- why_parked is why a lane is to be parked, of the reasons that are stored and when it is looked at again:
-- those that hold. Stops stay even when all else about the lane is lost; a backoff counts only for a head that
-- nobody has.
local function why_parked(reasons, score, head, record, to_stop, suspended, now)
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
  return suspended and not record and with_value(why, 'job', '-') or why
end

-- mended_park parks a lane for the reasons that hold and no others, and returns them. A lane that is leased is not parked: what
-- an operator wants of it is asked of its holder.
local function mended_park(subject, head, record, asks, to_stop, now, did)
  local reasons, score = reasons_of(subject), moment(call('ZSCORE', PARKED, subject))
  local suspended = head and is_suspended(call('HGET', NOTES, id_of(head)))
  local why = why_parked(reasons, score, head, record, to_stop, suspended, now)
  if record and (reasons ~= '' or score) then
    unpark({ subject })
    if value_in(why, 'suspended') then
      call('HSET', extra('asks'), subject, with_value(asks, 'suspend', value_in(why, 'suspended')))
      call('HSET', LEASES, subject, as_asked(record, true))
      did('noted that it is to be suspended')
    else
      did('ended a wait that was none')
    end
    return ''
  elseif not record and (not same_reasons(why, reasons) or score ~= moment(why ~= '' and look_again(why))) then
    if why ~= '' then
      park({ [subject] = why })
      did('noted why nobody may have it')
    else
      unpark({ subject })
      did('ended a wait that nobody knows the reason of')
    end
  end
  return why
end

-- relist makes a lane stand in the ready list of its kind and in no other one of the kinds from ARGV[first] on;
-- in none when `ready` is false (I4, I11). It searches through each list, two commands a kind at most.
local function relist(subject, head, ready, first, kinds, did)
  local own = head and kind_of(head)
  for i = first, first + kinds - 1 do
    local kind = ARGV[i]
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
end
