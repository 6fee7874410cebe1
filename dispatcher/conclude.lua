-- conclude: finish jobs whose outcome is kept.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   five a job: subject, entry, token, result, ms to keep it for
--
-- Returns    {'ok' | 'lost', ...}, a word per job | {'stale'}

local before = answered()
if before then
  return before
end

local now = clock()
local reply, subjects, entries, tails, which, records = current(5)
if #subjects > 0 then
  free(subjects, records)
  drop(entries)
  for k, i in ipairs(which) do
    keep(subjects[k], id_of(entries[k]), 'finished', counts_of(entries[k]) + 1, arg(i, 5, 3), tonumber(arg(i, 5, 4)), now)
  end
  advance(subjects, tails)
  list_ready('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
