-- graves: read what dead letters are about, the latest first, without their payloads and errors. It changes
-- nothing.
--
-- ARGV[6]  those that died before this, ms, or '+inf'
-- ARGV[7]  and at this or later, ms, or '-inf'
-- ARGV[8]  most letters
--
-- Returns  {'ok', (id, died, bytes of the job, front of the job, '<attempts> <reason>') of each}

-- A call reads no more of jobs than any other (I16), and of a reason what a person reads.
local MOST_REASON = 300

local graves = call('ZREVRANGEBYSCORE', DEAD, '(' .. ARGV[FIRST], ARGV[FIRST + 1], 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[FIRST + 2]))
local reply, bytes = { 'ok' }, 0
for i = 1, #graves, 2 do
  local id = graves[i]
  local length = call('HSTRLEN', JOBS, id)
  if i > 1 and bytes + length > MOST_BYTES then
    break
  end
  bytes = bytes + length
  local reason = string.match(call('HGET', REASONS, id) or '', '^[^\n]*')
  for _, word in ipairs({ id, graves[i + 1], whole(length), front_of(call('HGET', JOBS, id) or ''), sub(reason, 1, MOST_REASON) }) do
    reply[#reply + 1] = word
  end
end
return reply
