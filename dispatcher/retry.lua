-- retry: end attempts that failed. The job stays head and its lane waits, or the
-- job becomes a dead letter when that was its last attempt.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   five a job: subject, entry, token, wait in ms, error
--
-- Returns    {'ok' | 'dead' | 'lost', ...}, a word per job | {'stale'}

local before = answered()
if before then
  return before
end

local now = clock()
local reply, subjects, entries, tails, which = current(5)
local letters, over, over_tails = {}, {}, {}
local heads, errors, delayed, again, wake = {}, {}, {}, {}, {}
for k, i in ipairs(which) do
  local subject, entry = subjects[k], entries[k]
  local id, attempts, max = id_of(entry), counts_of(entry)
  local wait, failure = tonumber(arg(i, 5, 3)), arg(i, 5, 4)
  if attempts + 1 >= max then
    reply[i] = 'dead'
    letters[#letters + 1] = { id, attempts + 1, 'attempts exhausted', failure }
    over[#over + 1], over_tails[#over_tails + 1] = subject, tails[k]
  else
    heads[#heads + 1] = subject
    heads[#heads + 1] = entry_of(id, kind_of(entry), attempts + 1, whole(max))
    errors[#errors + 1] = id
    errors[#errors + 1] = failure
    if wait > 0 then
      delayed[#delayed + 1] = now + wait
      delayed[#delayed + 1] = subject
      if ARGV[FIRST] == '' then
        wake[kind_of(entry)] = true -- the caller will not come back for it by itself
      end
    else
      again[#again + 1] = k
    end
  end
end
if #subjects > 0 then
  free(subjects)
  bury(letters, now)
  advance(over, over_tails)
  many('HSET', HEADS, heads)
  many('HSET', ERRORS, errors)
  many('ZADD', DELAYED, delayed)
  for kind in pairs(wake) do
    call('ZADD', WAKE .. kind, 0, 'due')
  end
  for _, k in ipairs(again) do
    list(entries[k], subjects[k])
  end
  publish('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
