-- deadletter: set head jobs aside with a reason, and let their lanes go on.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   five a job: subject, entry, token, reason, error
--
-- Returns    {'ok' | 'halted' | 'cancelled' | 'lost', ...}, a word per job | {'stale'}

local before = answered()
if before then
  return before
end

local now = clock()
local reply, subjects, entries, tails, which, records = current(5)
local fate = fates()
for k, i in ipairs(which) do
  local subject, entry, tail = subjects[k], entries[k], tails[k]
  if marked(records[k], 'c') then
    reply[i] = fate.cancelled(subject, entry, tail)
  elseif fate.failed(subject, { entry, counts_of(entry) + 1, arg(i, 5, 3), arg(i, 5, 4) }, tail) == 'halted' then
    reply[i] = 'halted'
  end
end
if #subjects > 0 then
  free(subjects, records)
  fate.settle(now)
  advance(fate.over, fate.tails)
  list_ready('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
