-- acts: the log of what operators did, of a partition or of the namespace: a stream, the oldest entries of which go.

-- log_act adds an act (act_as) to a log. It is the last write of a script that has changed something, so that a full
-- memory lets it through; and what was done is done, whether there may be a line of it or not.
local function log_act(log, now, actor, act)
  if actor == '' then -- a worker, which does it by itself
    return
  end
  local last = redis.pcall('XREVRANGE', log, '+', '-', 'COUNT', '1')
  local id = after_entry(last[1] and last[1][1], now)
  redis.pcall('XADD', log, 'MAXLEN', '~', value_in(actor, 'most'), id, unpack(act))
end
