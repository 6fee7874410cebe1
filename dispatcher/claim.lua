-- claim: take up to n ready lanes and give their heads out under new leases.
--
-- ARGV[6]   holder
-- ARGV[7]   ttl      ms
-- ARGV[8]   n        0 only passes a hint on to another worker
-- ARGV[9+]  kinds that the caller handles, the one to serve first in front
--
-- Returns   {'ok', ready, (subject, token, attempt, max, id, encoded job)...}
--           ready: how many lanes of these kinds are left, as far as was looked
--           {'stale'}

local holder, ttl, wanted = ARGV[FIRST], tonumber(ARGV[FIRST + 1]), tonumber(ARGV[FIRST + 2])

-- A claim is remembered as its first token and its subjects, "<length>:<bytes>"
-- each, instead of by its reply, which holds payloads.
local function pack(token, subjects)
  local out = { token .. ' ' }
  for i, subject in ipairs(subjects) do
    out[i + 1] = #subject .. ':' .. subject
  end
  return table.concat(out)
end

local function unpack_claim(text)
  local token, at = string.match(text, '^(%d+) ()')
  local subjects, tokens = {}, {}
  while at <= #text do
    local length, start = string.match(text, '^(%d+):()', at)
    subjects[#subjects + 1] = string.sub(text, start, start + tonumber(length) - 1)
    tokens[#tokens + 1] = whole(tonumber(token) + #tokens)
    at = start + tonumber(length)
  end
  return subjects, tokens
end

-- report answers with the heads of lanes under the tokens just given.
local function report(ready, subjects, tokens, heads, bodies)
  local reply = { 'ok', whole(ready) }
  for i, subject in ipairs(subjects) do
    local attempts, max, id = string.match(heads[i], '^(%d+) (%d+) %S+ (.*)$')
    local n = #reply
    reply[n + 1], reply[n + 2] = subject, tokens[i]
    reply[n + 3], reply[n + 4] = whole(attempts + 1), max
    reply[n + 5], reply[n + 6] = id, bodies[i]
  end
  return reply
end

-- keep takes the subjects that ok accepts, with their heads and bodies.
local function keep(subjects, ok)
  local heads = many('HMGET', HEADS, subjects)
  local records = many('HMGET', LEASES, subjects)
  local ids = {}
  for i = 1, #subjects do
    ids[i] = string.match(heads[i] or '', '^%d+ %d+ %S+ (.*)$') or ''
  end
  local bodies = many('HMGET', JOBS, ids)
  local s, h, b, at, taken = {}, {}, {}, {}, {}
  for i, subject in ipairs(subjects) do
    if heads[i] and bodies[i] and ok(records[i], i) and not taken[subject] then
      taken[subject] = true
      s[#s + 1], h[#h + 1], b[#b + 1], at[#at + 1] = subject, heads[i], bodies[i], i
    end
  end
  return s, h, b, at
end

local before, stale = recall()
if stale then
  return { stale }
elseif before then
  -- The same request again gets the same lanes, those that are still its own.
  local subjects, tokens = unpack_claim(before)
  local s, h, b, at = keep(subjects, function(record, i) return fenced(record, tokens[i]) end)
  local own = {}
  for i = 1, #s do
    own[i] = tokens[at[i]]
  end
  return report(0, s, own, h, b)
end

local popped, ready = {}, 0
for k = FIRST + 3, #ARGV do
  local key = READY .. ARGV[k]
  if #popped < wanted then
    for _, subject in ipairs(call('LPOP', key, wanted - #popped) or {}) do
      popped[#popped + 1] = subject
    end
  end
  -- What is left is for somebody else: one waker a kind, and it wakes the next.
  if #popped >= wanted then
    local left = call('LLEN', key)
    if left > 0 then
      ready = ready + left
      call('ZADD', WAKE .. ARGV[k], 0, 'ready')
    end
  end
end
if #popped == 0 then
  return { 'ok', whole(ready) }
end

-- A lane in ready has a head and no lease (I4). An index that says otherwise is
-- corrupt; it gives nothing out, so a subject never has two holders (I1).
local subjects, heads, bodies = keep(popped, function(record) return not record end)
local now, now_us = clock()
local tokens = grant(subjects, holder, ttl, now, now_us)
if #subjects > 0 then
  remember(pack(tokens[1], subjects))
end
return report(ready, subjects, tokens, heads, bodies)
