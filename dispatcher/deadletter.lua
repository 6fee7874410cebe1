-- deadletter: set head jobs aside with a reason, and let their lanes go on.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   five a job: subject, entry, token, reason, error
--
-- Returns    {'ok' | 'lost', ...}, a word per job | {'stale'}

local before = answered()
if before then
  return before
end

local now = clock()
local reply, subjects, entries, tails, which = current(5)
if #subjects > 0 then
  local letters = {}
  for k, i in ipairs(which) do
    letters[k] = { id_of(entries[k]), counts_of(entries[k]) + 1, arg(i, 5, 3), arg(i, 5, 4) }
  end
  free(subjects)
  bury(letters, now)
  advance(subjects, tails)
  publish('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
