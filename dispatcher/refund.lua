-- refund: give back the last attempt of jobs that failed, as if it had not been made: the
-- worker is to blame, and not they (L8).
--
-- ARGV[6]  holder that has failed them
-- ARGV[7+] pairs: subject, entry of the job before any attempt
--
-- Returns  {'ok' | 'dead' | 'missing', ...}, a word per job | {'stale'}
--          'dead': it was the last attempt, and the job is a dead letter
--
-- Of a job that somebody else has claimed by now, the head of its lane belongs to that
-- claim (I3), so the refund is noted in the lease and paid at its end.

local before = answered()
if before then
  return before
end

local holder, reply = ARGV[FIRST], {}
for i = FIRST + 1, #ARGV, 2 do
  local subject, entry = ARGV[i], ARGV[i + 1]
  local id, n = id_of(entry), #reply + 1
  local at, as, member = locate(subject, entry)
  local attempts = at and counts_of(as) or 0
  reply[n] = 'ok'
  local holders = call('HGET', extra('failed'), id)
  if holders then
    holders = without_line(holders, holder)
    if holders == '' then
      call('HDEL', extra('failed'), id)
    else
      call('HSET', extra('failed'), id, holders)
    end
  end
  if not at then
    local reason = call('HGET', REASONS, id)
    reply[n] = reason and reason_of(reason) == reason_for('exhausted') and 'dead' or 'missing'
  elseif attempts == 0 then
    reply[n] = 'missing'
  else
    local back = with_attempts(as, attempts - 1)
    local record = at == 'head' and call('HGET', LEASES, subject)
    local claimed = use_of(record) == 'job'
    if attempts == 1 and not claimed then
      call('HDEL', ERRORS, id)
    end
    if at == 'scheduled' then
      local due = call('ZSCORE', SCHEDULED, member)
      call('ZREM', SCHEDULED, member)
      call('ZADD', SCHEDULED, due, scheduled_as(subject, order_in_store(id), back))
    elseif at == 'tail' then
      call('LSET', TAIL .. subject, call('LPOS', TAIL .. subject, as), back)
    elseif claimed then
      call('HSET', LEASES, subject, mark(record, 'r'))
    else
      call('HSET', HEADS, subject, back)
    end
  end
end
remember(words(reply))
return reply
