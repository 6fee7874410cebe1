-- finish: drop head jobs that are done and let their lanes go on.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   three a job: subject, id, token
--
-- Returns    {'ok' | 'lost', ...}, a word per job | {'stale'}
--
-- An expired lease that nobody took yet still finishes its job: refusing would
-- only repeat work that is done.

local before = answered()
if before then
  return before
end

local reply, subjects, ids, entries, which = current(3)
if #ids > 0 then
  local tails = {}
  for k, i in ipairs(which) do
    tails[k] = KEYS[12 + i]
  end
  call('HDEL', JOBS, unpack(ids))
  free(subjects)
  forget(ids, entries)
  advance(subjects, tails)
  publish('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
