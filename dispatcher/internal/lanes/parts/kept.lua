-- kept: outcomes, as long as they can be read.

-- forget takes outcomes away, and returns how many bytes are kept after that, or false when there was none of
-- these. Whoever waited for one was told when the job ended.
local function forget(ids)
  local bytes, outcomes, expiring = 0, extra('outcomes'), {}
  for i, id in ipairs(ids) do
    local length = call('HSTRLEN', outcomes, id)
    bytes = bytes + (length > 0 and outcome_bytes(id, length) or 0)
    expiring[i] = outcome_as_expiring(id)
  end
  many('HDEL', outcomes, ids)
  many('ZREM', extra('ended'), ids)
  many('ZREM', extra('expiring'), expiring)
  return bytes > 0 and call('HINCRBY', CLOCK, 'kept', whole(-bytes))
end

-- keep stores the outcome of a job for `ms`, and tells who waits for it. All outcomes of a partition together
-- have at most MOST_KEPT bytes: the oldest make room for the new, so many small ones for a large one. Four
-- hundred make room for any: an outcome has about 64 KiB at most, and counts for more than 200 bytes.
local MOST_KEPT, MOST_FORGOTTEN = 67108864, 100

local function keep(subject, id, outcome, attempts, text, ms, now)
  local record = outcome_as(outcome, attempts, now, subject, text)
  if call('HEXISTS', extra('outcomes'), id) == 1 then -- of a job that had the id earlier
    forget({ id })
  end
  local kept = call('HINCRBY', CLOCK, 'kept', outcome_bytes(id, #record))
  for _ = 1, 4 do
    local oldest = kept > MOST_KEPT and call('ZRANGE', extra('ended'), 0, MOST_FORGOTTEN - 1) or {}
    if #oldest == 0 then
      break
    end
    kept = forget(oldest) or kept
  end
  call('HSET', extra('outcomes'), id, record)
  call('ZADD', extra('ended'), now, id)
  call('ZADD', extra('expiring'), now + ms, outcome_as_expiring(id))
  tell(id, outcome)
end
