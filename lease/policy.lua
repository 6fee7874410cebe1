-- policy: what every start looks at in the step in which it gets its lease: the last token, and what operators hold.

local seen

-- look reads it, once in a script. Whoever gives leases reads the token anyway, so a policy costs no command.
local function look()
  if not seen then
    local read = call('HMGET', CLOCK, 'token', 'policy', 'largest')
    seen = { token = read[1], policy = read[2], largest = read[3] }
  end
  return seen
end

-- holds_on returns the holds that are on, or nil where there is no policy. Where the clock has no token, it was never used or
-- was lost; for that case the policy stands in a key of its own too.
local function holds_on()
  local all = look()
  if not all.policy and not all.token then
    all.policy = call('GET', extra('policy'))
  end
  if all.policy and not all.holds then
    all.holds = holds_of(all.policy, (clock()))
  end
  return all.holds
end

-- host_of is the host in the name of a holder.
local function host_of(holder)
  return string.match(holder, '^(.*):%d+:%x+$') or ''
end

-- bars_section returns the hold that keeps somebody who is no worker from a subject.
local function bars_section(subject, holder)
  local holds = holds_on()
  return holds and (bars_claims(holds, nil, nil, host_of(holder), (clock())) or bars_lane(holds, subject))
end
