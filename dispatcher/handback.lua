-- handback: end leases without ending the attempts. The job stays head, the
-- attempt is refunded, and the lane is first in line: it was interrupted.
--
-- ARGV[6]   kinds the caller claims next itself, each between spaces
-- ARGV[7+]  three a job: subject, id, token
--
-- Returns   {'ok' | 'lost', ...}, a word per job | {'stale'}

local before, stale = recall()
if stale then
  return { stale }
elseif before then
  return unwords(before)
end

local reply, jobs = current(3)
if #jobs > 0 then
  free(column(jobs, 'subject'))
  for _, job in ipairs(jobs) do
    list(job.entry, job.subject)
  end
  publish('LPUSH', ARGV[FIRST])
  remember(words(reply))
end
return reply
