-- deadletter: set head jobs aside with a reason, and let their lanes go on.
--
-- KEYS[13+]  tail:<subject> of each job
-- ARGV[6]    kinds the caller claims next itself, each between spaces
-- ARGV[7+]   five a job: subject, id, token, reason, error
--
-- Returns    {'ok' | 'lost', ...}, a word per job | {'stale'}

local before, stale = recall()
if stale then
  return { stale }
elseif before then
  return unwords(before)
end

local now = clock()
local reply, jobs = current(5)
if #jobs > 0 then
  free(column(jobs, 'subject'))
  bury(jobs, now, function(job) return ARGV[job.at + 3], ARGV[job.at + 4] end)
  advance(jobs)
  publish('RPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
