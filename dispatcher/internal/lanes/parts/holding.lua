-- holding: which of what a turn might give is held by operators.

-- bars_kind reports whether a hold keeps the caller from a kind (I17), and notes that. It is asked when there is something to
-- claim: so an end that claims nothing, and a look that finds nothing, read no policy.
local function bars_kind(t, kind)
  local holds = holds_on()
  if holds and t.held[kind] == nil then
    local is = bars_claims(holds, kind, t.pool, host_of(ARGV[FIRST]), (clock())) ~= nil
    local from, to = find(t.own, ' ' .. kind .. ' ', 1, true)
    t.held[kind] = is
    if is then
      t.holds = true
      t.own = from and sub(t.own, 1, from) .. sub(t.own, to + 1) or t.own -- for others, who may be of another pool
    end
  end
  return t.held[kind]
end

-- bars reports whether a hold keeps the caller from a job of a lane.
local function bars(t, kind, subject)
  return bars_kind(t, kind) or holds_on() and bars_lane(holds_on(), subject, kind) ~= nil
end

-- bar adds a hold to the reasons for which a lane is to be parked, and lists the lane, for the hold's release (impose); its end by the clock is as that of a backoff.
local function bar(parks, subject, hold)
  add_reason(parks, subject, 'hold', whole(hold.till) .. ' ' .. hold.id)
  call('SADD', extra('barring'), hold.id)
  call('RPUSH', extra('barred:') .. hold.id, subject)
end

-- put_back lists lanes of a kind again that were taken off the front of their list, and passes on the hint that the caller may
-- have followed: the hold may be on his pool or host alone.
local function put_back(kind, lanes)
  local back = {}
  for i = #lanes, 1, -1 do
    back[#back + 1] = lanes[i]
  end
  call('LPUSH', READY .. kind, unpack(back))
  call('ZADD', WAKE .. kind, '0', 'ready')
end
